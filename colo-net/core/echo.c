/*
 * Echo, the secondary's side
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/echo.h"
#include "colo-net/core/held.h"
#include "colo-net/core/report.h"

#define RECORDS_IN_NOTE ((ECHO_NOTE_MAX - REPORT_HEADER) / REPORT_RECORD)
/* Reports that nobody takes */
#define REPORTS_MAX 65536

struct Echo {
    FlowTable *table;
    uint64_t netdev;
    uint64_t limit;
    uint64_t epoch;

    GArray *reports; /* of Report, not told yet */
    guint told; /* so many of them are */
    GByteArray *note;

    HeldList kept;
    HeldChain datagrams; /* those of them that are not TCP */
    EchoStats stats;
};

Echo *echo_new(FlowTable *table, uint64_t netdev, uint64_t limit)
{
    Echo *echo = g_new0(Echo, 1);

    echo->table = table;
    echo->netdev = netdev;
    echo->limit = limit;
    echo->reports = g_array_new(FALSE, FALSE, sizeof(Report));
    echo->note = g_byte_array_new();
    return echo;
}

void echo_free(Echo *echo)
{
    if (echo) {
        held_clear(&echo->kept);
        g_array_free(echo->reports, TRUE);
        g_byte_array_free(echo->note, TRUE);
        g_free(echo);
    }
}

void echo_applied(Echo *echo, uint64_t epoch)
{
    held_clear(&echo->kept);
    g_array_set_size(echo->reports, 0);
    echo->told = 0;
    echo->epoch = epoch;
}

/* --- notes ----------------------------------------------------------------*/

static void report(Echo *echo, ReportKind kind, uint64_t position,
                   uint64_t flow, uint64_t digest)
{
    Report one = {
        .kind = kind,
        .position = position,
        .flow = flow,
        .digest = digest,
    };

    if (echo->reports->len < REPORTS_MAX) {
        g_array_append_val(echo->reports, one);
        echo->stats.reports++;
    }
}

void echo_stuck(Echo *echo)
{
    report(echo, REPORT_STUCK, 0, 0, 0);
}

gboolean echo_take(Echo *echo, const uint8_t **note, size_t *size)
{
    ReportHeader header = { .netdev = echo->netdev, .epoch = echo->epoch };
    guint end = MIN(echo->reports->len, echo->told + RECORDS_IN_NOTE);

    if (echo->told == echo->reports->len) {
        return FALSE;
    }
    report_begin(echo->note, &header);
    while (echo->told < end) {
        report_add(echo->note, &g_array_index(echo->reports, Report,
                                              echo->told));
        echo->told++;
    }
    if (echo->told == echo->reports->len) {
        g_array_set_size(echo->reports, 0);
        echo->told = 0;
    }
    *note = echo->note->data;
    *size = echo->note->len;
    return TRUE;
}

/* --- what is kept ---------------------------------------------------------*/

static void forget(Echo *echo, HeldItem *item)
{
    g_free(held_take(&echo->kept, item));
}

static void keep_bounds(Echo *echo, int64_t now)
{
    while (echo->datagrams.first &&
           now - echo->datagrams.first->time > ECHO_DATAGRAM_US) {
        forget(echo, echo->datagrams.first);
    }
    while (echo->kept.oldest && echo->kept.bytes > echo->limit) {
        echo->stats.evicted++;
        forget(echo, echo->kept.oldest);
    }
}

/* The client has everything before @ack. */
static void acknowledged(Echo *echo, Flow *flow, uint32_t ack)
{
    HeldItem *item;

    while ((item = flow->held.first) &&
           seq_diff(item->seq + item->length, ack) <= 0) {
        echo->stats.acknowledged++;
        forget(echo, item);
    }
}

/* --- the guest speaks -----------------------------------------------------*/

/* Digest what is new. */
static void hash_new(Flow *flow, const Packet *packet, const uint8_t *frame,
                     const FlowSaid *said)
{
    gboolean syn = !!(packet->flags & TCP_SYN);
    int64_t at;

    if (syn && flow->hashed == said->start) {
        flow_digest_syn(flow, packet);
    }
    at = flow->hashed - said->start - syn;
    if (at >= 0 && at < packet->payload_size) {
        flow_digest_bytes(flow, frame + packet->payload + at,
                          packet->payload_size - at);
    }
    if ((packet->flags & TCP_FIN) && flow->hashed < said->end) {
        flow_digest_fin(flow);
    }
}

