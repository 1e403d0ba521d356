/*
 * Who may write entries into a member's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "grant.h"

ApusGranted apus_grant_ask(ApusGrant *grant, ApusId peer, uint64_t term,
                           ApusId *revoke)
{
    *revoke = APUS_NOBODY;
    if (term < grant->fenced) {
        return APUS_GRANT_REFUSED;
    }
    if (grant->holder == peer) {
        grant->term = grant->fenced = term;
        return APUS_GRANT_KEPT;
    }
    if (grant->holder != APUS_NOBODY) {
        if (term == grant->term) {
            return APUS_GRANT_REFUSED; /* a term has one leader */
        }
        *revoke = grant->holder;
    }
    *grant = (ApusGrant) { .holder = peer, .term = term, .fenced = term };
    return APUS_GRANT_GIVEN;
}

ApusId apus_grant_fence(ApusGrant *grant, uint64_t term)
{
    ApusId holder = grant->holder;

    if (term <= grant->fenced) {
        return APUS_NOBODY;
    }
    grant->fenced = term;
    grant->holder = APUS_NOBODY;
    return holder;
}

void apus_grant_lost(ApusGrant *grant, ApusId peer)
{
    if (grant->holder == peer) {
        grant->holder = APUS_NOBODY;
    }
}
