/*
 * Log segments: batches of records in files of a fixed size
 *
 * A segment is a sequence of blocks. The first is its header; a batch, what is
 * written in one go, begins in a block of its own, with a header that says
 * which batches before it were safe when it was written. A safe byte is never
 * written again. Files are used again with another number and nonce, so that
 * what they held before is not taken for batches.
 * docs/internals/apus-storage.rst has every byte, and how a log is read.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_SEGMENT_H
#define APUS_SEGMENT_H

#include "slot.h"

#define APUS_SEGMENT_VERSION 1

/*
 * Everything that is written is so aligned and has so many bytes, as O_DIRECT
 * wants it.
 */
#define APUS_BLOCK 4096

#define APUS_BATCH_HEADER 64
/* No batch has more bytes, its header included: the longest record fits. */
#define APUS_BATCH_MAX ((1u << 20) + APUS_BLOCK)

typedef struct {
    char cluster[APUS_CLUSTER_SIZE];
    ApusId id;
    uint64_t number; /* place among the segments; part of the file's name */
    uint64_t nonce; /* random; headers of its batches depend on it */
    uint64_t size; /* bytes of the file, this block included */
} ApusSegment;

/* Write the header to the APUS_BLOCK bytes at @out. */
void apus_segment_put(uint8_t *out, const ApusSegment *segment);

/* Decode the APUS_BLOCK bytes at @data: APUS_ERROR_CORRUPT or _VERSION. */
gboolean apus_segment_get(ApusSegment *segment, const uint8_t *data,
                          GError **errp);

typedef struct {
    uint64_t sequence; /* one more than the batch before it; from 1 */
    uint64_t safe; /* batches up to this one were safe */
    /*
     * Index of its first record. Entries of earlier batches from there on are
     * superseded, with or without records in their place.
     */
    uint64_t first;
    uint32_t count; /* of records */
    uint32_t bytes; /* of records, directly behind the header */
    uint64_t digest; /* of the records: apus_batch_digest() */
} ApusBatch;

/*
 * Where a batch that follows one of @bytes bytes of records begins, counted
 * from that one's beginning.
 */
size_t apus_batch_size(uint32_t bytes);

/* Write the header to the APUS_BATCH_HEADER bytes at @out. */
void apus_batch_put(uint8_t *out, const ApusBatch *batch, uint64_t nonce);

/*
 * Is there a header of a batch of a segment with @nonce at the start of the
 * @size bytes at @data? If so, decode it; its records are not looked at.
 */
gboolean apus_batch_get(ApusBatch *batch, const uint8_t *data, size_t size,
                        uint64_t nonce);

/*
 * The digest of no records, and of those so far and a further one, of which
 * the first bytes, its own checksum, are at @record.
 */
#define APUS_DIGEST_NONE 0
uint64_t apus_batch_digest(uint64_t digest, const uint8_t *record);

/*
 * Check the records of @batch, at @data: all there, whole, consecutive, and
 * those that its header was made for.
 */
gboolean apus_batch_check(const ApusBatch *batch, const uint8_t *data);

#endif
