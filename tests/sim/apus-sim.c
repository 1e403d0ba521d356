/*
 * apus-sim: run schedules, replay one, make one small
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

static struct {
    char *seeds, *drop, *plain, *mutation;
    gint64 seed, shrink, steps;
    int members, jobs, most;
    gboolean trace, consequences, counts, one_sided;
} arg = { .seed = -1, .shrink = -1, .members = 3, .jobs = 1, .most = 10 };

static const GOptionEntry entries[] = {
    { "seeds", 0, 0, G_OPTION_ARG_STRING, &arg.seeds,
      "run these schedules", "FROM..TO" },
    { "seed", 0, 0, G_OPTION_ARG_INT64, &arg.seed,
      "run this one and show its plan", "N" },
    { "shrink", 0, 0, G_OPTION_ARG_INT64, &arg.shrink,
      "make this one as small as it can be and still fail", "N" },
    { "members", 0, 0, G_OPTION_ARG_INT, &arg.members,
      "how large the group is (3)", "3|5" },
    { "mutation", 0, 0, G_OPTION_ARG_STRING, &arg.mutation,
      "break this rule (core/mutation.h, rules.h)", "NAME" },
    { "jobs", 0, 0, G_OPTION_ARG_INT, &arg.jobs, "processes (1)", "N" },
    { "most", 0, 0, G_OPTION_ARG_INT, &arg.most,
      "stop after so many violations (10)", "N" },
    { "steps", 0, 0, G_OPTION_ARG_INT64, &arg.steps,
      "end each schedule after so many events", "N" },
    { "trace", 0, 0, G_OPTION_ARG_NONE, &arg.trace,
      "with --seed: show every event", NULL },
    { "drop", 0, 0, G_OPTION_ARG_STRING, &arg.drop,
      "leave out these faults, a set as --shrink prints it", "HEX" },
    { "plain", 0, 0, G_OPTION_ARG_STRING, &arg.plain,
      "leave out this noise, likewise", "HEX" },
    { "consequences", 0, 0, G_OPTION_ARG_NONE, &arg.consequences,
      "check only what users can see, not what members promise", NULL },
    { "one-sided", 0, 0, G_OPTION_ARG_NONE, &arg.one_sided,
      "members write into each other's memory", NULL },
    { "counts", 0, 0, G_OPTION_ARG_NONE, &arg.counts,
      "show what happened in the schedules", NULL },
    { 0 }
};

static G_NORETURN void stop(const char *why, const char *value)
{
    fprintf(stderr, "apus-sim: %s: %s\n", why, value);
    exit(2);
}

static void print_counts(const SimCounts *counts)
{
#define PRINT(name) printf("%12" PRIu64 " %s\n", counts->name, #name);
    SIM_COUNT_LIST(PRINT)
#undef PRINT
}

static int run_seeds(const SimOptions *options)
{
    SimPool pool = {
        .options = *options,
        .jobs = arg.jobs,
        .most = MAX(arg.most, 1),
    };
    SimReport reports[SIM_MAX_REPORTS];
    SimCounts counts = { 0 };
    gint64 start = g_get_monotonic_time();
    unsigned failures;

    if (sscanf(arg.seeds, "%" SCNu64 "..%" SCNu64, &pool.from,
               &pool.to) != 2 || pool.from > pool.to) {
        stop("not FROM..TO", arg.seeds);
    }
    failures = sim_pool_run(&pool, reports, &counts);
    for (unsigned i = 0; i < MIN(failures, SIM_MAX_REPORTS); i++) {
        printf("seed %" PRIu64 " at %.3f ms violates %s: %s\n",
               reports[i].seed, reports[i].at / 1e6, reports[i].rule,
               reports[i].what);
    }
    if (arg.counts) {
        print_counts(&counts);
    }
    printf("%u members, seeds %s: %u violations, %.1f s\n", options->members,
           arg.seeds, failures,
           (g_get_monotonic_time() - start) / 1e6);
    return failures ? 1 : 0;
}

static int run_seed(SimOptions *options)
{
    Sim *sim = sim_new();
    gboolean good;

    options->seed = arg.seed;
    options->trace = arg.trace ? stdout : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sim_plan_make(&sim->plan, options->seed, options->members,
                  options->dropped, options->plain);
    sim_plan_print(&sim->plan, stdout);
    good = sim_run(sim, options);
    if (!good) {
        printf("at %.3f ms violates %s: %s\n", sim->now / 1e6, sim->rule,
               sim->what);
    }
    sim_text_hosts(sim, stdout);
    if (arg.counts) {
        print_counts(&sim->count);
    }
    sim_free(sim);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    SimOptions options = { 0 };
    unsigned mutation = 0;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        stop("options", error->message);
    }
    if (arg.members != 3 && arg.members != 5) {
        stop("--members", "3 or 5");
    }
    if (arg.mutation && !sim_mutation_find(arg.mutation, &mutation)) {
        stop("no such mutation", arg.mutation);
    }
    sim_mutation_set(mutation);
    options.members = arg.members;
    options.steps = MAX(arg.steps, 0);
    options.consequences = arg.consequences;
    options.one_sided = arg.one_sided;
    options.dropped = arg.drop ? g_ascii_strtoull(arg.drop, NULL, 16) : 0;
    options.plain = arg.plain ? g_ascii_strtoull(arg.plain, NULL, 16) : 0;
    if (arg.shrink >= 0) {
        options.seed = arg.shrink;
        sim_shrink(&options, stdout);
        return 0;
    }
    if (arg.seed >= 0) {
        return run_seed(&options);
    }
    if (arg.seeds) {
        return run_seeds(&options);
    }
    stop("what?", "--seeds, --seed or --shrink; see --help");
}
