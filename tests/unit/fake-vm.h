/*
 * A virtual machine that is nothing but some memory and some devices
 *
 * What a sync asks of a VM (plover-sync/core/vm.h), with a guest that writes
 * when it is told to, and faults that a test switches on. It asserts that it
 * is used as vm.h says, and remembers what was done to it.
 *
 * Belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_VM_H
#define FAKE_VM_H

#include "plover-sync/core/vm.h"
#include "plover-sync/core/wire.h"

#define FAKE_BLOCKS 3
#define FAKE_DEVICES 5

typedef enum FakeState {
    FAKE_RUNS,
    FAKE_STOPPED,
    FAKE_HELD,
} FakeState;

typedef struct FakeVm FakeVm;

struct FakeVm {
    PloverBlock blocks[FAKE_BLOCKS];
    uint64_t pages;
    uint64_t spared; /* of these, the last ones: fake_vm_scribble() does not */
    size_t page_size;
    uint8_t *memory;
    uint8_t *log; /* a byte for each page: it was written */
    PloverSections *devices;
    FakeState state;
    gboolean collected_early;
    GRand *rand; /* what the guest does */

    /* What goes on by itself; may be NULL. */
    void (*during_copy)(FakeVm *vm); /* of a page, while it runs */
    void (*before_stop)(FakeVm *vm);
    void (*after_release)(FakeVm *vm);
    void (*during_save)(FakeVm *vm);
    void (*during_load)(FakeVm *vm);
    void (*after_resume)(FakeVm *vm);

    /* What fails, and why it says so. */
    const char *join_fails;
    const char *stop_fails;
    const char *save_fails;
    const char *check_fails;
    const char *decide_fails;
    const char *load_fails;
    size_t excess; /* size of a device that is saved, and is none */

    /* What was done. */
    unsigned stops;
    unsigned resumes;
    unsigned idle_waits;
    unsigned decisions;
    unsigned applies;
    unsigned commits;
    uint64_t decided; /* epochs, the last ones */
    uint64_t committed;
    uint64_t most_staged;

    /* As it was when it stood, the dirty log just read. */
    uint8_t *taken;
    PloverSections *taken_devices;
    /* As it was when all was applied, before it ran again. */
    uint8_t *loaded;
    PloverSections *loaded_devices;
};

/* @seed: what the guest will do. Memory is the same in all, some of it zero. */
FakeVm *fake_vm_new(const uint64_t pages[FAKE_BLOCKS], size_t page_size,
                    uint32_t seed);
void fake_vm_free(FakeVm *vm);

extern const PloverVm fake_vm_ops; /* opaque: the FakeVm */

uint8_t *fake_vm_page(FakeVm *vm, uint64_t page);

/* The guest writes. */
void fake_vm_write(FakeVm *vm, uint64_t page, size_t offset,
                   const void *data, size_t size);
/* In one of several ways, as @rand says, to any page. */
void fake_vm_scribble(FakeVm *vm, GRand *rand);
/* That often, and now and then to a device. */
void fake_vm_work(FakeVm *vm, unsigned writes);
void fake_vm_change_device(FakeVm *vm, unsigned index, uint8_t value);

/* Whether memory and devices are the same now. */
gboolean fake_vm_equal(FakeVm *a, FakeVm *b);
/* @secondary was made what @leader was when it stood. */
void fake_vm_assert_synced(FakeVm *leader, FakeVm *secondary);
/* Remember how it is now as if it had stopped. */
void fake_vm_take(FakeVm *vm);
/* Nothing was applied: memory and devices are what they were at the stop. */
void fake_vm_assert_own(FakeVm *vm);

#endif
