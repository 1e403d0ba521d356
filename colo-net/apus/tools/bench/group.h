/*
 * The processes of a benchmark
 *
 * Whoever measures starts the others as its children, which end with it. What
 * a child does is a function; nothing of GLib's may have started a thread
 * before.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_GROUP_H
#define BENCH_GROUP_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

#include "settings.h"

#define BENCH_MAX_PROCESSES 6

typedef struct {
    const char *role; /* a constant */
    pid_t pid;
    clockid_t clock; /* of the CPU time of all its threads */
} BenchProcess;

typedef struct {
    unsigned count;
    BenchProcess process[BENCH_MAX_PROCESSES];
    BenchList cpus;
    char *directory; /* for the state of all, removed at the end; or NULL */
} BenchGroup;

/* @settings->cpus are taken; with @stores, a directory is made. */
gboolean bench_group_init(BenchGroup *group, const BenchSettings *settings,
                          gboolean stores, GError **errp);

/* The calling process takes the next place, as @role. */
gboolean bench_group_add_self(BenchGroup *group, const char *role,
                              GError **errp);

/* A child takes it: it ends with the exit status that @work returns. */
gboolean bench_group_add(BenchGroup *group, const char *role,
                         int (*work)(void *opaque, unsigned place),
                         void *opaque, GError **errp);

/* CPU time of all processes so far, in nanoseconds. */
void bench_group_cpu(const BenchGroup *group,
                     uint64_t times[BENCH_MAX_PROCESSES]);

/*
 * Waits until all children have ended; FALSE if one failed, or not all ended
 * within @timeout nanoseconds.
 */
gboolean bench_group_wait(BenchGroup *group, uint64_t timeout, GError **errp);

/* Ends the children, and removes what was stored. */
void bench_group_end(BenchGroup *group);

/* @count ports of 127.0.0.1 that nobody listens at now. */
gboolean bench_free_ports(unsigned count, uint16_t *ports, GError **errp);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now(void);

#endif
