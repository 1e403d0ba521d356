/*
 * Fuzzing of slots: as they are, and with a checksum that is right
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/slot.h"
#include "tests/fuzz/fuzz.h"

static void decode(const uint8_t *data)
{
    g_autoptr(GError) error = NULL;
    uint8_t again[APUS_SLOT_SIZE];
    ApusSlot slot;
    gboolean accepted = apus_slot_get(&slot, data, &error);

    fuzz_outcome(accepted, error, APUS_ERROR);
    if (accepted) {
        apus_slot_put(again, &slot);
        g_assert_cmpmem(again, sizeof(again), data, APUS_SLOT_SIZE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *slot = g_malloc0(APUS_SLOT_SIZE);

    memcpy(slot, data, MIN(size, APUS_SLOT_SIZE));
    decode(slot);
    apus_put64(slot, apus_checksum(slot + 8, APUS_SLOT_SIZE - 8));
    decode(slot);
    return 0;
}

void fuzz_seeds(void)
{
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot = {
        .sequence = 9,
        .cluster = "cluster",
        .id = 2,
        .durability = APUS_DURABILITY_DISK,
        .log_start = 1,
        .log_safe = 4,
        .state = { .generation = 1, .term = 3, .vote = 1 },
    };
    ApusMembers *members = &slot.state.base.members;

    members->count = 3;
    for (unsigned i = 0; i < 3; i++) {
        members->member[i] = (ApusMember) { i + 1, i < 2, "a:1" };
        members->member[i].address[2] += i;
    }
    slot.state.base.role.leader = 1;
    slot.state.newest = slot.state.base;
    apus_slot_put(bytes, &slot);
    fuzz_seed(bytes, 512); /* zeros follow */
    slot.state.amnesiac = slot.state.blank = TRUE;
    slot.state.newest.role.secondary = 2;
    slot.state.newest.role.secondary_incarnation = 77;
    slot.state.newest.members.leaving = 3;
    apus_slot_put(bytes, &slot);
    fuzz_seed(bytes, 512);
}
