/*
 * compare.h and echo.h in a world of their own, with chance as the user
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/compare-world.h"

/* With -m slow there are many. */
static unsigned worlds(void)
{
    return g_test_slow() ? 50 : 3;
}

/* Some worlds with these options; what happened in all of them together. */
static CompareWorldStats run(const CompareWorldOptions *options)
{
    CompareWorldStats all = { 0 };

    for (unsigned i = 0; i < worlds(); i++) {
        CompareWorld *world = compare_world_new(options);
        CompareWorldStats stats;

        for (unsigned round = 0; round < 4; round++) {
            for (unsigned j = 0; j < 2500; j++) {
                compare_world_step(world);
            }
            compare_world_settle(world);
        }
        compare_world_stats(world, &stats);
        for (unsigned j = 0; j < sizeof(all) / sizeof(uint64_t); j++) {
            ((uint64_t *)&all)[j] += ((uint64_t *)&stats)[j];
        }
        compare_world_free(world);
    }
    g_test_message("bytes %" G_GUINT64_FORMAT ", syncs %" G_GUINT64_FORMAT
                   ", reverts %" G_GUINT64_FORMAT ", takeovers %"
                   G_GUINT64_FORMAT ", diverged %" G_GUINT64_FORMAT
                   ", connections %" G_GUINT64_FORMAT ", alone %"
                   G_GUINT64_FORMAT ", equal %" G_GUINT64_FORMAT ", staged %"
                   G_GUINT64_FORMAT ", cut %" G_GUINT64_FORMAT ", waits %"
                   G_GUINT64_FORMAT ", learned %" G_GUINT64_FORMAT,
                   all.bytes, all.syncs, all.reverts, all.takeovers,
                   all.diverged, all.connections, all.alone, all.equal,
                   all.staged, all.cut, all.waits, all.learned);
    return all;
}

/* Chance may pass by what is rare if there are few worlds. */
static void check_happened(uint64_t n)
{
    g_assert_true(n || !g_test_slow());
}

static void test_equal_guests_need_no_sync(void)
{
    CompareWorldOptions options = { 0 };
    CompareWorldStats stats = run(&options);

    /* one that each of the worlds began with */
    g_assert_cmpuint(stats.syncs, ==, worlds());
    g_assert_cmpuint(stats.diverged, ==, 0);
    g_assert_cmpuint(stats.equal, >, 100);
    check_happened(stats.learned);
    check_happened(stats.cut);
}

static void test_frames_may_be_lost(void)
{
    CompareWorldOptions options = { .frames_lost = TRUE };
    CompareWorldStats stats = run(&options);

    g_assert_cmpuint(stats.syncs, ==, worlds());
    g_assert_cmpuint(stats.diverged, ==, 0);
}

static void test_syncs_disturb_nothing(void)
{
    CompareWorldOptions options = { .syncs = TRUE, .failures = TRUE };
    CompareWorldStats stats = run(&options);

    g_assert_cmpuint(stats.syncs, >, worlds());
    check_happened(stats.reverts);
    g_assert_cmpuint(stats.diverged, ==, 0);
}

static void test_divergence_is_noticed(void)
{
    CompareWorldOptions options = { .syncs = TRUE, .failures = TRUE,
                             .divergence = TRUE };
    CompareWorldStats stats = run(&options);

    check_happened(stats.diverged);
}

static void test_notes_may_be_lost(void)
{
    CompareWorldOptions options = { .syncs = TRUE, .failures = TRUE,
                             .notes_lost = TRUE, .frames_lost = TRUE };
    run(&options);
}

static void test_clients_live_through_takeovers(void)
{
    CompareWorldOptions options = { .syncs = TRUE, .failures = TRUE,
                             .takeovers = TRUE };
    CompareWorldStats stats = run(&options);

    check_happened(stats.takeovers);
    g_assert_cmpuint(stats.diverged, ==, 0);
}

static void test_all_at_once(void)
{
    CompareWorldOptions options = { TRUE, TRUE, TRUE, TRUE, TRUE, TRUE };
    CompareWorldStats stats = run(&options);

    check_happened(stats.takeovers);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/compare-model/equal", test_equal_guests_need_no_sync);
    g_test_add_func("/compare-model/frames-lost", test_frames_may_be_lost);
    g_test_add_func("/compare-model/syncs", test_syncs_disturb_nothing);
    g_test_add_func("/compare-model/divergence", test_divergence_is_noticed);
    g_test_add_func("/compare-model/notes-lost", test_notes_may_be_lost);
    g_test_add_func("/compare-model/takeovers",
                    test_clients_live_through_takeovers);
    g_test_add_func("/compare-model/all", test_all_at_once);
    return g_test_run();
}
