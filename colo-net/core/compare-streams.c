/*
 * Compare: TCP, as streams of bytes
 *
 * What the secondary has said, too, ends at hashed; the frames of a connection
 * that wait reach beyond it. They are hashed when a report says what they
 * should be. What was let out ends at out, which is less if a frame is equal
 * in part.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/compare-internal.h"

static gboolean is_compared(const Compare *compare, const Flow *flow)
{
    return compare->comparing &&
           (flow->flags & (FLOW_ANCHORED | FLOW_BROKEN | FLOW_GONE)) ==
           FLOW_ANCHORED;
}

/* Up to where the stream may be compared now */
static int64_t compared_end(const Compare *compare, const Flow *flow)
{
    return compare->open ? flow->limit_at : flow->position;
}

/* --- parts ----------------------------------------------------------------*/

static void part_remove(Flow *flow)
{
    if (flow->part_at) {
        *flow->part_at = flow->part_next;
        if (flow->part_next) {
            flow->part_next->part_at = flow->part_at;
        }
        flow->part_at = NULL;
    }
}

static void part_add(Compare *compare, Flow *flow, int64_t now)
{
    part_remove(flow);
    flow->part_since = now;
    flow->part_at = &compare->parts;
    flow->part_next = compare->parts;
    if (flow->part_next) {
        flow->part_next->part_at = &flow->part_next;
    }
    compare->parts = flow;
}

gboolean compare_parts(const Compare *compare)
{
    return compare->parts != NULL;
}

static HoldFrame *part_of(const HoldFrame *frame, const Packet *packet,
                          uint32_t from, uint32_t length)
{
    HoldFrame *part = hold_frame_new(packet_slice_size(packet, from, length));

    part->after = frame->after;
    part->flags = frame->flags;
    part->context = frame->context;
    packet_slice(packet, frame->data, from, length, part->data);
    return part;
}

static void part_leave(Compare *compare, Flow *flow)
{
    HeldItem *item = flow->held.first;
    uint32_t length = flow->hashed - held_start(item);
    Packet packet;

    part_remove(flow);
    if (item->tcp_flags & TCP_SYN) {
        return;
    }
    packet_parse(&packet, item->frame->data, item->frame->size,
                 item->vnet_len, PACKET_FROM_GUEST);
    hold_queue_add(&compare->leaving,
                   part_of(item->frame, &packet, 0, length));
    held_replace(&compare->held, item,
                 part_of(item->frame, &packet, length,
                         item->length - length));
    item->seq += length;
    item->length -= length;
    item->payload_size -= MIN(length, item->payload_size);
    flow->out = MAX(flow->out, flow->hashed);
    compare->stats.cut++;
}

void compare_cut(Compare *compare, int64_t before)
{
    Flow *next;

    for (Flow *flow = compare->parts; flow; flow = next) {
        next = flow->part_next;
        if (flow->part_since <= before) {
            part_leave(compare, flow);
        }
    }
}

/* --- letting out ----------------------------------------------------------*/

void streams_release(Compare *compare, Flow *flow, int64_t now)
{
    HeldItem *item;

    flow_pin(flow);
    while ((item = flow->held.first) &&
           (!item->length || held_end(item) <= flow->hashed)) {
        flow->out = MAX(flow->out, held_end(item));
        compare->stats.equal++;
        compare_leave(compare, item);
    }
    part_remove(flow);
    if (item && held_start(item) < flow->hashed) {
        part_add(compare, flow, now);
    }
    flow_unpin(flow);
}

