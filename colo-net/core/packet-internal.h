/*
 * What packet.c and packet-edit.c know of formats
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_PACKET_INTERNAL_H
#define COLO_NET_PACKET_INTERNAL_H

#include "colo-net/core/packet.h"

enum {
    VNET_FLAGS = 0,
    VNET_GSO_TYPE = 1,
    VNET_GSO_SIZE = 4, /* little-endian */
    VNET_HEADER = 10,
    VNET_NEEDS_CHECKSUM = 1,
};

enum {
    ETHERNET_TYPE = 12,
    TYPE_IPV4 = 0x0800,
    TYPE_VLAN = 0x8100,
    TYPE_IPV6 = 0x86dd,
    TYPE_SERVICE_VLAN = 0x88a8,
    TYPE_OLD_SERVICE_VLAN = 0x9100,
};

enum {
    IPV4_TOTAL = 2,
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6,
    IPV4_FRAGMENTED = 0x3fff, /* more to come, or not the first */
    IPV4_FRAGMENT_AT = 0x1fff,
    IPV4_PROTOCOL = 9,
    IPV4_CHECKSUM = 10,
    IPV4_HEADER = 20,
};

enum {
    IPV6_LENGTH = 4,
    IPV6_NEXT = 6,
    IPV6_HEADER = 40,
};

enum {
    PROTOCOL_HOPS = 0,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_OPTIONS = 60,
};

enum {
    ICMP_CHECKSUM = 2,
    ICMP_UNREACHABLE = 3,
    ICMP_HEADER = 8, /* of an error; the packet it is about follows */
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER = 12,
    QUOTED_MIN = 8, /* bytes of the TCP header: ports and the number */
};

enum {
    TCP_SEQ = 4,
    TCP_ACKNOWLEDGE = 8,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_CHECKSUM = 16,
    TCP_HEADER = 20,
};

enum {
    OPTION_END = 0,
    OPTION_NOTHING = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_STAMP = 8,
};

static inline uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static inline void store16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value & 0xff;
}

static inline void store32(uint8_t *p, uint32_t value)
{
    store16(p, value >> 16);
    store16(p + 2, value & 0xffff);
}

/* An IP packet: offsets from its first byte */
typedef struct PacketIp {
    uint8_t version;
    uint8_t protocol; /* behind the options that were understood */
    uint16_t fragment; /* IPv4: the flag and where it belongs; 0: none */
    uint32_t payload;
    uint32_t end;
} PacketIp;

/*
 * Read the headers at @p, if they are whole, and the packet is, too, within
 * @space bytes; unless @cut, then it may be cut off.
 */
gboolean packet_ip(PacketIp *ip, const uint8_t *p, uint32_t space,
                   gboolean cut);

/* Whether that is an error, about a packet that it quotes. */
gboolean packet_is_error(const uint8_t *icmp, unsigned version);

/* Set l3 and the key's tags. Returns the type, 0 if there is none. */
uint16_t packet_ethernet(Packet *packet, const uint8_t *frame);

#endif
