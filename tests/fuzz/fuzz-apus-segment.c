/*
 * Fuzzing of the log's recovery: two segments, each as it is, and with
 * checksums that are right
 *
 * The first byte says where the second segment begins. What recovery accepts
 * has to be a log: consecutive entries behind the base, in terms that do not
 * fall.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <xxhash.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/recovery.h"
#include "tests/fuzz/fuzz.h"

#define BASE 2 /* index */
#define NONCE_AT 32

static void make_slot(ApusSlot *slot)
{
    *slot = (ApusSlot) {
        .sequence = 1,
        .cluster = "cluster",
        .id = 2,
        .durability = APUS_DURABILITY_DISK,
        .log_start = 1,
        .log_safe = 1,
        .state = { .term = 5, .base = { .index = BASE, .term = 1 } },
    };
}

static void check_log(const ApusRecovery *recovery)
{
    uint64_t term = 1;

    for (unsigned i = 0; i < apus_recovery_count(recovery); i++) {
        ApusEntry entry;

        apus_recovery_entry(recovery, i, &entry);
        g_assert_cmpuint(entry.index, ==, BASE + 1 + i);
        g_assert_cmpuint(entry.term, >=, term);
        term = entry.term;
    }
    g_assert_cmpuint(term, <=, 5);
    g_assert_cmpuint(apus_recovery_sequence(recovery), >=, 1);
}

static void recover(const uint8_t *data, size_t size, size_t split)
{
    g_autoptr(ApusRecovery) recovery = NULL;
    g_autofree char *note = NULL;
    ApusSlot slot;

    make_slot(&slot);
    recovery = apus_recovery_new(&slot);
    for (unsigned i = 0; i < 2; i++) {
        size_t at = i == 0 ? 0 : split;
        size_t end = i == 0 ? split : size;
        g_autofree uint8_t *segment = g_memdup2(data + at, end - at);
        g_autoptr(GError) error = NULL;
        ApusSegmentUse use;

        if (!apus_recovery_segment(recovery, i + 1, segment, end - at, &use,
                                   &error)) {
            g_assert_true(
                g_error_matches(error, APUS_ERROR, APUS_ERROR_FOREIGN) ||
                g_error_matches(error, APUS_ERROR, APUS_ERROR_VERSION));
            return;
        }
    }
    if (apus_recovery_end(recovery, &note)) {
        check_log(recovery);
    } else {
        g_assert_nonnull(note);
    }
}

/* Make what may be a batch one. */
static void sign_batch(uint8_t *data, size_t size, uint64_t nonce)
{
    uint32_t bytes = MIN(apus_get32(data + 44), size - APUS_BATCH_HEADER);
    uint8_t *records = data + APUS_BATCH_HEADER;
    uint64_t digest = APUS_DIGEST_NONE;
    uint32_t count = 0;

    for (size_t at = 0; at + APUS_RECORD_HEADER <= bytes; count++) {
        size_t record = APUS_RECORD_HEADER +
                        (size_t)apus_get32(records + at + 8);

        if (record > bytes - at) {
            break;
        }
        apus_put64(records + at, apus_checksum(records + at + 8, record - 8));
        digest = apus_batch_digest(digest, records + at);
        at += record;
    }
    apus_put32(data + 40, count);
    apus_put32(data + 44, bytes);
    apus_put64(data + 48, digest);
    apus_put64(data, XXH3_64bits_withSeed(data + 8, APUS_BATCH_HEADER - 8,
                                          nonce));
}

static void sign(uint8_t *data, size_t size)
{
    if (size < APUS_BLOCK) {
        return;
    }
    apus_put64(data, apus_checksum(data + 8, APUS_BLOCK - 8));
    for (size_t at = APUS_BLOCK; at + APUS_BATCH_HEADER <= size;
         at += APUS_BLOCK) {
        sign_batch(data + at, size - at, apus_get64(data + NONCE_AT));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *copy = NULL;
    size_t split;

    if (size < 1) {
        return 0;
    }
    split = MIN((size_t)data[0] % 4 * APUS_BLOCK, size - 1);
    copy = g_memdup2(data + 1, size - 1);
    recover(data + 1, size - 1, split);
    if (copy) {
        sign(copy, split);
        sign(copy + split, size - 1 - split);
        recover(copy, size - 1, split);
    }
    return 0;
}

static void add_header(GByteArray *out, uint64_t number)
{
    uint8_t block[APUS_BLOCK];
    ApusSegment segment = {
        .cluster = "cluster", .id = 2, .number = number, .nonce = 7,
        .size = 8 << 20,
    };

    apus_segment_put(block, &segment);
    g_byte_array_append(out, block, sizeof(block));
}

static void add_batch(GByteArray *out, uint64_t sequence, uint64_t first,
                      uint32_t count)
{
    static const uint8_t zeros[APUS_BLOCK];
    g_autoptr(GByteArray) records = g_byte_array_new();
    ApusBatch batch = {
        .sequence = sequence, .safe = sequence - 1, .first = first,
        .count = count, .digest = APUS_DIGEST_NONE,
    };
    uint8_t header[APUS_BATCH_HEADER];
    size_t size;

    for (uint32_t i = 0; i < count; i++) {
        ApusEntry entry = {
            .kind = APUS_ENTRY_INPUT, .term = 1 + sequence / 2,
            .index = first + i, .payload = (const uint8_t *)"frame",
            .length = 5,
        };
        size_t at = records->len;

        apus_record_append(records, &entry);
        batch.digest = apus_batch_digest(batch.digest, records->data + at);
    }
    batch.bytes = records->len;
    size = apus_batch_size(batch.bytes);
    apus_batch_put(header, &batch, 7);
    g_byte_array_append(out, header, sizeof(header));
    g_byte_array_append(out, records->data, records->len);
    g_byte_array_append(out, zeros, size - sizeof(header) - records->len);
}

void fuzz_seeds(void)
{
    g_autoptr(GByteArray) one = g_byte_array_new();
    g_autoptr(GByteArray) two = g_byte_array_new();

    add_header(one, 1);
    add_batch(one, 1, 1, 3);
    add_batch(one, 2, 3, 2);
    fuzz_seed_with("\3", 1, one);
    add_header(two, 1);
    add_batch(two, 1, 1, 4);
    add_header(two, 2);
    add_batch(two, 2, 5, 1);
    fuzz_seed_with("\2", 1, two);
}
