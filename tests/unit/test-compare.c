/*
 * What compare.h promises
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/flow-internal.h"
#include "tests/unit/compare-pair.h"

static void check_left(Pair *pair, const char *bytes)
{
    g_autofree char *left = pair_left_bytes(pair);

    g_assert_cmpstr(left, ==, bytes);
}

static void check_equal(Pair *pair)
{
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_EQUAL);
}

/* --- streams --------------------------------------------------------------*/

static void test_bytes_leave_when_both_have_said_them(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    check_left(pair, "");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abc");
    /* the other way round */
    pair_secondary_says(pair, 7004, "def");
    check_left(pair, "");
    pair_leader_says(pair, 1004, "def");
    check_left(pair, "def");
    check_equal(pair);
}

static void test_segments_do_not_matter(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_leader_says(pair, 1004, "defgh");
    pair_secondary_says(pair, 7001, "a");
    check_left(pair, "");
    pair_secondary_says(pair, 7002, "bcde");
    check_left(pair, "abc");
    pair_secondary_says(pair, 7006, "fghi");
    check_left(pair, "");
    pair_leader_says(pair, 1009, "i");
    check_left(pair, "defghi");
    check_equal(pair);
}

static void test_other_bytes_are_noticed_and_cured(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    g_autofree char *where = NULL;

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abX");
    check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_BYTES);
    where = compare_diverged_flow(pair->compare);
    g_assert_cmpstr(where, ==, "10.0.0.1:80 > 10.0.0.2:4711");
    pair_leader_says(pair, 1004, "d");
    pair_secondary_says(pair, 7004, "d");
    check_left(pair, "");

    pair_sync(pair);
    check_left(pair, "abcd");
    check_equal(pair);
    pair_leader_says(pair, 1005, "e");
    pair_secondary_says(pair, 1005, "e");
    check_left(pair, "e");
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
    check_left(pair, "."); /* others do not wait for it */
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 7001, "abcdef");
    check_left(pair, "abcdef");
}

static void test_wrap_around(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 0xfffffffeu, 0xfffffff0u);
    pair_leader_says(pair, 0xffffffffu, "abcdef");
    pair_secondary_says(pair, 0xfffffff1u, "abcdef");
    check_left(pair, "abcdef");
    pair_sync(pair);
    pair_leader_says(pair, 5, "ghi");
    pair_secondary_says(pair, 5, "ghi");
    check_left(pair, "ghi");
    check_equal(pair);
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
    check_left(pair, "abc");
}

static void test_what_was_let_out_may_be_said_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_leader_says(pair, 1001, "abc");
    check_left(pair, ""); /* not this: it waits itself */
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abcabc");
    pair_leader_says(pair, 1002, "bc");
    check_left(pair, "bc");
    /* partly new */
    pair_leader_says(pair, 1003, "cd");
    check_left(pair, "");
    pair_secondary_says(pair, 7001, "abcd");
    check_left(pair, "cd");
    /* from before the last sync */
    pair_sync(pair);
    pair_leader_says(pair, 1001, "abcd");
    check_left(pair, "abcd");
    check_equal(pair);
}

static void test_keep_alives_go_alone(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abc");
    pair_leader_says(pair, 1003, "?"); /* garbage, by tradition */
    check_left(pair, "?");
    pair_secondary_says(pair, 7003, "!");
    pair_leader_says(pair, 1004, "d");
    pair_secondary_says(pair, 7004, "d");
    check_left(pair, "d");
    check_equal(pair);
}

static void test_probes_of_a_closed_window_are_bytes(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "a");
    pair_leader_says(pair, 1001, "a");
    pair_secondary_says(pair, 7001, "a");
    check_left(pair, "aa");
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abc");
    check_equal(pair);
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
    check_left(pair, "");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abc.");
    say_flags(pair, TRUE, 1004, NET_RST, "");
    check_left(pair, ".");
    /* nobody's */
    pair_leader(pair, &(NetSegment) { .client = 7, .flags = NET_RST });
    check_left(pair, ".");
}

