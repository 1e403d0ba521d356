/*
 * How often which latency was seen, in a fixed amount of memory
 *
 * Values below 256 are counted one by one; above, each power of two is divided
 * into 128 equal buckets, and a value that is asked for is the middle of its
 * bucket: it is wrong by less than 0.4 %. Values are nanoseconds; what is
 * longer than 18 minutes counts as that. Nothing is allocated, so a histogram
 * may live in shared memory, and adding costs a few instructions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define BENCH_HISTOGRAM_EXACT 256
#define BENCH_HISTOGRAM_HALF 128
#define BENCH_HISTOGRAM_BITS 40
#define BENCH_HISTOGRAM_BUCKETS                                               \
    (BENCH_HISTOGRAM_EXACT + (BENCH_HISTOGRAM_BITS - 8) * BENCH_HISTOGRAM_HALF)

/* All zero: nothing was counted. */
typedef struct {
    uint64_t counts[BENCH_HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
} BenchHistogram;

void bench_histogram_add(BenchHistogram *histogram, uint64_t value);

/*
 * The nearest-rank percentile, never more than the largest value; 0 if nothing
 * was counted. @percent is above 0, at most 100.
 */
uint64_t bench_histogram_percentile(const BenchHistogram *histogram,
                                    double percent);

/* The value that bucket @bucket stands for. */
uint64_t bench_histogram_value(unsigned bucket);

#endif
