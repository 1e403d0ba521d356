/*
 * Two hosts, one of which calls the other: over the fake fabric, or over a
 * real device with a host for each address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VERBS_PAIR_H
#define VERBS_PAIR_H

#include <netinet/in.h>

#include "colo-net/verbs/verbs.h"

typedef struct {
    unsigned lane;
    GBytes *data;
} VerbsGot;

/* What a handler shall do, and what the handlers were told. */
typedef struct {
    VerbsHost *host;
    VerbsLink *link; /* NULL again when it is closed */
    gboolean reject, silent, distrust, keep, hold_trust;
    const char *answer; /* with which a call is accepted or rejected */

    unsigned called, opened, closed, rooms, grants;
    char shown[VERBS_ANSWER_DATA + 1]; /* with the call, or its answer */
    GQueue got; /* of VerbsGot */
    uint64_t bytes;
    gboolean granted;
    uint64_t ticket;
    VerbsEnd end;
    char *text;
    gboolean rejected_with_data;
} VerbsSide;

typedef struct {
    VerbsSide a, b; /* b calls a */
    struct sockaddr_storage address; /* of a */
} VerbsPair;

#define PAIR_RING 65536

/* Lane 0 of PAIR_RING bytes is open, lane 1 is gated. */
VerbsConfig verbs_pair_config(void);
void verbs_side_start(VerbsSide *side, const VerbsConfig *config);
void verbs_side_stop(VerbsSide *side);
void verbs_side_listen(VerbsSide *side, const char *address,
                       struct sockaddr_storage *bound);

/* @a listens on @address. */
void verbs_pair_start(VerbsPair *pair, const VerbsConfig *a,
                      const VerbsConfig *b, const char *address);
void verbs_pair_call(VerbsPair *pair, const char *data);
/* And both are open, and trust each other. */
void verbs_pair_connect(VerbsPair *pair);
void verbs_pair_stop(VerbsPair *pair);

/* One round of each. TRUE: there was something. */
gboolean verbs_pair_step(VerbsPair *pair);
/* Until nothing comes any more. */
void verbs_pair_settle(VerbsPair *pair);
/* Until @done says so; fails after ten seconds. */
#define verbs_pair_until(pair, done) \
    do { \
        uint64_t begun_ = g_get_monotonic_time(); \
        while (!(done)) { \
            verbs_pair_wait(pair, begun_, #done); \
        } \
    } while (0)
void verbs_pair_wait(VerbsPair *pair, uint64_t begun, const char *what);

/* --- records -------------------------------------------------------------- */

/* @size bytes that are different for each @number. */
GBytes *verbs_record_make(uint64_t number, size_t size);
VerbsSent verbs_side_send(VerbsSide *side, unsigned lane, GBytes *data);
VerbsSent verbs_side_say(VerbsSide *side, unsigned lane, const char *text);
/* The oldest that was received; has to be there. */
void verbs_side_expect(VerbsSide *side, unsigned lane, GBytes *data);
void verbs_side_expect_text(VerbsSide *side, unsigned lane, const char *text);
/* All that was received. */
void verbs_side_forget(VerbsSide *side);
void verbs_side_expect_end(VerbsSide *side, VerbsEnd end);

#endif
