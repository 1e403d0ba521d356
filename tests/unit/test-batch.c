/*
 * PAGES: records arrive as they were added, and no others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/wire.h"

#define PAGE_SIZE 512

enum {
    AT_THROUGH = 0,
    AT_N = 8,
    AT_SIZE = 12,
    AT_PACKING = 16,
    AT_RECORDS = 17,
};

typedef struct Decoded {
    GString *text; /* "page:form:size " for each record */
    GByteArray *bytes; /* of all records */
    uint64_t refuse; /* this page */
} Decoded;

static gboolean note(void *opaque, uint64_t page, PloverForm form,
                     const uint8_t *data, size_t size, GError **errp)
{
    Decoded *decoded = opaque;

    if (page == decoded->refuse) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL, "not that page");
        return FALSE;
    }
    g_string_append_printf(decoded->text, "%" G_GUINT64_FORMAT ":%d:%zu ",
                           page, form, size);
    if (size > 0) {
        g_byte_array_append(decoded->bytes, data, size);
    }
    return TRUE;
}

static void decoded_init(Decoded *decoded)
{
    *decoded = (Decoded) {
        .text = g_string_new(NULL),
        .bytes = g_byte_array_new(),
        .refuse = UINT64_MAX,
    };
}

static void decoded_clear(Decoded *decoded)
{
    g_string_free(decoded->text, TRUE);
    g_byte_array_unref(decoded->bytes);
}

/* Decode a copy of @bytes, so that ASan sees who reads beyond it. */
static gboolean decode(Decoded *decoded, const GByteArray *bytes,
                       uint64_t *through, GError **errp)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, bytes->len);
    g_autoptr(GByteArray) scratch = g_byte_array_new();

    return plover_batch_decode(copy, bytes->len, PAGE_SIZE, through, scratch,
                               note, decoded, errp);
}

/* A message with @records as they are, which say to be @n. */
static GByteArray *message(uint64_t through, uint32_t n, const void *records,
                           size_t size)
{
    GByteArray *bytes = g_byte_array_new();

    g_byte_array_set_size(bytes, AT_RECORDS);
    for (unsigned i = 0; i < 8; i++) {
        bytes->data[AT_THROUGH + i] = through >> 8 * i;
    }
    for (unsigned i = 0; i < 4; i++) {
        bytes->data[AT_N + i] = n >> 8 * i;
        bytes->data[AT_SIZE + i] = size >> 8 * i;
    }
    bytes->data[AT_PACKING] = 0;
    g_byte_array_append(bytes, records, size);
    return bytes;
}

static void refused(const GByteArray *bytes, const char *named)
{
    g_autoptr(GError) error = NULL;
    Decoded decoded;
    uint64_t through;

    decoded_init(&decoded);
    g_assert_false(decode(&decoded, bytes, &through, &error));
    g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_CORRUPT);
    g_assert_true(g_str_has_prefix(error->message, "PAGES: "));
    if (!strstr(error->message, named)) {
        g_error("'%s' does not say '%s'", error->message, named);
    }
    decoded_clear(&decoded);
}

static void refused_records(uint32_t n, const void *records, size_t size,
                            const char *named)
{
    g_autoptr(GByteArray) bytes = message(0, n, records, size);

    refused(bytes, named);
}

