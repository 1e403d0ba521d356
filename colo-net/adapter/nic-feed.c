/*
 * Frames for a NIC: handed on in order, pending until it has consumed them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/vmstate.h"
#include "net/net.h"
#include "net/queue.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "colo-net/adapter/guard-inputs.h"
#include "colo-net/adapter/nic-feed.h"
#include "trace.h"

/* A NIC's answers are told to a netdev, and not to whom the frame is from. */
static QTAILQ_HEAD(, NicFeed) feeds = QTAILQ_HEAD_INITIALIZER(feeds);

static const char *feed_id(NicFeed *feed)
{
    return object_get_canonical_path_component(OBJECT(feed->nf));
}

static void first_is_done(NicFeed *feed)
{
    feed->offered = false;
    pending_pop(&feed->queue);
}

/*
 * Whether the NIC has consumed what it has answered with @ret. 0: its queue was
 * purged. Some answer -1 when they are asked to take a frame although they
 * cannot, as happens before a purge, and while the guest sets them up.
 */
static bool is_consumed(NetClientState *netdev, ssize_t ret)
{
    return ret > 0 || (ret < 0 && runstate_is_running() &&
                       netdev->peer && qemu_can_receive_packet(netdev->peer));
}

/* The NIC has answered, by its queue, to the first frame. */
static void feed_sent(NetClientState *sender, ssize_t ret)
{
    NicFeed *feed;

    QTAILQ_FOREACH(feed, &feeds, next) {
        if (feed->sending && feed->nf->netdev == sender) {
            feed->sending = false;
            if (is_consumed(sender, ret)) {
                feed->delivered++;
                first_is_done(feed);
            }
            qemu_bh_schedule(feed->bh);
        }
    }
}

/* Whether a filter that follows keeps the frame, or handles it itself */
static bool offer(NicFeed *feed, unsigned flags, const struct iovec *iov)
{
    NetFilterState *other = feed->nf;

    feed->offered = true;
    while ((other = QTAILQ_NEXT(other, next))) {
        if (qemu_netfilter_receive(other, NET_FILTER_DIRECTION_TX,
                                   feed->nf->netdev, flags, iov, 1, NULL)) {
            return true;
        }
    }
    return false;
}

static void drop_first(NicFeed *feed, const char *why)
{
    feed->dropped++;
    trace_nic_feed_drop(feed_id(feed), feed->queue.head->size, why);
    first_is_done(feed);
}

/*
 * Give the first frame, which the guest may hear, to those that follow. A NIC
 * that has no room keeps a copy, of which feed_sent() hears; that is how one
 * learns that there is room.
 */
static void send_first(NicFeed *feed)
{
    NetClientState *netdev = feed->nf->netdev;
    unsigned flags = feed->queue.head->flags;
    struct iovec iov = {
        .iov_base = feed->scratch,
        .iov_len = feed->queue.head->size,
    };

    if ((!feed->offered && offer(feed, flags, &iov)) ||
        qemu_net_queue_send_iov(netdev->peer->incoming_queue, netdev, flags,
                                &iov, 1, feed_sent)) {
        feed->delivered++;
        first_is_done(feed);
    } else {
        feed->sending = true;
    }
}

/* Pass the first frame on. False: the guest may not hear it yet. */
static bool pass_on(NicFeed *feed)
{
    NetClientState *netdev = feed->nf->netdev;
    PendingFrame *frame = feed->queue.head;
    unsigned vnet_len = frame->flags & QEMU_NET_PACKET_FLAG_RAW
                        ? 0 : netdev->vnet_hdr_len;

    if (!netdev->peer) {
        drop_first(feed, "no NIC");
        return true;
    }
    if (frame->vnet_len != vnet_len) {
        drop_first(feed, "another vnet header");
        return true;
    }

    /* It may be saved, or tried again, and then must be as it came. */
    memcpy(feed->scratch, frame->data, frame->size);
    if (!filter_guard_input(netdev, frame->flags, vnet_len, feed->scratch,
                            frame->size)) {
        return false;
    }
    send_first(feed);
    return true;
}

/* Pass on what the NIC takes now. */
static void drain(NicFeed *feed)
{
    if (feed->draining) {
        return; /* a receiver made something happen */
    }
    feed->draining = true;
    while (!feed->sending && feed->queue.head && runstate_is_running()) {
        if (!pass_on(feed)) {
            trace_nic_feed_wait(feed_id(feed), feed->queue.frames);
            break;
        }
    }
    feed->draining = false;
}

