/*
 * What is learned of a connection from what the guest says and hears
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/flow-internal.h"

/* No window is larger. */
#define WINDOW_MAX (1 << 30)

/* --- the guest speaks -----------------------------------------------------*/

/*
 * The SYN of a connection that is not known: its first position. @old had the
 * same addresses and ports before, or is NULL.
 */
static Flow *flow_begin(FlowTable *table, Flow *old, const Packet *packet,
                        const uint8_t *frame, gboolean leader)
{
    gboolean answer = packet->flags & TCP_ACK;
    uint32_t life, flags = FLOW_BORN | FLOW_ANCHORED;
    Flow *flow;

    /*
     * Who is answered says which connection it is. If the guest itself has
     * begun there is nothing that both replicas know, but they can count.
     */
    if (answer) {
        life = packet->ack;
        flags |= FLOW_ANSWERED;
    } else {
        life = old && !(old->flags & FLOW_ANSWERED) ? old->life + 1 : 1;
    }
    if (leader) {
        flags |= FLOW_LEARNED;
    }
    if (old) {
        flow_remove(table, old);
    }
    flow = flow_add(table, &packet->key, life, flags);
    flow->isn = packet->seq;
    flow->snd = packet->seq;
    flow->peer = packet->ack;
    flow->stamp = packet_stamp_value(packet, frame);
    flow->scale = packet->scale == PACKET_NO_SCALE ? 0 : packet->scale;
    return flow;
}

/*
 * Before anyone has heard more than its SYN, a guest may begin to answer anew
 * (SYN cookies, a request that was given up): the same, with other numbers.
 */
static gboolean flow_renumber(FlowTable *table, Flow *flow,
                              const Packet *packet, const uint8_t *frame,
                              gboolean leader)
{
    if (!(packet->flags & TCP_ACK) || !(flow->flags & FLOW_ANSWERED) ||
        packet->ack != flow->life || flow->snd != flow->isn + 1 ||
        !(flow->flags & FLOW_BORN)) {
        return FALSE;
    }
    flow->isn = packet->seq;
    flow->snd = packet->seq + 1;
    flow->stamp = packet_stamp_value(packet, frame);
    flow->offset = 0;
    flow->stamp_offset = 0;
    flow->flags &= ~FLOW_LEARNED;
    if (leader) {
        flow->flags |= FLOW_LEARNED;
    }
    flow_count_shifted(table, flow);
    return TRUE;
}

static Flow *flow_of_said(FlowTable *table, const Packet *packet,
                          const uint8_t *frame, gboolean leader)
{
    Flow *flow = flow_by_key(table, &packet->key);

    if (packet->flags & TCP_RST) {
        return flow; /* often an answer to what belongs to no connection */
    }
    if (packet->flags & TCP_SYN) {
        gboolean again = flow && (flow->flags & FLOW_BORN) &&
                         flow->isn == packet->seq;

        if (!again && !(flow && flow_renumber(table, flow, packet, frame,
                                              leader))) {
            flow = flow_begin(table, flow, packet, frame, leader);
        }
    } else if (!flow) {
        flow = flow_add(table, &packet->key, 0, FLOW_LEARNED);
        flow->snd = packet->seq;
    }
    return flow;
}

/* How far it lets the peer go. */
static void flow_open_window(Flow *flow, const Packet *packet)
{
    gboolean syn = !!(packet->flags & TCP_SYN);
    uint32_t edge;

    if (!(packet->flags & TCP_ACK) || flow->scale == PACKET_NO_SCALE) {
        return;
    }
    edge = packet->ack + ((uint32_t)packet->window << (syn ? 0 : flow->scale));
    if (!(flow->flags & FLOW_EDGE) || seq_diff(edge, flow->edge) > 0) {
        flow->edge = edge;
        flow->flags |= FLOW_EDGE;
    }
}

FlowSaid flow_said(FlowTable *table, const Packet *packet,
                   const uint8_t *frame, gboolean leader, int64_t now)
{
    FlowSaid said = { 0 };
    Flow *flow;

    table->now = now;
    flow = flow_of_said(table, packet, frame, leader);
    if (!flow) {
        return said;
    }
    said.flow = flow;
    said.start = flow_position(flow, packet->seq);
    said.end = said.start + packet_length(packet);
    if (said.end > flow->position && !(packet->flags & TCP_RST)) {
        if (said.start > flow->position && packet_length(packet)) {
            flow->flags |= FLOW_BROKEN; /* something is missing */
        }
        if (packet_length(packet)) {
            flow_move(table, flow);
            flow->snd += (uint32_t)(said.end - flow->position);
            flow->position = said.end;
            flow->flags &= ~(FLOW_CLOSED | FLOW_RESET);
        }
    }
    if (packet->flags & TCP_FIN) {
        flow->flags |= FLOW_FIN;
    }
    if (packet->flags & TCP_RST) {
        flow->flags |= FLOW_CLOSED;
    } else {
        flow_open_window(flow, packet);
    }
    flow_touch(table, flow);
    return said;
}

