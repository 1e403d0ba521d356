/*
 * The guest's clock after a sync
 *
 * A secondary's guest goes on from the state of a leader's guest that has gone
 * on earlier: without more its clock would be behind by as much as the sync
 * took from then on. What guests say now and then depends on the time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_CLOCK_H
#define PLOVER_ADAPTER_CLOCK_H

/*
 * Secondary, right before its VM goes on: the leader's did at @since
 * (microseconds of the link's clock). Returns by how many nanoseconds the
 * guest's clock was advanced; 0 if the guest's clock is not QEMU's (KVM). With
 * the BQL, while the VM stands.
 */
int64_t plover_clock_catch_up(int64_t since);

/* Either side, right after its VM went on: trace what time it is there. */
void plover_clock_trace(uint64_t epoch, int64_t advanced);

#endif
