/*
 * Fuzzing of frames: the first byte says how long the vnet header is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/packet.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net-frames.h"

static void check_inside(const Packet *packet, size_t size)
{
    g_assert_cmpuint(packet->l2, <=, packet->l3);
    g_assert_cmpuint(packet->l3, <, packet->l4);
    g_assert_cmpuint(packet->l4 + 20, <=, packet->payload);
    g_assert_cmpuint(packet->payload + packet->payload_size, <=, size);
    if (packet->stamp) {
        g_assert_cmpuint(packet->stamp + 8, <=, packet->payload);
    }
    g_assert_cmpuint(packet->sacks, <=, PACKET_SACK_MAX);
    if (packet->sacks) {
        g_assert_cmpuint(packet->sack + 8 * packet->sacks, <=,
                         packet->payload);
    }
}

/* There and back again */
static void shift(const Packet *packet, const uint8_t *frame, size_t size)
{
    g_autofree uint8_t *copy = g_memdup2(frame, size);
    Packet again = *packet;

    packet_shift_seq(&again, copy, 0x12345678);
    packet_shift_ack(&again, copy, 0x9abcdef0);
    packet_shift_stamp(&again, copy, 77, packet->stamp ? 0x80000000u : 0);
    packet_shift_stamp(&again, copy, -77, packet->stamp ? 0x80000000u : 0);
    packet_shift_ack(&again, copy, -0x9abcdef0);
    packet_shift_seq(&again, copy, -0x12345678);
    g_assert_cmphex(again.seq, ==, packet->seq);
    g_assert_cmphex(again.ack, ==, packet->ack);
}

/* An error is wrong before and after in the same way. */
static void shift_quote(const uint8_t *frame, size_t size, size_t vnet)
{
    g_autofree uint8_t *copy = g_memdup2(frame, size);
    PacketQuote quote, again;
    Packet packet;

    packet_parse(&packet, frame, size, vnet, PACKET_TO_GUEST);
    if (!packet_quote(&quote, &packet, frame)) {
        return;
    }
    g_assert_cmpuint(quote.tcp + (quote.whole ? 20 : 8), <=, packet.end);
    packet_shift_quote(&packet, &quote, copy, 0x12345678);
    g_assert_true(packet_quote(&again, &packet, copy));
    g_assert_cmpmem(&again, sizeof(again), &quote, sizeof(quote));
    packet_shift_quote(&packet, &quote, copy, -0x12345678);
    g_assert_cmpmem(copy + quote.tcp, 8, frame + quote.tcp, 8);
}

static void slice(const Packet *packet, const uint8_t *frame, size_t vnet)
{
    uint32_t length = packet_length(packet), cut = length / 2;

    if (!cut || (packet->flags & TCP_SYN)) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        uint32_t from = i ? cut : 0, n = i ? length - cut : cut;
        size_t size = packet_slice_size(packet, from, n);
        g_autofree uint8_t *part = g_malloc(size);
        Packet again;

        packet_slice(packet, frame, from, n, part);
        packet_parse(&again, part, size, vnet, PACKET_FROM_GUEST);
        g_assert_true(again.tcp);
        g_assert_cmphex(again.seq, ==, packet->seq + from);
        g_assert_cmpuint(packet_length(&again), ==, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t headers[] = { 0, 10, 12, 20 };
    g_autofree uint8_t *frame = NULL;
    size_t vnet;
    Packet packet;

    if (size < 2) {
        return 0; /* a frame has a byte */
    }
    vnet = headers[data[0] % G_N_ELEMENTS(headers)];
    size--;
    frame = g_memdup2(data + 1, size);
    packet_parse(&packet, frame, size, vnet, PACKET_FROM_GUEST);
    packet_digest(&packet, frame, 3);
    shift_quote(frame, size, vnet);
    if (packet.tcp) {
        check_inside(&packet, size);
        shift(&packet, frame, size);
        slice(&packet, frame, vnet);
    }
    return 0;
}

static void seed(unsigned header, HoldFrame *frame)
{
    g_autofree uint8_t *bytes = g_malloc(frame->size + 1);

    bytes[0] = header;
    memcpy(bytes + 1, frame->data, frame->size);
    fuzz_seed(bytes, frame->size + 1);
    g_free(frame);
}

void fuzz_seeds(void)
{
    uint8_t options[NET_SYN_OPTIONS];

    net_syn_options(options, 1, 2);
    seed(0, net_datagram(1, "question", 8));
    for (unsigned i = 0; i < 4; i++) {
        const NetSegment about = { .ipv6 = i & 1, .seq = 7 };

        seed(0, net_error(&about, i & 1 ? 2 : 3, i & 2 ? 48 : 500));
    }
    for (unsigned i = 0; i < 16; i++) {
        seed(i & 1, net_segment(&(NetSegment) {
            .vnet = i & 1 ? 10 : 0,
            .gso = 100,
            .ipv6 = i >> 1 & 1,
            .vlans = i >> 2 & 1,
            .extension = i >> 3 & 1 ? 8 : 0,
            .flags = NET_ACK | NET_FIN,
            .options = options,
            .n_options = sizeof(options),
            .payload = "some bytes",
            .size = 10,
        }));
    }
}
