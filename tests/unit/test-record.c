/*
 * Log records: what apus_record_append() writes, apus_record_decode() reads,
 * and nothing else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/record.h"

static GByteArray *encode(ApusEntryKind kind, uint64_t term, uint64_t index,
                          const void *payload, uint32_t length)
{
    GByteArray *bytes = g_byte_array_new();
    ApusEntry entry = {
        .kind = kind,
        .term = term,
        .index = index,
        .payload = payload,
        .length = length,
    };

    apus_record_append(bytes, &entry);
    g_assert_cmpuint(bytes->len, ==, apus_record_size(&entry));
    return bytes;
}

static void refused(GByteArray *bytes, ApusRecordError code)
{
    g_autoptr(GError) error = NULL;
    ApusEntry entry;

    g_assert_cmpint(apus_record_decode(&entry, bytes->data, bytes->len,
                                       &error), ==, -1);
    g_assert_error(error, APUS_RECORD_ERROR, (int)code);
}

/* Make the checksum right again after the bytes were changed. */
static void sign(GByteArray *bytes)
{
    apus_put64(bytes->data, apus_checksum(bytes->data + 8, bytes->len - 8));
}

static void checksum_is_xxh3(void)
{
    /* What XXH3-64 without a seed gives for nothing at all. */
    g_assert_cmphex(apus_checksum("", 0), ==, 0x2d06800538d394c2);
}

static void entry_survives_encoding(void)
{
    uint8_t payload[1500];
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GError) error = NULL;
    ApusEntry entry;

    memset(payload, 0xa5, sizeof(payload));
    bytes = encode(APUS_ENTRY_ROLE, 7, UINT64_MAX, payload, sizeof(payload));
    g_assert_cmpint(apus_record_decode(&entry, bytes->data, bytes->len,
                                       &error), ==, bytes->len);
    g_assert_no_error(error);
    g_assert_cmpint(entry.kind, ==, APUS_ENTRY_ROLE);
    g_assert_cmpuint(entry.term, ==, 7);
    g_assert_cmpuint(entry.index, ==, UINT64_MAX);
    g_assert_cmpmem(entry.payload, entry.length, payload, sizeof(payload));
}

static void bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        2, 0, 0, 0, 1, 0, 2, 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        9, 0, 0, 0, 0, 0, 0, 0, 'h', 'i',
    };
    g_autoptr(GByteArray) bytes =
        encode(APUS_ENTRY_SYNC, 0x1122334455667788, 9, "hi", 2);

    g_assert_cmpmem(bytes->data + 8, bytes->len - 8,
                    expected, sizeof(expected));
    g_assert_cmphex(apus_get64(bytes->data), ==,
                    apus_checksum(expected, sizeof(expected)));
}

static void payload_in_its_place_is_left_there(void)
{
    g_autoptr(GByteArray) copied =
        encode(APUS_ENTRY_INPUT, 5, 6, "frame", 5);
    uint8_t record[APUS_RECORD_HEADER + 5];
    ApusEntry entry = {
        .kind = APUS_ENTRY_INPUT,
        .term = 5,
        .index = 6,
        .payload = record + APUS_RECORD_HEADER,
        .length = 5,
    };

    memset(record, 0xff, APUS_RECORD_HEADER);
    memcpy(record + APUS_RECORD_HEADER, "frame", 5);
    apus_record_put(record, &entry);
    g_assert_cmpmem(record, sizeof(record), copied->data, copied->len);
}

static void records_are_read_one_after_another(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, "one", 3);
    ApusEntry second = {
        .kind = APUS_ENTRY_INPUT, .term = 1, .index = 2,
    };
    ApusEntry entry;
    gssize size;

    apus_record_append(bytes, &second);
    size = apus_record_decode(&entry, bytes->data, bytes->len, NULL);
    g_assert_cmpint(size, ==, APUS_RECORD_HEADER + 3);
    g_assert_cmpuint(entry.index, ==, 1);
    g_assert_cmpint(apus_record_decode(&entry, bytes->data + size,
                                       bytes->len - size, NULL),
                    ==, APUS_RECORD_HEADER);
    g_assert_cmpuint(entry.index, ==, 2);
    g_assert_cmpuint(entry.length, ==, 0);
}

static void every_prefix_asks_for_more(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, "frame", 5);
    g_autoptr(GError) error = NULL;
    ApusEntry entry;

    for (guint size = 0; size < bytes->len; size++) {
        g_assert_cmpint(apus_record_decode(&entry, bytes->data, size, &error),
                        ==, 0);
        g_assert_no_error(error);
    }
}

static void every_flipped_bit_is_noticed(void)
{
    g_autoptr(GByteArray) good = encode(APUS_ENTRY_INPUT, 3, 4, "frame", 5);

    for (guint bit = 0; bit < good->len * 8; bit++) {
        g_autoptr(GByteArray) bad = g_byte_array_new();
        ApusEntry entry;

        g_byte_array_append(bad, good->data, good->len);
        bad->data[bit / 8] ^= 1 << bit % 8;
        /* A longer length asks for more bytes; nothing else may pass. */
        g_assert_cmpint(apus_record_decode(&entry, bad->data, bad->len, NULL),
                        <=, 0);
    }
}

static void other_version_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, NULL, 0);

    bytes->data[12] = 2;
    sign(bytes);
    refused(bytes, APUS_RECORD_ERROR_VERSION);
}

static void impossible_length_is_refused_at_once(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, NULL, 0);

    bytes->data[11] = 0xff;
    refused(bytes, APUS_RECORD_ERROR_CORRUPT);
}

static void unknown_kind_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, NULL, 0);

    bytes->data[14] = 5;
    sign(bytes);
    refused(bytes, APUS_RECORD_ERROR_CORRUPT);
}

static void index_zero_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, NULL, 0);

    bytes->data[24] = 0;
    sign(bytes);
    refused(bytes, APUS_RECORD_ERROR_CORRUPT);
}

static void reserved_byte_in_use_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encode(APUS_ENTRY_INPUT, 1, 1, NULL, 0);

    bytes->data[15] = 1;
    sign(bytes);
    refused(bytes, APUS_RECORD_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record/checksum-is-xxh3", checksum_is_xxh3);
    g_test_add_func("/record/entry-survives-encoding",
                    entry_survives_encoding);
    g_test_add_func("/record/bytes-are-the-documented-ones",
                    bytes_are_the_documented_ones);
    g_test_add_func("/record/payload-in-its-place-is-left-there",
                    payload_in_its_place_is_left_there);
    g_test_add_func("/record/records-are-read-one-after-another",
                    records_are_read_one_after_another);
    g_test_add_func("/record/every-prefix-asks-for-more",
                    every_prefix_asks_for_more);
    g_test_add_func("/record/every-flipped-bit-is-noticed",
                    every_flipped_bit_is_noticed);
    g_test_add_func("/record/other-version-is-refused",
                    other_version_is_refused);
    g_test_add_func("/record/impossible-length-is-refused-at-once",
                    impossible_length_is_refused_at_once);
    g_test_add_func("/record/unknown-kind-is-refused",
                    unknown_kind_is_refused);
    g_test_add_func("/record/index-zero-is-refused", index_zero_is_refused);
    g_test_add_func("/record/reserved-byte-in-use-is-refused",
                    reserved_byte_in_use_is_refused);
    return g_test_run();
}
