/*
 * apus-group: how often inputs are ordered
 *
 * What ordering takes is by the batch, on every replica, and a guest that is
 * given much at once is interrupted less often. So a leader whose guest has
 * work enough leaves time between batches: more by and by while the guest is
 * still busy when it is given one, and less by and by while it has run out of
 * work. A secondary goes by the batches that it sees.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "plover-sync/adapter/machine.h"
#include "system/tcg.h"
#include "group-internal.h"

#define STEP_NS (50 * SCALE_US)

/*
 * Whether a vCPU could go on. TCG knows it; of others it is known what they
 * have used, and that has to be about a whole CPU.
 */
static bool guest_has_work(GroupPace *pace, int64_t now)
{
    uint64_t used, before;
    CPUState *cpu;

    if (tcg_enabled()) {
        CPU_FOREACH(cpu) {
            if (!cpu->halted) {
                return true;
            }
        }
        return false;
    }
    before = pace->cpu_time;
    used = pace->cpu_time = plover_machine_cpu_time();
    return used - before >= (now - pace->delivered_at) / 8 * 7;
}

/* Nothing came for @gap; a leader that has work does not wait that long. */
static int64_t leaders_pace(int64_t gap)
{
    return gap > 2 * GROUP_PACE_MAX_NS ? 0 : MIN(gap, GROUP_PACE_MAX_NS);
}

void group_pace_delivered(ApusGroup *group)
{
    GroupPace *pace = &group->pace;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (group->part == APUS_PART_SECONDARY) {
        pace->ns = leaders_pace(now - pace->delivered_at);
    } else if (guest_has_work(pace, now)) {
        pace->ns += MAX(pace->ns / 8, STEP_NS);
        pace->ns = MIN(pace->ns, GROUP_PACE_MAX_NS);
    } else {
        pace->ns -= pace->ns / 8;
        pace->ns = pace->ns < STEP_NS ? 0 : pace->ns;
    }
    pace->delivered_at = now;
}

int64_t apus_group_pace(const ApusGroup *group)
{
    return group->pace.ns;
}
