/*
 * Frames that wait, any of which may go first
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/held.h"

/* So many notes are kept for frames to come. */
#define SPARE_MAX 4096

static size_t item_bytes(const HoldFrame *frame)
{
    return sizeof(HeldItem) + HOLD_OVERHEAD + frame->size;
}

void held_clear(HeldList *list)
{
    while (list->oldest) {
        g_free(held_take(list, list->oldest));
    }
    while (list->spare) {
        HeldItem *item = list->spare;

        list->spare = item->newer;
        g_free(item);
    }
    list->n_spare = 0;
}

static HeldItem *item_new(HeldList *list)
{
    HeldItem *item = list->spare;

    if (!item) {
        return g_new(HeldItem, 1);
    }
    list->spare = item->newer;
    list->n_spare--;
    return item;
}

static void item_free(HeldList *list, HeldItem *item)
{
    if (list->n_spare == SPARE_MAX) {
        g_free(item);
        return;
    }
    item->newer = list->spare;
    list->spare = item;
    list->n_spare++;
}

HeldItem *held_add(HeldList *list, HoldFrame *frame, size_t vnet_len,
                   int64_t now)
{
    HeldItem *item = item_new(list);

    *item = (HeldItem) {
        .older = list->newest,
        .frame = frame,
        .time = now,
        .vnet_len = vnet_len,
    };
    *(list->newest ? &list->newest->newer : &list->oldest) = item;
    list->newest = item;
    list->frames++;
    list->bytes += item_bytes(frame);
    return item;
}

void held_add_to_chain(HeldItem *item, HeldChain *chain)
{
    item->chain = chain;
    item->before = chain->last;
    *(chain->last ? &chain->last->behind : &chain->first) = item;
    chain->last = item;
}

void held_add_to_flow(HeldItem *item, Flow *flow, const Packet *packet,
                      uint32_t seq)
{
    flow_pin(flow);
    item->flow = flow;
    item->seq = seq;
    item->length = packet_length(packet);
    item->payload = packet->payload;
    item->payload_size = packet->payload_size;
    item->tcp_flags = packet->flags;
    held_add_to_chain(item, &flow->held);
}

HoldFrame *held_take(HeldList *list, HeldItem *item)
{
    HeldChain *chain = item->chain;
    HoldFrame *frame = item->frame;

    if (chain) {
        *(item->before ? &item->before->behind : &chain->first) = item->behind;
        *(item->behind ? &item->behind->before : &chain->last) = item->before;
    }
    if (item->flow) {
        flow_unpin(item->flow);
    }
    *(item->older ? &item->older->newer : &list->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &list->newest) = item->older;
    list->frames--;
    list->bytes -= item_bytes(frame);
    item_free(list, item);
    return frame;
}

void held_replace(HeldList *list, HeldItem *item, HoldFrame *frame)
{
    list->bytes -= item_bytes(item->frame);
    list->bytes += item_bytes(frame);
    g_free(item->frame);
    item->frame = frame;
}
