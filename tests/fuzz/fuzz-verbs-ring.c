/*
 * Fuzzing of a lane's memory: whatever the other side writes into it
 *
 * The input is the ring, once as it is, and once with checksums that are right
 * where a record might stand; and what follows each record as its credit, its
 * descriptor, its grant. Reading it must stay inside, go forward, and come to
 * an end, and what was accepted must be encoded as it was.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "colo-net/verbs/bytes.h"
#include "colo-net/verbs/descriptor.h"
#include "colo-net/verbs/ring.h"
#include "tests/fuzz/fuzz.h"

#define SIZE VERBS_RING_MIN
#define SEED 0x5eedull
#define LAPS 3

/* What a link does with it, short of the link. */
static void use(const VerbsRecord *record, VerbsRingWriter *opposite)
{
    VerbsDescriptor descriptor;
    VerbsGrant grant;
    uint64_t before = opposite->read;
    unsigned lane;
    uint32_t number;

    if (verbs_ring_credit(opposite, record->credit.read[0])) {
        g_assert_cmpuint(opposite->read, >=, before);
        g_assert_cmpuint(opposite->read, <=, opposite->written);
    } else {
        g_assert_cmpuint(opposite->read, ==, before);
    }
    if (verbs_descriptor_get(record->data, record->size, &descriptor)) {
        uint8_t again[VERBS_DESCRIPTOR_SIZE];

        verbs_descriptor_put(again, &descriptor);
        g_assert_cmpmem(again, sizeof(again), record->data, record->size);
    }
    if (verbs_grant_get(record->data, record->size, &grant)) {
        uint8_t again[VERBS_GRANT_SIZE];

        verbs_grant_put(again, &grant);
        g_assert_cmpmem(again, sizeof(again), record->data, record->size);
    }
    if (verbs_revoked_get(record->data, record->size, &lane, &number)) {
        g_assert_cmpuint(lane, <, VERBS_LANES);
    }
}

static void read_all(const uint8_t *memory, uint64_t start)
{
    VerbsRingReader reader = {
        .memory = memory, .size = SIZE, .seed = SEED, .position = start,
    };
    VerbsRingWriter opposite = { .size = SIZE, .written = 1024 };
    VerbsRecord record;

    while (reader.position < start + LAPS * SIZE &&
           verbs_ring_peek(&reader, &record) == VERBS_RING_RECORD) {
        size_t at = reader.position % SIZE;

        g_assert_true(verbs_ring_stirs(&reader));
        g_assert_true(record.data == memory + at + VERBS_RECORD_HEADER);
        g_assert_cmpuint(record.size, <=, SIZE - at - VERBS_RECORD_HEADER);
        g_assert_cmpuint(record.span, >=, VERBS_RECORD_HEADER + record.size);
        g_assert_cmpuint(record.span, <=, SIZE - at);
        g_assert_cmpuint(record.span % VERBS_RECORD_UNIT, ==, 0);
        use(&record, &opposite);
        reader.position += record.span;
    }
}

/* Give what stands at each place a stamp and a checksum that are right. */
static void sign(uint8_t *memory, uint64_t start)
{
    for (size_t at = 0; at + VERBS_RECORD_HEADER <= SIZE;) {
        uint8_t *record = memory + at;
        size_t size = verbs_get32(record + 12) %
                      (SIZE - at - VERBS_RECORD_HEADER + 1);

        verbs_put32(record + 8, (uint32_t)(start + at) | 1);
        verbs_put32(record + 12, size);
        verbs_put64(record, XXH3_64bits_withSeed(record + 8, 24 + size,
                                                 SEED ^ (start + at)));
        at += verbs_record_span(size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *memory = g_malloc0(SIZE);
    uint64_t start = size > 0 ? (uint64_t)data[0] * SIZE << 13 : 0;

    if (size > 1) {
        memcpy(memory, data + 1, MIN(size - 1, SIZE));
    }
    read_all(memory, start);
    sign(memory, start);
    read_all(memory, start);
    g_free(memory);
    return 0;
}

static void add(VerbsRingWriter *writer, VerbsRecordKind kind,
                const void *data, size_t size)
{
    VerbsCredit credit = { .read = { 32, 64 }, .receives = 256 };
    VerbsPiece piece = { data, size };
    size_t offset;

    verbs_ring_put(writer, kind, &credit, &piece, 1, &offset);
}

void fuzz_seeds(void)
{
    g_autofree uint8_t *mirror = g_malloc0(SIZE);
    VerbsRingWriter writer = { .mirror = mirror, .size = SIZE, .seed = SEED };
    VerbsDescriptor descriptor = {
        .receives = 256, .events = TRUE, .seed = 1,
        .lanes = { { SIZE, FALSE, 4096, 7 }, { SIZE, TRUE, 8192, 0 } },
    };
    VerbsGrant grant = { .lane = 1, .number = 1, .rkey = 9, .start = 32 };
    uint8_t data[VERBS_DESCRIPTOR_SIZE];
    g_autoptr(GByteArray) seed = g_byte_array_new();

    verbs_descriptor_put(data, &descriptor);
    add(&writer, VERBS_RECORD_LANES, data, VERBS_DESCRIPTOR_SIZE);
    verbs_grant_put(data, &grant);
    add(&writer, VERBS_RECORD_GRANT, data, VERBS_GRANT_SIZE);
    verbs_revoked_put(data, 1, 1);
    add(&writer, VERBS_RECORD_REVOKED, data, VERBS_REVOKED_SIZE);
    add(&writer, VERBS_RECORD_DATA, "something", 9);
    add(&writer, VERBS_RECORD_CREDIT, "", 0);
    add(&writer, VERBS_RECORD_SKIP, "", 0);
    g_byte_array_append(seed, mirror, SIZE);
    fuzz_seed_with("\0", 1, seed);
    fuzz_seed_with("\1", 1, seed);
}
