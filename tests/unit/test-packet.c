/*
 * What packet.h promises
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/packet.h"
#include "tests/unit/net-frames.h"

static const NetSegment plain = {
    .seq = 1000,
    .ack = 2000,
    .flags = NET_ACK | NET_PSH,
    .window = 500,
    .payload = "some bytes",
    .size = 10,
};

static void check_plain(const NetSegment *segment)
{
    g_autofree HoldFrame *frame = net_segment(segment);
    Packet packet;

    packet_parse(&packet, frame->data, frame->size, segment->vnet,
                 segment->to_guest ? PACKET_TO_GUEST : PACKET_FROM_GUEST);
    g_assert_true(packet.tcp);
    g_assert_cmpuint(packet.seq, ==, 1000);
    g_assert_cmpuint(packet.ack, ==, 2000);
    g_assert_cmpuint(packet.window, ==, 500);
    g_assert_cmpuint(packet.flags, ==, NET_ACK | NET_PSH);
    g_assert_cmpuint(packet.key.guest_port, ==, 80);
    g_assert_cmpuint(packet.key.peer_port, ==, 4711);
    g_assert_cmpuint(packet.key.version, ==, segment->ipv6 ? 6 : 4);
    g_assert_cmpuint(packet.key.guest[segment->ipv6 ? 15 : 3], ==, 1);
    g_assert_cmpuint(packet.key.peer[segment->ipv6 ? 15 : 3], ==, 2);
    g_assert_cmpmem(frame->data + packet.payload, packet.payload_size,
                    "some bytes", 10);
    g_assert_cmpuint(packet_length(&packet), ==, 10);
    g_assert_true(packet.partial == (segment->vnet && !segment->whole));
}

static void test_finds_tcp_in_all_wrappings(void)
{
    static const unsigned vnets[] = { 0, 10, 12, 20 };

    for (unsigned i = 0; i < 2 * 2 * 3 * 4 * 2 * 2 * 2; i++) {
        NetSegment segment = plain;

        segment.ipv6 = i & 1;
        segment.to_guest = i >> 1 & 1;
        segment.extension = i >> 2 & 1 ? 8 : 0;
        segment.padding = i >> 3 & 1 ? 6 : 0;
        segment.whole = i >> 4 & 1;
        segment.vnet = vnets[i >> 5 & 3];
        segment.vlans = (i >> 7) % 3;
        check_plain(&segment);
        segment.vlans = 2;
        check_plain(&segment);
    }
}

static void test_knows_a_connection_from_both_sides(void)
{
    NetSegment segment = plain;
    g_autofree HoldFrame *out = net_segment(&segment), *in = NULL;
    Packet a, b;

    segment.to_guest = TRUE;
    in = net_segment(&segment);
    packet_parse(&a, out->data, out->size, 0, PACKET_FROM_GUEST);
    packet_parse(&b, in->data, in->size, 0, PACKET_TO_GUEST);
    g_assert_cmpmem(&a.key, sizeof(a.key), &b.key, sizeof(b.key));
}

static void test_keeps_vlans_apart(void)
{
    NetSegment segment = plain;
    g_autofree HoldFrame *without = net_segment(&segment), *with = NULL;
    Packet a, b;

    segment.vlans = 1;
    with = net_segment(&segment);
    packet_parse(&a, without->data, without->size, 0, PACKET_FROM_GUEST);
    packet_parse(&b, with->data, with->size, 0, PACKET_FROM_GUEST);
    g_assert_true(memcmp(&a.key, &b.key, sizeof(a.key)) != 0);
}

static void test_reads_options(void)
{
    uint8_t options[NET_SYN_OPTIONS];
    NetSegment segment = {
        .flags = NET_SYN,
        .options = options,
        .n_options = sizeof(options),
    };
    g_autofree HoldFrame *frame = NULL;
    Packet packet;

    net_syn_options(options, 0x01020304, 0x05060708);
    frame = net_segment(&segment);
    packet_parse(&packet, frame->data, frame->size, 0, PACKET_FROM_GUEST);
    g_assert_cmpuint(packet.mss, ==, 1460);
    g_assert_cmpuint(packet.scale, ==, 7);
    g_assert_true(packet.sack_permitted);
    g_assert_cmphex(packet_stamp_value(&packet, frame->data), ==, 0x01020304);
    g_assert_cmphex(packet_stamp_echo(&packet, frame->data), ==, 0x05060708);
    g_assert_cmpuint(packet_length(&packet), ==, 1);
}

/* Every frame that is cut off somewhere is read without going beyond it. */
static void test_never_reads_beyond_the_frame(void)
{
    uint8_t options[NET_SYN_OPTIONS];

    net_syn_options(options, 1, 2);
    for (unsigned i = 0; i < 4; i++) {
        NetSegment segment = plain;
        g_autofree HoldFrame *frame = NULL;

        segment.ipv6 = i & 1;
        segment.vlans = i >> 1;
        segment.extension = 8;
        segment.options = options;
        segment.n_options = sizeof(options);
        frame = net_segment(&segment);
        for (size_t size = 0; size < frame->size; size++) {
            g_autofree uint8_t *cut = g_memdup2(frame->data, size);
            Packet packet;

            packet_parse(&packet, cut, size, 0, PACKET_FROM_GUEST);
            g_assert_false(packet.tcp);
            packet_digest(&packet, cut, 1);
        }
    }
}

