/*
 * The last values of something that is measured, and their percentiles
 *
 * A window belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_WINDOW_H
#define PLOVER_WINDOW_H

#include <stdint.h>

#define PLOVER_WINDOW 1024

typedef struct PloverWindow {
    uint64_t values[PLOVER_WINDOW];
    uint64_t count; /* of all values ever added */
} PloverWindow;

void plover_window_add(PloverWindow *window, uint64_t value);

/* The newest; 0 when there is none. */
uint64_t plover_window_last(const PloverWindow *window);

/*
 * The value that @permille of the last PLOVER_WINDOW values do not exceed (500
 * for the median); 0 when there are none.
 */
uint64_t plover_window_permille(const PloverWindow *window, unsigned permille);

#endif