static void records_survive(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    uint8_t noise[PAGE_SIZE];
    PloverBatch batch;
    Decoded decoded;
    uint64_t through;

    for (unsigned i = 0; i < sizeof(noise); i++) {
        noise[i] = g_test_rand_int();
    }
    plover_batch_init(&batch);
    decoded_init(&decoded);
    for (unsigned i = 0; i < 2; i++) {
        /* The second time it begins anew. */
        g_byte_array_set_size(bytes, 0);
        plover_batch_add(&batch, 0, PLOVER_FORM_ZERO, NULL, 0);
        plover_batch_add(&batch, 127, PLOVER_FORM_WHOLE, noise, PAGE_SIZE);
        plover_batch_add(&batch, 128, PLOVER_FORM_DELTA, noise, 130);
        plover_batch_add(&batch, 70000, PLOVER_FORM_DELTA, NULL, 0);
        plover_batch_add(&batch, PLOVER_PAGES_MAX - 1, PLOVER_FORM_DELTA,
                         noise, PAGE_SIZE);
        plover_batch_encode(&batch, 77, i, bytes);
    }
    decode(&decoded, bytes, &through, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(through, ==, 77);
    g_assert_cmpstr(decoded.text->str, ==, "0:0:0 127:1:512 128:2:130 "
                    "70000:2:0 2147483647:2:512 ");
    g_byte_array_append(again, noise, PAGE_SIZE);
    g_byte_array_append(again, noise, 130);
    g_byte_array_append(again, noise, PAGE_SIZE);
    g_assert_cmpmem(decoded.bytes->data, decoded.bytes->len, again->data,
                    again->len);
    decoded_clear(&decoded);
    plover_batch_clear(&batch);
}

static void records_stand_as_documented(void)
{
    static const uint8_t expected[] = {
        1, 2, 0, 0, 0, 0, 0, 0, /* through */
        3, 0, 0, 0, /* records */
        10, 0, 0, 0, /* their size */
        0,
        0xac, 0x02, 0, /* page 300, zero */
        1, 2, 2, 'h', 'i', /* page 301, a delta */
        9, 0, /* page 310 */
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverBatch batch;

    plover_batch_init(&batch);
    plover_batch_add(&batch, 300, PLOVER_FORM_ZERO, NULL, 0);
    plover_batch_add(&batch, 301, PLOVER_FORM_DELTA, "hi", 2);
    plover_batch_add(&batch, 310, PLOVER_FORM_ZERO, NULL, 0);
    plover_batch_encode(&batch, 0x201, FALSE, bytes);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
    plover_batch_clear(&batch);
}

static void nothing_is_a_message(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    PloverBatch batch;
    Decoded decoded;
    uint64_t through;

    plover_batch_init(&batch);
    decoded_init(&decoded);
    plover_batch_encode(&batch, PLOVER_PAGES_MAX, TRUE, bytes);
    g_assert_cmpuint(bytes->len, ==, AT_RECORDS);
    decode(&decoded, bytes, &through, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(through, ==, PLOVER_PAGES_MAX);
    g_assert_cmpstr(decoded.text->str, ==, "");
    decoded_clear(&decoded);
    plover_batch_clear(&batch);
}

/* As full as it gets, with the smallest and with the largest record. */
static void full_message_survives(void)
{
    g_autofree uint8_t *page = g_malloc0(PLOVER_PAGE_SIZE_MAX);

    for (size_t size = 1; size <= PLOVER_PAGE_SIZE_MAX;
         size *= PLOVER_PAGE_SIZE_MAX) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_autoptr(GByteArray) scratch = g_byte_array_new();
        g_autoptr(GError) error = NULL;
        PloverBatch batch;
        Decoded decoded;
        uint64_t through, n = 0;

        plover_batch_init(&batch);
        decoded_init(&decoded);
        while (batch.records->len < PLOVER_BATCH_MAX - 2) {
            plover_batch_add(&batch, n++, PLOVER_FORM_ZERO, NULL, 0);
        }
        g_assert_false(plover_batch_full(&batch));
        plover_batch_add(&batch, PLOVER_PAGES_MAX - 1, PLOVER_FORM_DELTA,
                         page, size);
        g_assert_true(plover_batch_full(&batch));
        plover_batch_encode(&batch, n, TRUE, bytes);
        plover_batch_decode(bytes->data, bytes->len, PLOVER_PAGE_SIZE_MAX,
                            &through, scratch, note, &decoded, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(decoded.bytes->len, ==, size);
        decoded_clear(&decoded);
        plover_batch_clear(&batch);
    }
}

static size_t encoded_size(const uint8_t *page, gboolean compress)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverBatch batch;

    plover_batch_init(&batch);
    plover_batch_add(&batch, 1, PLOVER_FORM_WHOLE, page, PAGE_SIZE);
    plover_batch_encode(&batch, 1, compress, bytes);
    plover_batch_clear(&batch);
    return bytes->len;
}

static void records_are_compressed_if_that_helps(void)
{
    uint8_t ones[PAGE_SIZE], noise[PAGE_SIZE];

    memset(ones, 1, sizeof(ones));
    for (unsigned i = 0; i < sizeof(noise); i++) {
        noise[i] = g_test_rand_int();
    }
    g_assert_cmpuint(encoded_size(ones, TRUE), <, PAGE_SIZE / 10);
    g_assert_cmpuint(encoded_size(ones, FALSE), ==,
                     AT_RECORDS + 2 + PAGE_SIZE);
    g_assert_cmpuint(encoded_size(noise, TRUE), ==,
                     AT_RECORDS + 2 + PAGE_SIZE);
}

static void page_numbers_rise(void)
{
    refused_records(2, "\5\0\0\0", 4, "record 1 says page 5 again");
    refused_records(1, "\x80\x80\x80\x80\x08\0", 6, "page 0 + 2147483648");
    refused_records(2, "\xff\xff\xff\xff\x07\0\1\0", 8,
                    "page 2147483647 + 1");
    refused_records(2, "\7\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0", 13,
                    "page 7 + 18446744073709551615");
}

static void numbers_have_no_padding(void)
{
    refused_records(1, "\x85\0\0", 3, "record 0 has no page number");
    refused_records(1, "\5\2\x82\0hi", 6, "record 0, page 5, has a delta");
}

static void whole_pages_are_whole(void)
{
    uint8_t records[2 + PAGE_SIZE + 1] = { 9, PLOVER_FORM_WHOLE };

    refused_records(1, records, 2 + PAGE_SIZE - 1,
                    "page 9, has 511 of its 512");
    refused_records(1, records, sizeof(records), "1 bytes behind");
}

static void deltas_are_no_larger_than_pages(void)
{
    uint8_t records[4 + PAGE_SIZE + 1] = {
        9, PLOVER_FORM_DELTA, 0x81, 0x04
    };

    refused_records(1, records, sizeof(records), "a delta of 513 bytes");
    refused_records(1, "\5\2\3hi", 5, "page 5, has 2 of its 3");
    refused_records(1, "\5\2", 2, "record 0, page 5, has a delta");
}

static void unknown_form_is_refused(void)
{
    refused_records(1, "\5\3", 2, "record 0, page 5, has the unknown form 3");
    refused_records(1, "\5\xff", 2, "the unknown form 255");
}

static void records_and_their_number_agree(void)
{
    refused_records(0, "\5\0", 2, "2 bytes behind the last of 0");
    refused_records(2, "\5\0", 2, "record 1 has no page number");
    refused_records(UINT32_MAX, "\5\0", 2, "record 1 has no page number");
    refused_records(0x01000001, "\5\0", 2, "record 1 has no page number");
    refused_records(1, "\5", 1, "record 0 has no page number");
}

static void index_is_bounded(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_PAGES_MAX + 1, 0, "", 0);
    g_autoptr(GByteArray) more = message(UINT64_MAX, 0, "", 0);
    g_autoptr(GByteArray) high = message(UINT64_C(1) << 56, 0, "", 0);

    refused(bytes, "through index 2147483649");
    refused(more, "through index 18446744073709551615");
    refused(high, "through index 72057594037927936");
}

static void size_is_bounded_before_memory_is_taken(void)
{
    g_autoptr(GByteArray) scratch = g_byte_array_new();
    g_autoptr(GByteArray) bytes = message(0, 1, "\0\0", 2);
    g_autoptr(GError) error = NULL;
    uint64_t through;

    bytes->data[AT_SIZE + 3] = 0x7f;
    bytes->data[AT_PACKING] = 1;
    g_assert_false(plover_batch_decode(bytes->data, bytes->len, PAGE_SIZE,
                                       &through, scratch, note, NULL,
                                       &error));
    g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "records of 2130706434 bytes"));
    g_assert_cmpuint(scratch->len, ==, 0);
}

