/*
 * Frames that wait, any of which may go first
 *
 * A HeldList keeps frames in the order in which they came, and each besides in
 * a chain: of its connection, or of those with the same digest. What is known
 * of a frame stands beside it; these notes are used again, so that holding a
 * frame allocates nothing.
 *
 * A list belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_HELD_H
#define COLO_NET_HELD_H

#include "colo-net/core/flow-internal.h"
#include "colo-net/core/hold.h"

struct HeldItem {
    HeldItem *older; /* of all */
    HeldItem *newer;
    HeldChain *chain; /* NULL: in none */
    HeldItem *before; /* of the chain */
    HeldItem *behind;

    HoldFrame *frame;
    Flow *flow; /* NULL: not of a connection */
    int64_t time; /* when it came */
    uint32_t vnet_len;

    /* Of a connection: sequence numbers of the guest, and where they are */
    uint32_t seq;
    uint32_t length; /* in positions */
    uint32_t payload;
    uint32_t payload_size;
    uint8_t tcp_flags;
    PacketDigest digest; /* of what is of none */
};

typedef struct HeldList {
    HeldItem *oldest;
    HeldItem *newest;
    HeldItem *spare;
    unsigned n_spare;
    uint64_t frames;
    uint64_t bytes; /* of memory, these notes included */
} HeldList;

/* An empty list is all zero. Frees all frames. */
void held_clear(HeldList *list);

/* The frame is the list's from now on. */
HeldItem *held_add(HeldList *list, HoldFrame *frame, size_t vnet_len,
                   int64_t now);
/* It is of a connection; @packet is in the guest's numbers. */
void held_add_to_flow(HeldItem *item, Flow *flow, const Packet *packet,
                      uint32_t seq);
void held_add_to_chain(HeldItem *item, HeldChain *chain);

/* Take it out of all; the frame is the caller's again. */
HoldFrame *held_take(HeldList *list, HeldItem *item);
/* Its frame is another one now, the old one is freed. */
void held_replace(HeldList *list, HeldItem *item, HoldFrame *frame);

/* Positions of its stream */
static inline int64_t held_start(const HeldItem *item)
{
    return flow_position(item->flow, item->seq);
}

static inline int64_t held_end(const HeldItem *item)
{
    return held_start(item) + item->length;
}

#endif