static void hash_item(Flow *flow, const HeldItem *item, int64_t to)
{
    const uint8_t *data = item->frame->data;
    gboolean syn = !!(item->tcp_flags & TCP_SYN);
    int64_t at;

    if (syn && flow->hashed == held_start(item)) {
        Packet packet;

        packet_parse(&packet, data, item->frame->size, item->vnet_len,
                     PACKET_FROM_GUEST);
        flow_digest_syn(flow, &packet);
    }
    at = flow->hashed - held_start(item) - syn;
    if (at < item->payload_size && flow->hashed < to) {
        int64_t n = MIN(item->payload_size - at, to - flow->hashed);

        flow_digest_bytes(flow, data + item->payload + at, n);
    }
    if ((item->tcp_flags & TCP_FIN) && flow->hashed < to) {
        flow_digest_fin(flow);
    }
}

/* False if not all bytes are there. */
static gboolean hash_to(Flow *flow, int64_t to)
{
    for (const HeldItem *item = flow->held.first;
         item && flow->hashed < to; item = item->behind) {
        if (held_end(item) <= flow->hashed) {
            continue;
        }
        if (held_start(item) > flow->hashed) {
            return FALSE;
        }
        hash_item(flow, item, to);
    }
    return flow->hashed == to;
}

/* The secondary's stream is like this up to where the leader's is, too. */
static void verify(Compare *compare, Flow *flow, const Pending *heard,
                   int64_t now)
{
    int64_t before = flow->hashed;
    gboolean there = hash_to(flow, heard->position);

    if (there && flow_digest(flow) == heard->digest) {
        streams_release(compare, flow, now);
        return;
    }
    flow->hashed = before;
    flow->flags |= FLOW_BROKEN;
    if (there) {
        compare_set_diverged(compare, COMPARE_BYTES, flow);
    }
}

/* --- reports that are ahead -----------------------------------------------*/

/* The one that is missed least: its neighbours are nearest to each other. */
static unsigned pending_spare(const Pending *pending)
{
    unsigned best = 1;

    for (unsigned i = 2; i < PENDING_MAX - 1; i++) {
        if (pending[i + 1].position - pending[i - 1].position <
            pending[best + 1].position - pending[best - 1].position) {
            best = i;
        }
    }
    return best;
}

/*
 * If the leader's guest must not go as far as the secondary's has gone before
 * a client acknowledges something, it needs reports on the way, too.
 */
static void pending_add(Compare *compare, Pending *pending, unsigned *n,
                        const Pending *heard)
{
    if (*n && pending[*n - 1].position >= heard->position) {
        return;
    }
    if (*n == PENDING_MAX) {
        unsigned spare = pending_spare(pending);

        memmove(pending + spare, pending + spare + 1,
                (PENDING_MAX - spare - 1) * sizeof(*pending));
        (*n)--;
        compare->stats.forgotten++;
    }
    pending[(*n)++] = *heard;
}

void streams_check(Compare *compare, Flow *flow, int64_t now)
{
    int64_t end = compared_end(compare, flow);
    unsigned n = 0;

    if (!flow->n_pending || !is_compared(compare, flow)) {
        return;
    }
    while (n < flow->n_pending && flow->pending[n].position <= end) {
        n++;
    }
    if (n) {
        Pending heard = flow->pending[n - 1];

        flow->n_pending -= n;
        memmove(flow->pending, flow->pending + n,
                flow->n_pending * sizeof(*flow->pending));
        if (heard.position > flow->hashed) {
            verify(compare, flow, &heard, now);
        }
    }
    if (flow->n_pending && (flow->flags & FLOW_FIN) && !compare->open) {
        flow->flags |= FLOW_BROKEN;
        compare_set_diverged(compare, COMPARE_CLOSED, flow);
    }
}

static void ghost_add(Compare *compare, uint64_t id, const Pending *heard)
{
    Ghost *ghost = g_hash_table_lookup(compare->ghosts, &id);

    if (!ghost) {
        if (g_hash_table_size(compare->ghosts) == COMPARE_GHOSTS_MAX) {
            compare->stats.forgotten++;
            return;
        }
        ghost = g_new0(Ghost, 1);
        ghost->id = id;
        g_hash_table_insert(compare->ghosts, &ghost->id, ghost);
    }
    pending_add(compare, ghost->pending, &ghost->n, heard);
}

