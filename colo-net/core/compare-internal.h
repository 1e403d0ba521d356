/*
 * The parts of Compare
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_COMPARE_INTERNAL_H
#define COLO_NET_COMPARE_INTERNAL_H

#include "colo-net/core/compare.h"
#include "colo-net/core/held.h"
#include "colo-net/core/report.h"

/* Of frames by digest */
#define COMPARE_BUCKETS 4096
/* Digests of frames that the leader's guest has not said yet */
#define COMPARE_HEARD_MAX 16384
/* Connections that only the secondary knows */
#define COMPARE_GHOSTS_MAX 4096
/* Notes of the epoch that is about to be committed, in bytes */
#define COMPARE_EARLY_MAX (1024 * 1024)

/* The secondary has said a frame, the leader has not. */
typedef struct Heard {
    struct Heard *next;
    PacketDigest digest;
} Heard;

/* Or it has spoken on a connection. */
typedef struct Ghost {
    uint64_t id;
    unsigned n;
    Pending pending[PENDING_MAX];
} Ghost;

struct Compare {
    FlowTable *table;
    HeldList held;
    HoldQueue leaving;

    gboolean holding; /* a session is on, or nobody has decided who goes on */
    gboolean comparing; /* it has had a commit */
    uint64_t base; /* the epoch that was committed last */
    uint64_t sealed; /* the one that was sealed last */
    uint64_t open; /* the first whose outcome is not known; 0: none */
    int64_t committed_at;
    GByteArray *early; /* notes, each after its size in 32 bits */

    Flow *parts; /* of whose first frame a part may leave */
    GHashTable *ghosts;
    HeldChain waiting[COMPARE_BUCKETS];
    Heard *heard[COMPARE_BUCKETS];
    unsigned n_heard;

    CompareWhy why;
    char *where;
    CompareStats stats;
};

void compare_leave(Compare *compare, HeldItem *item);
void compare_set_diverged(Compare *compare, CompareWhy why, const Flow *flow);

/* compare-streams.c: TCP */
void streams_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                    const Packet *packet, const FlowSaid *said, uint32_t seq);
void streams_report(Compare *compare, const Report *report, int64_t now);
/* Let out what is below the anchor, or behind nothing. */
void streams_release(Compare *compare, Flow *flow, int64_t now);
/* More may be compared now. */
void streams_check(Compare *compare, Flow *flow, int64_t now);
void streams_forget(Compare *compare);

/* compare-frames.c: all else */
void frames_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                   const Packet *packet, int64_t now);
void frames_report(Compare *compare, const Report *report);
void frames_check(Compare *compare);
void frames_forget(Compare *compare);

#endif
