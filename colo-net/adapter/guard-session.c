/*
 * filter-guard: what all guards share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "guard-internal.h"
#include "trace.h"

Guards guards = {
    .list = QTAILQ_HEAD_INITIALIZER(guards.list),
    .timer_at = INT64_MAX,
};

/* --- the VM, and who listens ----------------------------------------------*/

bool guard_may_pause(FilterGuard *g)
{
    return guards.holding ? guards.leader : g->group != NULL;
}

static bool any_is_full(void)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->full && guard_may_pause(g)) {
            return true;
        }
    }
    return false;
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    if (running) {
        /* whoever started it, it is no longer paused by us */
        guards.paused = false;
    }
}

static void pause_or_resume(void)
{
    bool full = any_is_full();

    if (full && runstate_check(RUN_STATE_RUNNING)) {
        trace_filter_guard_pause();
        guards.paused = true;
        guards.pausing = true;
        vm_stop(RUN_STATE_PAUSED);
        guards.pausing = false;
        qemu_cond_broadcast(&guards.settled);
    } else if (!full && !guards.syncing && guards.paused &&
               runstate_check(RUN_STATE_PAUSED) && !apus_group_fenced()) {
        /* while it syncs, the driver may rely on a VM that stands */
        trace_filter_guard_resume();
        vm_start();
    }
}

/* All that must not be done where frames come from, and in one place. */
static void look_after_all(void *opaque)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (guard_deposed(g)) {
            guard_clear(g);
        }
        guard_drain(g);
    }
    guard_compare_watch();
    guard_inputs_look();
    guard_compare_tell();
    if (guards.notify_first) {
        guards.notify_first = false;
        if (guards.fn) {
            guards.fn(FILTER_GUARD_FIRST, guards.opaque);
        }
    }
    if (guards.notify_pressure) {
        guards.notify_pressure = false;
        if (guards.fn) {
            guards.fn(FILTER_GUARD_PRESSURE, guards.opaque);
        }
    }
    pause_or_resume();
}

static void timer_fired(void *opaque)
{
    guards.timer_at = INT64_MAX;
    look_after_all(NULL);
}

void guard_share(void)
{
    if (!guards.bh) {
        guards.bh = qemu_bh_new(look_after_all, NULL);
        guards.timer = timer_new_ns(QEMU_CLOCK_REALTIME, timer_fired, NULL);
        qemu_cond_init(&guards.settled);
        qemu_add_vm_change_state_handler(vm_state_changed, NULL);
    }
}

void guard_schedule(void)
{
    if (guards.bh) { /* there may be sessions without guards */
        qemu_bh_schedule(guards.bh);
    }
}

void guard_schedule_in(int64_t ns)
{
    int64_t at = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns;

    if (at < guards.timer_at) {
        guards.timer_at = at;
        timer_mod_ns(guards.timer, at);
    }
}

void guard_look(FilterGuard *g)
{
    bool leads = guards.holding && guards.leader;

    uint64_t bytes = guard_bytes(g);

    if (leads && !guards.awaiting) {
        guards.awaiting = true;
        guards.notify_first = true;
        guard_schedule();
    }
    if (leads && !g->pressed && bytes > guard_high_water(g)) {
        trace_filter_guard_pressure(guard_id(g), bytes);
        g->pressed = true;
        guards.notify_pressure = true;
        guard_schedule();
    }
    if (g->full && runstate_check(RUN_STATE_RUNNING)) {
        guard_schedule();
    }
}

/* --- the session ----------------------------------------------------------*/

static void drain_all(void)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        guard_drain(g);
    }
    if (guards.paused) {
        guard_schedule();
    }
}

void filter_guard_begin(bool leader)
{
    FilterGuard *g;

    assert(bql_locked());
    assert(!guards.active);
    trace_filter_guard_begin(leader ? "leader" : "secondary");

    guards.active = true;
    guards.holding = true;
    guards.leader = leader;
    guards.sealed = 0;
    guards.syncing = false;
    guards.awaiting = false;
    guard_compare_begin();
    QTAILQ_FOREACH(g, &guards.list, next) {
        hold_queue_unseal(&g->queue);
        g->pressed = false;
        if (leader && guard_held_frames(g)) {
            guard_look(g);
        }
    }
}

void filter_guard_seal(uint64_t epoch)
{
    FilterGuard *g;

    assert(bql_locked());
    assert(guards.active && guards.leader);
    assert(epoch > guards.sealed);
    trace_filter_guard_seal(epoch);

    guards.sealed = epoch;
    guards.syncing = true;
    guards.awaiting = false;
    guard_compare_seal(epoch);
    QTAILQ_FOREACH(g, &guards.list, next) {
        g->pressed = false;
    }
}

void filter_guard_commit(uint64_t epoch)
{
    FilterGuard *g;
    uint64_t frames;

    assert(bql_locked());
    if (!guards.active) {
        return;
    }
    assert(guards.leader);
    assert(epoch == guards.sealed);

    guards.syncing = false;
    frames = guard_compare_commit(epoch);
    QTAILQ_FOREACH(g, &guards.list, next) {
        frames += hold_queue_commit(&g->queue, epoch);
    }
    trace_filter_guard_commit(epoch, frames);
    drain_all();
}

void filter_guard_revert(void)
{
    assert(bql_locked());
    if (!guards.active || !guards.leader || !guards.syncing) {
        return;
    }
    trace_filter_guard_revert(guards.sealed);

    guards.syncing = false;
    guard_compare_revert();
    drain_all();
}

void filter_guard_discard(void)
{
    FilterGuard *g;
    uint64_t frames = 0;

    assert(bql_locked());
    assert(guards.active && !guards.leader);

    guard_compare_discard();
    QTAILQ_FOREACH(g, &guards.list, next) {
        uint64_t n = hold_queue_discard(&g->queue);

        g->waits_since = -1; /* what waits is another frame now */
        g->discarded += n;
        g->full = false;
        frames += n;
    }
    guard_schedule(); /* what waited to be heard may be another thing now */
    trace_filter_guard_discard(frames);
}

void filter_guard_end(bool release)
{
    FilterGuardStats stats;
    FilterGuard *g;

    assert(bql_locked());
    guards.active = false;
    if (!guards.holding) {
        return;
    }
    filter_guard_stats(&stats);
    trace_filter_guard_end(release ? "releases" : "keeps", stats.held_frames);
    guards.syncing = false;
    guards.holding = !release;
    QTAILQ_FOREACH(g, &guards.list, next) {
        if (release) {
            hold_queue_release(&g->queue);
        }
    }
    guard_compare_end(release);
    guard_schedule();
    drain_all();
}

bool filter_guard_holding(void)
{
    return guards.holding;
}

uint64_t filter_guard_held_bytes(void)
{
    FilterGuardStats stats;

    filter_guard_stats(&stats);
    return stats.held_bytes;
}

bool filter_guard_paused(void)
{
    return guards.paused;
}

void filter_guard_settle(void)
{
    assert(bql_locked());
    while (guards.pausing) {
        qemu_cond_wait_bql(&guards.settled);
    }
}

void filter_guard_set_listener(FilterGuardFn *fn, void *opaque)
{
    assert(bql_locked());
    guards.fn = fn;
    guards.opaque = opaque;
}
