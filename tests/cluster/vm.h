/*
 * What a member under test runs in place of a VM
 *
 * Its state is a chain of hashes over all that was delivered, so two members
 * that have been given the same entries in the same order are in the same
 * state, and no others. Every entry is written to a tape, with the state
 * behind it. Each is followed by an output: a look at whether one may leave.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_VM_H
#define CLUSTER_VM_H

#include "colo-net/apus/apus.h"
#include "tape.h"
#include "trace.h"

typedef struct Vm Vm;

/* State as of an index. */
typedef struct {
    uint64_t index;
    uint64_t chain; /* 0: unknown, as entries before are missing */
} VmState;

/*
 * The tapes are made in @folder. @past, which may be NULL, are folders of the
 * same member's earlier processes, the oldest first: its VM goes on from
 * there when its log does not begin at the beginning.
 */
Vm *vm_new(const char *folder, char **past, Trace *trace, GError **errp);
void vm_free(Vm *vm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Vm, vm_free)

/* In the member's thread; for ApusHandlers. */
ApusDeliver vm_deliver(Vm *vm, Apus *apus, const ApusEntry *entry);
void vm_skipped(Vm *vm, const ApusSnapshot *snapshot);

/* Any thread. */
VmState vm_state(Vm *vm);
/* What will be delivered behind @state->index goes on from there. */
void vm_take(Vm *vm, const VmState *state);
/* The term in which this member leads, or 0. */
void vm_lead(Vm *vm, uint64_t term);

/*
 * Look whether an output may leave, and remember it; not in the member's
 * thread, but always in the same one.
 */
void vm_speak(Vm *vm, Apus *apus);

#endif