/* --- the guest hears ------------------------------------------------------*/

/*
 * The first that acknowledges the guest's SYN acknowledges that alone: the
 * leader's guest has not heard more either, and said no more.
 */
void flow_learn(FlowTable *table, Flow *flow, const Packet *packet,
                const uint8_t *frame)
{
    uint32_t echo = packet_stamp_echo(packet, frame);
    gboolean answer = packet->flags & (TCP_SYN | TCP_RST);

    if ((flow->flags & FLOW_LEARNED) || !(packet->flags & TCP_ACK) ||
        !(flow->flags & FLOW_BORN)) {
        return;
    }
    if (flow->flags & FLOW_ANSWERED) {
        int32_t ahead = seq_diff(packet->seq, flow->peer);

        if (answer || ahead < 0 || ahead >= WINDOW_MAX) {
            return;
        }
    } else if (!answer) {
        return;
    }
    flow->offset = packet->ack - (flow->isn + 1);
    if (echo && flow->stamp) {
        flow->stamp_offset = echo - flow->stamp;
    }
    flow->flags |= FLOW_LEARNED;
    flow_count_shifted(table, flow);
}

void flow_heard(FlowTable *table, Flow *flow, const Packet *packet)
{
    const uint32_t both = FLOW_FIN | FLOW_PEER_FIN;

    if ((packet->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
        !(flow->flags & FLOW_ANSWERED) && packet->scale == PACKET_NO_SCALE) {
        flow->scale = 0; /* windows are scaled if both want it */
    }
    if (packet->flags & TCP_FIN) {
        flow->flags |= FLOW_PEER_FIN;
    }
    if (packet->flags & TCP_RST) {
        flow->flags |= FLOW_RESET;
    }
    if ((packet->flags & TCP_RST) ||
        ((flow->flags & both) == both && (packet->flags & TCP_ACK) &&
         flow_guest_ack(flow, packet) == flow->snd)) {
        flow->flags |= FLOW_CLOSED;
    }
    flow_touch(table, flow);
}

/* --- translation ----------------------------------------------------------*/

void flow_translate_out(const Flow *flow, Packet *packet, uint8_t *frame)
{
    packet_shift_seq(packet, frame, flow->offset);
    packet_shift_stamp(packet, frame, flow->stamp_offset, 0);
}

void flow_translate_in(const Flow *flow, Packet *packet, uint8_t *frame)
{
    packet_shift_ack(packet, frame, -flow->offset);
    packet_shift_stamp(packet, frame, 0, -flow->stamp_offset);
}

void flow_translate_error(const FlowTable *table, const Packet *packet,
                          uint8_t *frame)
{
    PacketQuote quote;
    Flow *flow;

    if (!flow_table_translates(table) ||
        !packet_quote(&quote, packet, frame)) {
        return;
    }
    flow = flow_by_key(table, &quote.key);
    if (flow) {
        packet_shift_quote(packet, &quote, frame, -flow->offset);
    }
}

void flow_outbound(FlowTable *table, uint8_t *frame, size_t size,
                   size_t vnet_len, int64_t now)
{
    Packet packet;

    packet_parse(&packet, frame, size, vnet_len, PACKET_FROM_GUEST);
    if (packet.tcp) {
        FlowSaid said = flow_said(table, &packet, frame, TRUE, now);

        if (said.flow) {
            flow_translate_out(said.flow, &packet, frame);
        }
    }
}

void flow_inbound(FlowTable *table, uint8_t *frame, size_t size,
                  size_t vnet_len, int64_t now)
{
    Packet packet;
    Flow *flow;

    packet_parse(&packet, frame, size, vnet_len, PACKET_TO_GUEST);
    flow = packet.tcp ? flow_by_key(table, &packet.key) : NULL;
    if (flow) {
        table->now = now;
        flow_learn(table, flow, &packet, frame);
        flow_heard(table, flow, &packet);
        flow_translate_in(flow, &packet, frame);
    } else {
        flow_translate_error(table, &packet, frame);
    }
}

gboolean flow_noise(const FlowTable *table, const uint8_t *frame, size_t size,
                    size_t vnet_len)
{
    Packet packet;
    Flow *flow;

    packet_parse(&packet, frame, size, vnet_len, PACKET_TO_GUEST);
    if (!packet.tcp || !(packet.flags & TCP_ACK) ||
        (packet.flags & TCP_RST)) {
        return FALSE;
    }
    flow = flow_by_key(table, &packet.key);
    return flow && (flow->flags & FLOW_LEARNED) &&
           seq_diff(flow_guest_ack(flow, &packet), flow->snd) > 0;
}
