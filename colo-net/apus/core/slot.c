/*
 * Slots: a member's hard state as a block of 4 KiB
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "bytes.h"
#include "payload-internal.h"
#include "slot.h"

#define MAGIC "APUSSLOT"

/* Where the fields stand. */
enum {
    AT_CHECKSUM = 0,
    AT_MAGIC = 8,
    AT_VERSION = 16,
    AT_ID = 18,
    AT_DURABILITY = 20,
    AT_FLAGS = 21,
    AT_VOTE = 22,
    AT_SEQUENCE = 24,
    AT_GENERATION = 32,
    AT_TERM = 40,
    AT_LOG_START = 48,
    AT_LOG_SAFE = 56,
    AT_CLUSTER = 64,
    AT_SNAPSHOTS = 128,
};

enum {
    FLAG_AMNESIAC = 1,
    FLAG_BLANK = 2,
};

G_STATIC_ASSERT(AT_CLUSTER + APUS_CLUSTER_SIZE == AT_SNAPSHOTS);
G_STATIC_ASSERT(AT_SNAPSHOTS + 2 * APUS_SNAPSHOT_MAX <= APUS_SLOT_SIZE);

void apus_slot_put(uint8_t *out, const ApusSlot *slot)
{
    const ApusHardState *state = &slot->state;
    size_t at = AT_SNAPSHOTS;

    memset(out, 0, APUS_SLOT_SIZE);
    memcpy(out + AT_MAGIC, MAGIC, strlen(MAGIC));
    apus_put16(out + AT_VERSION, APUS_SLOT_VERSION);
    apus_put16(out + AT_ID, slot->id);
    out[AT_DURABILITY] = slot->durability;
    out[AT_FLAGS] = (state->amnesiac ? FLAG_AMNESIAC : 0) |
                    (state->blank ? FLAG_BLANK : 0);
    apus_put16(out + AT_VOTE, state->vote);
    apus_put64(out + AT_SEQUENCE, slot->sequence);
    apus_put64(out + AT_GENERATION, state->generation);
    apus_put64(out + AT_TERM, state->term);
    apus_put64(out + AT_LOG_START, slot->log_start);
    apus_put64(out + AT_LOG_SAFE, slot->log_safe);
    g_strlcpy((char *)out + AT_CLUSTER, slot->cluster, APUS_CLUSTER_SIZE);
    at += apus_snapshot_put(out + at, &state->base);
    apus_snapshot_put(out + at, &state->newest);
    apus_put64(out, apus_checksum(out + AT_MAGIC, APUS_SLOT_SIZE - AT_MAGIC));
}

static gboolean all_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean get_cluster(ApusSlot *slot, const uint8_t *data,
                            GError **errp)
{
    size_t length = strnlen((const char *)data, APUS_CLUSTER_SIZE);

    if (length == APUS_CLUSTER_SIZE ||
        !all_zero(data + length, APUS_CLUSTER_SIZE - length) ||
        !apus_cluster_check((const char *)data, NULL)) {
        return apus_corrupt(errp, "slot: impossible name of a cluster");
    }
    memcpy(slot->cluster, data, APUS_CLUSTER_SIZE);
    return TRUE;
}

static gboolean get_snapshots(ApusHardState *state, const uint8_t *data,
                              size_t size, GError **errp)
{
    ApusSnapshot *snapshot[] = { &state->base, &state->newest };

    for (unsigned i = 0; i < G_N_ELEMENTS(snapshot); i++) {
        gssize taken = apus_snapshot_decode(snapshot[i], data, size, errp);

        if (taken < 0) {
            return FALSE;
        }
        data += taken;
        size -= taken;
    }
    if (!all_zero(data, size)) {
        return apus_corrupt(errp, "slot: unused bytes are in use");
    }
    return TRUE;
}

gboolean apus_slot_get(ApusSlot *slot, const uint8_t *data, GError **errp)
{
    ApusSlot found = { 0 };
    unsigned version = apus_get16(data + AT_VERSION);

    if (memcmp(data + AT_MAGIC, MAGIC, strlen(MAGIC)) != 0) {
        return apus_corrupt(errp, "slot: not one of Colony's");
    }
    if (apus_get64(data + AT_CHECKSUM) !=
        apus_checksum(data + AT_MAGIC, APUS_SLOT_SIZE - AT_MAGIC)) {
        return apus_corrupt(errp, "slot: wrong checksum");
    }
    if (version != APUS_SLOT_VERSION) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_VERSION,
                    "slot: written in format %u; this is a Colony for "
                    "format %d", version, APUS_SLOT_VERSION);
        return FALSE;
    }
    if (data[AT_DURABILITY] > APUS_DURABILITY_DISK ||
        (data[AT_FLAGS] & ~(FLAG_AMNESIAC | FLAG_BLANK)) != 0) {
        return apus_corrupt(errp, "slot: unknown durability or flag");
    }
    found.id = apus_get16(data + AT_ID);
    found.durability = data[AT_DURABILITY];
    found.sequence = apus_get64(data + AT_SEQUENCE);
    found.log_start = apus_get64(data + AT_LOG_START);
    found.log_safe = apus_get64(data + AT_LOG_SAFE);
    found.state.amnesiac = (data[AT_FLAGS] & FLAG_AMNESIAC) != 0;
    found.state.blank = (data[AT_FLAGS] & FLAG_BLANK) != 0;
    found.state.vote = apus_get16(data + AT_VOTE);
    found.state.generation = apus_get64(data + AT_GENERATION);
    found.state.term = apus_get64(data + AT_TERM);
    if (found.id == APUS_NOBODY || found.sequence == 0 ||
        found.log_start == 0 || found.log_safe < found.log_start - 1) {
        return apus_corrupt(errp, "slot: impossible numbers");
    }
    if (!get_cluster(&found, data + AT_CLUSTER, errp) ||
        !get_snapshots(&found.state, data + AT_SNAPSHOTS,
                       APUS_SLOT_SIZE - AT_SNAPSHOTS, errp)) {
        return FALSE;
    }
    *slot = found;
    return TRUE;
}
