/*
 * Ethernet frames: digests of those that are not TCP, changes of those that are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "colo-net/core/packet-internal.h"

/* --- digests --------------------------------------------------------------*/

/* What is masked is in front of this, or is not masked. */
#define HEAD_MAX 256

typedef struct Head {
    uint8_t bytes[HEAD_MAX];
    uint32_t size;
} Head;

static void mask(Head *head, uint32_t at, uint32_t n)
{
    if (at < head->size) {
        memset(head->bytes + at, 0, MIN(n, head->size - at));
    }
}

/* What the guest was given of the segment was translated for it alone. */
static void mask_quote(Head *head, uint32_t at, unsigned version)
{
    uint32_t tcp = at + ICMP_HEADER;
    PacketIp ip;

    if (head->size < tcp || !packet_is_error(head->bytes + at, version) ||
        !packet_ip(&ip, head->bytes + tcp, head->size - tcp, TRUE) ||
        ip.protocol != PROTOCOL_TCP || (ip.fragment & IPV4_FRAGMENT_AT)) {
        return;
    }
    tcp += ip.payload;
    if (tcp + TCP_OFFSET < head->size) {
        uint32_t length = (head->bytes[tcp + TCP_OFFSET] >> 4) * 4;

        mask(head, tcp + TCP_HEADER, MAX(length, TCP_HEADER) - TCP_HEADER);
    }
    mask(head, tcp + TCP_ACKNOWLEDGE, 4);
    mask(head, tcp + TCP_CHECKSUM, 2);
}

static void mask_checksum(Head *head, uint8_t protocol, uint32_t at)
{
    switch (protocol) {
    case PROTOCOL_TCP:
        mask(head, at + TCP_CHECKSUM, 2);
        break;
    case PROTOCOL_UDP:
        mask(head, at + 6, 2);
        break;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        mask_quote(head, at, protocol == PROTOCOL_ICMP ? 4 : 6);
        mask(head, at + ICMP_CHECKSUM, 2);
        break;
    }
}

/* Both mask what is in @head, and return where the packet ends. */

static uint32_t mask_ipv4(Head *head, uint32_t l3, uint32_t size)
{
    const uint8_t *ip = head->bytes + l3;
    uint32_t total;

    if (head->size < l3 + IPV4_HEADER || ip[0] >> 4 != 4) {
        return size;
    }
    total = load16(ip + IPV4_TOTAL);
    if ((load16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_AT) == 0) {
        mask_checksum(head, ip[IPV4_PROTOCOL], l3 + (ip[0] & 0xf) * 4);
    }
    mask(head, l3 + IPV4_ID, 2);
    mask(head, l3 + IPV4_CHECKSUM, 2);
    return total >= IPV4_HEADER ? MIN(size, l3 + total) : size;
}

static uint32_t mask_ipv6(Head *head, uint32_t l3, uint32_t size)
{
    uint8_t *ip = head->bytes + l3;
    uint32_t at = l3 + IPV6_HEADER, length;
    uint8_t next;

    if (head->size < at || ip[0] >> 4 != 6) {
        return size;
    }
    length = load16(ip + IPV6_LENGTH);
    next = ip[IPV6_NEXT];
    ip[1] &= 0xf0;
    mask(head, l3 + 2, 2);
    while (at + 8 <= head->size &&
           (next == PROTOCOL_HOPS || next == PROTOCOL_OPTIONS ||
            next == PROTOCOL_FRAGMENT)) {
        const uint8_t *extension = head->bytes + at;
        gboolean first = next != PROTOCOL_FRAGMENT ||
                         (load16(extension + 2) & 0xfff8) == 0;

        if (next == PROTOCOL_FRAGMENT) {
            mask(head, at + 4, 4);
        }
        if (!first) {
            next = PROTOCOL_HOPS;
            break;
        }
        at += next == PROTOCOL_FRAGMENT ? 8 : (extension[1] + 1) * 8;
        next = extension[0];
    }
    mask_checksum(head, next, at);
    return length ? MIN(size, l3 + IPV6_HEADER + length) : size;
}

