/*
 * Slots: a member's hard state as a block of 4 KiB
 *
 * A state file has two of them, written in turn, so that one that is torn by
 * a power cut leaves the other. docs/internals/apus-storage.rst has every byte.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_SLOT_H
#define APUS_SLOT_H

#include "types.h"

#define APUS_SLOT_SIZE 4096
#define APUS_SLOT_VERSION 1

/* A cluster's name, with its terminating 0. */
#define APUS_CLUSTER_SIZE (APUS_CLUSTER_MAX + 1)

typedef struct {
    uint64_t sequence; /* the valid slot with the higher one counts */
    char cluster[APUS_CLUSTER_SIZE];
    ApusId id;
    ApusDurability durability; /* that it was written with */
    /*
     * Batches of the log: those before @log_start are none of its, those up
     * to @log_safe were safe when the slot was written.
     */
    uint64_t log_start, log_safe;
    ApusHardState state;
} ApusSlot;

/* Write @slot to the APUS_SLOT_SIZE bytes at @out. */
void apus_slot_put(uint8_t *out, const ApusSlot *slot);

/*
 * Decode the APUS_SLOT_SIZE bytes at @data. Errors: APUS_ERROR_CORRUPT, and
 * APUS_ERROR_VERSION for a whole slot of another version.
 */
gboolean apus_slot_get(ApusSlot *slot, const uint8_t *data, GError **errp);

#endif
