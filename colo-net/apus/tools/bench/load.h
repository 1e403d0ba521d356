/*
 * A closed loop: so many operations are under way, and where one is done the
 * next one begins
 *
 * The user of a loop says how an operation is begun, and tells when one is
 * done. A loop measures once for each number of operations under way that the
 * settings list: first it warms up, then it counts the operations that are
 * done, how long each took, and the CPU time of all processes of the group;
 * then no more are begun, and when all are done the next measurement follows.
 * All happens in calls of the user's, in one thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "group.h"
#include "histogram.h"

typedef struct BenchLoad BenchLoad;

/* An operation under way. */
typedef struct BenchSlot BenchSlot;
struct BenchSlot {
    BenchLoad *load;
    void *opaque; /* the user's */
    uint64_t begun;
    BenchSlot *next; /* of those not under way */
};

typedef struct {
    /*
     * Begin an operation. FALSE: not now, the load will ask again when another
     * is done. Must not call back.
     */
    gboolean (*begin)(void *opaque, BenchSlot *slot);
    /* All was measured, and nothing is under way. */
    void (*ended)(void *opaque);
    /*
     * How often this process has written to others, and read from them. May be
     * NULL.
     */
    void (*count)(void *opaque, uint64_t *writes, uint64_t *reads);
} BenchLoadOps;

/* One measurement. */
typedef struct {
    unsigned inflight;
    uint64_t nanoseconds; /* that it took */
    BenchHistogram latency;
    uint64_t cpu[BENCH_MAX_PROCESSES]; /* nanoseconds */
    uint64_t writes, reads; /* 0: not counted */
} BenchResult;

/* Everything passed stays the caller's. */
BenchLoad *bench_load_new(const BenchSettings *settings,
                          const BenchGroup *group, const BenchLoadOps *ops,
                          void *opaque);
void bench_load_free(BenchLoad *load);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchLoad, bench_load_free)

/* FALSE if not a single operation could be begun. */
gboolean bench_load_start(BenchLoad *load);
/* FALSE if none is under way, and none can be begun. */
gboolean bench_load_done(BenchSlot *slot);

unsigned bench_load_results(const BenchLoad *load);
const BenchResult *bench_load_result(const BenchLoad *load, unsigned i);

/*
 * The time that all measurements take if nothing gets stuck, and @patience
 * more, in nanoseconds.
 */
uint64_t bench_load_deadline(const BenchSettings *settings, uint64_t patience);

/* Print @result of @subject: a line for people, or a JSON object. */
void bench_result_print(const BenchResult *result, const char *subject,
                        const BenchSettings *settings,
                        const BenchGroup *group);

#endif
