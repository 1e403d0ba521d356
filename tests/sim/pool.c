/*
 * Many schedules, in processes of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool.h"

#define MAX_JOBS 64
#define SECONDS 60 /* for one schedule */

typedef struct {
    atomic_ullong next;
    atomic_uint failures;
    SimReport report[SIM_MAX_REPORTS];
    struct {
        uint64_t seed; /* being run; 0: none */
        SimCounts counts;
    } job[MAX_JOBS];
} Shared;

static void report(Shared *shared, const SimReport *new)
{
    unsigned n = atomic_fetch_add(&shared->failures, 1);

    if (n < SIM_MAX_REPORTS) {
        shared->report[n] = *new;
    }
}

static void add_counts(SimCounts *sum, const SimCounts *more)
{
#define ADD(name) sum->name += more->name;
    SIM_COUNT_LIST(ADD)
#undef ADD
}

static void be_silent(void)
{
    int fd = open("/dev/null", O_WRONLY);

    if (fd >= 0) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
}

static G_NORETURN void work(const SimPool *pool, Shared *shared, unsigned job)
{
    Sim *sim = sim_new();
    SimOptions options = pool->options;

    if (pool->silent) {
        be_silent();
    }
    while (atomic_load(&shared->failures) < pool->most) {
        options.seed = atomic_fetch_add(&shared->next, 1);
        if (options.seed > pool->to) {
            break;
        }
        shared->job[job].seed = options.seed;
        alarm(SECONDS);
        if (!sim_run(sim, &options)) {
            SimReport new = { .seed = options.seed, .at = sim->now };

            g_strlcpy(new.rule, sim->rule, sizeof(new.rule));
            g_strlcpy(new.what, sim->what, sizeof(new.what));
            report(shared, &new);
        }
        add_counts(&shared->job[job].counts, &sim->count);
    }
    _exit(0);
}

static pid_t start(const SimPool *pool, Shared *shared, unsigned job)
{
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        work(pool, shared, job);
    }
    g_assert(child > 0);
    return child;
}

static void report_death(Shared *shared, unsigned job, int status)
{
    SimReport new = { .seed = shared->job[job].seed };

    g_strlcpy(new.rule, "assertion", sizeof(new.rule));
    g_snprintf(new.what, sizeof(new.what), "the process %s",
               WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "ended");
    report(shared, &new);
}

static int by_seed(const void *a, const void *b)
{
    const SimReport *one = a, *other = b;

    return one->seed < other->seed ? -1 : one->seed > other->seed;
}

unsigned sim_pool_run(const SimPool *pool, SimReport *reports,
                      SimCounts *counts)
{
    Shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned jobs = CLAMP(pool->jobs, 1, MAX_JOBS);
    unsigned running = 0, failures;
    pid_t child[MAX_JOBS];

    g_assert(shared != MAP_FAILED);
    atomic_store(&shared->next, pool->from);
    for (unsigned job = 0; job < jobs; job++, running++) {
        child[job] = start(pool, shared, job);
    }
    while (running > 0) {
        int status;
        unsigned job = 0;
        pid_t done = wait(&status);

        while (job < jobs && child[job] != done) {
            job++;
        }
        g_assert(job < jobs);
        child[job] = 0;
        running--;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            report_death(shared, job, status);
            child[job] = start(pool, shared, job);
            running++;
        }
    }
    failures = atomic_load(&shared->failures);
    qsort(shared->report, MIN(failures, SIM_MAX_REPORTS), sizeof(SimReport),
          by_seed);
    memcpy(reports, shared->report, sizeof(shared->report));
    for (unsigned job = 0; job < jobs; job++) {
        add_counts(counts, &shared->job[job].counts);
    }
    munmap(shared, sizeof(*shared));
    return failures;
}

gboolean sim_pool_try(const SimOptions *options, gboolean silent,
                      SimReport *report)
{
    SimPool pool = {
        .options = *options,
        .from = options->seed,
        .to = options->seed,
        .jobs = 1,
        .most = 1,
        .silent = silent,
    };
    SimReport reports[SIM_MAX_REPORTS];
    SimCounts counts = { 0 };

    if (sim_pool_run(&pool, reports, &counts) == 0) {
        return FALSE;
    }
    *report = reports[0];
    return TRUE;
}