static void test_the_end_is_compared(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "");
    say_flags(pair, FALSE, 7004, NET_FIN, "");
    check_left(pair, "abc");
    /* sent again */
    say_flags(pair, TRUE, 1004, NET_FIN, "");
    check_left(pair, ".");
    check_equal(pair);
}

static void test_an_end_at_one_side_is_noticed(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abcdef");
    check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_CLOSED);
}

static void test_an_end_is_no_byte(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    say_flags(pair, TRUE, 1001, NET_FIN, "abc");
    pair_secondary_says(pair, 7001, "abcF");
    check_left(pair, "");
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
    check_left(pair, ".");
    check_equal(pair);

    answer.client = 1;
    pair_leader(pair, &answer);
    options[19] = 6; /* another scale is not */
    pair_secondary(pair, &answer);
    check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_BYTES);
}

static void test_a_port_may_be_used_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = { .ack = 9001, .flags = NET_SYN | NET_ACK };

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, "abc");
    /* the secondary is the first to speak on the new one */
    answer.seq = 100;
    pair_secondary(pair, &answer);
    answer.seq = 200;
    pair_leader(pair, &answer);
    check_left(pair, ".");
    pair_leader_says(pair, 201, "xy");
    pair_secondary_says(pair, 101, "xy");
    check_left(pair, "xy");
    check_equal(pair);
}

static void test_a_guest_may_answer_anew(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment answer = {
        .seq = 1000, .ack = 501, .flags = NET_SYN | NET_ACK,
    };

    pair_leader(pair, &answer);
    pair_secondary(pair, &answer);
    check_left(pair, ".");
    answer.seq = 2000;
    pair_leader(pair, &answer);
    check_left(pair, ".");
    pair_leader_says(pair, 2001, "abc");
    pair_secondary_says(pair, 1001, "abc");
    check_left(pair, "abc");
    check_equal(pair);
}

static void test_a_connection_without_beginning_waits_for_a_sync(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_leader_says(pair, 3000, "");
    check_left(pair, ".");
    check_equal(pair);
    pair_leader_says(pair, 3000, "abc");
    pair_secondary_says(pair, 3000, "abc");
    check_left(pair, "");
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_STRANGE);
    pair_sync(pair);
    check_left(pair, "abc");
    pair_leader_says(pair, 3003, "def");
    pair_secondary_says(pair, 3003, "def");
    check_left(pair, "def");
    check_equal(pair);
}

static void test_a_sync_is_a_beginning_for_who_has_not_spoken(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_leader_says(pair, 3000, "");
    check_left(pair, ".");
    pair_sync(pair);
    pair_leader_says(pair, 3000, "abc");
    pair_secondary_says(pair, 3000, "abc");
    check_left(pair, "abc");
    check_equal(pair);
}

static void test_a_gap_waits_for_a_sync(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 7001, "abcdef");
    check_left(pair, "");
    g_assert_cmpint(compare_oldest(pair->compare), >=, 0);
    pair_sync(pair);
    check_left(pair, "def");
    pair_leader_says(pair, 1001, "abc");
    check_left(pair, "abc");
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
    check_left(pair, ".");
    /* both have the same numbers now */
    g_assert_cmpint(pair_hears(pair, &third, &heard), ==, ECHO_PASS);
    g_assert_cmpuint(net_ack(heard), ==, 1001);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 1001, "abc");
    check_left(pair, "abc");
    /* the secondary's answers again: nothing new */
    pair_secondary(pair, &answer);
    check_equal(pair);
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
    check_left(pair, "");
    compare_cut(pair->compare, 100);
    frame = hold_queue_next(compare_leaving(pair->compare));
    g_assert_true(net_sums_right(frame->data, frame->size, 0));
    check_left(pair, "abcd");
    g_assert_false(compare_parts(pair->compare));
    pair_secondary_says(pair, 7005, "ef");
    check_left(pair, "ef");
    check_equal(pair);
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
    check_left(pair, "abcdef.");
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
    check_left(pair, "");
    pair_datagram(pair, FALSE, "b");
    check_left(pair, "b");
    pair_datagram(pair, FALSE, "a");
    check_left(pair, "a");
    pair_datagram(pair, TRUE, "c");
    check_left(pair, "c");
    g_assert_cmpuint(compare_held_frames(pair->compare), ==, 1);
    pair_datagram(pair, FALSE, "a");
    check_left(pair, "a");
}