static void say_stream(Echo *echo, HoldFrame *frame, size_t vnet_len,
                       const Packet *packet, int64_t now)
{
    FlowSaid said = flow_said(echo->table, packet, frame->data, FALSE, now);
    Flow *flow = said.flow;

    if (!flow || packet_length(packet) == 0 || (packet->flags & TCP_RST) ||
        said.end < flow->position || said.end <= flow->hashed) {
        /* nothing new: if it is still missed, it will be said again */
        g_free(frame);
        return;
    }
    if ((flow->flags & (FLOW_ANCHORED | FLOW_BROKEN)) == FLOW_ANCHORED) {
        hash_new(flow, packet, frame->data, &said);
        report(echo, REPORT_STREAM, flow->hashed, flow->id,
               flow_digest(flow));
    }
    held_add_to_flow(held_add(&echo->kept, frame, vnet_len, now), flow,
                     packet, packet->seq);
}

static void say_frame(Echo *echo, HoldFrame *frame, size_t vnet_len,
                      const Packet *packet, int64_t now)
{
    PacketDigest digest = packet_digest(packet, frame->data,
                                        echo->table->seed);

    report(echo, REPORT_FRAME, 0, digest.high, digest.low);
    held_add_to_chain(held_add(&echo->kept, frame, vnet_len, now),
                      &echo->datagrams);
}

void echo_output(Echo *echo, HoldFrame *frame, size_t vnet_len, int64_t now)
{
    Packet packet;

    packet_parse(&packet, frame->data, frame->size, vnet_len,
                 PACKET_FROM_GUEST);
    if (packet.tcp) {
        say_stream(echo, frame, vnet_len, &packet, now);
    } else {
        say_frame(echo, frame, vnet_len, &packet, now);
    }
    keep_bounds(echo, now);
}

/* --- the guest hears ------------------------------------------------------*/

/* A probe of a window that is closed goes beyond it by a byte. */
static gboolean fits_window(const Flow *flow, const Packet *packet)
{
    uint32_t end = packet->seq + packet->payload_size;

    return packet->payload_size <= 1 || !(flow->flags & FLOW_EDGE) ||
           flow->scale == PACKET_NO_SCALE || seq_diff(end, flow->edge) <= 0;
}

static gboolean understands(const Flow *flow, const Packet *packet)
{
    if (packet->flags & TCP_RST) {
        return TRUE;
    }
    if ((packet->flags & TCP_ACK) && (flow->flags & FLOW_LEARNED) &&
        seq_diff(flow_guest_ack(flow, packet), flow->snd) > 0) {
        return FALSE;
    }
    return (packet->flags & TCP_SYN) || fits_window(flow, packet);
}

EchoPass echo_inbound(Echo *echo, uint8_t *frame, size_t size,
                      size_t vnet_len, int64_t now)
{
    Packet packet;
    Flow *flow;

    packet_parse(&packet, frame, size, vnet_len, PACKET_TO_GUEST);
    flow = packet.tcp ? flow_by_key(echo->table, &packet.key) : NULL;
    if (!flow) {
        flow_translate_error(echo->table, &packet, frame);
        return ECHO_PASS;
    }
    echo->table->now = now;
    if (!(flow->flags & FLOW_LEARNED)) {
        flow_learn(echo->table, flow, &packet, frame);
        echo->stats.learned += !!(flow->flags & FLOW_LEARNED);
    }
    if (!understands(flow, &packet)) {
        echo->stats.waits++;
        return ECHO_WAIT;
    }
    flow_heard(echo->table, flow, &packet);
    if ((packet.flags & TCP_ACK) && (flow->flags & FLOW_LEARNED)) {
        acknowledged(echo, flow, flow_guest_ack(flow, &packet));
    }
    flow_translate_in(flow, &packet, frame);
    return ECHO_PASS;
}

/* --- takeover -------------------------------------------------------------*/

/*
 * A connection that the guest began, and whose number on the wire nobody has
 * told: the peer may know it by another one, which this would confuse. The
 * guest asks again.
 */
static gboolean is_said_again(const HeldItem *item)
{
    const Flow *flow = item->flow;

    return !(flow->flags & (FLOW_GONE | FLOW_RESET)) &&
           ((flow->flags & (FLOW_LEARNED | FLOW_ANSWERED)) ||
            !(item->tcp_flags & TCP_SYN));
}

static void release_stream(HeldItem *item)
{
    HoldFrame *frame = item->frame;
    Packet packet;

    packet_parse(&packet, frame->data, frame->size, item->vnet_len,
                 PACKET_FROM_GUEST);
    flow_translate_out(item->flow, &packet, frame->data);
}

void echo_release(Echo *echo, HoldQueue *leaving, int64_t now)
{
    keep_bounds(echo, now);
    while (echo->kept.oldest) {
        HeldItem *item = echo->kept.oldest;

        if (item->flow && !is_said_again(item)) {
            forget(echo, item);
            continue;
        }
        if (item->flow) {
            release_stream(item);
        }
        hold_queue_add(leaving, held_take(&echo->kept, item));
    }
    g_array_set_size(echo->reports, 0);
    echo->told = 0;
}

uint64_t echo_bytes(const Echo *echo)
{
    return echo->kept.bytes;
}

void echo_stats(const Echo *echo, EchoStats *stats)
{
    *stats = echo->stats;
}
