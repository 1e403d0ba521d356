/*
 * Percentiles of the last values, and of no others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>

#include "plover-sync/core/window.h"

/* The definition, word for word, over @n values. */
static uint64_t oracle(const uint64_t *values, uint64_t n, unsigned permille)
{
    uint64_t best = UINT64_MAX;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t reached = 0;

        for (uint64_t j = 0; j < n; j++) {
            reached += values[j] <= values[i];
        }
        if (reached * 1000 >= n * permille) {
            best = MIN(best, values[i]);
        }
    }
    return best;
}

static void nothing_measured_is_0(void)
{
    PloverWindow window = { 0 };

    g_assert_cmpuint(plover_window_permille(&window, 500), ==, 0);
    g_assert_cmpuint(plover_window_permille(&window, 1000), ==, 0);
    g_assert_cmpuint(plover_window_last(&window), ==, 0);
}

static void one_value_is_every_percentile(void)
{
    PloverWindow window = { 0 };

    plover_window_add(&window, UINT64_MAX);
    g_assert_cmpuint(plover_window_permille(&window, 0), ==, UINT64_MAX);
    g_assert_cmpuint(plover_window_permille(&window, 500), ==, UINT64_MAX);
    g_assert_cmpuint(plover_window_permille(&window, 1000), ==, UINT64_MAX);
}

static void percentiles_are_those_of_the_definition(void)
{
    static const unsigned permilles[] = { 0, 1, 250, 500, 990, 999, 1000 };

    for (int round = 0; round < 40; round++) {
        g_autofree PloverWindow *window = g_new0(PloverWindow, 1);
        g_autofree uint64_t *values = g_new(uint64_t, 2 * PLOVER_WINDOW);
        uint64_t n = g_test_rand_int_range(1, 2 * PLOVER_WINDOW);
        uint64_t kept = MIN(n, PLOVER_WINDOW);
        /* Few different values, or many. */
        int range = round % 2 ? 4 : 1000000;

        for (uint64_t i = 0; i < n; i++) {
            values[i] = g_test_rand_int_range(0, range);
            plover_window_add(window, values[i]);
            g_assert_cmpuint(plover_window_last(window), ==, values[i]);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(permilles); i++) {
            g_assert_cmpuint(
                plover_window_permille(window, permilles[i]), ==,
                oracle(values + n - kept, kept, permilles[i]));
        }
    }
}

static void old_values_are_forgotten(void)
{
    PloverWindow window = { 0 };

    for (int i = 0; i < PLOVER_WINDOW; i++) {
        plover_window_add(&window, 1000);
    }
    for (int i = 0; i < PLOVER_WINDOW - 1; i++) {
        plover_window_add(&window, 1);
    }
    g_assert_cmpuint(plover_window_permille(&window, 1000), ==, 1000);
    g_assert_cmpuint(plover_window_last(&window), ==, 1);
    plover_window_add(&window, 1);
    g_assert_cmpuint(plover_window_permille(&window, 1000), ==, 1);
    g_assert_cmpuint(window.count, ==, 2 * PLOVER_WINDOW);
}

static void asking_changes_nothing(void)
{
    PloverWindow window = { 0 };
    PloverWindow before;

    for (int i = 0; i < 100; i++) {
        plover_window_add(&window, 100 - i);
    }
    before = window;
    plover_window_permille(&window, 500);
    g_assert_cmpmem(&window, sizeof(window), &before, sizeof(before));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/window/nothing-measured-is-0", nothing_measured_is_0);
    g_test_add_func("/window/one-value-is-every-percentile",
                    one_value_is_every_percentile);
    g_test_add_func("/window/percentiles-are-those-of-the-definition",
                    percentiles_are_those_of_the_definition);
    g_test_add_func("/window/old-values-are-forgotten",
                    old_values_are_forgotten);
    g_test_add_func("/window/asking-changes-nothing", asking_changes_nothing);
    return g_test_run();
}
