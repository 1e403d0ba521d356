/*
 * Records in a ring, and what is none
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>
#include <string.h>

#include "colo-net/verbs/descriptor.h"
#include "colo-net/verbs/ring.h"

#define SIZE 4096
#define SEED 0x1234567887654321ull

static const uint8_t zeros[SIZE];

typedef struct {
    uint8_t mirror[SIZE], memory[SIZE];
    VerbsRingWriter writer;
    VerbsRingReader reader;
} Rings;

static void set_up(Rings *rings, gconstpointer unused G_GNUC_UNUSED)
{
    rings->writer = (VerbsRingWriter) {
        .mirror = rings->mirror, .size = SIZE, .seed = SEED,
    };
    rings->reader = (VerbsRingReader) {
        .memory = rings->memory, .size = SIZE, .seed = SEED,
    };
}

static void tear_down(Rings *rings G_GNUC_UNUSED,
                      gconstpointer unused G_GNUC_UNUSED)
{
}

/* Begin at another place. */
static void go_to(Rings *rings, uint64_t position)
{
    rings->writer.written = rings->writer.read = position;
    rings->reader.position = position;
}

static size_t compose(Rings *rings, VerbsRecordKind kind, const void *data,
                      size_t size, size_t *offset)
{
    VerbsCredit credit = { .read = { 7, 11 }, .receives = 13 };
    VerbsPiece pieces[] = { { data, size / 2 },
                            { (const uint8_t *)data + size / 2,
                              size - size / 2 } };

    return verbs_ring_put(&rings->writer, kind, &credit, pieces, 2, offset);
}

static void copy(Rings *rings, size_t offset, size_t size)
{
    memcpy(rings->memory + offset, rings->mirror + offset, size);
}

static void put(Rings *rings, VerbsRecordKind kind, const void *data,
                size_t size)
{
    size_t offset, bytes = compose(rings, kind, data, size, &offset);

    copy(rings, offset, bytes);
}

static VerbsRingState peek(Rings *rings)
{
    VerbsRecord record;

    return verbs_ring_peek(&rings->reader, &record);
}

static void expect(Rings *rings, const void *data, size_t size)
{
    VerbsRecord record;

    g_assert_cmpint(verbs_ring_peek(&rings->reader, &record), ==,
                    VERBS_RING_RECORD);
    g_assert_cmpint(record.kind, ==, VERBS_RECORD_DATA);
    g_assert_cmpmem(record.data, record.size, data, size);
    g_assert_cmpuint(record.credit.read[0], ==, 7);
    g_assert_cmpuint(record.credit.read[1], ==, 11);
    g_assert_cmpuint(record.credit.receives, ==, 13);
    rings->reader.position += record.span;
}

static void fresh_memory_has_no_record(Rings *rings,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    g_assert_cmpint(peek(rings), ==, VERBS_RING_EMPTY);
}

static void what_is_put_is_read(Rings *rings,
                                gconstpointer unused G_GNUC_UNUSED)
{
    put(rings, VERBS_RECORD_DATA, "hello", 5);
    put(rings, VERBS_RECORD_DATA, "", 0);
    put(rings, VERBS_RECORD_DATA, zeros, 1000);
    expect(rings, "hello", 5);
    expect(rings, "", 0);
    g_assert_cmpint(peek(rings), ==, VERBS_RING_RECORD);
}

/* Whatever part of it has come, in whatever order. */
static void a_part_is_no_record(Rings *rings,
                                gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t data[300];
    size_t offset, size;

    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = g_test_rand_int();
    }
    size = compose(rings, VERBS_RECORD_DATA, data, sizeof(data), &offset);
    for (size_t hole = 0; hole < size; hole++) {
        memcpy(rings->memory, rings->mirror, size);
        rings->memory[hole] = ~rings->memory[hole];
        g_assert_cmpint(peek(rings), !=, VERBS_RING_RECORD);
    }
    for (size_t part = 0; part < size - 1; part++) {
        memset(rings->memory, 0, SIZE);
        memcpy(rings->memory, rings->mirror, part);
        if (rings->mirror[size - 1] != 0) {
            g_assert_cmpint(peek(rings), !=, VERBS_RING_RECORD);
        }
    }
    memcpy(rings->memory, rings->mirror, size);
    expect(rings, data, sizeof(data));
}

