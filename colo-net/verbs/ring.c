/*
 * A ring of records in memory that another process writes into
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <xxhash.h>

#include "colo-net/verbs/bytes.h"
#include "colo-net/verbs/ring.h"

/* Where the fields of a record's header stand. All are little-endian. */
enum {
    RECORD_CHECKSUM = 0, /* of all that follows, seeded */
    RECORD_STAMP = 8, /* the position's low half, and 1 */
    RECORD_SIZE = 12,
    RECORD_READ = 16,
    RECORD_RECEIVES = 24,
    RECORD_KIND = 28,
    RECORD_ZERO = 29,

    CHECKED_FROM = RECORD_STAMP,
};

/* Never 0, which fresh memory is: positions are multiples of the unit. */
static uint32_t stamp_of(uint64_t position)
{
    return (uint32_t)position | 1;
}

/* @size: of the payload. */
static uint64_t checksum(const uint8_t *record, size_t size, uint64_t seed,
                         uint64_t position)
{
    return XXH3_64bits_withSeed(record + CHECKED_FROM,
                                VERBS_RECORD_HEADER - CHECKED_FROM + size,
                                seed ^ position);
}

size_t verbs_record_span(size_t size)
{
    return (VERBS_RECORD_HEADER + size + VERBS_RECORD_UNIT - 1) &
           ~(size_t)(VERBS_RECORD_UNIT - 1);
}

/* --- the writer ----------------------------------------------------------- */

static size_t before_end(const VerbsRingWriter *writer)
{
    return writer->size - (writer->written & (writer->size - 1));
}

static size_t free_bytes(const VerbsRingWriter *writer)
{
    return writer->size - (size_t)(writer->written - writer->read);
}

gboolean verbs_ring_must_skip(const VerbsRingWriter *writer, size_t size)
{
    return verbs_record_span(size) > before_end(writer);
}

gboolean verbs_ring_fits(const VerbsRingWriter *writer, size_t size,
                         size_t reserve)
{
    size_t needed = verbs_record_span(size) + reserve;

    if (verbs_ring_must_skip(writer, size)) {
        needed += before_end(writer);
    }
    return needed <= free_bytes(writer);
}

size_t verbs_ring_room(const VerbsRingWriter *writer, size_t reserve)
{
    size_t most = free_bytes(writer), end = before_end(writer), span;

    if (most <= reserve) {
        return 0;
    }
    most -= reserve;
    /* Before the end, or behind it. */
    span = MAX(MIN(most, end), most > end ? most - end : 0);
    span &= ~(size_t)(VERBS_RECORD_UNIT - 1);
    return span > VERBS_RECORD_HEADER ? span - VERBS_RECORD_HEADER : 0;
}

size_t verbs_ring_put(VerbsRingWriter *writer, VerbsRecordKind kind,
                      const VerbsCredit *credit, const VerbsPiece *pieces,
                      unsigned n, size_t *offset)
{
    uint8_t *record;
    size_t size = 0;

    *offset = writer->written & (writer->size - 1);
    record = writer->mirror + *offset;
    for (unsigned i = 0; i < n; i++) {
        if (pieces[i].size > 0) {
            memcpy(record + VERBS_RECORD_HEADER + size, pieces[i].data,
                   pieces[i].size);
            size += pieces[i].size;
        }
    }
    verbs_put32(record + RECORD_STAMP, stamp_of(writer->written));
    verbs_put32(record + RECORD_SIZE, size);
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        verbs_put32(record + RECORD_READ + 4 * i, credit->read[i]);
    }
    verbs_put32(record + RECORD_RECEIVES, credit->receives);
    memset(record + RECORD_ZERO, 0, VERBS_RECORD_HEADER - RECORD_ZERO);
    record[RECORD_KIND] = kind;
    verbs_put64(record + RECORD_CHECKSUM,
          checksum(record, size, writer->seed, writer->written));
    writer->written += kind == VERBS_RECORD_SKIP ? before_end(writer) :
                                                   verbs_record_span(size);
    return VERBS_RECORD_HEADER + size;
}

gboolean verbs_ring_credit(VerbsRingWriter *writer, uint32_t read)
{
    int32_t forward = read - (uint32_t)writer->read;

    if (forward > (int64_t)(writer->written - writer->read)) {
        return FALSE;
    }
    /* Records of two lanes overtake each other: an older one says less. */
    writer->read += MAX(forward, 0);
    return TRUE;
}

/* --- the reader ----------------------------------------------------------- */

static const uint8_t *place(const VerbsRingReader *reader)
{
    return reader->memory + (reader->position & (reader->size - 1));
}

gboolean verbs_ring_stirs(const VerbsRingReader *reader)
{
    uint32_t stamp = __atomic_load_n(
        (const uint32_t *)(place(reader) + RECORD_STAMP), __ATOMIC_ACQUIRE);

    return GUINT32_FROM_LE(stamp) == stamp_of(reader->position);
}

VerbsRingState verbs_ring_peek(const VerbsRingReader *reader,
                               VerbsRecord *record)
{
    const uint8_t *at = place(reader);
    uint8_t header[VERBS_RECORD_HEADER];
    size_t left = reader->size - (reader->position & (reader->size - 1));

    if (!verbs_ring_stirs(reader)) {
        return VERBS_RING_EMPTY;
    }
    /* Looked at once: it may change. */
    memcpy(header, at, sizeof(header));
    record->size = verbs_get32(header + RECORD_SIZE);
    if (record->size > left - VERBS_RECORD_HEADER) {
        return VERBS_RING_TORN;
    }
    if (checksum(at, record->size, reader->seed, reader->position) !=
            verbs_get64(header + RECORD_CHECKSUM) ||
        memcmp(header, at, sizeof(header)) != 0) {
        return VERBS_RING_TORN;
    }
    record->data = at + VERBS_RECORD_HEADER;
    record->kind = header[RECORD_KIND];
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        record->credit.read[i] = verbs_get32(header + RECORD_READ + 4 * i);
    }
    record->credit.receives = verbs_get32(header + RECORD_RECEIVES);
    record->span = record->kind == VERBS_RECORD_SKIP ?
                       left : verbs_record_span(record->size);
    for (unsigned i = RECORD_ZERO; i < VERBS_RECORD_HEADER; i++) {
        if (header[i] != 0) {
            return VERBS_RING_BAD;
        }
    }
    if (record->kind < VERBS_RECORD_DATA || record->kind > VERBS_RECORD_LAST ||
        (record->kind == VERBS_RECORD_SKIP && record->size > 0)) {
        return VERBS_RING_BAD;
    }
    return VERBS_RING_RECORD;
}