PacketDigest packet_digest(const Packet *packet, const uint8_t *frame,
                           uint64_t seed)
{
    Head head = { .size = MIN(packet->size - packet->l2, HEAD_MAX) };
    Packet copy = { .size = packet->size, .l2 = packet->l2 };
    uint32_t end = packet->size;
    XXH128_hash_t parts[2], all;

    if (head.size) {
        memcpy(head.bytes, frame + packet->l2, head.size);
    }
    switch (packet_ethernet(&copy, frame)) {
    case TYPE_IPV4:
        end = packet->l2 + mask_ipv4(&head, copy.l3 - copy.l2,
                                     packet->size - packet->l2);
        break;
    case TYPE_IPV6:
        end = packet->l2 + mask_ipv6(&head, copy.l3 - copy.l2,
                                     packet->size - packet->l2);
        break;
    }
    head.size = MIN(head.size, end - packet->l2);

    parts[0] = XXH3_128bits_withSeed(head.bytes, head.size, seed);
    parts[1] = XXH3_128bits_withSeed(frame + packet->l2 + head.size,
                                     end - packet->l2 - head.size, seed);
    all = XXH3_128bits_withSeed(parts, sizeof(parts), seed);
    return (PacketDigest) { .low = all.low64, .high = all.high64 };
}

/* --- changes --------------------------------------------------------------*/

static uint32_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* The ones' complement sum of some bytes, the first being at @at of a word. */
static uint32_t sum_bytes(const uint8_t *p, size_t n, unsigned at)
{
    uint64_t sum = 0;
    size_t i = 0;

    if ((at & 1) && n) {
        sum = p[i++];
    }
    for (; i + 2 <= n; i += 2) {
        sum += load16(p + i);
    }
    if (i < n) {
        sum += (uint32_t)p[i] << 8;
    }
    return fold(fold(sum & 0xffffffff) + fold(sum >> 32));
}

/* RFC 1624: a checksum over what was @before, and now is @after, in sums */
static void adjust(uint8_t *checksum, uint32_t before, uint32_t after)
{
    uint32_t sum = (~load16(checksum) & 0xffff) + (~before & 0xffff) + after;

    store16(checksum, ~fold(sum) & 0xffff);
}

/* The checksum is that of what begins at l4. */
static void replace32_at(const Packet *packet, uint8_t *frame, uint32_t at,
                         uint32_t value, uint8_t *checksum)
{
    unsigned odd = (at - packet->l4) & 1;
    uint32_t before = sum_bytes(frame + at, 4, odd);

    store32(frame + at, value);
    if (!packet->partial) {
        adjust(checksum, before, sum_bytes(frame + at, 4, odd));
    }
}

static void replace32(const Packet *packet, uint8_t *frame, uint32_t at,
                      uint32_t value)
{
    replace32_at(packet, frame, at, value, frame + packet->l4 + TCP_CHECKSUM);
}

void packet_shift_seq(Packet *packet, uint8_t *frame, uint32_t shift)
{
    if (shift) {
        packet->seq += shift;
        replace32(packet, frame, packet->l4 + TCP_SEQ, packet->seq);
    }
}

void packet_shift_ack(Packet *packet, uint8_t *frame, uint32_t shift)
{
    if (!shift || !(packet->flags & TCP_ACK)) {
        return;
    }
    packet->ack += shift;
    replace32(packet, frame, packet->l4 + TCP_ACKNOWLEDGE, packet->ack);
    for (unsigned i = 0; i < 2 * packet->sacks; i++) {
        uint32_t at = packet->sack + 4 * i;

        replace32(packet, frame, at, load32(frame + at) + shift);
    }
}

uint32_t packet_stamp_value(const Packet *packet, const uint8_t *frame)
{
    return packet->stamp ? load32(frame + packet->stamp) : 0;
}

uint32_t packet_stamp_echo(const Packet *packet, const uint8_t *frame)
{
    return packet->stamp ? load32(frame + packet->stamp + 4) : 0;
}

