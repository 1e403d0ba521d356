/*
 * A ring of records in memory that another process writes into
 *
 * The writer composes each record in its mirror of the ring, at the place
 * where it is to stand in the ring, and has it copied there by whatever means,
 * in one piece or in many, in any order. The reader takes a record for complete
 * when its checksum is right, and for nothing less. Positions count bytes from
 * the beginning of a lane and never come back; a record stands at its position
 * modulo the ring's size, never goes across the ring's end, and its checksum
 * holds for its position alone. So what lay there before is no record.
 *
 * docs/internals/verbs.rst has the layout. Nothing here knows of links, calls
 * the system or allocates memory; a half is used by one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_RING_H
#define COLONY_VERBS_RING_H

#include "colo-net/verbs/verbs.h"

#define VERBS_RECORD_HEADER 32
/* Records begin at multiples of it. */
#define VERBS_RECORD_UNIT 32

typedef enum {
    VERBS_RECORD_DATA = 1, /* the user's */
    VERBS_RECORD_SKIP, /* nothing more before the ring's end */
    VERBS_RECORD_CREDIT, /* no more than its header says */
    VERBS_RECORD_LANES, /* the caller's lanes */
    VERBS_RECORD_GRANT, /* a gated lane may be written */
    VERBS_RECORD_REVOKED, /* and may not any more */
} VerbsRecordKind;
#define VERBS_RECORD_LAST VERBS_RECORD_REVOKED

/* What each record says of the opposite direction. Both wrap around. */
typedef struct {
    uint32_t read[VERBS_LANES]; /* position in the lane, its low half */
    uint32_t receives; /* receive work requests that were ever posted */
} VerbsCredit;

typedef struct {
    VerbsRecordKind kind;
    VerbsCredit credit;
    const uint8_t *data; /* in the ring */
    size_t size;
    size_t span; /* bytes of the ring */
} VerbsRecord;

/* What a record with @size bytes in it takes of a ring. */
size_t verbs_record_span(size_t size);

/* --- the writer ----------------------------------------------------------- */

typedef struct {
    uint8_t *mirror; /* of @size bytes */
    size_t size; /* of the ring */
    uint64_t seed; /* of its checksums */
    uint64_t written; /* position of the next record */
    uint64_t read; /* how far the reader says that it is */
} VerbsRingWriter;

/* A record of @size bytes fits, and @reserve bytes are free afterwards. */
gboolean verbs_ring_fits(const VerbsRingWriter *writer, size_t size,
                         size_t reserve);
/* The longest record that fits so; may be 0, and is when none does. */
size_t verbs_ring_room(const VerbsRingWriter *writer, size_t reserve);
/* The next record of @size bytes would go across the end: skip it first. */
gboolean verbs_ring_must_skip(const VerbsRingWriter *writer, size_t size);

/*
 * Compose a record, for which there has to be room, in the mirror. Returns how
 * many bytes at *@offset have to be copied to the same offset of the ring.
 */
size_t verbs_ring_put(VerbsRingWriter *writer, VerbsRecordKind kind,
                      const VerbsCredit *credit, const VerbsPiece *pieces,
                      unsigned n, size_t *offset);

/*
 * The reader says that it is, or was, at a position with this low half. FALSE:
 * it cannot be, so far has nothing been written. A ring is shorter than 2 GiB.
 */
gboolean verbs_ring_credit(VerbsRingWriter *writer, uint32_t read);

/* --- the reader ----------------------------------------------------------- */

typedef struct {
    const uint8_t *memory;
    size_t size;
    uint64_t seed;
    uint64_t position; /* of the next record */
} VerbsRingReader;

typedef enum {
    VERBS_RING_EMPTY, /* nothing of the next record is there */
    VERBS_RING_TORN, /* it has begun, and is not complete */
    VERBS_RING_BAD, /* it is complete, and nonsense */
    VERBS_RING_RECORD,
} VerbsRingState;

/*
 * What is at the position, which the reader moves on by @span itself. Other
 * processes may write to the memory meanwhile.
 */
VerbsRingState verbs_ring_peek(const VerbsRingReader *reader,
                               VerbsRecord *record);
/* Only something at its place; its checksum is not looked at. */
gboolean verbs_ring_stirs(const VerbsRingReader *reader);

#endif