static void what_lay_there_a_lap_ago_is_no_record(
    Rings *rings, gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t data[SIZE / 4] = { 0 };

    for (unsigned lap = 0; lap < 3 * SIZE / 1056; lap++) {
        if (verbs_ring_must_skip(&rings->writer, sizeof(data))) {
            VerbsRecord record;

            put(rings, VERBS_RECORD_SKIP, "", 0);
            g_assert_cmpint(verbs_ring_peek(&rings->reader, &record), ==,
                            VERBS_RING_RECORD);
            g_assert_cmpint(record.kind, ==, VERBS_RECORD_SKIP);
            rings->reader.position += record.span;
            g_assert_cmpuint(rings->reader.position % SIZE, ==, 0);
        }
        g_assert_cmpint(peek(rings), ==, VERBS_RING_EMPTY);
        put(rings, VERBS_RECORD_DATA, data, sizeof(data));
        expect(rings, data, sizeof(data));
        verbs_ring_credit(&rings->writer, rings->reader.position);
    }
    /* Even if everything but the position were the same. */
    put(rings, VERBS_RECORD_DATA, data, 10);
    rings->reader.position += UINT64_C(1) << 32;
    g_assert_cmpint(peek(rings), ==, VERBS_RING_TORN);
    rings->reader.position -= UINT64_C(1) << 32;
    g_assert_cmpint(peek(rings), ==, VERBS_RING_RECORD);
    rings->reader.seed++;
    g_assert_cmpint(peek(rings), ==, VERBS_RING_TORN);
}

static void only_what_fits_is_said_to(Rings *rings,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    VerbsRingWriter *writer = &rings->writer;

    g_assert_true(verbs_ring_fits(writer, SIZE - VERBS_RECORD_HEADER, 0));
    g_assert_false(verbs_ring_fits(writer, SIZE - VERBS_RECORD_HEADER, 1));
    g_assert_cmpuint(verbs_ring_room(writer, 0), ==,
                     SIZE - VERBS_RECORD_HEADER);
    put(rings, VERBS_RECORD_DATA, zeros, 1000);
    g_assert_cmpuint(writer->written, ==, 1056);
    g_assert_cmpuint(verbs_ring_room(writer, 0), ==, SIZE - 1056 - 32);
    g_assert_cmpuint(verbs_ring_room(writer, 40), ==, SIZE - 1056 - 32 - 64);
    writer->read = 1056;
    /* Not across the end. */
    g_assert_false(verbs_ring_fits(writer, SIZE - 1056, 0));
    g_assert_true(verbs_ring_fits(writer, SIZE - 1056 - 32, 0));
    writer->written = writer->read = 2 * SIZE + 3072;
    g_assert_true(verbs_ring_fits(writer, 3072 - 32, 0));
    g_assert_true(verbs_ring_must_skip(writer, 3072 - 32));
    g_assert_false(verbs_ring_fits(writer, 3072 - 31, 0));
    g_assert_cmpuint(verbs_ring_room(writer, 0), ==, 3072 - 32);
    writer->written += 3072;
    g_assert_cmpuint(verbs_ring_room(writer, 0), ==, 1024 - 32);
    g_assert_cmpuint(verbs_ring_room(writer, 1024), ==, 0);
}

/* All positions, seen through what random traffic leaves of them. */
static void room_is_what_fits(Rings *rings, gconstpointer unused G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < 20000; i++) {
        VerbsRingWriter *writer = &rings->writer;
        uint64_t at = 32 * (uint64_t)g_test_rand_int_range(0, 4 * SIZE / 32);
        size_t reserve = g_test_rand_int_range(0, SIZE / 4);
        size_t room;

        writer->read = at;
        writer->written = at + 32 * g_test_rand_int_range(0, SIZE / 32 + 1);
        room = verbs_ring_room(writer, reserve);
        if (room > 0) {
            g_assert_true(verbs_ring_fits(writer, room, reserve));
        }
        g_assert_false(verbs_ring_fits(writer, room + 32, reserve));
    }
}

static void credits_only_go_forward(Rings *rings,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    uint64_t start = (UINT64_C(3) << 32) - 512;

    go_to(rings, start);
    for (unsigned i = 0; i < 3; i++) {
        put(rings, VERBS_RECORD_DATA, zeros, 200);
    }
    g_assert_true(verbs_ring_credit(&rings->writer, start));
    g_assert_true(verbs_ring_credit(&rings->writer, start + 256));
    g_assert_cmpuint(rings->writer.read, ==, start + 256);
    /* Records of two lanes overtake each other. */
    g_assert_true(verbs_ring_credit(&rings->writer, start));
    g_assert_cmpuint(rings->writer.read, ==, start + 256);
    g_assert_true(verbs_ring_credit(&rings->writer, start + 512));
    g_assert_cmpuint(rings->writer.read, ==, start + 512);
    g_assert_false(verbs_ring_credit(&rings->writer, start + 800));
    g_assert_cmpuint(rings->writer.read, ==, start + 512);
}

static void nonsense_with_a_right_checksum_is_bad(
    Rings *rings, gconstpointer unused G_GNUC_UNUSED)
{
    static const VerbsRecordKind kinds[] = {
        0, VERBS_RECORD_LAST + 1, 255,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        set_up(rings, NULL);
        put(rings, kinds[i], "", 0);
        g_assert_cmpint(peek(rings), ==, VERBS_RING_BAD);
    }
    set_up(rings, NULL);
    put(rings, VERBS_RECORD_SKIP, "x", 1);
    g_assert_cmpint(peek(rings), ==, VERBS_RING_BAD);
}

/*
 * Whatever sizes, whatever the reader's pace: what comes out is what went
 * in.
 */
