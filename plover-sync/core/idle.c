/*
 * When is the guest idle? [PLOVER §4.3, §5.1]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "idle.h"

void plover_idle_init(PloverIdle *idle)
{
    *idle = (PloverIdle) { .last_ns = -1 };
}

void plover_idle_restart(PloverIdle *idle)
{
    idle->last_ns = -1;
    idle->quiet = 0;
}

gboolean plover_idle_sample(PloverIdle *idle, int64_t now_ns, uint64_t cpu_ns)
{
    int64_t elapsed = now_ns - idle->last_ns;
    gboolean first = idle->last_ns < 0;
    uint64_t used = cpu_ns - idle->last_cpu_ns;
    gboolean backwards = cpu_ns < idle->last_cpu_ns;

    if (!first && elapsed <= 0) {
        return idle->quiet >= PLOVER_IDLE_SAMPLES;
    }
    idle->last_ns = now_ns;
    idle->last_cpu_ns = cpu_ns;
    if (first || backwards) {
        idle->quiet = 0;
        return FALSE;
    }
    if (used <= elapsed * 0.1) {
        idle->quiet = MIN(idle->quiet + 1, PLOVER_IDLE_SAMPLES);
    } else {
        idle->quiet = 0;
    }
    return idle->quiet >= PLOVER_IDLE_SAMPLES;
}
