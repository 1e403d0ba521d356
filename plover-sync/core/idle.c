/*
 * When is the guest idle? [PLOVER §4.3, §5.1]
 *
 * What an idle guest looks like (Linux without ticks, Redis, TCG): 1.6 % of a
 * CPU on average, but not evenly. Nineteen of twenty samples of 1 ms show
 * nothing at all; a few times in 100 ms timers come together and take 0.1 to
 * 1.3 ms in a row. A guest with a periodic tick uses a few percent in every
 * sample, or in every fourth.
 *
 * So a sample tells one of three things:
 *
 * - quiet: hardly more than the learned rate. PLOVER_IDLE_SAMPLES of these
 *   make the guest idle. A single one does not: a guest that waits a
 *   millisecond for its disk has more to do. Many would only make every sync
 *   later.
 * - a tick: more than that, but less than MAX_RATE. It does not count, but
 *   does not begin the count anew either: ticks every few samples would
 *   otherwise keep a guest from ever being idle.
 * - busy: begins anew.
 *
 * The learned rate falls to each lower sample at once and rises slowly, so it
 * is that of the quietest samples; without ticks it is 0. It never rises above
 * MAX_RATE, and nothing is learned from busy samples: whatever a guest does,
 * it is not idle while it uses more than MAX_RATE of a CPU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "idle.h"

/* Samples closer together say more about the clock than about the guest. */
#define MIN_ELAPSED_NS 250000

/* In CPUs. At samples of 1 ms MAX_RATE is the 100 us of [PLOVER §5.1]. */
#define MAX_RATE 0.1
#define MIN_RATE 0.02

/* The rate's way towards a higher sample. */
#define RISE (1.0 / 64)

/* Above the learned rate, which is that of the quietest samples. */
#define TOLERANCE 2

void plover_idle_init(PloverIdle *idle)
{
    *idle = (PloverIdle) { .last_ns = -1 };
}

void plover_idle_restart(PloverIdle *idle)
{
    idle->last_ns = -1;
    idle->quiet = 0;
}

static gboolean is_idle(const PloverIdle *idle)
{
    return idle->quiet == PLOVER_IDLE_SAMPLES;
}

static void learn(PloverIdle *idle, double rate)
{
    if (rate < idle->rate) {
        idle->rate = rate;
    } else {
        idle->rate += (rate - idle->rate) * RISE;
    }
}

static void judge(PloverIdle *idle, double rate)
{
    if (rate > MAX_RATE) {
        idle->quiet = 0;
        return;
    }
    learn(idle, rate);
    if (rate <= MAX(MIN_RATE, TOLERANCE * idle->rate) &&
        idle->quiet < PLOVER_IDLE_SAMPLES) {
        idle->quiet++;
    }
}

gboolean plover_idle_sample(PloverIdle *idle, int64_t now_ns, uint64_t cpu_ns)
{
    int64_t elapsed = now_ns - idle->last_ns;

    /* A vCPU that is unplugged takes its CPU time with it. */
    if (idle->last_ns < 0 || elapsed < 0 || cpu_ns < idle->last_cpu_ns) {
        plover_idle_restart(idle);
    } else if (elapsed < MIN_ELAPSED_NS) {
        return is_idle(idle);
    } else {
        judge(idle, (double)(cpu_ns - idle->last_cpu_ns) / elapsed);
    }
    idle->last_ns = now_ns;
    idle->last_cpu_ns = cpu_ns;
    return is_idle(idle);
}
