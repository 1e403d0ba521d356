/*
 * Stopping the VM for a sync, and letting it go on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block.h"
#include "hw/core/cpu.h"
#include "qemu/rcu.h"
#include "system/block-backend.h"
#include "system/cpus.h"
#include "system/cpu-timers.h"
#include "system/runstate.h"
#include "colony/colo-net/adapter/group.h"
#include "machine.h"

/* The guest was suspended to RAM when it was stopped. */
static bool suspended;

/* Requests that are under way write to memory when they end. */
static void drain(void)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_all_next(blk))) {
        if (blk_bs(blk)) {
            bdrv_drain_all();
            return;
        }
    }
}

bool plover_machine_stop(void)
{
    for (;;) {
        suspended = runstate_check(RUN_STATE_SUSPENDED);
        if (suspended) {
            /* What that means for later is QEMU's affair. */
            vm_stop_force_state(RUN_STATE_COLO);
            return true;
        }
        if (runstate_check(RUN_STATE_RUNNING)) {
            break;
        }
        /* Who stops it may still wait for the vCPUs: this lets go of the BQL */
        pause_all_vcpus();
        if (!runstate_is_live(runstate_get())) {
            drain();
            return false;
        }
    }
    runstate_set(RUN_STATE_COLO);
    cpu_disable_ticks();
    pause_all_vcpus();
    vm_state_notify(false, RUN_STATE_COLO);
    drain();
    return true;
}

void plover_machine_resume(void)
{
    if (runstate_check(RUN_STATE_PRELAUNCH)) {
        /* It was reset meanwhile. */
        vm_start();
        return;
    }
    if (!runstate_check(RUN_STATE_COLO) || apus_group_fenced()) {
        return;
    }
    if (suspended) {
        vm_start();
    } else {
        cpu_enable_ticks();
        runstate_set(RUN_STATE_RUNNING);
        vm_state_notify(true, RUN_STATE_RUNNING);
        resume_all_vcpus();
    }
}

uint64_t plover_machine_cpu_time(void)
{
    uint64_t total = 0;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        struct timespec used;
        clockid_t clock;

        if (cpu->thread &&
            pthread_getcpuclockid(cpu->thread->thread, &clock) == 0 &&
            clock_gettime(clock, &used) == 0) {
            total += used.tv_sec * NANOSECONDS_PER_SECOND + used.tv_nsec;
        }
    }
    return total;
}