/* Room for reports that are ahead, which the next commit forgets. */
static Pending *pending_room(Compare *compare, Flow *flow)
{
    if (!flow->pending) {
        flow->pending = g_new(Pending, PENDING_MAX);
        flow_move(compare->table, flow);
    }
    return flow->pending;
}

/* A connection has begun that the secondary may have spoken on before. */
static void ghost_take(Compare *compare, Flow *flow)
{
    Ghost *ghost = g_hash_table_lookup(compare->ghosts, &flow->id);

    if (ghost) {
        memcpy(pending_room(compare, flow), ghost->pending,
               sizeof(ghost->pending));
        flow->n_pending = ghost->n;
        g_hash_table_remove(compare->ghosts, &flow->id);
    }
}

void streams_report(Compare *compare, const Report *report, int64_t now)
{
    Flow *flow = flow_by_id(compare->table, report->flow);
    Pending heard = {
        .position = report->position,
        .digest = report->digest,
    };

    if (!flow) {
        ghost_add(compare, report->flow, &heard);
        return;
    }
    if (!is_compared(compare, flow) || heard.position <= flow->hashed) {
        return;
    }
    if (!flow->n_pending && heard.position <= compared_end(compare, flow)) {
        verify(compare, flow, &heard, now);
        return;
    }
    pending_add(compare, pending_room(compare, flow), &flow->n_pending,
                &heard);
    streams_check(compare, flow, now);
}

void streams_forget(Compare *compare)
{
    g_hash_table_remove_all(compare->ghosts);
    while (compare->parts) {
        part_remove(compare->parts);
    }
    FLOW_FOREACH_MOVED(flow, compare->table) {
        g_clear_pointer(&flow->pending, g_free);
        flow->n_pending = 0;
    }
}

/* --- the guest speaks -----------------------------------------------------*/

/*
 * What has no bytes overtakes those that wait. The client is to see a number
 * that it knows.
 */
static void overtake(const Flow *flow, const Packet *packet,
                     const FlowSaid *said, uint8_t *frame)
{
    Packet copy = *packet;

    if (flow->held.first && (flow->flags & FLOW_ANCHORED) &&
        said->start > flow->out) {
        packet_shift_seq(&copy, frame, flow->out - said->start);
    }
}

/* Whether it needs no partner, and does not wait for one of its connection */
static gboolean is_alone(const Compare *compare, const Packet *packet,
                         const FlowSaid *said)
{
    const Flow *flow = said->flow;

    if (!compare->comparing) {
        return FALSE;
    }
    if (packet->flags & TCP_RST) {
        return !flow->held.first;
    }
    return packet_length(packet) == 0 ||
           ((flow->flags & FLOW_ANCHORED) && said->end <= flow->hashed &&
            said->start <= flow->out);
}

void streams_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                    const Packet *packet, const FlowSaid *said, uint32_t seq)
{
    Flow *flow = said->flow;
    int64_t now = compare->table->now;
    HeldItem *item;

    if (is_alone(compare, packet, said)) {
        if (packet->flags & TCP_RST) {
            /* behind all */
        } else if (packet_length(packet) == 0) {
            overtake(flow, packet, said, frame->data);
        } else {
            flow->out = MAX(flow->out, said->end);
        }
        compare->stats.alone++;
        hold_queue_add(&compare->leaving, frame);
        return;
    }
    if ((packet->flags & TCP_SYN) && g_hash_table_size(compare->ghosts)) {
        ghost_take(compare, flow);
    }
    item = held_add(&compare->held, frame, vnet_len, now);
    held_add_to_flow(item, flow, packet, seq);
    if (packet->flags & TCP_RST) {
        item->length = 0;
    } else if (compare->comparing && !(flow->flags & FLOW_ANCHORED)) {
        compare_set_diverged(compare, COMPARE_STRANGE, flow);
    } else {
        streams_check(compare, flow, now);
    }
}
