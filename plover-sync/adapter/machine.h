/*
 * Stopping the VM for a sync, and letting it go on
 *
 * Like vm_stop() and vm_start(), without what a stop of half a millisecond does
 * not need: no event for each, no flush of the disks (the guest's own flushes
 * keep their meaning, and the VM does not end here), no drain where there is no
 * disk. All calls hold the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_MACHINE_H
#define PLOVER_ADAPTER_MACHINE_H

/* Returns whether the VM was running. */
bool plover_machine_stop(void);

/*
 * After plover_machine_stop() that returned true. Does nothing when the VM was
 * started or stopped by somebody else meanwhile.
 */
void plover_machine_resume(void);

/* CPU time that all vCPUs have used, in nanoseconds. */
uint64_t plover_machine_cpu_time(void);

#endif