/* --- epochs ---------------------------------------------------------------*/

static void test_nothing_is_compared_before_the_first_commit(void)
{
    g_autoptr(Pair) pair = pair_new(FALSE);
    NetSegment answer = { .ack = 501, .flags = NET_SYN | NET_ACK };
    CompareStats stats;

    pair_leader(pair, &answer);
    pair_secondary(pair, &answer);
    pair_leader_says(pair, 1, "");
    pair_datagram(pair, TRUE, "a");
    pair_datagram(pair, FALSE, "a");
    check_left(pair, "");
    compare_stats(pair->compare, &stats);
    g_assert_cmpuint(stats.stale, ==, 2);
    pair_sync(pair);
    check_left(pair, "..a");
}

static void test_commit_keeps_the_order_of_all(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "ab");
    pair_datagram(pair, TRUE, "c");
    pair_leader_says(pair, 1003, "d");
    pair_datagram(pair, TRUE, "e");
    pair_seal(pair);
    pair_leader_says(pair, 1004, "f");
    pair_datagram(pair, TRUE, "g");
    check_left(pair, "");
    pair_apply(pair);
    pair_commit(pair);
    check_left(pair, "abcde");
    g_assert_cmpuint(compare_held_frames(pair->compare), ==, 2);
}

static void test_old_reports_let_out_nothing_behind_a_seal(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_datagram(pair, TRUE, "x");
    pair_seal(pair);
    pair_leader_says(pair, 1004, "def");
    pair_datagram(pair, TRUE, "y");
    pair_secondary_says(pair, 7001, "abc");
    pair_secondary_says(pair, 7004, "def");
    pair_datagram(pair, FALSE, "x");
    pair_datagram(pair, FALSE, "y");
    check_left(pair, "abcx");
    /* but when it has failed */
    compare_revert(pair->compare, 0);
    check_left(pair, "defy");
    check_equal(pair);
}

static void test_after_a_commit_old_reports_are_void(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    const uint8_t *note;
    g_autofree uint8_t *old = NULL;
    size_t size;

    pair_connect(pair, 1000, 7000);
    pair_seal(pair);
    pair_leader_says(pair, 1001, "abc");
    pair_datagram(pair, TRUE, "x");
    pair_secondary_says(pair, 7001, "abc");
    pair_datagram(pair, FALSE, "x");
    echo_output(pair->echo, net_datagram(1, "x", 1), 0, 0);
    g_assert_true(echo_take(pair->echo, &note, &size));
    old = g_memdup2(note, size);
    pair_apply(pair);
    pair_commit(pair);
    g_assert_true(compare_told(pair->compare, old, size, 0, NULL));
    check_left(pair, "");
    pair_secondary_says(pair, 1001, "abc");
    pair_datagram(pair, FALSE, "x");
    check_left(pair, "abcx");
}

static void test_a_seal_stays_open_until_it_is_known(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_seal(pair);
    pair_leader_says(pair, 1001, "abc");
    pair_datagram(pair, TRUE, "x");
    pair_seal(pair);
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 7001, "abcdef");
    pair_datagram(pair, FALSE, "x");
    check_left(pair, "");
    pair_apply(pair);
    pair_commit(pair);
    check_left(pair, "abcx");
    pair_secondary_says(pair, 1004, "def");
    check_left(pair, "def");
}

static void test_notes_of_what_is_about_to_be_committed_are_kept(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_seal(pair);
    pair_leader_says(pair, 1001, "abc");
    pair_datagram(pair, TRUE, "x");
    pair_apply(pair);
    pair_secondary_says(pair, 1001, "abc");
    pair_datagram(pair, FALSE, "x");
    check_left(pair, "");
    pair_commit(pair);
    check_left(pair, "abcx");
}

