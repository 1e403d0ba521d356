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

/* Both take a packet that is cut off if @cut; its end is that of the space. */

static gboolean read_ipv4(PacketIp *ip, const uint8_t *p, uint32_t space,
                          gboolean cut)
{
    uint32_t total;

    if (space < IPV4_HEADER) {
        return FALSE;
    }
    total = load16(p + IPV4_TOTAL);
    ip->protocol = p[IPV4_PROTOCOL];
    ip->payload = (p[0] & 0xf) * 4;
    ip->fragment = load16(p + IPV4_FRAGMENT) & IPV4_FRAGMENTED;
    ip->end = cut ? MIN(total, space) : total;
    return ip->payload >= IPV4_HEADER && ip->payload <= ip->end &&
           ip->end <= space;
}

static gboolean read_ipv6(PacketIp *ip, const uint8_t *p, uint32_t space,
                          gboolean cut)
{
    uint32_t total;

    if (space < IPV6_HEADER) {
        return FALSE;
    }
    total = IPV6_HEADER + load16(p + IPV6_LENGTH);
    ip->protocol = p[IPV6_NEXT];
    ip->payload = IPV6_HEADER;
    ip->end = cut ? MIN(total, space) : total;
    if (ip->end > space) {
        return FALSE;
    }
    while (ip->protocol == PROTOCOL_HOPS || ip->protocol == PROTOCOL_OPTIONS) {
        if (ip->end - ip->payload < 8) {
            return FALSE;
        }
        ip->protocol = p[ip->payload];
        ip->payload += (p[ip->payload + 1] + 1) * 8;
        if (ip->payload > ip->end) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean packet_ip(PacketIp *ip, const uint8_t *p, uint32_t space,
                   gboolean cut)
{
    *ip = (PacketIp) { .version = space ? p[0] >> 4 : 0 };
    switch (ip->version) {
    case 4:
        return read_ipv4(ip, p, space, cut);
    case 6:
        return read_ipv6(ip, p, space, cut);
    }
    return FALSE;
}

static void read_addresses(PacketKey *key, const PacketIp *ip,
                           const uint8_t *p, gboolean from_guest)
{
    size_t size = ip->version == 4 ? 4 : 16;
    size_t at = ip->version == 4 ? 12 : 8;

    memcpy(from_guest ? key->guest : key->peer, p + at, size);
    memcpy(from_guest ? key->peer : key->guest, p + at + size, size);
    key->version = ip->version;
}

static void read_ports(PacketKey *key, const uint8_t *tcp, gboolean from_guest)
{
    key->guest_port = load16(tcp + (from_guest ? 0 : 2));
    key->peer_port = load16(tcp + (from_guest ? 2 : 0));
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

static void parse_tcp(Packet *packet, const uint8_t *frame,
                      PacketDirection direction)
{
    const uint8_t *tcp = frame + packet->l4;
    uint32_t head;

    if (packet->end < packet->l4 + TCP_HEADER) {
        return;
    }
    head = (tcp[TCP_OFFSET] >> 4) * 4;
    if (head < TCP_HEADER || head > packet->end - packet->l4) {
        return;
    }
    packet->tcp = TRUE;
    read_ports(&packet->key, tcp, direction == PACKET_FROM_GUEST);
    packet->seq = load32(tcp + TCP_SEQ);
    packet->flags = tcp[TCP_FLAGS];
    packet->ack = packet->flags & TCP_ACK ? load32(tcp + TCP_ACKNOWLEDGE) : 0;
    packet->window = load16(tcp + TCP_WINDOW);
    packet->payload = packet->l4 + head;
    packet->payload_size = packet->end - packet->payload;
    parse_options(packet, frame);
}

/* What is there of a packet of @type, and whether it is one. */
static gboolean parse_ip(Packet *packet, PacketIp *ip, const uint8_t *frame,
                         uint16_t type)
{
    uint32_t space = packet->size - packet->l3;

    return (type == TYPE_IPV4 || type == TYPE_IPV6) &&
           packet_ip(ip, frame + packet->l3, space, FALSE) &&
           ip->version == (type == TYPE_IPV4 ? 4 : 6) && !ip->fragment;
}

void packet_parse(Packet *packet, const uint8_t *frame, size_t size,
                  size_t vnet_len, PacketDirection direction)
{
    PacketIp ip;
    uint16_t type;

    *packet = (Packet) {
        .size = MIN(size, PACKET_MAX),
        .scale = PACKET_NO_SCALE,
    };
    packet->l2 = MIN(vnet_len, packet->size);
    packet->partial = packet->l2 >= VNET_HEADER &&
                      (frame[VNET_FLAGS] & VNET_NEEDS_CHECKSUM);

    type = packet_ethernet(packet, frame);
    if (!parse_ip(packet, &ip, frame, type) || size > PACKET_MAX) {
        return;
    }
    packet->l4 = packet->l3 + ip.payload;
    packet->end = packet->l3 + ip.end;
    if (ip.protocol == PROTOCOL_TCP) {
        read_addresses(&packet->key, &ip, frame + packet->l3,
                       direction == PACKET_FROM_GUEST);
        parse_tcp(packet, frame, direction);
    } else {
        packet->icmp = ip.protocol == (ip.version == 4 ? PROTOCOL_ICMP :
                                       PROTOCOL_ICMPV6);
    }
}

/* --- ICMP errors ----------------------------------------------------------*/

gboolean packet_is_error(const uint8_t *icmp, unsigned version)
{
    if (version == 6) {
        return icmp[0] >= 1 && icmp[0] <= 4;
    }
    return icmp[0] == ICMP_UNREACHABLE || icmp[0] == ICMP_TIME_EXCEEDED ||
           icmp[0] == ICMP_PARAMETER;
}

gboolean packet_quote(PacketQuote *quote, const Packet *packet,
                      const uint8_t *frame)
{
    uint32_t at = packet->l4 + ICMP_HEADER;
    PacketIp ip;

    if (!packet->icmp || packet->end < at ||
        !packet_is_error(frame + packet->l4, frame[packet->l3] >> 4) ||
        !packet_ip(&ip, frame + at, packet->end - at, TRUE) ||
        ip.version != frame[packet->l3] >> 4 || ip.protocol != PROTOCOL_TCP ||
        (ip.fragment & IPV4_FRAGMENT_AT) || ip.end - ip.payload < QUOTED_MIN) {
        return FALSE;
    }
    *quote = (PacketQuote) { .tcp = at + ip.payload };
    quote->whole = ip.end - ip.payload >= TCP_HEADER;
    memcpy(quote->key.vlan, packet->key.vlan, sizeof(quote->key.vlan));
    read_addresses(&quote->key, &ip, frame + at, TRUE);
    read_ports(&quote->key, frame + quote->tcp, TRUE);
    return TRUE;
}
