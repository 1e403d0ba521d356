/*
 * The last values of something that is measured, and their percentiles
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

void plover_window_add(PloverWindow *window, uint64_t value)
{
    window->values[window->count++ % PLOVER_WINDOW] = value;
}

uint64_t plover_window_last(const PloverWindow *window)
{
    return window->count ? window->values[(window->count - 1) % PLOVER_WINDOW]
                         : 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t plover_window_permille(const PloverWindow *window, unsigned permille)
{
    uint64_t sorted[PLOVER_WINDOW];
    size_t n = MIN(window->count, PLOVER_WINDOW);
    size_t rank = (n * permille + 999) / 1000;

    g_assert(permille <= 1000);
    if (!n) {
        return 0;
    }
    memcpy(sorted, window->values, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare);
    return sorted[rank ? rank - 1 : 0];
}
