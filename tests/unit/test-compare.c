/*
 * What compare.h promises: what leaves when
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/compare-pair.h"

/* --- streams --------------------------------------------------------------*/

static void test_bytes_leave_when_both_have_said_them(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_both_say(pair, 1001, 7001, "abc");
    /* the other way round */
    pair_secondary_says(pair, 7004, "def");
    pair_check_left(pair, "");
    pair_leader_says(pair, 1004, "def");
    pair_check_left(pair, "def");
    pair_check_equal(pair);
}

static void test_segments_do_not_matter(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_leader_says(pair, 1004, "defgh");
    pair_secondary_says(pair, 7001, "a");
    pair_check_left(pair, "");
    pair_secondary_says(pair, 7002, "bcde");
    pair_check_left(pair, "abc");
    pair_secondary_says(pair, 7006, "fghi");
    pair_check_left(pair, "");
    pair_leader_says(pair, 1009, "i");
    pair_check_left(pair, "defghi");
    pair_check_equal(pair);
}

static void test_other_bytes_are_noticed_and_cured(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    g_autofree char *where = NULL;

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abX");
    pair_check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_BYTES);
    where = compare_diverged_flow(pair->compare);
    g_assert_cmpstr(where, ==, "10.0.0.1:80 > 10.0.0.2:4711");
    pair_leader_says(pair, 1004, "d");
    pair_secondary_says(pair, 7004, "d");
    pair_check_left(pair, "");

    pair_sync(pair);
    pair_check_left(pair, "abcd");
    pair_check_equal(pair);
    pair_both_say(pair, 1005, 1005, "e");
}

static void test_a_connection_keeps_its_order(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment other = {
        .client = 9, .seq = 50, .ack = 1, .flags = NET_SYN | NET_ACK,
    };

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_leader(pair, &other);
    pair_secondary(pair, &other);
    pair_check_left(pair, "."); /* others do not wait for it */
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 7001, "abcdef");
    pair_check_left(pair, "abcdef");
}

static void test_wrap_around(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 0xfffffffeu, 0xfffffff0u);
    pair_both_say(pair, 0xffffffffu, 0xfffffff1u, "abcdef");
    pair_sync(pair);
    pair_both_say(pair, 5, 5, "ghi");
}

static void test_acknowledgements_go_alone(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    HoldFrame *frame;

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "");
    g_assert_cmpuint(pair_left(pair), ==, 1);
    /* one that overtakes has the number that the client expects */
    pair_leader_says(pair, 1001, "abc");
    pair_leader_says(pair, 1004, "");
    frame = hold_queue_next(compare_leaving(pair->compare));
    g_assert_nonnull(frame);
    g_assert_cmpuint(net_seq(frame), ==, 1001);
    g_assert_true(net_sums_right(frame->data, frame->size, 0));
    g_assert_cmpuint(pair_left(pair), ==, 1);
    pair_secondary_says(pair, 7001, "abc");
    pair_check_left(pair, "abc");
}

static void test_what_was_let_out_may_be_said_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_leader_says(pair, 1001, "abc");
    pair_check_left(pair, ""); /* not this: it waits itself */
    pair_secondary_says(pair, 7001, "abc");
    pair_check_left(pair, "abcabc");
    pair_leader_says(pair, 1002, "bc");
    pair_check_left(pair, "bc");
    /* partly new */
    pair_leader_says(pair, 1003, "cd");
    pair_check_left(pair, "");
    pair_secondary_says(pair, 7001, "abcd");
    pair_check_left(pair, "cd");
    /* from before the last sync */
    pair_sync(pair);
    pair_leader_says(pair, 1001, "abcd");
    pair_check_left(pair, "abcd");
    pair_check_equal(pair);
}

static void test_keep_alives_go_alone(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_both_say(pair, 1001, 7001, "abc");
    pair_leader_says(pair, 1003, "?"); /* garbage, by tradition */
    pair_check_left(pair, "?");
    pair_secondary_says(pair, 7003, "!");
    pair_both_say(pair, 1004, 7004, "d");
}

static void test_probes_of_a_closed_window_are_bytes(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "a");
    pair_leader_says(pair, 1001, "a");
    pair_secondary_says(pair, 7001, "a");
    pair_check_left(pair, "aa");
    pair_both_say(pair, 1001, 7001, "abc");
}

