/*
 * Ethernet frames for tests, and what is in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/net-frames.h"

static void big16(uint8_t *p, unsigned value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static void big32(uint8_t *p, uint32_t value)
{
    big16(p, value >> 16);
    big16(p + 2, value);
}

static unsigned read16(const uint8_t *p)
{
    return p[0] * 256 + p[1];
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)read16(p) * 65536 + read16(p + 2);
}

/* The Internet checksum, one word at a time */
static unsigned sum(unsigned start, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        start += i % 2 ? p[i] : p[i] * 256u;
        start = start % 65536 + start / 65536;
    }
    return start;
}

static unsigned pseudo_sum(const uint8_t *ip, unsigned protocol,
                           unsigned length)
{
    unsigned total = ip[0] >> 4 == 4 ? sum(0, ip + 12, 8) : sum(0, ip + 8, 32);

    total += protocol + length;
    return total % 65536 + total / 65536;
}

static uint8_t *put_ethernet(uint8_t *p, const NetSegment *segment)
{
    memcpy(p, "\x52\x54\0\0\0\1\x52\x54\0\0\0\2", 12);
    p += 12;
    for (unsigned i = 0; i < segment->vlans; i++) {
        big16(p, i ? 0x8100 : segment->vlans == 1 ? 0x8100 : 0x88a8);
        big16(p + 2, 100 + i);
        p += 4;
    }
    big16(p, segment->ipv6 ? 0x86dd : 0x0800);
    return p + 2;
}

static void put_address(uint8_t *p, const NetSegment *segment, gboolean guest)
{
    unsigned n = segment->ipv6 ? 16 : 4;

    memset(p, 0, n);
    p[0] = segment->ipv6 ? 0xfd : 10;
    p[n - 2] = guest ? 0 : segment->client;
    p[n - 1] = guest ? 1 : 2;
}

static void put_ip(uint8_t *p, const NetSegment *segment, unsigned protocol,
                   size_t size)
{
    if (segment->ipv6) {
        p[0] = 0x60;
        big16(p + 4, segment->extension + size);
        p[6] = segment->extension ? 60 : protocol;
        p[7] = 64;
        put_address(p + 8, segment, !segment->to_guest);
        put_address(p + 24, segment, segment->to_guest);
        if (segment->extension) {
            p[40] = protocol;
            p[41] = segment->extension / 8 - 1;
        }
    } else {
        unsigned head = 20 + segment->extension;

        p[0] = 0x40 | head / 4;
        big16(p + 2, head + size);
        p[8] = 64;
        p[9] = protocol;
        put_address(p + 12, segment, !segment->to_guest);
        put_address(p + 16, segment, segment->to_guest);
        memset(p + 20, 1, segment->extension);
        big16(p + 10, 65535 - sum(0, p, head));
    }
}

static void put_tcp(uint8_t *p, const NetSegment *segment, const uint8_t *ip,
                    size_t size)
{
    unsigned guest = segment->guest_port ? segment->guest_port : 80;
    unsigned peer = segment->peer_port ? segment->peer_port : 4711;
    unsigned total;

    big16(p, segment->to_guest ? peer : guest);
    big16(p + 2, segment->to_guest ? guest : peer);
    big32(p + 4, segment->seq);
    big32(p + 8, segment->ack);
    p[12] = (20 + segment->n_options) / 4 << 4;
    p[13] = segment->flags;
    big16(p + 14, segment->window ? segment->window : 65535);
    if (segment->n_options) {
        memcpy(p + 20, segment->options, segment->n_options);
    }
    if (segment->size) {
        memcpy(p + 20 + segment->n_options, segment->payload, segment->size);
    }
    total = pseudo_sum(ip, 6, size);
    if (!segment->vnet || segment->whole) {
        total = 65535 - sum(total, p, size);
    }
    big16(p + 16, total);
}

HoldFrame *net_segment(const NetSegment *segment)
{
    size_t head = segment->ipv6 ? 40 : 20;
    size_t tcp = 20 + segment->n_options + segment->size;
    HoldFrame *frame = hold_frame_new(segment->vnet + 14 +
                                      4 * segment->vlans + head +
                                      segment->extension + tcp +
                                      segment->padding);
    uint8_t *ip;

    g_assert_true(segment->n_options % 4 == 0);
    memset(frame->data, 0, frame->size);
    if (segment->vnet) {
        frame->data[0] = !segment->whole;
        frame->data[1] = !!segment->gso;
        frame->data[4] = segment->gso & 0xff;
        frame->data[5] = segment->gso >> 8;
    }
    ip = put_ethernet(frame->data + segment->vnet, segment);
    put_ip(ip, segment, 6, tcp);
    put_tcp(ip + head + segment->extension, segment, ip, tcp);
    if (segment->padding) {
        memset(frame->data + frame->size - segment->padding, 0xee,
               segment->padding);
    }
    return frame;
}

