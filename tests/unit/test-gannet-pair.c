/*
 * Two replicas of a disk, against a model: writes, checkpoints, crashes,
 * takeovers and copies in any order
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-pair.h"

/* More with -m slow; fewer where each takes long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIVES 1
#else
#define LIVES (g_test_slow() ? 1000 : 8)
#endif
#define STEPS 4000

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

/* How often in ten thousand steps; each life has its own. */
typedef struct Mood {
    unsigned writes;
    unsigned checkpoints;
    unsigned crashes;
    unsigned cuts;
    unsigned repairs;
} Mood;

static gboolean chance(unsigned often)
{
    return below(10000) < often;
}

static void step(GannetPair *pair, const Mood *mood)
{
    if (chance(mood->writes)) {
        gannet_pair_guest(pair);
    }
    if (chance(mood->checkpoints)) {
        gannet_pair_checkpoint(pair);
    }
    if (chance(mood->crashes)) {
        unsigned which = below(2);

        gannet_pair_crash(pair, which);
        if (below(10) == 0) {
            gannet_pair_swap(pair, which);
        }
    }
    if (chance(mood->cuts)) {
        gannet_pair_cut(pair);
    }
    if (chance(mood->cuts)) {
        gannet_pair_fail_over(pair);
    }
    if (chance(mood->repairs)) {
        gannet_pair_revive(pair);
    }
    if (chance(mood->repairs)) {
        gannet_pair_connect(pair);
    }
    if (chance(mood->repairs)) {
        gannet_pair_begin(pair);
    }
    if (chance(10)) {
        gannet_pair_verify(pair);
    }
    if (chance(10)) {
        gannet_pair_end(pair);
    }
    gannet_pair_step(pair);
    gannet_pair_check(pair);
}

/* In the end both run, are connected, and are brought in step. */
static void come_together(GannetPair *pair)
{
    gannet_pair_settle(pair);
    for (unsigned i = 0; !gannet_pair_in_step(pair); i++) {
        if (i == 100) {
            gannet_pair_describe(pair);
            g_error("the disks do not get in step");
        }
        gannet_pair_end(pair);
        gannet_pair_settle(pair);
        gannet_pair_fail_over(pair);
        gannet_pair_settle(pair);
        gannet_pair_revive(pair);
        gannet_pair_connect(pair);
        gannet_pair_settle(pair);
    }
    gannet_pair_check_equal(pair);
}

static void live(gboolean big, unsigned steps)
{
    g_autoptr(GannetPair) pair = gannet_pair_new(big);
    Mood mood = {
        .writes = (big ? 4000 : 200) + below(4000),
        .checkpoints = 10 + below(big ? 30 : 400),
        .crashes = below(3) ? below(big ? 10 : 40) : 0,
        .cuts = below(3) ? below(big ? 10 : 40) : 0,
        .repairs = 200 + below(1000),
    };

    if (big) {
        come_together(pair);
    }
    while (steps-- > 0) {
        step(pair, &mood);
        if (chance(20)) {
            gannet_pair_settle(pair);
        }
    }
    come_together(pair);
    g_test_message("%u checkpoints, %u given up, %u takeovers, %u crashes, "
                   "%u cuts, %u begun, %u full, %u verified, %u dead ends",
                   pair->stats.checkpoints, pair->stats.given_up,
                   pair->stats.takeovers, pair->stats.crashes,
                   pair->stats.cuts, pair->stats.synced, pair->stats.full,
                   pair->stats.verified, pair->stats.dead_ends);
}

static void two_replicas_keep_what_they_promise(void)
{
    for (int i = 0; i < LIVES; i++) {
        live(FALSE, STEPS);
    }
}

static void they_do_so_when_memory_is_short(void)
{
    for (int i = 0; i < (LIVES + 1) / 2; i++) {
        live(TRUE, STEPS / 2);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gannet-pair/two-replicas-keep-what-they-promise",
                    two_replicas_keep_what_they_promise);
    g_test_add_func("/gannet-pair/they-do-so-when-memory-is-short",
                    they_do_so_when_memory_is_short);
    return g_test_run();
}
