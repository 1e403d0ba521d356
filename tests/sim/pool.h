/*
 * Many schedules, in processes of their own
 *
 * A core that stops at an assertion, or never returns, takes its process with
 * it; the seed is reported like one that violates a rule, and the others go on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_POOL_H
#define SIM_POOL_H

#include "sim.h"

#define SIM_MAX_REPORTS 64

typedef struct {
    uint64_t seed;
    uint64_t at; /* nanoseconds since the start of the schedule */
    char rule[32];
    char what[400];
} SimReport;

typedef struct {
    SimOptions options; /* but for the seed */
    uint64_t from, to;
    unsigned jobs;
    unsigned most; /* give up after so many violations; at least 1 */
    gboolean silent; /* what a process says when it dies is not shown */
} SimPool;

/*
 * Run @pool's seeds. Returns how many of them violate a rule, with the first
 * ones found in @reports (room for SIM_MAX_REPORTS), ordered by seed, and what
 * happened in all of them added to @counts.
 */
unsigned sim_pool_run(const SimPool *pool, SimReport *reports,
                      SimCounts *counts);

/* One schedule. TRUE when it violates a rule. */
gboolean sim_pool_try(const SimOptions *options, gboolean silent,
                      SimReport *report);

/* Leave out what is not needed for @options to fail as it does. */
void sim_shrink(SimOptions *options, FILE *out);

#endif
