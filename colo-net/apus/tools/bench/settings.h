/*
 * The options that all programs of a benchmark understand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_SETTINGS_H
#define BENCH_SETTINGS_H

#include <glib.h>
#include <stdint.h>

#define BENCH_MAX_SIZE (1 << 20)
#define BENCH_MAX_INFLIGHT 65536
#define BENCH_MAX_LIST 64

typedef struct {
    unsigned count;
    unsigned value[BENCH_MAX_LIST];
} BenchList;

typedef struct {
    unsigned size; /* bytes of an entry or a message */
    BenchList inflight; /* one measurement for each */
    unsigned members; /* 3 or 5 */
    gboolean disk; /* durability */
    uint64_t warmup, duration; /* nanoseconds */
    char *directory; /* for state directories, which are made in it */
    BenchList cpus; /* of each process in turn; none: anywhere */
    gboolean json;
} BenchSettings;

/*
 * Reads @argv, with @more options, which end with an empty one, or are NULL.
 * --help ends the process.
 */
gboolean bench_settings_parse(BenchSettings *settings, const char *summary,
                              const GOptionEntry *more, int argc, char **argv,
                              GError **errp);
void bench_settings_clear(BenchSettings *settings);

#endif