static void say_flags(Pair *pair, gboolean leader, uint32_t seq,
                      unsigned flags, const char *bytes)
{
    NetSegment segment = {
        .seq = seq, .ack = 501, .flags = NET_ACK | flags,
        .payload = bytes, .size = strlen(bytes),
    };

    if (leader) {
        pair_leader(pair, &segment);
    } else {
        pair_secondary(pair, &segment);
    }
}

static void test_resets_wait_for_their_connection_only(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    say_flags(pair, TRUE, 1004, NET_RST, "");
    pair_check_left(pair, "");
    pair_secondary_says(pair, 7001, "abc");
    pair_check_left(pair, "abc.");
    say_flags(pair, TRUE, 1004, NET_RST, "");
    pair_check_left(pair, ".");
    /* nobody's */
    pair_leader(pair, &(NetSegment) { .client = 7, .flags = NET_RST });
    pair_check_left(pair, ".");
}

static void test_the_end_is_compared(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abc");
    pair_check_left(pair, "");
    say_flags(pair, FALSE, 7004, NET_FIN, "");
    pair_check_left(pair, "abc");
    /* sent again */
    say_flags(pair, TRUE, 1004, NET_FIN, "");
    pair_check_left(pair, ".");
    pair_check_equal(pair);
}

static void test_an_end_at_one_side_is_noticed(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abcdef");
    pair_check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_CLOSED);
}

static void test_an_end_is_no_byte(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abcF");
    pair_check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_BYTES);
}

static void test_other_options_of_a_connection_are_noticed(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    uint8_t options[NET_SYN_OPTIONS];
    NetSegment answer = {
        .ack = 501, .flags = NET_SYN | NET_ACK,
        .options = options, .n_options = sizeof(options),
    };

    net_syn_options(options, 1, 1);
    pair_leader(pair, &answer);
    net_syn_options(options, 2, 1); /* another clock is fine */
    pair_secondary(pair, &answer);
    pair_check_left(pair, ".");
    pair_check_equal(pair);

    answer.client = 1;
    pair_leader(pair, &answer);
    options[19] = 6; /* another scale is not */
    pair_secondary(pair, &answer);
    pair_check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_BYTES);
}

static void test_a_port_may_be_used_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = { .ack = 9001, .flags = NET_SYN | NET_ACK };

    pair_connect(pair, 1000, 7000);
    pair_both_say(pair, 1001, 7001, "abc");
    /* the secondary is the first to speak on the new one */
    answer.seq = 100;
    pair_secondary(pair, &answer);
    answer.seq = 200;
    pair_leader(pair, &answer);
    pair_check_left(pair, ".");
    pair_both_say(pair, 201, 101, "xy");
}

static void test_a_guest_may_answer_anew(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = {
        .seq = 1000, .ack = 501, .flags = NET_SYN | NET_ACK,
    };

    pair_leader(pair, &answer);
    pair_secondary(pair, &answer);
    pair_check_left(pair, ".");
    answer.seq = 2000;
    pair_leader(pair, &answer);
    pair_check_left(pair, ".");
    pair_both_say(pair, 2001, 1001, "abc");
}

static void test_a_connection_without_beginning_waits_for_a_sync(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_leader_says(pair, 3000, "");
    pair_check_left(pair, ".");
    pair_check_equal(pair);
    pair_leader_says(pair, 3000, "abc");
    pair_secondary_says(pair, 3000, "abc");
    pair_check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_STRANGE);
    pair_sync(pair);
    pair_check_left(pair, "abc");
    pair_both_say(pair, 3003, 3003, "def");
}

static void test_a_sync_is_a_beginning_for_who_has_not_spoken(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_leader_says(pair, 3000, "");
    pair_check_left(pair, ".");
    pair_sync(pair);
    pair_both_say(pair, 3000, 3000, "abc");
}

static void test_a_gap_waits_for_a_sync(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 7001, "abcdef");
    pair_check_left(pair, "");
    g_assert_cmpint(compare_oldest(pair->compare), >=, 0);
    pair_sync(pair);
    pair_check_left(pair, "def");
    pair_leader_says(pair, 1001, "abc");
    pair_check_left(pair, "abc");
}