static void test_the_end_of_a_session(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_leader_says(pair, 1001, "abc");
    pair_datagram(pair, TRUE, "x");
    compare_end(pair->compare, FALSE);
    pair_secondary_says(pair, 7001, "abc");
    pair_leader_says(pair, 1004, "");
    check_left(pair, "");
    compare_begin(pair->compare, pair->epoch);
    pair_leader_says(pair, 1004, "d");
    compare_end(pair->compare, TRUE);
    check_left(pair, "abcx.d");
    pair_leader_says(pair, 1005, "e");
    check_left(pair, "e");
    g_assert_cmpuint(compare_bytes(pair->compare), ==, 0);
}

static void test_the_silent_cost_a_sync_nothing(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    g_assert_cmpuint(pair->leader->moved->len, ==, 1);
    pair_sync(pair);
    g_assert_cmpuint(pair->leader->moved->len, ==, 0);
    pair_seal(pair);
    pair_leader_says(pair, 1001, "abc");
    pair_apply(pair);
    pair_commit(pair);
    g_assert_cmpuint(pair->leader->moved->len, ==, 1);
}

/*
 * What does not speak between two seals is sealed nevertheless, and anchored
 * where it stood.
 */
static void test_silent_connections_are_sealed(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_sync(pair);
    pair_sync(pair);
    pair_seal(pair);
    pair_seal(pair);
    pair_leader_says(pair, 1001, "abc");
    pair_secondary_says(pair, 7001, "abc");
    check_left(pair, ""); /* it was said after the seal */
    pair_apply(pair);
    pair_commit(pair);
    pair_secondary_says(pair, 1001, "abc");
    check_left(pair, "abc");
    check_equal(pair);

    /* a sync that fails is none */
    pair_sync(pair);
    pair_seal(pair);
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 1004, "def");
    check_left(pair, "");
    compare_revert(pair->compare, 0);
    check_left(pair, "def");
    check_equal(pair);
}

/* Reports that nothing has come of are void after a sync. */
static void test_reports_for_the_silent_are_forgotten(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_sync(pair);
    pair_secondary_says(pair, 1001, "abX");
    pair_sync(pair);
    pair_leader_says(pair, 1001, "abc");
    check_left(pair, "");
    check_equal(pair);
    pair_secondary_says(pair, 1001, "abc");
    check_left(pair, "abc");
    check_equal(pair);
}

/* --- what the user is told ------------------------------------------------*/

static void test_tells_how_long_the_oldest_waits(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment reset = {
        .to_guest = TRUE, .seq = 501, .flags = NET_RST,
    };
    g_autofree HoldFrame *frame = net_segment(&reset);

    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(compare_oldest(pair->compare), ==, -1);
    pair->now = 10;
    pair_leader_says(pair, 1001, "abc");
    pair->now = 20;
    pair_datagram(pair, TRUE, "x");
    g_assert_cmpint(compare_oldest(pair->compare), ==, 10);
    /* who has reset its connection waits for nothing */
    flow_inbound(pair->leader, frame->data, frame->size, 0, 30);
    g_assert_cmpint(compare_oldest(pair->compare), ==, 20);
    /* and a sync that is under way is waited for elsewhere */
    pair_seal(pair);
    pair->now = 40;
    pair_datagram(pair, TRUE, "y");
    pair->now = 50;
    pair_apply(pair);
    pair_commit(pair);
    g_assert_cmpint(compare_oldest(pair->compare), ==, 50);
}

static void test_tells_that_the_secondary_is_stuck(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    echo_stuck(pair->echo);
    pair_tell(pair);
    g_assert_cmpint(compare_diverged(pair->compare), ==, COMPARE_STUCK);
    g_assert_null(compare_diverged_flow(pair->compare));
    pair_sync(pair);
    check_equal(pair);
}

