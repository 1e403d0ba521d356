/*
 * APUS in the simulator: nothing is violated, and what is broken is noticed
 *
 * APUS_SIM_SEEDS says how many schedules are run for each size of a group; with
 * ASan it is a tenth of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pool.h"

#define SEEDS 2000

/* Only one of so many is run: with ASan it takes longer. */
#ifndef SIM_SHARE
#define SIM_SHARE 1
#endif

static uint64_t seeds(void)
{
    const char *text = g_getenv("APUS_SIM_SEEDS");
    uint64_t count = text ? g_ascii_strtoull(text, NULL, 10) : 0;

    return MAX((count ? count : SEEDS) / SIM_SHARE, 1);
}

static unsigned run(SimPool *pool, SimReport *reports, SimCounts *counts)
{
    unsigned failures;

    pool->from = 1;
    pool->jobs = g_get_num_processors();
    failures = sim_pool_run(pool, reports, counts);
    for (unsigned i = 0; i < MIN(failures, 5); i++) {
        g_test_message("%u members, seed %" PRIu64 " at %.3f ms violates %s: "
                       "%s", pool->options.members, reports[i].seed,
                       reports[i].at / 1e6, reports[i].rule,
                       reports[i].what);
    }
    return failures;
}

/* --- nothing is violated ------------------------------------------------ */

/* A schedule in which nothing happens proves nothing. */
static void check_counts(const SimCounts *counts, uint64_t schedules)
{
    g_assert_cmpuint(counts->events, >, 2000 * schedules);
    g_assert_cmpuint(counts->committed, >, 100 * schedules);
    g_assert_cmpuint(counts->elected, >, schedules);
    g_assert_cmpuint(counts->protected, >, schedules);
    g_assert_cmpuint(counts->restarts, >, 3 * schedules);
    g_assert_cmpuint(counts->failovers, >, schedules / 4);
    g_assert_cmpuint(counts->cured, >, schedules / 4);
    g_assert_cmpuint(counts->snapshots, >, schedules);
    g_assert_cmpuint(counts->replaced, >, schedules / 8);
    g_assert_cmpuint(counts->adopted, >, schedules / 50);
    g_assert_cmpuint(counts->judged, >, schedules / 5 * 4);
    g_assert_cmpuint(counts->released, >, 100 * schedules);
    g_assert_cmpuint(counts->staged, >, 4 * schedules);
    g_assert_cmpuint(counts->takeovers, >, schedules / 4);
    g_assert_cmpuint(counts->sync_failures, >, schedules / 4);
    g_assert_cmpuint(counts->diverged, >, schedules);
}

static void check_nothing_is_violated(unsigned members, gboolean one_sided)
{
    SimPool pool = {
        .options = { .members = members, .one_sided = one_sided },
        .to = seeds(),
        .most = 5,
    };
    SimReport reports[SIM_MAX_REPORTS];
    SimCounts counts = { 0 };

    sim_mutation_set(APUS_MUTATION_NONE);
    g_assert_cmpuint(run(&pool, reports, &counts), ==, 0);
    check_counts(&counts, pool.to);
    if (one_sided) {
        g_assert_cmpuint(counts.torn, >, 100 * pool.to);
        g_assert_cmpuint(counts.refused, >, pool.to / 50);
    }
}

static void test_nothing_is_violated(const void *data)
{
    check_nothing_is_violated(GPOINTER_TO_UINT(data), FALSE);
}

static void test_nothing_is_violated_by_writes(void)
{
    check_nothing_is_violated(3, TRUE);
}

/*
 * Schedules in which something was violated once, beyond those that are always
 * run: sessions whose secondary was never named, or whose SYNC was refused for
 * ever, and that kept the log from being trimmed; the last two, a HELLO that
 * was late and ended a newer session.
 */
static void test_what_was_violated_once(void)
{
    static const uint64_t seed[] = {
        19496, 21367, 43606, 74234, 91519, 196154, 227915,
    };
    SimReport report;

    sim_mutation_set(APUS_MUTATION_NONE);
    for (unsigned i = 0; i < G_N_ELEMENTS(seed); i++) {
        SimOptions options = { .members = 3, .seed = seed[i] };
        gboolean failed = sim_pool_try(&options, FALSE, &report);

        if (failed) {
            g_test_message("seed %" PRIu64 " violates %s: %s", seed[i],
                           report.rule, report.what);
        }
        g_assert_false(failed);
    }
}

/* --- what is broken is noticed ------------------------------------------ */

/*
 * In which group, and within how many schedules. What has no entry is not
 * noticed here, but by tests/model: OWN_TERM_ADOPTED takes two candidates of
 * one term, one of them elected and two changes of members committed while the
 * other still asks; R15_STANDING a leader that hears STAGED and not that its
 * secondary stands.
 */