/* --- digests --------------------------------------------------------------*/

static PacketDigest digest(const HoldFrame *frame)
{
    Packet packet;

    packet_parse(&packet, frame->data, frame->size, 0, PACKET_FROM_GUEST);
    g_assert_false(packet.tcp);
    return packet_digest(&packet, frame->data, 99);
}

static gboolean same(PacketDigest a, PacketDigest b)
{
    return a.low == b.low && a.high == b.high;
}

static void test_digest_knows_bytes_from_chance(void)
{
    g_autofree HoldFrame *frame = net_datagram(1, "question", 8);
    g_autofree HoldFrame *other_id = net_datagram(2, "question", 8);
    g_autofree HoldFrame *other = net_datagram(1, "quesTion", 8);

    g_assert_true(same(digest(frame), digest(other_id)));
    g_assert_false(same(digest(frame), digest(other)));
}

static void test_digest_sees_every_other_byte(void)
{
    g_autofree HoldFrame *frame = net_datagram(1, "a longer question", 17);
    PacketDigest right = digest(frame);

    for (size_t i = 0; i < frame->size; i++) {
        gboolean masked = (i >= 18 && i < 20) || (i >= 24 && i < 26) ||
                          (i >= 40 && i < 42);

        frame->data[i] ^= 1;
        /* a packet that says it is shorter is shorter: other bytes */
        g_assert_true(same(digest(frame), right) == masked);
        frame->data[i] ^= 1;
    }
}

static void test_fragments_are_compared_whole(void)
{
    NetSegment segment = plain;
    g_autofree HoldFrame *frame = net_segment(&segment);
    PacketDigest first;

    frame->data[14 + 6] = 0x20; /* more to come */
    first = digest(frame);
    frame->data[14 + 4] ^= 1; /* the identification */
    g_assert_true(same(digest(frame), first));
    frame->data[14 + 7] = 5; /* another place */
    g_assert_false(same(digest(frame), first));
}

/* --- changes --------------------------------------------------------------*/

static void random_segment(NetSegment *segment, uint8_t *options,
                           uint8_t *payload, size_t size)
{
    static const unsigned vnets[] = { 0, 0, 10, 12 };

    *segment = (NetSegment) {
        .ipv6 = g_test_rand_int_range(0, 2),
        .vlans = g_test_rand_int_range(0, 3),
        .vnet = vnets[g_test_rand_int_range(0, 4)],
        .whole = g_test_rand_int_range(0, 2),
        .gso = g_test_rand_int_range(0, 2) ? 100 : 0,
        .extension = g_test_rand_int_range(0, 2) * 8,
        .seq = g_test_rand_int(),
        .ack = g_test_rand_int(),
        .flags = NET_ACK | (g_test_rand_int() & (NET_FIN | NET_PSH)),
        .options = options,
        .n_options = 32,
        .payload = payload,
        .size = size,
    };
    for (size_t i = 0; i < size; i++) {
        payload[i] = g_test_rand_int();
    }
    /* timestamps at an odd place, and two blocks of SACK */
    memset(options, 1, 32);
    options[1] = 8;
    options[2] = 10;
    options[12] = 5;
    options[13] = 18;
    for (unsigned i = 0; i < 32; i++) {
        if ((i > 2 && i < 11) || (i > 13 && i < 30)) {
            options[i] = g_test_rand_int();
        }
    }
}

