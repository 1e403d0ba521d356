/*
 * A leader and a secondary, for tests of compare.h and echo.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_COMPARE_PAIR_H
#define TESTS_COMPARE_PAIR_H

#include "colo-net/core/compare.h"
#include "colo-net/core/echo.h"
#include "tests/unit/net-frames.h"

typedef struct Pair {
    FlowTable *leader;
    Compare *compare;
    FlowTable *secondary;
    Echo *echo;
    GByteArray *state; /* of the last seal */
    uint64_t epoch; /* the last one sealed */
    int64_t now;
} Pair;

/* A session has begun; @synced: and there was a sync. */
Pair *pair_new(gboolean synced);
void pair_free(Pair *pair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pair, pair_free)

void pair_seal(Pair *pair);
void pair_apply(Pair *pair);
void pair_commit(Pair *pair);
void pair_sync(Pair *pair);

/* The leader's guest says this, or the secondary's does, and tells it. */
void pair_leader(Pair *pair, const NetSegment *segment);
void pair_secondary(Pair *pair, const NetSegment *segment);
void pair_leader_says(Pair *pair, uint32_t seq, const char *bytes);
void pair_secondary_says(Pair *pair, uint32_t seq, const char *bytes);
void pair_datagram(Pair *pair, gboolean leader, const char *bytes);
void pair_tell(Pair *pair);

/* Client 0 connects; both guests answer, from these numbers. */
void pair_connect(Pair *pair, uint32_t leader, uint32_t secondary);

/* What has left since the last call: frames */
unsigned pair_left(Pair *pair);
/* As bytes, one after another; of frames without any, "." */
char *pair_left_bytes(Pair *pair);

/* These bytes have left, and no others. */
void pair_check_left(Pair *pair, const char *bytes);
/* Nothing that diverges was noticed. */
void pair_check_equal(Pair *pair);
/* The leader says it, and it leaves when the secondary says it, too. */
void pair_both_say(Pair *pair, uint32_t leader, uint32_t secondary,
                   const char *bytes);

/* What the client says to the secondary's guest; the frame is returned. */
EchoPass pair_hears(Pair *pair, const NetSegment *segment, HoldFrame **frame);

#endif
