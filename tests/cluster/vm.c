/*
 * What a member under test runs in place of a VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "vm.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "colo-net/apus/core/payload.h"
#include "colo-net/apus/runtime/loop.h"
#include "load.h"

#define MAX_ENTRIES (4u << 20)
#define MAX_TERMS (64u << 10)
#define BEGINNING 1 /* the state of a VM that was never given anything */

struct Vm {
    Trace *trace;
    Tape *entries;
    /* One for each thread that looks: the member's, and another. */
    Tape *voices[2];
    GHashTable *past; /* index -> chain, of earlier processes */
    uint64_t term; /* in which it leads; atomic */

    pthread_mutex_t lock; /* of what follows */
    VmState state;
    VmState taken; /* from another member */
    gboolean has_taken;
};

static Tape *open_tape(const char *folder, const char *name, size_t size,
                       size_t limit, GError **errp)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    return tape_new(path, size, limit, errp);
}

static void remember(Vm *vm, const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "entries", NULL);
    size_t records = 0;
    const TapeEntry *entry = tape_open(path, sizeof(*entry), &records);

    for (size_t i = 0; i < records; i++) {
        if (entry[i].chain) {
            g_hash_table_replace(
                vm->past, g_memdup2(&entry[i].index, sizeof(uint64_t)),
                g_memdup2(&entry[i].chain, sizeof(uint64_t)));
        }
    }
}

Vm *vm_new(const char *folder, char **past, Trace *trace, GError **errp)
{
    g_autoptr(Tape) entries = open_tape(folder, "entries", sizeof(TapeEntry),
                                        MAX_ENTRIES, errp);
    g_autoptr(Tape) voice = entries ?
        open_tape(folder, "voices-member", sizeof(TapeVoice), MAX_TERMS,
                  errp) : NULL;
    Tape *other = voice ?
        open_tape(folder, "voices", sizeof(TapeVoice), MAX_TERMS, errp) : NULL;
    Vm *vm;

    if (!other) {
        return NULL;
    }
    vm = g_new0(Vm, 1);
    vm->trace = trace;
    vm->past = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                     g_free);
    for (; past && *past; past++) {
        remember(vm, *past);
    }
    vm->entries = g_steal_pointer(&entries);
    vm->voices[0] = g_steal_pointer(&voice);
    vm->voices[1] = other;
    pthread_mutex_init(&vm->lock, NULL);
    return vm;
}

void vm_free(Vm *vm)
{
    tape_free(vm->entries);
    tape_free(vm->voices[0]);
    tape_free(vm->voices[1]);
    g_hash_table_destroy(vm->past);
    pthread_mutex_destroy(&vm->lock);
    g_free(vm);
}

static void look(Vm *vm, Apus *apus, Tape *voices)
{
    uint64_t term = __atomic_load_n(&vm->term, __ATOMIC_SEQ_CST);
    uint64_t before = apus_clock();
    gboolean may = apus_may_speak(apus);
    uint64_t after = apus_clock();
    TapeVoice *newest = tape_newest(voices);

    /* Between two terms it cannot be told which one has spoken. */
    if (!may || !term ||
        term != __atomic_load_n(&vm->term, __ATOMIC_SEQ_CST)) {
        return;
    }
    if (!newest || newest->term != term) {
        tape_add(voices, &(TapeVoice) {
            .term = term, .first = after, .last = before, .looks = 1,
        });
        return;
    }
    newest->last = before;
    newest->looks++;
}

void vm_speak(Vm *vm, Apus *apus)
{
    look(vm, apus, vm->voices[1]);
}

void vm_lead(Vm *vm, uint64_t term)
{
    __atomic_store_n(&vm->term, term, __ATOMIC_SEQ_CST);
}

VmState vm_state(Vm *vm)
{
    VmState state;

    pthread_mutex_lock(&vm->lock);
    state = vm->state;
    pthread_mutex_unlock(&vm->lock);
    return state;
}

void vm_take(Vm *vm, const VmState *state)
{
    pthread_mutex_lock(&vm->lock);
    vm->taken = *state;
    vm->has_taken = TRUE;
    pthread_mutex_unlock(&vm->lock);
}

/* The VM is in @state now, however it got there. */
static void go_on_from(Vm *vm, const VmState *state)
{
    vm->state = *state;
    tape_add(vm->entries, &(TapeEntry) {
        .index = state->index, .chain = state->chain, .kind = TAPE_TAKEN,
        .time = apus_clock(),
    });
}

/* The state behind @index as an earlier process has written it down. */
static VmState remembered(Vm *vm, uint64_t index)
{
    const uint64_t *chain = g_hash_table_lookup(vm->past, &index);

    return (VmState) { .index = index, .chain = chain ? *chain : 0 };
}

/* What is the VM's state right before @entry? */
static void find_state(Vm *vm, const ApusEntry *entry)
{
    uint64_t before = entry->index - 1;
    VmState state;

    if (vm->has_taken && before == vm->taken.index) {
        /* Maybe twice: it is delivered from there on only a moment later. */
        go_on_from(vm, &vm->taken);
    } else if (before == 0) {
        go_on_from(vm, &(VmState) { .chain = BEGINNING });
    } else if (before != vm->state.index) {
        state = remembered(vm, before);
        go_on_from(vm, &state);
    }
}

static uint64_t chained(uint64_t chain, const ApusEntry *entry, uint64_t hash)
{
    uint64_t link[] = { chain, entry->index, entry->term, entry->kind, hash };

    return chain ? XXH3_64bits(link, sizeof(link)) : 0;
}

static void tell_role(Vm *vm, const ApusEntry *entry)
{
    ApusRole role;

    if (apus_role_decode(&role, entry->payload, entry->length, NULL)) {
        trace_event(vm->trace, "role",
                    "index=%" PRIu64 " term=%" PRIu64 " leader=%u secondary=%u",
                    entry->index, entry->term, role.leader, role.secondary);
    } else {
        trace_event(vm->trace, "broken", "ROLE %" PRIu64, entry->index);
    }
}

ApusDeliver vm_deliver(Vm *vm, Apus *apus, const ApusEntry *entry)
{
    TapeEntry record = {
        .index = entry->index, .term = entry->term, .kind = entry->kind,
        .length = entry->length, .time = apus_clock(),
        .hash = payload_hash(entry->payload, entry->length),
    };

    pthread_mutex_lock(&vm->lock);
    find_state(vm, entry);
    vm->state.index = entry->index;
    vm->state.chain = chained(vm->state.chain, entry, record.hash);
    if (!vm->state.chain) {
        vm->state = remembered(vm, entry->index);
    }
    record.chain = vm->state.chain;
    tape_add(vm->entries, &record);
    pthread_mutex_unlock(&vm->lock);

    if (entry->kind == APUS_ENTRY_ROLE) {
        tell_role(vm, entry);
    } else if (entry->kind == APUS_ENTRY_SYNC) {
        trace_point(vm->trace, "sync");
    }
    look(vm, apus, vm->voices[0]);
    trace_point(vm->trace, "delivered");
    return APUS_DELIVER_GO_ON;
}

void vm_skipped(Vm *vm, const ApusSnapshot *snapshot)
{
    TapeEntry record = {
        .index = snapshot->index, .term = snapshot->term,
        .kind = TAPE_SKIPPED, .time = apus_clock(),
    };

    pthread_mutex_lock(&vm->lock);
    tape_add(vm->entries, &record);
    vm->state = (VmState) { .index = snapshot->index };
    pthread_mutex_unlock(&vm->lock);
    trace_event(vm->trace, "skipped", "index=%" PRIu64, snapshot->index);
}
