/*
 * A schedule that fails, made small
 *
 * Fault by fault, and then one kind of noise after another, is left out for as
 * long as the same rule is violated.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "pool.h"

/* The same, but for numbers? */
static gboolean alike(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (g_ascii_isdigit(*a)) {
            a++;
        }
        while (g_ascii_isdigit(*b)) {
            b++;
        }
        if (*a != *b || *a == '\0') {
            return *a == *b;
        }
    }
}

static gboolean still_fails(const SimOptions *options,
                            const SimReport *original)
{
    SimOptions silent = *options;
    SimReport report;

    silent.trace = NULL;
    return sim_pool_try(&silent, TRUE, &report) &&
           g_str_equal(report.rule, original->rule) &&
           alike(report.what, original->what);
}

static gboolean drop_faults(SimOptions *options, unsigned faults,
                            const SimReport *original)
{
    gboolean smaller = FALSE;

    /* Halves first, then quarters, ... */
    for (unsigned size = MAX(faults / 2, 1); size > 0; size /= 2) {
        for (unsigned from = 0; from < faults; from += size) {
            SimOptions less = *options;

            for (unsigned i = from; i < MIN(from + size, faults); i++) {
                less.dropped |= UINT64_C(1) << i;
            }
            if (less.dropped != options->dropped &&
                still_fails(&less, original)) {
                *options = less;
                smaller = TRUE;
            }
        }
    }
    return smaller;
}

static gboolean drop_noise(SimOptions *options, const SimReport *original)
{
    gboolean smaller = FALSE;

    for (unsigned bit = 1; bit < SIM_PLAIN_ALL; bit <<= 1) {
        SimOptions less = *options;

        less.plain |= bit;
        if (less.plain != options->plain && still_fails(&less, original)) {
            *options = less;
            smaller = TRUE;
        }
    }
    return smaller;
}

void sim_shrink(SimOptions *options, FILE *out)
{
    SimReport report;
    SimPlan plan;

    if (!sim_pool_try(options, TRUE, &report)) {
        fprintf(out, "seed %" PRIu64 " does not fail\n", options->seed);
        return;
    }
    sim_plan_make(&plan, options->seed, options->members, 0, 0);
    while (drop_faults(options, plan.faults, &report) |
           drop_noise(options, &report)) {
        continue;
    }
    sim_pool_try(options, TRUE, &report);
    sim_plan_make(&plan, options->seed, options->members, options->dropped,
                  options->plain);
    sim_plan_print(&plan, out);
    fprintf(out, "violates %s at %.3f ms: %s\n", report.rule,
            report.at / 1e6, report.what);
    fprintf(out, "again: --members=%u --seed=%" PRIu64 " --drop=%" PRIx64
            " --plain=%x%s%s%s --trace\n", options->members, options->seed,
            options->dropped, options->plain,
            options->one_sided ? " --one-sided" : "",
            sim_mutation_get() ? " --mutation=" : "",
            sim_mutation_get() ? sim_mutation_name(sim_mutation_get()) : "");
}