static void test_counts_bytes(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    g_assert_cmpuint(compare_bytes(pair->compare), ==, 0);
    pair_datagram(pair, TRUE, "x");
    g_assert_cmpuint(compare_bytes(pair->compare), >, HOLD_OVERHEAD + 43);
    pair_datagram(pair, FALSE, "x");
    g_assert_cmpuint(compare_bytes(pair->compare), ==, HOLD_OVERHEAD + 43);
    pair_left(pair);
    g_assert_cmpuint(compare_bytes(pair->compare), ==, 0);
}

/* --- bounds ---------------------------------------------------------------*/

static void test_more_connections_than_there_is_room_for(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    for (unsigned i = 0; i < 200; i++) {
        NetSegment answer = {
            .peer_port = 1000 + i, .ack = 501, .flags = NET_SYN | NET_ACK,
        };

        pair_leader(pair, &answer);
        if (i >= 100) {
            pair_secondary(pair, &answer);
        }
    }
    /* what is held is known; of the rest no more than there is room for */
    g_assert_cmpuint(compare_held_frames(pair->compare), ==, 100);
    g_assert_cmpuint(flow_table_size(pair->leader), <, 120);
    g_assert_cmpuint(pair_left(pair), ==, 100);
    pair_sync(pair);
    g_assert_cmpuint(pair_left(pair), ==, 100);
    pair_leader(pair, &(NetSegment) { .client = 3, .ack = 501,
                                      .flags = NET_SYN | NET_ACK });
    g_assert_cmpuint(flow_table_size(pair->leader), <=, 16);
}

static void test_a_secondary_far_ahead(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    CompareStats stats;

    pair_connect(pair, 1000, 7000);
    for (unsigned i = 0; i < 100; i++) {
        pair_secondary_says(pair, 7001 + i, "a");
    }
    /* some reports go, but not the last, and not all between */
    for (unsigned i = 0; i < 50; i++) {
        pair_leader_says(pair, 1001 + i, "a");
    }
    g_assert_cmpuint(pair_left(pair), >, 10);
    for (unsigned i = 50; i < 100; i++) {
        pair_leader_says(pair, 1001 + i, "a");
    }
    pair_left(pair);
    g_assert_cmpuint(compare_held_frames(pair->compare), ==, 0);
    compare_stats(pair->compare, &stats);
    g_assert_cmpuint(stats.forgotten, >, 0);

    for (unsigned i = 0; i < 40000; i++) {
        NetSegment answer = {
            .peer_port = i, .ack = 501, .flags = NET_SYN | NET_ACK,
        };
        HoldFrame *frame = net_datagram(1, &i, sizeof(i));

        pair_secondary(pair, &answer);
        echo_output(pair->echo, frame, 0, 0);
        pair_tell(pair);
    }
    compare_stats(pair->compare, &stats);
    g_assert_cmpuint(stats.forgotten, >, 40000);
    pair_sync(pair);
    check_equal(pair);
}

/* --- cost -----------------------------------------------------------------*/

/*
 * Frames of 64 connections, said by both guests: what a frame costs the leader
 * and the secondary. Making the frame is not counted.
 */
