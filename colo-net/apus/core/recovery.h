/*
 * Recovery: what the log says, from its segments as they are found
 *
 * docs/internals/apus-storage.rst has the rules. In short: batches count in
 * the order of their numbers, without a gap. Where that order ends, what was
 * being written when the power went is dropped, unless a later batch or the
 * slot says that more had been safe: then the log is damaged, and nothing in it
 * counts.
 *
 * Not thread-safe; keeps what is behind the slot's base in memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_RECOVERY_H
#define APUS_RECOVERY_H

#include "segment.h"

typedef struct ApusRecovery ApusRecovery;

ApusRecovery *apus_recovery_new(const ApusSlot *slot);
void apus_recovery_free(ApusRecovery *recovery);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusRecovery, apus_recovery_free)

typedef struct {
    uint64_t sequence; /* of its newest batch that counts; 0: it has none */
    uint64_t newest; /* the highest index in these batches */
} ApusSegmentUse;

/*
 * The segment with the lowest number that was not given yet: the @size bytes
 * at @data of the file that is named after @number. Errors: APUS_ERROR_FOREIGN
 * and APUS_ERROR_VERSION; a segment that is damaged is no error here.
 */
gboolean apus_recovery_segment(ApusRecovery *recovery, uint64_t number,
                               const uint8_t *data, size_t size,
                               ApusSegmentUse *use, GError **errp);

/*
 * That was the last one. TRUE: the log is what apus_recovery_entry() gives, and
 * @note, if it is set, says what was dropped. FALSE: it is damaged, as @note
 * says. To be freed.
 */
gboolean apus_recovery_end(ApusRecovery *recovery, char **note);

/* The newest batch that counts; what is written next has the number after. */
uint64_t apus_recovery_sequence(const ApusRecovery *recovery);

/* Entries behind the base; they stay where they are. */
unsigned apus_recovery_count(const ApusRecovery *recovery);
void apus_recovery_entry(const ApusRecovery *recovery, unsigned i,
                         ApusEntry *entry);

#endif
