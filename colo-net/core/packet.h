/*
 * Ethernet frames, as far as comparing and translating them needs
 *
 * What the guest says and hears is TCP, whose byte streams are compared, and
 * all the rest, which is compared frame by frame. Both come with or without a
 * vnet header, with or without VLAN tags, over IPv4 or IPv6, and as large as
 * segmentation offload makes them. Whatever is not a whole, plain TCP segment
 * (a fragment, a length that cannot be, a header that is cut off) is no TCP
 * here: frames come from a guest and from a network and may be anything.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_PACKET_H
#define COLO_NET_PACKET_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/* A frame is not longer than this, vnet header included. */
#define PACKET_MAX (256 * 1024)

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
};

/* Of the connection, seen from the guest. Compared as bytes: no gaps. */
typedef struct PacketKey {
    uint8_t guest[16]; /* IPv4: the first 4 bytes, the rest is 0 */
    uint8_t peer[16];
    uint16_t guest_port; /* all of these in host order */
    uint16_t peer_port;
    uint16_t vlan[2]; /* outer first: id + 0x1000; 0: none */
    uint32_t version; /* 4 or 6 */
} PacketKey;

typedef enum PacketDirection {
    PACKET_FROM_GUEST,
    PACKET_TO_GUEST,
} PacketDirection;

#define PACKET_SACK_MAX 4
#define PACKET_NO_SCALE 0xff

/*
 * Where things are in a frame of @size bytes: offsets from its first byte, the
 * vnet header's. Numbers are in host order.
 */
typedef struct Packet {
    gboolean tcp; /* else only size, l2, l3 and the key's tags are set */
    gboolean icmp; /* ... and, of a whole one, l4 and end */
    gboolean partial; /* the checksum is only the pseudo header's */
    uint32_t size;
    uint32_t l2; /* Ethernet */
    uint32_t l3; /* IP, or what follows the tags */
    uint32_t l4; /* TCP, or ICMP */
    uint32_t end; /* of the IP packet */
    uint32_t payload;
    uint32_t payload_size; /* padding is no payload */

    PacketKey key;
    uint32_t seq;
    uint32_t ack; /* 0 without TCP_ACK */
    uint16_t window; /* as it stands there, not scaled */
    uint8_t flags;

    /* Options. Those of a SYN are what was asked for. */
    uint8_t scale; /* PACKET_NO_SCALE: not there */
    uint16_t mss; /* 0: not there */
    gboolean sack_permitted;
    uint32_t stamp; /* where TSval is, TSecr follows; 0: not there */
    uint32_t sack; /* where the first block is */
    unsigned sacks;
} Packet;

/* Find out what @frame is. @vnet_len: of the header it begins with; 0: none. */
void packet_parse(Packet *packet, const uint8_t *frame, size_t size,
                  size_t vnet_len, PacketDirection direction);

/* How many positions of the stream it takes: SYN, payload, FIN. */
static inline uint32_t packet_length(const Packet *packet)
{
    return packet->payload_size + !!(packet->flags & TCP_SYN) +
           !!(packet->flags & TCP_FIN);
}

/* a - b of sequence numbers, which wrap around */
static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* An ICMP error is about a segment, of which it quotes the beginning. */
typedef struct PacketQuote {
    PacketKey key; /* as if the guest has said the segment */
    uint32_t tcp; /* where it is in the frame */
    gboolean whole; /* its header without options is; else 8 bytes of it */
} PacketQuote;

/* Whether @frame, which the guest is to hear, is one. */
gboolean packet_quote(PacketQuote *quote, const Packet *packet,
                      const uint8_t *frame);

typedef struct PacketDigest {
    uint64_t low;
    uint64_t high;
} PacketDigest;

/*
 * XXH3-128 of the frame, without the vnet header and padding, and without what
 * differs for no reason: the identification of IP packets, the flow label,
 * checksums of what is in the digest itself, and, in the segment that an ICMP
 * error quotes, what is translated before the guest hears it.
 */
PacketDigest packet_digest(const Packet *packet, const uint8_t *frame,
                           uint64_t seed);

/*
 * Change a TCP segment in place, and its checksum with it, unless that is
 * partial. @packet changes, too. Any @shift may be 0.
 */
void packet_shift_seq(Packet *packet, uint8_t *frame, uint32_t shift);
/* Acknowledgement and SACK blocks */
void packet_shift_ack(Packet *packet, uint8_t *frame, uint32_t shift);
/* TSval, and TSecr unless it is 0, which says that there is none */
void packet_shift_stamp(Packet *packet, uint8_t *frame, uint32_t value,
                        uint32_t echo);
/* The sequence number that @frame, an ICMP error, quotes, and checksums */
void packet_shift_quote(const Packet *packet, const PacketQuote *quote,
                        uint8_t *frame, uint32_t shift);
uint32_t packet_stamp_value(const Packet *packet, const uint8_t *frame);
uint32_t packet_stamp_echo(const Packet *packet, const uint8_t *frame);

/*
 * Write the segment with only @length (> 0) positions from @from on to @out,
 * which has room for packet_slice_size() bytes: that is how long the frame is.
 * FIN is the last position, PSH stays with the last byte. A segment with SYN
 * cannot be cut.
 */
size_t packet_slice_size(const Packet *packet, uint32_t from, uint32_t length);
void packet_slice(const Packet *packet, const uint8_t *frame, uint32_t from,
                  uint32_t length, uint8_t *out);

#endif