HoldFrame *net_datagram(uint16_t id, const void *payload, size_t size)
{
    NetSegment segment = { 0 };
    HoldFrame *frame = hold_frame_new(14 + 20 + 8 + size);
    uint8_t *ip, *udp;

    memset(frame->data, 0, frame->size);
    ip = put_ethernet(frame->data, &segment);
    udp = ip + 20;
    put_ip(ip, &segment, 17, 8 + size);
    big16(ip + 4, id);
    big16(ip + 10, 0);
    big16(ip + 10, 65535 - sum(0, ip, 20));
    big16(udp, 53);
    big16(udp + 2, 5353);
    big16(udp + 4, 8 + size);
    memcpy(udp + 8, payload, size);
    big16(udp + 6, 65535 - sum(pseudo_sum(ip, 17, 8 + size), udp, 8 + size));
    return frame;
}

static gboolean is_ipv4(const HoldFrame *frame)
{
    return frame->data[14] >> 4 == 4;
}

static uint8_t *icmp_of(const HoldFrame *frame)
{
    return (uint8_t *)frame->data + 14 + (is_ipv4(frame) ? 20 : 40);
}

static unsigned icmp_sum(const HoldFrame *frame)
{
    const uint8_t *icmp = icmp_of(frame);
    size_t size = frame->data + frame->size - icmp;

    return sum(is_ipv4(frame) ? 0 : pseudo_sum(frame->data + 14, 58, size),
               icmp, size);
}

HoldFrame *net_error(const NetSegment *about, uint8_t type, size_t quoted)
{
    g_autofree HoldFrame *segment = net_segment(about);
    size_t n = MIN(quoted, segment->size - 14);
    size_t head = about->ipv6 ? 40 : 20;
    HoldFrame *frame = hold_frame_new(14 + head + 8 + n);
    NetSegment outer = {
        .ipv6 = about->ipv6,
        .client = about->client,
        .to_guest = !about->to_guest,
    };
    uint8_t *ip, *icmp;

    memset(frame->data, 0, frame->size);
    ip = put_ethernet(frame->data, &outer);
    icmp = ip + head;
    put_ip(ip, &outer, about->ipv6 ? 58 : 1, 8 + n);
    icmp[0] = type;
    big16(icmp + 6, 1280); /* fits */
    memcpy(icmp + 8, segment->data + 14, n);
    big16(icmp + 2, 65535 - icmp_sum(frame));
    return frame;
}

gboolean net_error_sum_right(const HoldFrame *frame)
{
    return icmp_sum(frame) == 65535;
}

uint8_t *net_quoted(const HoldFrame *frame)
{
    uint8_t *ip = icmp_of(frame) + 8;

    return ip + (ip[0] >> 4 == 4 ? (ip[0] & 15) * 4 :
                 40 + (ip[6] == 60 ? (ip[41] + 1) * 8 : 0));
}

gboolean net_sums_right(const uint8_t *frame, size_t size, unsigned vnet)
{
    const uint8_t *ip = frame + vnet + 12;
    gboolean partial = vnet && (frame[0] & 1);
    size_t head, length;
    unsigned total;

    while (read16(ip) == 0x8100 || read16(ip) == 0x88a8) {
        ip += 4;
    }
    ip += 2;
    if (ip[0] >> 4 == 4) {
        head = (ip[0] & 15) * 4;
        length = read16(ip + 2) - head;
        if (sum(0, ip, head) != 65535) {
            return FALSE;
        }
    } else {
        head = 40 + (ip[6] == 60 ? (ip[41] + 1) * 8 : 0);
        length = read16(ip + 4) - (head - 40);
    }
    g_assert_cmpuint(ip + head + length - frame, <=, size);
    total = pseudo_sum(ip, 6, length);
    return partial ? read16(ip + head + 16) == total :
           sum(total, ip + head, length) == 65535;
}

static const uint8_t *tcp_of(const HoldFrame *frame)
{
    const uint8_t *ip = frame->data + 14;

    return ip + (ip[0] & 15) * 4;
}

uint32_t net_seq(const HoldFrame *frame)
{
    return read32(tcp_of(frame) + 4);
}

uint32_t net_ack(const HoldFrame *frame)
{
    return read32(tcp_of(frame) + 8);
}

uint8_t net_flags(const HoldFrame *frame)
{
    return tcp_of(frame)[13];
}

uint16_t net_window(const HoldFrame *frame)
{
    return read16(tcp_of(frame) + 14);
}

size_t net_payload(const HoldFrame *frame, const uint8_t **payload)
{
    const uint8_t *tcp = tcp_of(frame);

    *payload = tcp + (tcp[12] >> 4) * 4;
    return frame->data + 14 + read16(frame->data + 16) - *payload;
}

void net_syn_options(uint8_t options[NET_SYN_OPTIONS], uint32_t stamp,
                     uint32_t echo)
{
    memcpy(options, "\2\4\x05\xb4\4\2\x08\x0a", 8);
    big32(options + 8, stamp);
    big32(options + 12, echo);
    memcpy(options + 16, "\1\3\3\7", 4);
}

void net_stamp_options(uint8_t options[NET_STAMP_OPTIONS], uint32_t stamp,
                       uint32_t echo)
{
    memcpy(options, "\1\1\x08\x0a", 4);
    big32(options + 4, stamp);
    big32(options + 8, echo);
}
