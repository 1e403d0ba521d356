/*
 * The guest's clock after a sync
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "system/cpu-timers.h"
#include "system/tcg.h"
#include "clock.h"
#include "trace.h"

/* No sync that both guests run through takes longer. */
#define MAX_ADVANCE_NS (1000 * SCALE_MS)

int64_t plover_clock_catch_up(int64_t since)
{
    int64_t behind = get_clock() - since * SCALE_US;

    if (!tcg_enabled() || icount_enabled() || behind <= 0) {
        return 0;
    }
    behind = MIN(behind, MAX_ADVANCE_NS);
    cpu_advance_clock(behind);
    return behind;
}

void plover_clock_trace(uint64_t epoch, int64_t advanced)
{
    trace_plover_clock(epoch, cpu_get_clock(), get_clock(), advanced);
}