void packet_shift_stamp(Packet *packet, uint8_t *frame, uint32_t value,
                        uint32_t echo)
{
    uint32_t old = packet_stamp_echo(packet, frame);

    if (!packet->stamp) {
        return;
    }
    if (value) {
        replace32(packet, frame, packet->stamp,
                  packet_stamp_value(packet, frame) + value);
    }
    if (echo && old) {
        replace32(packet, frame, packet->stamp + 4, old + echo);
    }
}

/* If both have a checksum, what is changed in the segment's makes up for it. */
void packet_shift_quote(const Packet *packet, const PacketQuote *quote,
                        uint8_t *frame, uint32_t shift)
{
    uint32_t at = quote->tcp + TCP_SEQ;

    if (shift) {
        replace32_at(packet, frame, at, load32(frame + at) + shift, frame +
                     (quote->whole ? quote->tcp + TCP_CHECKSUM :
                      packet->l4 + ICMP_CHECKSUM));
    }
}

/* The pseudo header, as far as it does not depend on the length */
static uint32_t sum_pseudo(const Packet *packet, const uint8_t *frame)
{
    const uint8_t *ip = frame + packet->l3;

    return fold(PROTOCOL_TCP + (packet->key.version == 4 ?
                                sum_bytes(ip + 12, 8, 0) :
                                sum_bytes(ip + 8, 32, 0)));
}

static void slice_ip(const Packet *packet, uint8_t *out, uint32_t end)
{
    uint8_t *ip = out + packet->l3;
    uint32_t before;

    if (packet->key.version == 6) {
        store16(ip + IPV6_LENGTH, end - packet->l3 - IPV6_HEADER);
        return;
    }
    before = load16(ip + IPV4_TOTAL);
    store16(ip + IPV4_TOTAL, end - packet->l3);
    adjust(ip + IPV4_CHECKSUM, before, load16(ip + IPV4_TOTAL));
}

static void slice_checksum(const Packet *packet, uint8_t *out, uint32_t end)
{
    uint8_t *checksum = out + packet->l4 + TCP_CHECKSUM;
    uint32_t length = end - packet->l4;
    uint32_t sum = fold(sum_pseudo(packet, out) + length);

    if (!packet->partial) {
        store16(checksum, 0);
        sum = ~fold(sum + sum_bytes(out + packet->l4, length, 0));
    }
    store16(checksum, sum & 0xffff);
}

static void slice_vnet(const Packet *packet, uint8_t *out, uint32_t length)
{
    unsigned gso;

    if (packet->l2 < VNET_HEADER) {
        return;
    }
    gso = out[VNET_GSO_SIZE] | out[VNET_GSO_SIZE + 1] << 8;
    if (length <= gso) {
        out[VNET_GSO_TYPE] = 0;
        out[VNET_GSO_SIZE] = 0;
        out[VNET_GSO_SIZE + 1] = 0;
    }
}

/* So many of the positions are bytes. */
static uint32_t slice_bytes(const Packet *packet, uint32_t from,
                            uint32_t length)
{
    return MIN(from + length, packet->payload_size) -
           MIN(from, packet->payload_size);
}

size_t packet_slice_size(const Packet *packet, uint32_t from, uint32_t length)
{
    return packet->payload + slice_bytes(packet, from, length);
}

void packet_slice(const Packet *packet, const uint8_t *frame, uint32_t from,
                  uint32_t length, uint8_t *out)
{
    uint8_t *tcp = out + packet->l4;
    uint32_t bytes = slice_bytes(packet, from, length);
    uint32_t end = packet->payload + bytes;

    g_assert(!(packet->flags & TCP_SYN));
    g_assert(length && from <= packet_length(packet) &&
             length <= packet_length(packet) - from);

    memcpy(out, frame, packet->payload);
    memcpy(out + packet->payload, frame + packet->payload +
           MIN(from, packet->payload_size), bytes);
    if (from + length < packet_length(packet)) {
        tcp[TCP_FLAGS] &= ~TCP_FIN;
    }
    if (from + length < packet->payload_size) {
        tcp[TCP_FLAGS] &= ~TCP_PSH;
    }
    store32(tcp + TCP_SEQ, packet->seq + from);
    slice_ip(packet, out, end);
    slice_checksum(packet, out, end);
    slice_vnet(packet, out, bytes);
}
