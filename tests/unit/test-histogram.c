/*
 * The histogram that benchmarks count latencies in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>

#include "colo-net/apus/tools/bench/histogram.h"

static void test_a_value_is_wrong_by_less_than_one_in_256(void)
{
    for (uint64_t value = 1; value < G_GUINT64_CONSTANT(1) << 40;
         value += value / 100 + 1) {
        BenchHistogram histogram = { 0 };
        uint64_t told;

        bench_histogram_add(&histogram, value);
        /* Else it would be cut off at the largest value. */
        histogram.max = UINT64_MAX;
        told = bench_histogram_percentile(&histogram, 50);
        g_assert_cmpuint(MAX(told, value) - MIN(told, value), <=,
                         value / 256);
    }
}

static void test_percentiles_are_of_the_nearest_rank(void)
{
    BenchHistogram histogram = { 0 };

    for (unsigned value = 1; value <= 200; value++) {
        bench_histogram_add(&histogram, value);
    }
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 0.1), ==, 1);
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 50), ==, 100);
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 99), ==, 198);
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 99.9), ==, 200);
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 100), ==, 200);
}

static void test_no_percentile_exceeds_the_largest_value(void)
{
    BenchHistogram histogram = { 0 };

    bench_histogram_add(&histogram, 1000000);
    g_assert_cmpuint(bench_histogram_percentile(&histogram, 99.9), ==,
                     1000000);
}

static void test_a_larger_value_is_never_in_an_earlier_bucket(void)
{
    for (unsigned i = 1; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        g_assert_cmpuint(bench_histogram_value(i), >,
                         bench_histogram_value(i - 1));
    }
}

static void test_what_is_too_long_counts_as_the_longest(void)
{
    BenchHistogram histogram = { 0 };

    bench_histogram_add(&histogram, UINT64_MAX);
    g_assert_cmpuint(histogram.total, ==, 1);
    g_assert_cmpuint(histogram.counts[BENCH_HISTOGRAM_BUCKETS - 1], ==, 1);
}

static void test_an_empty_one_has_no_percentiles(void)
{
    BenchHistogram histogram = { 0 };

    g_assert_cmpuint(bench_histogram_percentile(&histogram, 50), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/histogram/a-value-is-wrong-by-less-than-one-in-256",
                    test_a_value_is_wrong_by_less_than_one_in_256);
    g_test_add_func("/histogram/percentiles-are-of-the-nearest-rank",
                    test_percentiles_are_of_the_nearest_rank);
    g_test_add_func("/histogram/no-percentile-exceeds-the-largest-value",
                    test_no_percentile_exceeds_the_largest_value);
    g_test_add_func("/histogram/a-larger-value-is-never-in-an-earlier-bucket",
                    test_a_larger_value_is_never_in_an_earlier_bucket);
    g_test_add_func("/histogram/what-is-too-long-counts-as-the-longest",
                    test_what_is_too_long_counts_as_the_longest);
    g_test_add_func("/histogram/an-empty-one-has-no-percentiles",
                    test_an_empty_one_has_no_percentiles);
    return g_test_run();
}