static uint32_t big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void test_changes_keep_the_sums_right(void)
{
    uint8_t options[32], payload[300];

    for (unsigned i = 0; i < 2000; i++) {
        uint32_t seq = g_test_rand_int(), ack = g_test_rand_int();
        uint32_t value = g_test_rand_int(), echo = g_test_rand_int();
        g_autofree HoldFrame *frame = NULL, *before = NULL;
        NetSegment segment;
        Packet packet, after;

        random_segment(&segment, options, payload,
                       g_test_rand_int_range(0, sizeof(payload)));
        frame = net_segment(&segment);
        before = net_segment(&segment);
        packet_parse(&packet, frame->data, frame->size, segment.vnet,
                     PACKET_FROM_GUEST);
        g_assert_true(packet.tcp && packet.stamp && packet.sacks == 2);

        packet_shift_seq(&packet, frame->data, seq);
        packet_shift_ack(&packet, frame->data, ack);
        packet_shift_stamp(&packet, frame->data, value, echo);
        g_assert_true(net_sums_right(frame->data, frame->size, segment.vnet));

        packet_parse(&after, frame->data, frame->size, segment.vnet,
                     PACKET_FROM_GUEST);
        g_assert_cmphex(after.seq, ==, segment.seq + seq);
        g_assert_cmphex(after.ack, ==, segment.ack + ack);
        for (unsigned j = 0; j < 4; j++) {
            g_assert_cmphex(big(frame->data + after.sack + 4 * j), ==,
                            big(before->data + after.sack + 4 * j) + ack);
        }
        g_assert_cmphex(packet_stamp_value(&after, frame->data), ==,
                        packet_stamp_value(&packet, before->data) + value);

        /* and back again: the very same bytes */
        packet_shift_stamp(&packet, frame->data, -value, -echo);
        packet_shift_ack(&packet, frame->data, -ack);
        packet_shift_seq(&packet, frame->data, -seq);
        packet_parse(&packet, before->data, before->size, segment.vnet,
                     PACKET_FROM_GUEST);
        packet_parse(&after, frame->data, frame->size, segment.vnet,
                     PACKET_FROM_GUEST);
        g_assert_true(net_sums_right(frame->data, frame->size, segment.vnet));
        g_assert_cmphex(after.seq, ==, packet.seq);
        g_assert_cmphex(after.ack, ==, packet.ack);
    }
}

static void check_slice(const NetSegment *segment, uint32_t from,
                        uint32_t length)
{
    g_autofree HoldFrame *frame = net_segment(segment);
    gboolean fin = segment->flags & NET_FIN;
    uint32_t end = from + length;
    size_t bytes = MIN(end, segment->size) - MIN(from, segment->size);
    g_autofree uint8_t *slice = NULL;
    size_t size;
    Packet packet, part;

    packet_parse(&packet, frame->data, frame->size, segment->vnet,
                 PACKET_FROM_GUEST);
    size = packet_slice_size(&packet, from, length);
    slice = g_malloc(size);
    packet_slice(&packet, frame->data, from, length, slice);

    packet_parse(&part, slice, size, segment->vnet, PACKET_FROM_GUEST);
    g_assert_true(part.tcp);
    g_assert_true(net_sums_right(slice, size, segment->vnet));
    g_assert_cmphex(part.seq, ==, segment->seq + from);
    g_assert_cmpuint(packet_length(&part), ==, length);
    g_assert_cmpmem(slice + part.payload, part.payload_size,
                    (const uint8_t *)segment->payload + from, bytes);
    g_assert_true(!!(part.flags & NET_FIN) ==
                  (fin && end == segment->size + 1));
    g_assert_true(part.partial == packet.partial);
    if (segment->vnet) {
        g_assert_true(!!slice[1] == (segment->gso && bytes > segment->gso));
    }
}

static void test_cuts_a_segment_in_two(void)
{
    uint8_t options[32], payload[300];

    for (unsigned i = 0; i < 2000; i++) {
        NetSegment segment;
        uint32_t length, cut;

        random_segment(&segment, options, payload,
                       g_test_rand_int_range(2, sizeof(payload)));
        length = segment.size + !!(segment.flags & NET_FIN);
        cut = g_test_rand_int_range(1, length);
        check_slice(&segment, 0, cut);
        check_slice(&segment, cut, length - cut);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet/tcp-in-all-wrappings",
                    test_finds_tcp_in_all_wrappings);
    g_test_add_func("/packet/both-sides",
                    test_knows_a_connection_from_both_sides);
    g_test_add_func("/packet/vlans-apart", test_keeps_vlans_apart);
    g_test_add_func("/packet/options", test_reads_options);
    g_test_add_func("/packet/never-beyond-the-frame",
                    test_never_reads_beyond_the_frame);
    g_test_add_func("/packet/digest/bytes-from-chance",
                    test_digest_knows_bytes_from_chance);
    g_test_add_func("/packet/digest/every-other-byte",
                    test_digest_sees_every_other_byte);
    g_test_add_func("/packet/digest/fragments",
                    test_fragments_are_compared_whole);
    g_test_add_func("/packet/change/sums", test_changes_keep_the_sums_right);
    g_test_add_func("/packet/change/cut", test_cuts_a_segment_in_two);
    return g_test_run();
}