static void broken_compression_is_refused(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t ones[PAGE_SIZE];
    PloverBatch batch;

    memset(ones, 1, sizeof(ones));
    plover_batch_init(&batch);
    plover_batch_add(&batch, 1, PLOVER_FORM_WHOLE, ones, PAGE_SIZE);
    plover_batch_encode(&batch, 1, TRUE, bytes);
    plover_batch_clear(&batch);
    g_assert_cmpuint(bytes->data[AT_PACKING], ==, 1);
    g_assert_cmpuint(bytes->data[AT_SIZE], ==, 2);

    bytes->data[AT_SIZE] = 3;
    refused(bytes, "do not become 515");
    bytes->data[AT_SIZE] = 1;
    refused(bytes, "do not become 513");
    bytes->data[AT_SIZE] = 2;
    bytes->data[AT_PACKING] = 0;
    refused(bytes, "do not become 514");
    bytes->data[AT_PACKING] = 2;
    refused(bytes, "packed in way 2");
    bytes->data[AT_PACKING] = 1;
    bytes->data[AT_RECORDS] ^= 0xff;
    refused(bytes, "do not become 514");
}

/* Only what is smaller for it is compressed, so there is one way to send it. */
static void compression_that_did_not_help_is_refused(void)
{
    /* One token: two literal bytes. */
    g_autoptr(GByteArray) bytes = message(0, 1, "\x20\5\0", 3);

    bytes->data[AT_SIZE] = 2;
    bytes->data[AT_PACKING] = 1;
    refused(bytes, "do not become 2");
}

static void receiver_ends_the_decoding(void)
{
    g_autoptr(GByteArray) bytes = message(0, 3, "\1\0\1\0\1\0", 6);
    g_autoptr(GError) error = NULL;
    Decoded decoded;
    uint64_t through;

    decoded_init(&decoded);
    decoded.refuse = 2;
    g_assert_false(decode(&decoded, bytes, &through, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
    g_assert_cmpstr(decoded.text->str, ==, "1:0:0 ");
    decoded_clear(&decoded);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/batch/survives", records_survive);
    g_test_add_func("/batch/layout", records_stand_as_documented);
    g_test_add_func("/batch/empty", nothing_is_a_message);
    g_test_add_func("/batch/full", full_message_survives);
    g_test_add_func("/batch/compressed", records_are_compressed_if_that_helps);
    g_test_add_func("/batch/rising", page_numbers_rise);
    g_test_add_func("/batch/padding", numbers_have_no_padding);
    g_test_add_func("/batch/whole", whole_pages_are_whole);
    g_test_add_func("/batch/delta", deltas_are_no_larger_than_pages);
    g_test_add_func("/batch/form", unknown_form_is_refused);
    g_test_add_func("/batch/number", records_and_their_number_agree);
    g_test_add_func("/batch/through", index_is_bounded);
    g_test_add_func("/batch/size", size_is_bounded_before_memory_is_taken);
    g_test_add_func("/batch/broken-compression",
                    broken_compression_is_refused);
    g_test_add_func("/batch/useless-compression",
                    compression_that_did_not_help_is_refused);
    g_test_add_func("/batch/receiver", receiver_ends_the_decoding);
    return g_test_run();
}