static void test_half_open_at_a_sync(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = {
        .seq = 1000, .ack = 501, .flags = NET_SYN | NET_ACK,
    };
    NetSegment third = { .seq = 501, .ack = 1001, .flags = NET_ACK };
    g_autofree HoldFrame *heard = NULL;

    pair_leader(pair, &answer);
    pair_sync(pair);
    pair_check_left(pair, ".");
    /* both have the same numbers now */
    g_assert_cmpint(pair_hears(pair, &third, &heard), ==, ECHO_PASS);
    g_assert_cmpuint(net_ack(heard), ==, 1001);
    pair_both_say(pair, 1001, 1001, "abc");
    /* the secondary's answers again: nothing new */
    pair_secondary(pair, &answer);
    pair_check_equal(pair);
}

static void test_a_part_leaves_when_asked_for(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    HoldFrame *frame;

    pair_connect(pair, 1000, 7000);
    g_assert_false(compare_parts(pair->compare));
    pair_leader_says(pair, 1001, "abcdef");
    pair->now = 100;
    pair_secondary_says(pair, 7001, "abcd");
    g_assert_true(compare_parts(pair->compare));
    compare_cut(pair->compare, 99);
    pair_check_left(pair, "");
    compare_cut(pair->compare, 100);
    frame = hold_queue_next(compare_leaving(pair->compare));
    g_assert_true(net_sums_right(frame->data, frame->size, 0));
    pair_check_left(pair, "abcd");
    g_assert_false(compare_parts(pair->compare));
    pair_secondary_says(pair, 7005, "ef");
    pair_check_left(pair, "ef");
    pair_check_equal(pair);
}

static void test_a_connection_may_be_gone_before_its_part(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = {
        .seq = 200, .ack = 9001, .flags = NET_SYN | NET_ACK,
    };

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abcdef");
    pair_secondary_says(pair, 7001, "abcd");
    g_assert_true(compare_parts(pair->compare));
    /* its port is used again, while its last segment waits */
    pair_leader(pair, &answer);
    pair_sync(pair);
    pair_check_left(pair, "abcdef.");
    g_assert_false(compare_parts(pair->compare));
}

/* --- other frames ---------------------------------------------------------*/

static void test_datagrams_are_a_multiset(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_datagram(pair, TRUE, "a");
    pair_datagram(pair, TRUE, "b");
    pair_datagram(pair, TRUE, "a");
    pair_datagram(pair, FALSE, "c");
    pair_check_left(pair, "");
    pair_datagram(pair, FALSE, "b");
    pair_check_left(pair, "b");
    pair_datagram(pair, FALSE, "a");
    pair_check_left(pair, "a");
    pair_datagram(pair, TRUE, "c");
    pair_check_left(pair, "c");
    g_assert_cmpuint(compare_held_frames(pair->compare), ==, 1);
    pair_datagram(pair, FALSE, "a");
    pair_check_left(pair, "a");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define add(path, name) g_test_add_func("/compare/" path, test_##name)
    add("stream/both", bytes_leave_when_both_have_said_them);
    add("stream/segments", segments_do_not_matter);
    add("stream/other-bytes", other_bytes_are_noticed_and_cured);
    add("stream/order", a_connection_keeps_its_order);
    add("stream/wrap-around", wrap_around);
    add("stream/acknowledgements", acknowledgements_go_alone);
    add("stream/again", what_was_let_out_may_be_said_again);
    add("stream/keep-alives", keep_alives_go_alone);
    add("stream/probes", probes_of_a_closed_window_are_bytes);
    add("stream/resets", resets_wait_for_their_connection_only);
    add("stream/end", the_end_is_compared);
    add("stream/end-at-one-side", an_end_at_one_side_is_noticed);
    add("stream/end-no-byte", an_end_is_no_byte);
    add("stream/options", other_options_of_a_connection_are_noticed);
    add("stream/port-again", a_port_may_be_used_again);
    add("stream/answer-anew", a_guest_may_answer_anew);
    add("stream/no-beginning",
        a_connection_without_beginning_waits_for_a_sync);
    add("stream/no-word",
        a_sync_is_a_beginning_for_who_has_not_spoken);
    add("stream/gap", a_gap_waits_for_a_sync);
    add("stream/half-open", half_open_at_a_sync);
    add("stream/part", a_part_leaves_when_asked_for);
    add("a-connection-may-be-gone-before-its-part",
        a_connection_may_be_gone_before_its_part);
    add("frames/multiset", datagrams_are_a_multiset);
#undef add
    return g_test_run();
}
