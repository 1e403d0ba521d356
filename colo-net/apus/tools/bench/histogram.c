/*
 * How often which latency was seen: a histogram with buckets whose width grows
 * with the value
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "histogram.h"

#include <glib.h>

/* Index of the first bucket of the power of two 1 << @bits. */
static unsigned first_bucket(unsigned bits)
{
    return BENCH_HISTOGRAM_EXACT + (bits - 8) * BENCH_HISTOGRAM_HALF;
}

static unsigned bucket_of(uint64_t value)
{
    unsigned bits;

    if (value < BENCH_HISTOGRAM_EXACT) {
        return value;
    }
    bits = 63 - __builtin_clzll(value);
    if (bits >= BENCH_HISTOGRAM_BITS) {
        return BENCH_HISTOGRAM_BUCKETS - 1;
    }
    /* The 7 bits behind the first one say where it is in its power of two. */
    return first_bucket(bits) + (value >> (bits - 7)) - BENCH_HISTOGRAM_HALF;
}

void bench_histogram_add(BenchHistogram *histogram, uint64_t value)
{
    histogram->counts[bucket_of(value)]++;
    histogram->total++;
    histogram->max = MAX(histogram->max, value);
}

uint64_t bench_histogram_value(unsigned bucket)
{
    unsigned power, place;

    g_assert(bucket < BENCH_HISTOGRAM_BUCKETS);
    if (bucket < BENCH_HISTOGRAM_EXACT) {
        return bucket;
    }
    power = (bucket - BENCH_HISTOGRAM_EXACT) / BENCH_HISTOGRAM_HALF;
    place = (bucket - BENCH_HISTOGRAM_EXACT) % BENCH_HISTOGRAM_HALF;
    /* The buckets of this power of two are 2 << power wide. */
    return ((uint64_t)(BENCH_HISTOGRAM_HALF + place) << (power + 1)) +
           ((uint64_t)1 << power);
}

uint64_t bench_histogram_percentile(const BenchHistogram *histogram,
                                    double percent)
{
    double exact = histogram->total * percent / 100;
    uint64_t rank = exact;
    uint64_t seen = 0;

    g_assert(percent > 0 && percent <= 100);
    rank = MAX(rank + (rank < exact), 1);
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank) {
            return MIN(bench_histogram_value(i), histogram->max);
        }
    }
    return 0;
}
