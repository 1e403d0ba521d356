/*
 * Compare: frames that are not TCP, as a multiset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/compare-internal.h"

static gboolean same(const PacketDigest *a, const PacketDigest *b)
{
    return a->low == b->low && a->high == b->high;
}

static unsigned bucket(const PacketDigest *digest)
{
    return digest->low % COMPARE_BUCKETS;
}

/* While a seal is open, what came after it is not compared. */
static gboolean is_compared(const Compare *compare, const HoldFrame *frame)
{
    return compare->comparing &&
           (!compare->open || frame->after < compare->open);
}

static gboolean heard_remove(Compare *compare, const PacketDigest *digest)
{
    Heard **at = &compare->heard[bucket(digest)];

    while (*at && !same(&(*at)->digest, digest)) {
        at = &(*at)->next;
    }
    if (*at) {
        Heard *heard = *at;

        *at = heard->next;
        g_free(heard);
        compare->n_heard--;
        return TRUE;
    }
    return FALSE;
}

void frames_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                   const Packet *packet, int64_t now)
{
    PacketDigest digest = packet_digest(packet, frame->data,
                                        compare->table->seed);
    HeldItem *item;

    if (is_compared(compare, frame) && heard_remove(compare, &digest)) {
        compare->stats.equal++;
        hold_queue_add(&compare->leaving, frame);
        return;
    }
    item = held_add(&compare->held, frame, vnet_len, now);
    item->digest = digest;
    held_add_to_chain(item, &compare->waiting[bucket(&digest)]);
}

void frames_report(Compare *compare, const Report *report)
{
    PacketDigest digest = { .low = report->digest, .high = report->flow };
    HeldItem *item = compare->waiting[bucket(&digest)].first;
    Heard *heard;

    while (item && (!same(&item->digest, &digest) ||
                    !is_compared(compare, item->frame))) {
        item = item->behind;
    }
    if (item) {
        compare->stats.equal++;
        compare_leave(compare, item);
        return;
    }
    if (compare->n_heard == COMPARE_HEARD_MAX) {
        compare->stats.forgotten++;
        return;
    }
    heard = g_new(Heard, 1);
    heard->digest = digest;
    heard->next = compare->heard[bucket(&digest)];
    compare->heard[bucket(&digest)] = heard;
    compare->n_heard++;
}

void frames_check(Compare *compare)
{
    HeldItem *next;

    for (HeldItem *item = compare->held.oldest; item && compare->n_heard;
         item = next) {
        next = item->newer;
        if (!item->flow && item->chain &&
            heard_remove(compare, &item->digest)) {
            compare->stats.equal++;
            compare_leave(compare, item);
        }
    }
}

void frames_forget(Compare *compare)
{
    for (unsigned i = 0; i < COMPARE_BUCKETS && compare->n_heard; i++) {
        while (compare->heard[i]) {
            Heard *heard = compare->heard[i];

            compare->heard[i] = heard->next;
            g_free(heard);
            compare->n_heard--;
        }
    }
}
