/*
 * Frames for a NIC: handed on in order, pending until it has consumed them
 *
 * As such they are part of the VM's state. The NIC's own queue will not do for
 * that: it is purged when the VM stops.
 *
 * Everything here is called with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_NIC_FEED_H
#define COLO_NET_NIC_FEED_H

#include "block/aio.h"
#include "hw/vmstate-if.h"
#include "net/filter.h"
#include "qemu/notify.h"
#include "qemu/queue.h"
#include "system/runstate.h"
#include "colo-net/core/pending.h"

/* No more than so many bytes may be pending: the user's duty. */
#define NIC_FEED_MAX (1025u << 20)

typedef struct NicFeed NicFeed;

struct NicFeed {
    PendingQueue queue;
    uint64_t delivered; /* frames that the NIC, or a filter, has consumed */
    uint64_t dropped; /* frames that it cannot have; others may add some */

    /* the rest is nic-feed.c's */
    NetFilterState *nf;
    VMStateIf *id;
    uint32_t key;
    void (*consumed)(NicFeed *feed);

    bool offered; /* the filters that follow have seen the first frame */
    bool sending; /* it is in the NIC's queue */
    bool draining; /* drain() is active */
    uint8_t *scratch; /* of INPUTS_FRAME_MAX: the first frame, translated */
    QEMUBH *bh;
    VMChangeStateEntry *vm_state;
    Notifier may_hear;

    /* what is saved, only while it is */
    uint32_t saved_size;
    uint8_t *saved;

    QTAILQ_ENTRY(NicFeed) next;
};

/*
 * Make @feed, which is all 0, one that hands frames to the filters behind @nf
 * and to the NIC of its netdev. They are saved and loaded under the name @id
 * and as frames of netdev @key (inputs.h). @consumed is called when there may
 * be fewer of them, but not by nic_feed_push().
 */
bool nic_feed_init(NicFeed *feed, NetFilterState *nf, VMStateIf *id,
                   uint32_t key, void (*consumed)(NicFeed *feed),
                   Error **errp);
/* Frees what is pending. */
void nic_feed_destroy(NicFeed *feed);

/* Copy @frame, and hand it on as soon as its turn has come. */
void nic_feed_push(NicFeed *feed, const InputsFrame *frame);

#endif
