/*
 * filter-guard: letting frames out
 *
 * With a group, the question whether this replica may be heard is asked right
 * before a frame is given to the netdev, which takes it at once or not at all:
 * it would keep a frame that it cannot send yet, and send it when nobody asks
 * any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "net/queue.h"
#include "guard-internal.h"
#include "trace.h"

/* When a netdev that was busy, and a gate that was closed, is tried again. */
#define BUSY_NS SCALE_MS
#define CLOSED_NS (2 * SCALE_MS)

bool guard_deposed(FilterGuard *g)
{
    return g->group && apus_group_part(g->group) == APUS_PART_DEPOSED;
}

void guard_drop(FilterGuard *g, size_t size, const char *why)
{
    g->dropped++;
    trace_filter_guard_drop(guard_id(g), size, why);
}

/*
 * It does not matter whether the VM stands: what may leave does not wait for
 * it, as it may be waiting for us. False: the netdev is busy.
 */
static bool give(NetClientState *netdev, const HoldFrame *frame)
{
    size_t vnet_len = frame->flags & QEMU_NET_PACKET_FLAG_RAW ?
                      netdev->vnet_hdr_len : 0;
    g_autofree uint8_t *raw = NULL;
    const uint8_t *data = frame->data;

    if (!qemu_can_receive_packet(netdev)) {
        return false;
    }
    if (vnet_len) {
        raw = g_malloc0(vnet_len + frame->size);
        memcpy(raw + vnet_len, frame->data, frame->size);
        data = raw;
    }
    return qemu_net_queue_receive(netdev->incoming_queue, data,
                                  vnet_len + frame->size) != 0;
}

/*
 * Pass the first frame on: to the filters that come after this one, then to
 * the netdev. Unlike with qemu_netfilter_pass_to_next() a netdev that is busy
 * costs no frame. False: it is.
 */
static bool pass_on(FilterGuard *g, const HoldFrame *frame)
{
    NetFilterState *nf = NETFILTER(g), *other = nf;
    NetClientState *netdev = nf->netdev, *nic = netdev->peer;
    struct iovec iov = {
        .iov_base = (void *)frame->data,
        .iov_len = frame->size,
    };

    if (!nic) {
        guard_drop(g, frame->size, "no NIC");
        return true;
    }
    if (!(frame->flags & QEMU_NET_PACKET_FLAG_RAW) &&
        frame->context != netdev->vnet_hdr_len) {
        guard_drop(g, frame->size, "vnet header changed");
        return true;
    }
    while ((other = QTAILQ_PREV(other, next))) {
        if (qemu_netfilter_receive(other, NET_FILTER_DIRECTION_RX, nic,
                                   frame->flags, &iov, 1, NULL)) {
            g->released++;
            return true;
        }
    }
    if (!give(netdev, frame)) {
        return false;
    }
    g->released++;
    return true;
}

void guard_drain(FilterGuard *g)
{
    HoldFrame *frame;

    if (g->draining) {
        return; /* a receiver made the guest send something */
    }
    g->draining = true;
    while ((frame = hold_queue_next(&g->queue))) {
        /* R9, R12 */
        if (g->group && !apus_group_may_speak(g->group)) {
            guard_schedule_in(CLOSED_NS);
            break;
        }
        if (!pass_on(g, frame)) {
            guard_schedule_in(BUSY_NS);
            break;
        }
        hold_queue_pop(&g->queue);
    }
    g->draining = false;

    if (g->full && guard_bytes(g) <= guard_high_water(g)) {
        g->full = false;
        guard_schedule();
    }
}

void guard_clear(FilterGuard *g)
{
    guard_compare_clear();
    g->discarded += g->queue.held_frames + g->queue.leaving_frames;
    hold_queue_clear(&g->queue);
    g->full = false;
}