static void traffic_goes_round_and_round(Rings *rings,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) sent = g_byte_array_new();
    g_autoptr(GByteArray) got = g_byte_array_new();

    for (unsigned i = 0; i < 20000; i++) {
        uint8_t data[SIZE / 4];
        size_t size = g_test_rand_int_range(0, sizeof(data) + 1);
        VerbsRecord record;

        if (g_test_rand_bit() && verbs_ring_fits(&rings->writer, size, 0)) {
            memset(data, i, size);
            if (verbs_ring_must_skip(&rings->writer, size)) {
                put(rings, VERBS_RECORD_SKIP, "", 0);
            }
            put(rings, VERBS_RECORD_DATA, data, size);
            g_byte_array_append(sent, data, size);
        }
        if (g_test_rand_bit() &&
            verbs_ring_peek(&rings->reader, &record) == VERBS_RING_RECORD) {
            if (record.size > 0) {
                g_byte_array_append(got, record.data, record.size);
            }
            rings->reader.position += record.span;
            g_assert_true(verbs_ring_credit(&rings->writer,
                                            rings->reader.position));
        }
    }
    g_assert_cmpuint(got->len, >, 100 * SIZE);
    g_assert_cmpuint(got->len, <=, sent->len);
    g_assert_cmpmem(got->data, got->len, sent->data, got->len);
}

static void descriptors_are_told_and_understood(
    Rings *rings G_GNUC_UNUSED, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsDescriptor one = {
        .receives = 256, .events = TRUE, .seed = SEED,
        .lanes = { { 1 << 20, FALSE, 0x7f0000001000, 5 },
                   { 4096, TRUE, 0x7f0000002000, 0 } },
    };
    uint8_t data[VERBS_DESCRIPTOR_SIZE], again[VERBS_DESCRIPTOR_SIZE];
    VerbsDescriptor two;

    verbs_descriptor_put(data, &one);
    g_assert_true(verbs_descriptor_get(data, sizeof(data), &two));
    g_assert_cmpuint(two.lanes[0].size, ==, 1 << 20);
    g_assert_cmpuint(two.lanes[1].address, ==, 0x7f0000002000);
    g_assert_true(two.lanes[1].gated);
    verbs_descriptor_put(again, &two);
    g_assert_cmpmem(data, sizeof(data), again, sizeof(again));
    g_assert_false(verbs_descriptor_get(data, sizeof(data) - 1, &two));
    /* Magic, version, flags, sizes, zeros. */
    for (unsigned at = 0; at < 8; at++) {
        uint8_t kept = data[at];

        data[at] = 0xff;
        g_assert_false(verbs_descriptor_get(data, sizeof(data), &two));
        data[at] = kept;
    }
    data[20] = 1;
    g_assert_false(verbs_descriptor_get(data, sizeof(data), &two));
    data[20] = 0;
    data[6] = 0; /* no open lane */
    g_assert_false(verbs_descriptor_get(data, sizeof(data), &two));
}

static void grants_are_told_and_understood(
    Rings *rings G_GNUC_UNUSED, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsGrant one = { 1, 3, 0xabcdef, 4096, 77 }, two;
    uint8_t data[VERBS_GRANT_SIZE];
    uint32_t number;
    unsigned lane;

    verbs_grant_put(data, &one);
    g_assert_true(verbs_grant_get(data, sizeof(data), &two));
    g_assert_cmpuint(two.lane, ==, 1);
    g_assert_cmpuint(two.number, ==, 3);
    g_assert_cmpuint(two.rkey, ==, 0xabcdef);
    g_assert_cmpuint(two.start, ==, 4096);
    g_assert_cmpuint(two.ticket, ==, 77);
    g_assert_false(verbs_grant_get(data, sizeof(data) - 1, &two));
    data[0] = VERBS_LANES;
    g_assert_false(verbs_grant_get(data, sizeof(data), &two));
    data[0] = 1;
    data[16] = 1; /* no record begins there */
    g_assert_false(verbs_grant_get(data, sizeof(data), &two));

    verbs_revoked_put(data, 1, 9);
    g_assert_true(verbs_revoked_get(data, VERBS_REVOKED_SIZE, &lane, &number));
    g_assert_cmpuint(lane, ==, 1);
    g_assert_cmpuint(number, ==, 9);
    data[1] = 1;
    g_assert_false(verbs_revoked_get(data, VERBS_REVOKED_SIZE, &lane,
                                     &number));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) \
    g_test_add("/verbs/ring/" #name, Rings, NULL, set_up, name, tear_down)
    ADD(fresh_memory_has_no_record);
    ADD(what_is_put_is_read);
    ADD(a_part_is_no_record);
    ADD(what_lay_there_a_lap_ago_is_no_record);
    ADD(only_what_fits_is_said_to);
    ADD(room_is_what_fits);
    ADD(credits_only_go_forward);
    ADD(nonsense_with_a_right_checksum_is_bad);
    ADD(traffic_goes_round_and_round);
    ADD(descriptors_are_told_and_understood);
    ADD(grants_are_told_and_understood);
    return g_test_run();
}
