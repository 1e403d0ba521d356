/*
 * What compare.h and echo.h cost; only with -m perf
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/compare.h"
#include "colo-net/core/echo.h"
#include "tests/unit/net-frames.h"

/*
 * Frames of 64 connections, said by both guests: what a frame costs the leader
 * and the secondary. Making the frame is not counted.
 */
static void measure_frames(size_t size)
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

static gboolean is_asked_for(void)
{
    if (!g_test_perf()) {
        g_test_skip("only with -m perf");
    }
    return g_test_perf();
}

static void test_frames(void)
{
    if (is_asked_for()) {
        measure_frames(64);
        measure_frames(1448);
        measure_frames(60000);
    }
}

static void test_syncs(void)
{
    if (is_asked_for()) {
        measure_syncs(1000);
        measure_syncs(10000);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/compare-cost/frames", test_frames);
    g_test_add_func("/compare-cost/syncs", test_syncs);
    return g_test_run();
}
