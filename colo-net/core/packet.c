/*
 * Ethernet frames: finding out what they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/packet-internal.h"

static gboolean is_tag(uint16_t type)
{
    return type == TYPE_VLAN || type == TYPE_SERVICE_VLAN ||
           type == TYPE_OLD_SERVICE_VLAN;
}

uint16_t packet_ethernet(Packet *packet, const uint8_t *frame)
{
    uint32_t at = packet->l2 + ETHERNET_TYPE;
    uint16_t type;

    if (packet->size < at + 2) {
        packet->l3 = packet->size;
        return 0;
    }
    type = load16(frame + at);
    for (unsigned i = 0; i < 2 && is_tag(type); i++) {
        if (packet->size < at + 6) {
            break;
        }
        packet->key.vlan[i] = (load16(frame + at + 2) & 0xfff) | 0x1000;
        at += 4;
        type = load16(frame + at);
    }
    packet->l3 = at + 2;
    return type;
}

/* Both return where the segment ends, or 0: it is not a whole segment. */

static uint32_t parse_ipv4(Packet *packet, const uint8_t *frame,
                           PacketDirection direction)
{
    const uint8_t *ip = frame + packet->l3;
    uint32_t space = packet->size - packet->l3, head, total;

    if (space < IPV4_HEADER || ip[0] >> 4 != 4) {
        return 0;
    }
    head = (ip[0] & 0xf) * 4;
    total = load16(ip + IPV4_TOTAL);
    if (head < IPV4_HEADER || total < head || total > space ||
        (load16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENTED) ||
        ip[IPV4_PROTOCOL] != PROTOCOL_TCP) {
        return 0;
    }
    memcpy(direction == PACKET_FROM_GUEST ? packet->key.guest :
           packet->key.peer, ip + 12, 4);
    memcpy(direction == PACKET_FROM_GUEST ? packet->key.peer :
           packet->key.guest, ip + 16, 4);
    packet->key.version = 4;
    packet->l4 = packet->l3 + head;
    return packet->l3 + total;
}

static uint32_t parse_ipv6(Packet *packet, const uint8_t *frame,
                           PacketDirection direction)
{
    const uint8_t *ip = frame + packet->l3;
    uint32_t space = packet->size - packet->l3, at = IPV6_HEADER, end;
    uint8_t next;

    if (space < IPV6_HEADER || ip[0] >> 4 != 6) {
        return 0;
    }
    end = IPV6_HEADER + load16(ip + IPV6_LENGTH);
    if (end > space) {
        return 0;
    }
    next = ip[IPV6_NEXT];
    while (next == PROTOCOL_HOPS || next == PROTOCOL_OPTIONS) {
        if (end - at < 8) {
            return 0;
        }
        next = ip[at];
        at += (ip[at + 1] + 1) * 8;
        if (at > end) {
            return 0;
        }
    }
    if (next != PROTOCOL_TCP) {
        return 0;
    }
    memcpy(direction == PACKET_FROM_GUEST ? packet->key.guest :
           packet->key.peer, ip + 8, 16);
    memcpy(direction == PACKET_FROM_GUEST ? packet->key.peer :
           packet->key.guest, ip + 24, 16);
    packet->key.version = 6;
    packet->l4 = packet->l3 + at;
    return packet->l3 + end;
}

static void parse_option(Packet *packet, const uint8_t *frame, uint32_t at,
                         uint8_t length)
{
    switch (frame[at]) {
    case OPTION_MSS:
        if (length == 4) {
            packet->mss = load16(frame + at + 2);
        }
        break;
    case OPTION_SCALE:
        if (length == 3) {
            /* more than 14 is to be taken for 14 */
            packet->scale = MIN(frame[at + 2], 14);
        }
        break;
    case OPTION_SACK_PERMITTED:
        packet->sack_permitted = length == 2;
        break;
    case OPTION_SACK:
        if (length >= 10 && (length - 2) % 8 == 0 &&
            length <= 2 + 8 * PACKET_SACK_MAX) {
            packet->sack = at + 2;
            packet->sacks = (length - 2) / 8;
        }
        break;
    case OPTION_STAMP:
        if (length == 10) {
            packet->stamp = at + 2;
        }
        break;
    }
}

static void parse_options(Packet *packet, const uint8_t *frame)
{
    uint32_t at = packet->l4 + TCP_HEADER;

    while (at < packet->payload && frame[at] != OPTION_END) {
        uint32_t left = packet->payload - at;

        if (frame[at] == OPTION_NOTHING) {
            at++;
            continue;
        }
        if (left < 2 || frame[at + 1] < 2 || frame[at + 1] > left) {
            return;
        }
        parse_option(packet, frame, at, frame[at + 1]);
        at += frame[at + 1];
    }
}

static void parse_tcp(Packet *packet, const uint8_t *frame, uint32_t end,
                      PacketDirection direction)
{
    const uint8_t *tcp = frame + packet->l4;
    gboolean out = direction == PACKET_FROM_GUEST;
    uint32_t head;

    if (end < packet->l4 + TCP_HEADER) {
        return;
    }
    head = (tcp[TCP_OFFSET] >> 4) * 4;
    if (head < TCP_HEADER || head > end - packet->l4) {
        return;
    }
    packet->tcp = TRUE;
    packet->key.guest_port = load16(tcp + (out ? 0 : 2));
    packet->key.peer_port = load16(tcp + (out ? 2 : 0));
    packet->seq = load32(tcp + TCP_SEQ);
    packet->flags = tcp[TCP_FLAGS];
    packet->ack = packet->flags & TCP_ACK ? load32(tcp + TCP_ACKNOWLEDGE) : 0;
    packet->window = load16(tcp + TCP_WINDOW);
    packet->payload = packet->l4 + head;
    packet->payload_size = end - packet->payload;
    parse_options(packet, frame);
}

void packet_parse(Packet *packet, const uint8_t *frame, size_t size,
                  size_t vnet_len, PacketDirection direction)
{
    uint32_t end = 0;

    *packet = (Packet) {
        .size = MIN(size, PACKET_MAX),
        .scale = PACKET_NO_SCALE,
    };
    packet->l2 = MIN(vnet_len, packet->size);
    packet->partial = packet->l2 >= VNET_HEADER &&
                      (frame[VNET_FLAGS] & VNET_NEEDS_CHECKSUM);

    switch (packet_ethernet(packet, frame)) {
    case TYPE_IPV4:
        end = parse_ipv4(packet, frame, direction);
        break;
    case TYPE_IPV6:
        end = parse_ipv6(packet, frame, direction);
        break;
    }
    if (end && size <= PACKET_MAX) {
        parse_tcp(packet, frame, end, direction);
    }
}