static void measure(size_t size)
{
    enum { FLOWS = 64, ROUNDS = 500 };
    FlowTable *tables[] = { flow_table_new(1024, 1), flow_table_new(1024, 1) };
    Compare *compare = compare_new(tables[0]);
    Echo *echo = echo_new(tables[1], 5, 1 << 30);
    g_autofree char *bytes = g_strnfill(size, 'x');
    gint64 leader = 0, secondary = 0;

    compare_begin(compare, 0);
    compare_seal(compare, 1);
    compare_commit(compare, 1, 0);
    echo_applied(echo, 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        HoldFrame *said[2][FLOWS];
        const uint8_t *note;
        gint64 start;
        size_t length;

        for (unsigned j = 0; j < 2 * FLOWS; j++) {
            said[j / FLOWS][j % FLOWS] = net_segment(&(NetSegment) {
                .client = j % FLOWS,
                .ack = 501,
                .seq = i ? 1 + (i - 1) * size : 0,
                .flags = NET_ACK | (i ? 0 : NET_SYN),
                .payload = bytes,
                .size = i ? size : 0,
            });
        }
        start = g_get_monotonic_time();
        for (unsigned j = 0; j < FLOWS; j++) {
            echo_output(echo, said[1][j], 0, 0);
        }
        secondary += g_get_monotonic_time() - start;
        start = g_get_monotonic_time();
        for (unsigned j = 0; j < FLOWS; j++) {
            compare_output(compare, said[0][j], 0, 0);
        }
        while (echo_take(echo, &note, &length)) {
            g_assert_true(compare_told(compare, note, length, 0, NULL));
        }
        leader += g_get_monotonic_time() - start;
        g_assert_cmpuint(compare_held_frames(compare), ==, 0);
        hold_queue_clear(compare_leaving(compare));
    }
    g_test_message("%zu bytes: leader %.0f ns, secondary %.0f ns", size,
                   1000.0 * leader / FLOWS / ROUNDS,
                   1000.0 * secondary / FLOWS / ROUNDS);
    compare_free(compare);
    echo_free(echo);
    flow_table_free(tables[0]);
    flow_table_free(tables[1]);
}

/* Syncs of so many connections, some of which have spoken in between */
static void measure_syncs(unsigned flows)
{
    enum { SPEAK = 100, ROUNDS = 100 };
    g_autoptr(FlowTable) table = flow_table_new(FLOW_LIMIT, 1);
    g_autoptr(Compare) compare = compare_new(table);
    gint64 sealing = 0, committing = 0;

    compare_begin(compare, 0);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        gint64 start;

        for (unsigned j = 0; j < (i == 1 ? flows : SPEAK); j++) {
            compare_output(compare, net_segment(&(NetSegment) {
                .client = j % 256,
                .peer_port = 1024 + j / 256,
                .seq = i - 1,
                .ack = 501,
                .flags = NET_ACK | (i == 1 ? NET_SYN : 0),
                .payload = "x",
                .size = i > 1,
            }), 0, 0);
        }
        start = g_get_monotonic_time();
        compare_seal(compare, i);
        sealing += i > 1 ? g_get_monotonic_time() - start : 0;
        start = g_get_monotonic_time();
        compare_commit(compare, i, 0);
        committing += i > 1 ? g_get_monotonic_time() - start : 0;
        g_assert_cmpuint(compare_held_frames(compare), ==, 0);
        hold_queue_clear(compare_leaving(compare));
    }
    g_test_message("%u connections, %u spoke: seal %.1f us, commit %.1f us",
                   flows, (unsigned)SPEAK, 1.0 * sealing / (ROUNDS - 1),
                   1.0 * committing / (ROUNDS - 1));
}

static void test_cost(void)
{
    if (!g_test_perf()) {
        g_test_skip("only with -m perf");
        return;
    }
    measure(64);
    measure(1448);
    measure(60000);
    measure_syncs(1000);
    measure_syncs(10000);
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
    add("epoch/first", nothing_is_compared_before_the_first_commit);
    add("epoch/order", commit_keeps_the_order_of_all);
    add("epoch/behind-a-seal", old_reports_let_out_nothing_behind_a_seal);
    add("epoch/old-reports", after_a_commit_old_reports_are_void);
    add("epoch/open", a_seal_stays_open_until_it_is_known);
    add("epoch/early", notes_of_what_is_about_to_be_committed_are_kept);
    add("epoch/silent-cost", the_silent_cost_a_sync_nothing);
    add("epoch/silent", silent_connections_are_sealed);
    add("epoch/silent-reports", reports_for_the_silent_are_forgotten);
    add("epoch/end", the_end_of_a_session);
    add("told/oldest", tells_how_long_the_oldest_waits);
    add("told/stuck", tells_that_the_secondary_is_stuck);
    add("told/bytes", counts_bytes);
    add("bounds/connections", more_connections_than_there_is_room_for);
    add("bounds/ahead", a_secondary_far_ahead);
    add("cost", cost);
#undef add
    return g_test_run();
}
