/*
 * When is the guest idle? [PLOVER §4.3, §5.1]
 *
 * No guest agent: the CPU time of the vCPU threads, sampled from time to time,
 * tells. An idle guest uses a little for its timers, which is learned; it is
 * idle when its use grew no faster than that for a few samples, with none
 * between them in which it worked.
 *
 * Pure arithmetic: the caller samples, and owns the detector.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_IDLE_H
#define PLOVER_IDLE_H

#include <glib.h>
#include <stdint.h>

#define PLOVER_IDLE_SAMPLES 3 /* in a row make it idle */

typedef struct PloverIdle {
    int64_t last_ns; /* of the last sample; -1: none yet */
    uint64_t last_cpu_ns;
    double rate; /* learned: CPU time of an idle guest for a unit of time */
    /* Quiet samples since the last busy one, up to PLOVER_IDLE_SAMPLES. */
    unsigned quiet;
} PloverIdle;

void plover_idle_init(PloverIdle *idle);

/* Forget the samples, not the rate: the guest was stopped or got work. */
void plover_idle_restart(PloverIdle *idle);

/*
 * At @now_ns (0 or more) on any monotonic clock all vCPUs together had used
 * @cpu_ns. Returns whether the guest is idle. About one sample in a
 * millisecond is meant; a call less than 250 us after the last sample is not
 * one, and gets the same answer.
 */
gboolean plover_idle_sample(PloverIdle *idle, int64_t now_ns, uint64_t cpu_ns);

#endif