/* Something may be different: the NIC, the VM, or what the guest may hear. */
static void feed_bh(void *opaque)
{
    NicFeed *feed = opaque;

    drain(feed);
    feed->consumed(feed);
}

static void feed_vm_state(void *opaque, bool running, RunState state)
{
    NicFeed *feed = opaque;

    if (running && feed->queue.head) {
        qemu_bh_schedule(feed->bh);
    }
}

static void feed_may_hear(Notifier *notifier, void *data)
{
    NicFeed *feed = container_of(notifier, NicFeed, may_hear);

    if (feed->queue.head) {
        qemu_bh_schedule(feed->bh);
    }
}

/* --- the state of the VM --------------------------------------------------*/

static int feed_pre_save(void *opaque)
{
    NicFeed *feed = opaque;
    GByteArray *batch = g_byte_array_new();

    pending_save(&feed->queue, feed->key, batch);
    feed->saved_size = batch->len;
    feed->saved = g_byte_array_free(batch, false);
    return 0;
}

static int feed_forget_saved(void *opaque)
{
    NicFeed *feed = opaque;

    g_clear_pointer(&feed->saved, g_free);
    feed->saved_size = 0;
    return 0;
}

static bool feed_saved_is_bounded(void *opaque, int version_id)
{
    NicFeed *feed = opaque;

    return feed->saved_size <= NIC_FEED_MAX + PENDING_SAVE_OVERHEAD;
}

static int feed_post_load(void *opaque, int version_id)
{
    NicFeed *feed = opaque;
    GError *error = NULL;
    int ret = 0;

    if (feed->sending) {
        qemu_purge_queued_packets(feed->nf->netdev);
    }
    if (pending_load(&feed->queue, feed->key, feed->saved,
                     feed->saved_size, &error)) {
        trace_nic_feed_load(feed_id(feed), feed->queue.frames);
        feed->offered = false;
    } else {
        error_report("%s: %s", feed_id(feed), error->message);
        g_error_free(error);
        ret = -EINVAL;
    }
    feed_forget_saved(feed);
    return ret;
}

static const VMStateDescription vmstate_feed = {
    .name = "pending",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = feed_pre_save,
    .post_save = feed_forget_saved,
    .pre_load = feed_forget_saved,
    .post_load = feed_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(saved_size, NicFeed),
        VMSTATE_VALIDATE("no more than can be pending",
                         feed_saved_is_bounded),
        VMSTATE_VBUFFER_ALLOC_UINT32(saved, NicFeed, 0, NULL, saved_size),
        VMSTATE_END_OF_LIST()
    },
};

/* --- its life -------------------------------------------------------------*/

bool nic_feed_init(NicFeed *feed, NetFilterState *nf, VMStateIf *id,
                   uint32_t key, void (*consumed)(NicFeed *feed),
                   Error **errp)
{
    feed->nf = nf;
    feed->id = id;
    feed->key = key;
    feed->consumed = consumed;
    if (vmstate_register_with_alias_id(id, 0, &vmstate_feed, feed, -1, 0,
                                       errp) < 0) {
        return false;
    }
    pending_init(&feed->queue);
    feed->scratch = g_malloc(INPUTS_FRAME_MAX);
    feed->bh = qemu_bh_new(feed_bh, feed);
    feed->vm_state = qemu_add_vm_change_state_handler(feed_vm_state, feed);
    feed->may_hear.notify = feed_may_hear;
    filter_guard_add_input_notifier(&feed->may_hear);
    QTAILQ_INSERT_TAIL(&feeds, feed, next);
    return true;
}

void nic_feed_destroy(NicFeed *feed)
{
    QTAILQ_REMOVE(&feeds, feed, next);
    if (feed->sending) {
        qemu_purge_queued_packets(feed->nf->netdev);
    }
    notifier_remove(&feed->may_hear);
    qemu_del_vm_change_state_handler(feed->vm_state);
    qemu_bh_delete(feed->bh);
    vmstate_unregister(feed->id, &vmstate_feed, feed);
    pending_clear(&feed->queue);
    g_free(feed->scratch);
}

void nic_feed_push(NicFeed *feed, const InputsFrame *frame)
{
    pending_push(&feed->queue, frame);
    drain(feed);
}
