/*
 * What compare.h promises: syncs, what the user is told, and bounds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/flow-internal.h"
#include "tests/unit/compare-pair.h"

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
    pair_check_left(pair, "");
    compare_stats(pair->compare, &stats);
    g_assert_cmpuint(stats.stale, ==, 2);
    pair_sync(pair);
    pair_check_left(pair, "..a");
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
    pair_check_left(pair, "");
    pair_apply(pair);
    pair_commit(pair);
    pair_check_left(pair, "abcde");
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
    pair_check_left(pair, "abcx");
    /* but when it has failed */
    compare_revert(pair->compare, 0);
    pair_check_left(pair, "defy");
    pair_check_equal(pair);
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
    pair_check_left(pair, "");
    pair_secondary_says(pair, 1001, "abc");
    pair_datagram(pair, FALSE, "x");
    pair_check_left(pair, "abcx");
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
    pair_check_left(pair, "");
    pair_apply(pair);
    pair_commit(pair);
    pair_check_left(pair, "abcx");
    pair_secondary_says(pair, 1004, "def");
    pair_check_left(pair, "def");
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
    pair_check_left(pair, "");
    pair_commit(pair);
    pair_check_left(pair, "abcx");
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
    pair_check_left(pair, "");
    compare_begin(pair->compare, pair->epoch);
    pair_leader_says(pair, 1004, "d");
    compare_end(pair->compare, TRUE);
    pair_check_left(pair, "abcx.d");
    pair_leader_says(pair, 1005, "e");
    pair_check_left(pair, "e");
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
    pair_check_left(pair, ""); /* it was said after the seal */
    pair_apply(pair);
    pair_commit(pair);
    pair_secondary_says(pair, 1001, "abc");
    pair_check_left(pair, "abc");
    pair_check_equal(pair);

    /* a sync that fails is none */
    pair_sync(pair);
    pair_seal(pair);
    pair_leader_says(pair, 1004, "def");
    pair_secondary_says(pair, 1004, "def");
    pair_check_left(pair, "");
    compare_revert(pair->compare, 0);
    pair_check_left(pair, "def");
    pair_check_equal(pair);
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
    pair_check_left(pair, "");
    pair_check_equal(pair);
    pair_secondary_says(pair, 1001, "abc");
    pair_check_left(pair, "abc");
    pair_check_equal(pair);
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
    pair_check_equal(pair);
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
    pair_check_equal(pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define add(path, name) g_test_add_func("/compare-sync/" path, test_##name)
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
#undef add
    return g_test_run();
}
