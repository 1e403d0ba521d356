/*
 * Who may write entries into a member's memory
 *
 * With one-sided writes a leader's entries land without the follower's doing,
 * so the right to write is a thing of its own: one leader at a time has it, and
 * it is taken away before a newer term is voted in. This decides who has it;
 * to give it and to take it away, in a way that holds, is the transport's.
 *
 * A leader asks, once in each term and for each connection. What it is granted
 * belongs to that connection: a new one asks anew.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_GRANT_H
#define APUS_GRANT_H

#include "types.h"

typedef struct {
    ApusId holder; /* APUS_NOBODY: nobody has it */
    uint64_t term; /* of the holder */
    uint64_t fenced; /* nobody of an older term gets it */
} ApusGrant; /* all 0 at the start */

typedef enum {
    APUS_GRANT_REFUSED, /* it is a leader of the past */
    APUS_GRANT_GIVEN, /* first @revoke, if anybody, loses it */
    APUS_GRANT_KEPT, /* it has it already; tell it so again */
} ApusGranted;

/* @peer, who leads @term, asks for it. */
ApusGranted apus_grant_ask(ApusGrant *grant, ApusId peer, uint64_t term,
                           ApusId *revoke);

/*
 * @term is about to be voted in. Returns who loses the right to write before
 * this member says another word; APUS_NOBODY: no one has it.
 */
ApusId apus_grant_fence(ApusGrant *grant, uint64_t term);

/* The connection with @peer has ended. */
void apus_grant_lost(ApusGrant *grant, ApusId peer);

#endif