#define ABOVE(name) (APUS_MUTATIONS_END - 1 + SIM_RULE_##name)
static const struct {
    unsigned members;
    uint64_t seeds;
    gboolean one_sided;
} noticed[SIM_MUTATIONS] = {
    [APUS_MUTATION_VOTE_UNSAVED] = { 3, 20 },
    [APUS_MUTATION_TERM_UNSAVED] = { 3, 20 },
    [APUS_MUTATION_ROLE_UNSAVED] = { 3, 20 },
    [APUS_MUTATION_APPEND_UNSAVED] = { 3, 20 },
    [APUS_MUTATION_ELIGIBLE_FIRST] = { 3, 200 },
    [APUS_MUTATION_NO_ADOPTION] = { 5, 100 },
    [APUS_MUTATION_EACH_VOTER] = { 5, 100 },
    [APUS_MUTATION_COMMIT_UNSAFE] = { 3, 100 },
    [APUS_MUTATION_COMMIT_BY_TWO] = { 5, 500 },
    [APUS_MUTATION_OLD_TERM_COMMIT] = { 3, 100 },
    [APUS_MUTATION_OFFSET_COMPARED] = { 3, 20 },
    [APUS_MUTATION_AMNESIAC_VOTES] = { 3, 200 },
    [APUS_MUTATION_AMNESIAC_ACKS] = { 3, 100 },
    [APUS_MUTATION_AMNESIAC_ECHOES] = { 3, 4000 },
    [APUS_MUTATION_BLANK_UNCONFIRMED] = { 3, 1000 },
    [APUS_MUTATION_LIFE_IGNORED] = { 3, 3000 },
    [APUS_MUTATION_INCARNATION_IGNORED] = { 3, 200 },
    [APUS_MUTATION_WITNESS_LEADS] = { 3, 20 },
    [APUS_MUTATION_LEASE_FROM_ANSWER] = { 3, 500 },
    [APUS_MUTATION_LEASE_UNPROMISED] = { 3, 1000 },
    [APUS_MUTATION_NO_QUARANTINE] = { 3, 2000 },
    [APUS_MUTATION_SPEAKS_EARLY] = { 3, 20 },
    [APUS_MUTATION_CUT_MATCHING] = { 3, 100 },
    [APUS_MUTATION_NO_PREV_CHECK] = { 5, 500 },
    [APUS_MUTATION_TRIM_EARLY] = { 5, 200 },
    [APUS_MUTATION_BARRIER_IGNORED] = { 3, 20 },
    [APUS_MUTATION_TWO_CHANGES] = { 3, 1000 },
    [APUS_MUTATION_OLD_MEMBERS_ELECT] = { 3, 10000 },
    [APUS_MUTATION_STUCK_LEADS] = { 3, 1500 },
    [APUS_MUTATION_FATE_EARLY] = { 3, 400 },
    [ABOVE(R4_NOT_FENCED)] = { 3, 200, TRUE },
    [ABOVE(R5_TORN_TAKEN)] = { 3, 20, TRUE },
    [ABOVE(R9_LEASE_UNASKED)] = { 3, 8000 },
    [ABOVE(R11_PENDING_KEPT)] = { 3, 20 },
    [ABOVE(R12_SEAL_IGNORED)] = { 3, 100 },
    [ABOVE(R12_EPOCH_UNTAGGED)] = { 3, 300 },
    [ABOVE(R12_OLD_REPORT)] = { 3, 300 },
    [ABOVE(R12_NONE_EARLY)] = { 3, 100 },
    [ABOVE(R13_BARRIER_AHEAD)] = { 3, 100 },
    [ABOVE(R13_BASE_ASSUMED)] = { 3, 1000 },
    [ABOVE(R14_MAP_FORGOTTEN)] = { 3, 2000 },
    [ABOVE(R14_OWN_PAGES)] = { 3, 50 },
    [ABOVE(R14_COPY_LATE)] = { 3, 50 },
    [ABOVE(R15_STAGED_EARLY)] = { 3, 100 },
    [ABOVE(R16_IN_PARTS)] = { 3, 200 },
    [ABOVE(R16_OUTPUTS_KEPT)] = { 3, 300 },
    [ABOVE(R16_STAGE_DROPPED)] = { 3, 3000 },
    [ABOVE(R17_LATE_STAGED)] = { 3, 10000 },
    [ABOVE(R18_NO_MERGE)] = { 3, 2000 },
    [ABOVE(R18_NO_SEAL)] = { 3, 100 },
    [ABOVE(R18_NEXT_COMMIT)] = { 3, 12000 },
    [ABOVE(R19_WHILE_SEALED)] = { 3, 200 },
    [ABOVE(R20_SEALED_APPLIED)] = { 3, 4000 },
    [ABOVE(R21_NO_INTENT)] = { 3, 4000 },
    [ABOVE(R22_DISK_ALONE)] = { 3, 100 },
    [ABOVE(R23_OLD_SESSION)] = { 3, 6000 },
    [ABOVE(R24_ROLE_EARLY)] = { 3, 200 },
    [ABOVE(R24_HELD_LATE)] = { 3, 200 },
    [ABOVE(R24_REPLICATED_LATE)] = { 3, 20 },
};

