/*
 * A leader and a secondary, for tests of compare.h and echo.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/compare-pair.h"

Pair *pair_new(gboolean synced)
{
    Pair *pair = g_new0(Pair, 1);

    pair->leader = flow_table_new(16, 1);
    pair->compare = compare_new(pair->leader);
    pair->secondary = flow_table_new(16, 2);
    pair->echo = echo_new(pair->secondary, 5, 20000);
    pair->state = g_byte_array_new();
    compare_begin(pair->compare, 0);
    echo_applied(pair->echo, 0);
    if (synced) {
        pair_sync(pair);
    }
    return pair;
}

void pair_free(Pair *pair)
{
    compare_free(pair->compare);
    echo_free(pair->echo);
    flow_table_free(pair->leader);
    flow_table_free(pair->secondary);
    g_byte_array_free(pair->state, TRUE);
    g_free(pair);
}

void pair_seal(Pair *pair)
{
    compare_seal(pair->compare, ++pair->epoch);
    g_byte_array_set_size(pair->state, 0);
    flow_table_save(pair->leader, pair->state);
}

void pair_apply(Pair *pair)
{
    g_autoptr(GByteArray) again = g_byte_array_new();

    g_assert_true(flow_table_load(pair->secondary, pair->state->data,
                                  pair->state->len, NULL));
    echo_applied(pair->echo, pair->epoch);
    flow_table_save(pair->secondary, again);
    g_assert_cmpmem(again->data, again->len, pair->state->data,
                    pair->state->len);
}

void pair_commit(Pair *pair)
{
    compare_commit(pair->compare, pair->epoch, pair->now);
}

void pair_sync(Pair *pair)
{
    pair_seal(pair);
    pair_apply(pair);
    pair_commit(pair);
}

void pair_tell(Pair *pair)
{
    const uint8_t *note;
    size_t size;

    while (echo_take(pair->echo, &note, &size)) {
        g_assert_cmpuint(size, <=, ECHO_NOTE_MAX);
        g_assert_true(compare_told(pair->compare, note, size, pair->now,
                                   NULL));
    }
}

void pair_leader(Pair *pair, const NetSegment *segment)
{
    compare_output(pair->compare, net_segment(segment), segment->vnet,
                   pair->now);
}

void pair_secondary(Pair *pair, const NetSegment *segment)
{
    echo_output(pair->echo, net_segment(segment), segment->vnet, pair->now);
    pair_tell(pair);
}

static NetSegment plain(uint32_t seq, const char *bytes)
{
    return (NetSegment) {
        .seq = seq,
        .ack = 501,
        .flags = NET_ACK,
        .payload = bytes,
        .size = strlen(bytes),
    };
}

void pair_leader_says(Pair *pair, uint32_t seq, const char *bytes)
{
    NetSegment segment = plain(seq, bytes);

    pair_leader(pair, &segment);
}

void pair_secondary_says(Pair *pair, uint32_t seq, const char *bytes)
{
    NetSegment segment = plain(seq, bytes);

    pair_secondary(pair, &segment);
}

void pair_datagram(Pair *pair, gboolean leader, const char *bytes)
{
    HoldFrame *frame = net_datagram(leader ? 1 : 2, bytes, strlen(bytes));

    if (leader) {
        compare_output(pair->compare, frame, 0, pair->now);
    } else {
        echo_output(pair->echo, frame, 0, pair->now);
        pair_tell(pair);
    }
}

EchoPass pair_hears(Pair *pair, const NetSegment *segment, HoldFrame **frame)
{
    NetSegment copy = *segment;
    HoldFrame *heard;
    EchoPass pass;

    copy.to_guest = TRUE;
    heard = net_segment(&copy);
    pass = echo_inbound(pair->echo, heard->data, heard->size, copy.vnet,
                        pair->now);
    g_assert_true(net_sums_right(heard->data, heard->size, copy.vnet));
    if (frame) {
        *frame = heard;
    } else {
        g_free(heard);
    }
    return pass;
}

void pair_connect(Pair *pair, uint32_t leader, uint32_t secondary)
{
    NetSegment answer = { .ack = 501, .flags = NET_SYN | NET_ACK };
    NetSegment third = {
        .seq = 501, .ack = leader + 1, .flags = NET_ACK, .to_guest = TRUE,
    };
    g_autofree HoldFrame *heard = net_segment(&third);

    answer.seq = leader;
    pair_leader(pair, &answer);
    g_assert_cmpuint(pair_left(pair), ==, 0);
    answer.seq = secondary;
    pair_secondary(pair, &answer);
    g_assert_cmpuint(pair_left(pair), ==, 1);
    flow_inbound(pair->leader, heard->data, heard->size, 0, pair->now);
    g_assert_cmpint(pair_hears(pair, &third, NULL), ==, ECHO_PASS);
}

unsigned pair_left(Pair *pair)
{
    HoldQueue *leaving = compare_leaving(pair->compare);
    unsigned n = 0;

    while (hold_queue_next(leaving)) {
        hold_queue_pop(leaving);
        n++;
    }
    return n;
}

char *pair_left_bytes(Pair *pair)
{
    HoldQueue *leaving = compare_leaving(pair->compare);
    GString *text = g_string_new(NULL);
    HoldFrame *frame;

    while ((frame = hold_queue_next(leaving))) {
        const uint8_t *payload = frame->data + 42; /* of a datagram */
        size_t size = frame->size - 42;

        if (frame->data[23] == 6) {
            size = net_payload(frame, &payload);
        }
        if (size) {
            g_string_append_len(text, (const char *)payload, size);
        } else {
            g_string_append_c(text, '.');
        }
        hold_queue_pop(leaving);
    }
    return g_string_free(text, FALSE);
}

void pair_check_left(Pair *pair, const char *bytes)
{
    g_autofree char *left = pair_left_bytes(pair);

    g_assert_cmpstr(left, ==, bytes);
}

void pair_check_equal(Pair *pair)
{
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_EQUAL);
}

void pair_both_say(Pair *pair, uint32_t leader, uint32_t secondary,
                   const char *bytes)
{
    pair_leader_says(pair, leader, bytes);
    pair_check_left(pair, "");
    pair_secondary_says(pair, secondary, bytes);
    pair_check_left(pair, bytes);
    pair_check_equal(pair);
}
