/*
 * The log in memory: a ring of records
 *
 * Holds the entries behind @base, which stands for all before them. A record
 * lies in the ring as it travels and as it is stored, so that nothing is
 * encoded twice, and never in two parts: one that would reach over the end of
 * the ring begins at its start instead.
 *
 * Each entry has a position, the number of ring bytes from the start of the
 * group's life to its first byte, skipped ones included. It follows from the
 * lengths of all entries before it and the size of the ring, so all members
 * whose rings have one size agree on it, and on what has room. Positions are 64 bits and never
 * wrap; a place in the ring follows from the position and is never compared
 * (R5). What does not fit is refused and never overwrites anything.
 *
 * Not thread-safe. Payloads and records that are handed out stay where they
 * are until their entry is trimmed or cut off.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_LOG_H
#define APUS_LOG_H

#include "message.h"

/* A ring must hold at least two of the longest records. */
#define APUS_LOG_MIN_SIZE (2 * (APUS_RECORD_HEADER + APUS_RECORD_MAX_PAYLOAD))

typedef struct ApusLog ApusLog;

/*
 * A log of @size bytes behind @base, which is copied. @ring is memory of that
 * size that the caller keeps, and may look into, or NULL for memory of the
 * log's own. @size is a power of two.
 */
ApusLog *apus_log_new(size_t size, uint8_t *ring, const ApusSnapshot *base);
void apus_log_free(ApusLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusLog, apus_log_free)

const ApusSnapshot *apus_log_base(const ApusLog *log);

/* The newest role, members and epoch, with index and term of the last entry. */
const ApusSnapshot *apus_log_newest(const ApusLog *log);

/* The same as of @index, which the log has or which is its base's. */
void apus_log_snapshot(const ApusLog *log, uint64_t index,
                       ApusSnapshot *snapshot);

/*
 * The index of the newest entry of a kind other than INPUT; 0: the log has
 * none behind its base.
 */
uint64_t apus_log_newest_of(const ApusLog *log, ApusEntryKind kind);

/* Does the payload of @entry decode, as its kind asks? */
gboolean apus_log_valid(const ApusEntry *entry);

/* Of the last entry; of the base where there is none. */
uint64_t apus_log_last_index(const ApusLog *log);
uint64_t apus_log_last_term(const ApusLog *log);

/* The bytes of entries from @first to @last; 0 when @first > @last. */
size_t apus_log_bytes(const ApusLog *log, uint64_t first, uint64_t last);

/* Ring bytes that are free. */
size_t apus_log_room(const ApusLog *log);

/* Would a payload of @length bytes be accepted? */
gboolean apus_log_fits(const ApusLog *log, uint32_t length);

/*
 * The term of the entry at @index into @term. FALSE when the log does not have
 * it: it was trimmed (the base's own index is known), or is not there yet.
 */
gboolean apus_log_term(const ApusLog *log, uint64_t index, uint64_t *term);

/* The entry at @index, which the log must have. */
void apus_log_get(const ApusLog *log, uint64_t index, ApusEntry *entry);

/*
 * The records from @first on, up to @last, but not beyond @max_bytes unless
 * one record alone is longer, and in at most two pieces. Returns the index of
 * the last one that they contain.
 */
uint64_t apus_log_records(const ApusLog *log, uint64_t first, uint64_t last,
                          size_t max_bytes, ApusRecords *records);

/*
 * Append one entry behind the last. The payload of a ROLE, MEMBER or SYNC must
 * decode. FALSE when the ring has no room: nothing was changed.
 */
gboolean apus_log_append(ApusLog *log, ApusEntryKind kind, uint64_t term,
                         const uint8_t *payload, uint32_t length);

/* Likewise, of an entry that came as a checked record of @size bytes. */
gboolean apus_log_append_record(ApusLog *log, const ApusEntry *entry,
                                const uint8_t *record, size_t size);

/* Forget the entries from @first on. */
void apus_log_cut(ApusLog *log, uint64_t first);

/* Forget the entries up to @last: the base stands for them. */
void apus_log_trim(ApusLog *log, uint64_t last);

/* Forget all; go on behind @base. */
void apus_log_reset(ApusLog *log, const ApusSnapshot *base);

#endif