static void test_broken_rule_is_noticed(const void *data)
{
    unsigned mutation = GPOINTER_TO_UINT(data);
    SimPool pool = {
        .options.members = noticed[mutation].members,
        .options.one_sided = noticed[mutation].one_sided,
        .to = noticed[mutation].seeds,
        .most = 1,
        .silent = TRUE,
    };
    SimReport reports[SIM_MAX_REPORTS];
    SimCounts counts = { 0 };

    sim_mutation_set(mutation);
    g_assert_cmpuint(run(&pool, reports, &counts), >, 0);
}

static void test_every_rule_but_two_is_noticed(void)
{
    for (unsigned i = APUS_MUTATION_NONE + 1; i < SIM_MUTATIONS; i++) {
        g_assert_true((noticed[i].seeds == 0) ==
                      (i == APUS_MUTATION_OWN_TERM_ADOPTED ||
                       i == ABOVE(R15_STANDING)));
    }
}

/* --- what the simulator promises ---------------------------------------- */

static void test_seed_replays_exactly(void)
{
    SimOptions options = { .members = 3 };
    SimCounts counts[2];
    uint64_t end[2];

    sim_mutation_set(APUS_MUTATION_NONE);
    for (options.seed = 1; options.seed <= 10; options.seed++) {
        for (unsigned i = 0; i < 2; i++) {
            Sim *sim = sim_new();

            /* The second time in a simulator that was in use. */
            if (i == 1) {
                SimOptions other = { .members = 5, .seed = 77 };

                sim_run(sim, &other);
            }
            sim_run(sim, &options);
            counts[i] = sim->count;
            end[i] = sim->now;
            sim_free(sim);
        }
        g_assert_cmpmem(&counts[0], sizeof(counts[0]), &counts[1],
                        sizeof(counts[1]));
        g_assert_cmpuint(end[0], ==, end[1]);
    }
}

static void test_failing_schedule_is_made_small(void)
{
    SimPool pool = {
        .options.members = 3,
        .from = 1,
        .to = 1000,
        .jobs = 1,
        .most = 1,
    };
    SimReport reports[SIM_MAX_REPORTS];
    SimCounts counts = { 0 };
    g_autofree char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    SimOptions options;
    SimPlan plan, small;

    sim_mutation_set(APUS_MUTATION_LEASE_UNPROMISED);
    g_assert_cmpuint(sim_pool_run(&pool, reports, &counts), ==, 1);
    options = pool.options;
    options.seed = reports[0].seed;
    sim_shrink(&options, out);
    fclose(out);
    sim_plan_make(&plan, options.seed, options.members, 0, 0);
    sim_plan_make(&small, options.seed, options.members, options.dropped,
                  options.plain);
    g_assert_cmpuint(small.faults, <, plan.faults);
    g_assert_true(sim_pool_try(&options, TRUE, reports));
    g_assert_nonnull(strstr(text, "--mutation=LEASE_UNPROMISED"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    g_test_add_data_func("/sim/nothing-is-violated/3-members",
                         GUINT_TO_POINTER(3), test_nothing_is_violated);
    g_test_add_data_func("/sim/nothing-is-violated/5-members",
                         GUINT_TO_POINTER(5), test_nothing_is_violated);
    g_test_add_func("/sim/nothing-is-violated/one-sided",
                    test_nothing_is_violated_by_writes);
    g_test_add_func("/sim/nothing-is-violated/what-was-once",
                    test_what_was_violated_once);
    for (unsigned i = APUS_MUTATION_NONE + 1; i < SIM_MUTATIONS; i++) {
        g_autofree char *path = g_strdup_printf("/sim/is-noticed/%s",
                                                sim_mutation_name(i));

        if (noticed[i].seeds > 0) {
            g_test_add_data_func(path, GUINT_TO_POINTER(i),
                                 test_broken_rule_is_noticed);
        }
    }
    g_test_add_func("/sim/every-rule-but-two-is-noticed",
                    test_every_rule_but_two_is_noticed);
    g_test_add_func("/sim/seed-replays-exactly", test_seed_replays_exactly);
    g_test_add_func("/sim/failing-schedule-is-made-small",
                    test_failing_schedule_is_made_small);
    return g_test_run();
}
