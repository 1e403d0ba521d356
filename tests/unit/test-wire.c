/*
 * The messages of a sync: what is sent arrives, and nothing else is accepted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/wire.h"

#define KEY UINT64_C(0x1122334455667788)
#define TERM UINT64_C(0x8000000000000003)
#define PAGE_SIZE 4096

/* Where fields stand that the tests break. */
enum {
    HEADER_VERSION = 4,
    HEADER_TYPE = 5,
    HEADER_SPEAKS = 6,
    HEADER_SIZE = 8,
    HEADER_ZERO32 = 12,

    HELLO_PAGE_SIZE = 200,
    HELLO_COPY = 204,
    HELLO_RUN = 205,
    HELLO_BLANK = 206,
    HELLO_ZERO8 = 207,
    HELLO_N_BLOCKS = 216,
    HELLO_BLOCK_PAGES = 220,
    HELLO_NAME_LENGTH = 228,
    HELLO_NAME = 229,

    HASHES_FIRST = 0,
    HASHES_N = 8,
    HASHES_ZERO32 = 12,
    HASHES_DATA = 16,

    DEVICES_PACKING = 4,
    DEVICES_DATA = 5,
};

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * i;
    }
}

static void corrupt(const GError *error, const char *named)
{
    g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_CORRUPT);
    if (!strstr(error->message, named)) {
        g_error("'%s' does not say '%s'", error->message, named);
    }
}

/* Counts the records. */
static gboolean accept_record(void *opaque, uint64_t page, PloverForm form,
                              const uint8_t *data, size_t size, GError **errp)
{
    unsigned *n = opaque;

    g_assert_cmpuint(page, <, PLOVER_PAGES_MAX);
    g_assert_cmpint(form, <=, PLOVER_FORM_DELTA);
    g_assert_cmpuint(size, <=, PAGE_SIZE);
    g_assert_true(size == 0 || data);
    g_assert_true(!errp || !*errp);
    (*n)++;
    return TRUE;
}

/* Decode a copy of @data, so that ASan sees who reads beyond it. */
static gboolean decode(PloverType type, const uint8_t *data, size_t size,
                       GError **errp)
{
    g_autofree uint8_t *copy = g_memdup2(data, size);
    g_autoptr(GByteArray) memory = g_byte_array_new();
    g_autofree char *text = NULL;
    PloverHello hello;
    PloverSync sync;
    PloverHashes hashes;
    PloverEnd end;
    PloverApplied applied;
    uint64_t through;
    unsigned records = 0;

    switch (type) {
    case PLOVER_HELLO:
        if (!plover_hello_decode(&hello, copy, size, FALSE, errp)) {
            return FALSE;
        }
        plover_hello_clear(&hello);
        return TRUE;
    case PLOVER_SYNC:
        return plover_sync_decode(&sync, copy, size, errp);
    case PLOVER_HASHES:
        return plover_hashes_decode(&hashes, copy, size, errp);
    case PLOVER_PAGES:
        return plover_batch_decode(copy, size, PAGE_SIZE, &through, memory,
                                   accept_record, &records, errp);
    case PLOVER_DEVICES:
        return plover_devices_decode(memory, copy, size, errp);
    case PLOVER_END:
        return plover_end_decode(&end, copy, size, errp);
    case PLOVER_APPLIED:
        return plover_applied_decode(&applied, copy, size, errp);
    case PLOVER_REFUSE:
        text = plover_text_decode(copy, size, errp);
        return text != NULL;
    default:
        g_assert_not_reached();
    }
}

static void refused(PloverType type, GByteArray *bytes, const char *named)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(decode(type, bytes->data, bytes->len, &error));
    corrupt(error, named);
}

static GByteArray *sample_hello(void)
{
    GByteArray *bytes = g_byte_array_new();
    PloverBlock blocks[] = {
        { (char *)"pc.ram", 65536 },
        { (char *)"0000:00:02.0/vga.vram", 4096 },
    };
    PloverHello hello = {
        .secret = { 1, 2, 3 },
        .key = KEY,
        .page_size = PAGE_SIZE,
        .copy = PLOVER_COPY_FULL,
        .run = TRUE,
        .blank = TRUE,
        .cache_pages = UINT32_MAX,
        .cache_age = 0x80000032,
        .n_blocks = G_N_ELEMENTS(blocks),
        .blocks = blocks,
    };

    hello.secret[PLOVER_SECRET_SIZE - 1] = 0xff;
    plover_hello_encode(bytes, &hello);
    return bytes;
}

/* A payload of each type that has a decoder in wire.h, with large numbers. */
static GByteArray *sample(PloverType type)
{
    static const uint8_t zeroes[PAGE_SIZE];
    GByteArray *bytes = g_byte_array_new();
    PloverSync sync = {
        .reasons = PLOVER_REASON_IDLE | PLOVER_REASON_REQUEST,
        .verify = TRUE,
        .sent = UINT64_MAX - 1,
    };
    PloverHash hashes[] = { { UINT64_MAX, 2 }, { 3, UINT64_MAX } };
    PloverEnd end = {
        .pages = PLOVER_PAGES_MAX,
        .sections = UINT32_MAX,
        .resumed = UINT32_MAX - 1,
        .digest = { UINT64_MAX - 1, UINT64_MAX - 2 },
    };
    PloverApplied applied = {
        .stop = UINT32_MAX,
        .map = UINT32_MAX - 1,
        .hash = UINT32_MAX - 2,
        .receive = UINT32_MAX - 3,
        .apply = UINT32_MAX - 4,
        .load = UINT32_MAX - 5,
        .stopped = UINT32_MAX - 6,
        .loaded = UINT32_MAX - 7,
    };
    PloverBatch batch;

    switch (type) {
    case PLOVER_HELLO:
        g_byte_array_unref(bytes);
        return sample_hello();
    case PLOVER_SYNC:
        plover_sync_encode(bytes, &sync);
        return bytes;
    case PLOVER_HASHES:
        plover_hashes_encode(bytes, 300, hashes, G_N_ELEMENTS(hashes));
        return bytes;
    case PLOVER_PAGES:
        plover_batch_init(&batch);
        plover_batch_add(&batch, 0, PLOVER_FORM_ZERO, NULL, 0);
        plover_batch_add(&batch, 300, PLOVER_FORM_DELTA, "\1\2ab", 4);
        plover_batch_add(&batch, 301, PLOVER_FORM_WHOLE, zeroes, PAGE_SIZE);
        plover_batch_encode(&batch, 400, TRUE, bytes);
        plover_batch_clear(&batch);
        return bytes;
    case PLOVER_DEVICES:
        plover_devices_encode(bytes, zeroes, PAGE_SIZE, TRUE);
        return bytes;
    case PLOVER_END:
        plover_end_encode(bytes, &end);
        return bytes;
    case PLOVER_APPLIED:
        plover_applied_encode(bytes, &applied);
        return bytes;
    case PLOVER_REFUSE:
        plover_text_encode(bytes, "page size 4096, not 512");
        return bytes;
    default:
        g_assert_not_reached();
    }
}

static const PloverType with_decoder[] = {
    PLOVER_HELLO, PLOVER_SYNC, PLOVER_HASHES, PLOVER_PAGES, PLOVER_DEVICES,
    PLOVER_END, PLOVER_APPLIED, PLOVER_REFUSE,
};

/* The header */

static GByteArray *message(PloverType type, const void *payload, size_t size)
{
    GByteArray *bytes = g_byte_array_new();
    PloverPiece piece = { payload, size };
    PloverHeader header = {
        .type = type,
        .term = TERM,
        .epoch = UINT64_MAX,
        .base = 0x0102030405060708,
        .speaks = { 1, 1 },
    };

    g_byte_array_set_size(bytes, PLOVER_HEADER_SIZE);
    plover_header_encode(bytes->data, &header, KEY, &piece, 1);
    g_byte_array_append(bytes, payload, size);
    return bytes;
}

static gboolean receive(const GByteArray *bytes, uint64_t key, GError **errp)
{
    PloverHeader header;

    return plover_header_decode(&header, bytes->data, errp) &&
           header.size == bytes->len - PLOVER_HEADER_SIZE &&
           plover_header_check(bytes->data, key,
                               bytes->data + PLOVER_HEADER_SIZE, errp);
}

static void header_stands_as_documented(void)
{
    static const uint8_t expected[PLOVER_CHECKED_SIZE] = {
        'P', 'L', 'V', 'R', 2, 6, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0,
        3, 0, 0, 0, 0, 0, 0, 0x80,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        8, 7, 6, 5, 4, 3, 2, 1,
    };
    uint8_t payload[0x102] = { 0 };
    g_autoptr(GByteArray) bytes = message(PLOVER_PAGES, payload,
                                          sizeof(payload));

    g_assert_cmpmem(bytes->data, sizeof(expected), expected,
                    sizeof(expected));
}

static GByteArray *greeting(PloverType type, ColonyVersions speaks)
{
    GByteArray *bytes = g_byte_array_new();
    PloverHeader header = { .type = type, .speaks = speaks };

    g_byte_array_set_size(bytes, PLOVER_HEADER_SIZE);
    plover_header_encode(bytes->data, &header, KEY, NULL, 0);
    return bytes;
}

/* A release that did not say them left zeroes there. */
static void version_1_alone_is_zeroes(void)
{
    g_autoptr(GByteArray) first = greeting(PLOVER_HELLO,
                                           (ColonyVersions) { 1, 1 });
    g_autoptr(GByteArray) later = greeting(PLOVER_WELCOME,
                                           (ColonyVersions) { 2, 4 });

    g_assert_cmpmem(first->data + HEADER_SPEAKS, 2, "\0\0", 2);
    g_assert_cmpmem(later->data + HEADER_SPEAKS, 2, "\3\1", 2);
}

static void versions_survive(void)
{
    g_autoptr(GByteArray) bytes = greeting(PLOVER_HELLO,
                                           (ColonyVersions) { 3, 255 });
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    plover_header_decode(&header, bytes->data, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(header.speaks.oldest, ==, 3);
    g_assert_cmpuint(header.speaks.newest, ==, 255);
}

static void impossible_versions_are_refused(void)
{
    g_autoptr(GByteArray) bytes = greeting(PLOVER_WELCOME,
                                           (ColonyVersions) { 1, 1 });
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    bytes->data[HEADER_SPEAKS + 1] = 1;
    g_assert_false(plover_header_decode(&header, bytes->data, &error));
    corrupt(error, "WELCOME: impossible versions 1 and 2");
}

static void header_survives(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_END, "abc", 3);
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    plover_header_decode(&header, bytes->data, &error);
    g_assert_no_error(error);
    g_assert_cmpint(header.type, ==, PLOVER_END);
    g_assert_cmpuint(header.size, ==, 3);
    g_assert_cmpuint(header.term, ==, TERM);
    g_assert_cmpuint(header.epoch, ==, UINT64_MAX);
    g_assert_cmpuint(header.base, ==, 0x0102030405060708);
    plover_header_check(bytes->data, KEY, bytes->data + PLOVER_HEADER_SIZE,
                        &error);
    g_assert_no_error(error);
}

static void payload_comes_in_pieces(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_PAGES, "abcdef", 6);
    uint8_t in_pieces[PLOVER_HEADER_SIZE];
    PloverPiece pieces[] = { { "ab", 2 }, { NULL, 0 }, { "cdef", 4 } };
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    plover_header_decode(&header, bytes->data, &error);
    g_assert_no_error(error);
    plover_header_encode(in_pieces, &header, KEY, pieces,
                         G_N_ELEMENTS(pieces));
    g_assert_cmpmem(in_pieces, sizeof(in_pieces), bytes->data,
                    PLOVER_HEADER_SIZE);
}

static void every_type_has_a_name(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (PloverType type = PLOVER_HELLO; type < PLOVER_TYPE__END; type++) {
        const char *name = plover_type_name(type);

        g_assert_true(g_hash_table_add(seen, (char *)name));
    }
}

static void other_version_is_refused(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_END, "", 0);

    for (unsigned version = 0; version < 256; version++) {
        g_autoptr(GError) error = NULL;
        PloverHeader header;

        bytes->data[HEADER_VERSION] = version;
        if (version == PLOVER_WIRE_VERSION) {
            continue;
        }
        g_assert_false(plover_header_decode(&header, bytes->data, &error));
        g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_VERSION);
        g_assert_nonnull(strstr(error->message, "same Colony"));
    }
}

static void unknown_type_is_refused(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_END, "", 0);

    for (unsigned type = 0; type < 256; type++) {
        g_autofree char *named = g_strdup_printf("message type %u", type);
        g_autoptr(GError) error = NULL;
        PloverHeader header;

        bytes->data[HEADER_TYPE] = type;
        if (plover_header_decode(&header, bytes->data, &error)) {
            g_assert_cmpuint(type, >=, PLOVER_HELLO);
            g_assert_cmpuint(type, <, PLOVER_TYPE__END);
        } else {
            corrupt(error, named);
        }
    }
}

static void reserved_bytes_of_the_header_are_refused(void)
{
    static const unsigned at[] = {
        HEADER_SPEAKS, HEADER_SPEAKS + 1, HEADER_ZERO32, HEADER_ZERO32 + 1,
        HEADER_ZERO32 + 2, HEADER_ZERO32 + 3,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        g_autoptr(GByteArray) bytes = message(PLOVER_END, "", 0);
        g_autoptr(GError) error = NULL;
        PloverHeader header;

        bytes->data[at[i]] = 0x80;
        g_assert_false(plover_header_decode(&header, bytes->data, &error));
        corrupt(error, "END: reserved");
    }
}

static void size_is_bounded_before_anyone_waits_for_it(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_MAP, "", 0);
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    put(bytes->data + HEADER_SIZE, PLOVER_PAYLOAD_MAX, 4);
    g_assert_true(plover_header_decode(&header, bytes->data, &error));
    put(bytes->data + HEADER_SIZE, PLOVER_PAYLOAD_MAX + 1, 4);
    g_assert_false(plover_header_decode(&header, bytes->data, &error));
    corrupt(error, "MAP: a payload of 269484033 bytes");
}

static void every_changed_bit_is_noticed(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(with_decoder); i++) {
        g_autoptr(GByteArray) payload = sample(with_decoder[i]);
        g_autoptr(GByteArray) bytes = message(with_decoder[i], payload->data,
                                              payload->len);

        g_assert_true(receive(bytes, KEY, NULL));
        for (guint bit = 0; bit < bytes->len * 8; bit++) {
            bytes->data[bit / 8] ^= 1 << bit % 8;
            g_assert_false(receive(bytes, KEY, NULL));
            bytes->data[bit / 8] ^= 1 << bit % 8;
        }
    }
}

static void message_of_another_connection_is_refused(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_END, "abc", 3);
    g_autoptr(GError) error = NULL;

    g_assert_true(receive(bytes, KEY, &error));
    g_assert_no_error(error);
    g_assert_false(receive(bytes, KEY + 1, &error));
    corrupt(error, "END of epoch 18446744073709551615: wrong checksum");
}

static void hello_needs_no_key(void)
{
    g_autoptr(GByteArray) bytes = message(PLOVER_HELLO, "abc", 3);
    g_autoptr(GError) error = NULL;

    g_assert_true(receive(bytes, 0, &error));
    g_assert_no_error(error);
}

/* All payloads */

static void cut_off_payload_is_refused(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(with_decoder); i++) {
        PloverType type = with_decoder[i];
        g_autoptr(GByteArray) bytes = sample(type);

        g_assert_true(decode(type, bytes->data, bytes->len, NULL));
        for (guint size = 0; size < bytes->len; size++) {
            g_autoptr(GError) error = NULL;

            if (type == PLOVER_REFUSE && size > 0) {
                continue; /* text, too */
            }
            g_assert_false(decode(type, bytes->data, size, &error));
            g_assert_error(error, PLOVER_WIRE_ERROR,
                           PLOVER_WIRE_ERROR_CORRUPT);
        }
    }
}

static void trailing_byte_is_refused(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(with_decoder); i++) {
        PloverType type = with_decoder[i];
        g_autoptr(GByteArray) bytes = sample(type);

        g_byte_array_append(bytes, (const uint8_t *)"", 1);
        refused(type, bytes, type == PLOVER_REFUSE ? "UTF-8" :
                plover_type_name(type));
    }
}

static void changed_bits_do_no_harm(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(with_decoder); i++) {
        PloverType type = with_decoder[i];
        g_autoptr(GByteArray) bytes = sample(type);

        for (guint bit = 0; bit < bytes->len * 8; bit++) {
            g_autoptr(GError) error = NULL;

            bytes->data[bit / 8] ^= 1 << bit % 8;
            if (!decode(type, bytes->data, bytes->len, &error)) {
                g_assert_error(error, PLOVER_WIRE_ERROR,
                               PLOVER_WIRE_ERROR_CORRUPT);
            }
            bytes->data[bit / 8] ^= 1 << bit % 8;
        }
    }
}

/* HELLO */

static void hello_survives(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_HELLO);
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    PloverHello hello;

    plover_hello_decode(&hello, bytes->data, bytes->len, FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hello.secret[0], ==, 1);
    g_assert_cmpuint(hello.secret[PLOVER_SECRET_SIZE - 1], ==, 0xff);
    g_assert_cmpuint(hello.key, ==, KEY);
    g_assert_cmpuint(hello.page_size, ==, PAGE_SIZE);
    g_assert_cmpint(hello.copy, ==, PLOVER_COPY_FULL);
    g_assert_true(hello.run);
    g_assert_true(hello.blank);
    g_assert_cmpuint(hello.cache_pages, ==, UINT32_MAX);
    g_assert_cmpuint(hello.cache_age, ==, 0x80000032);
    g_assert_cmpuint(hello.n_blocks, ==, 2);
    g_assert_cmpstr(hello.blocks[0].name, ==, "pc.ram");
    g_assert_cmpuint(hello.blocks[0].pages, ==, 65536);
    g_assert_cmpstr(hello.blocks[1].name, ==, "0000:00:02.0/vga.vram");
    g_assert_cmpuint(hello.blocks[1].pages, ==, 4096);

    plover_hello_encode(again, &hello);
    g_assert_cmpmem(again->data, again->len, bytes->data, bytes->len);
    plover_hello_clear(&hello);
}

static void hello_with(unsigned at, uint64_t value, unsigned bytes,
                       const char *named)
{
    g_autoptr(GByteArray) hello = sample(PLOVER_HELLO);

    put(hello->data + at, value, bytes);
    refused(PLOVER_HELLO, hello, named);
}

static void impossible_hello_is_refused(void)
{
    hello_with(HELLO_PAGE_SIZE, 0, 4, "page size 0");
    hello_with(HELLO_PAGE_SIZE, 256, 4, "page size 256");
    hello_with(HELLO_PAGE_SIZE, 4097, 4, "page size 4097");
    hello_with(HELLO_PAGE_SIZE, 2 << 20, 4, "page size 2097152");
    hello_with(HELLO_PAGE_SIZE, 0x01001000, 4, "page size 16781312");
    hello_with(HELLO_COPY, 2, 1, "copy 2");
    hello_with(HELLO_RUN, 2, 1, "run is 2");
    hello_with(HELLO_BLANK, 2, 1, "blank is 2");
    hello_with(HELLO_ZERO8, 1, 1, "01 instead of 0");
    hello_with(HELLO_N_BLOCKS, 0, 4, "0 blocks");
    hello_with(HELLO_N_BLOCKS, 1, 4, "30 bytes too many");
    hello_with(HELLO_N_BLOCKS, 3, 4, "ends within block 2");
    hello_with(HELLO_N_BLOCKS, PLOVER_BLOCKS_MAX + 1, 4, "1025 blocks");
    hello_with(HELLO_N_BLOCKS, UINT32_MAX, 4, "4294967295 blocks");
    hello_with(HELLO_BLOCK_PAGES, 0, 8, "block 0 has 0 pages");
    hello_with(HELLO_BLOCK_PAGES, PLOVER_PAGES_MAX + 1, 8,
               "block 0 has 2147483649 pages");
    hello_with(HELLO_BLOCK_PAGES, (UINT64_C(1) << 56) + 1, 8,
               "block 0 has 72057594037927937 pages");
    /* Each for itself would do. */
    hello_with(HELLO_BLOCK_PAGES, PLOVER_PAGES_MAX - 4095, 8,
               "block 1 has 4096 pages instead of 1 to 4095");
    hello_with(HELLO_NAME_LENGTH, 0, 1, "block 0");
    hello_with(HELLO_NAME, 0xff, 1, "block 0");
    hello_with(HELLO_NAME, 0, 1, "block 0");
}

static void block_names_are_unique(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverBlock blocks[] = { { (char *)"ram", 1 }, { (char *)"rom", 1 } };
    PloverHello hello = {
        .page_size = 512,
        .n_blocks = G_N_ELEMENTS(blocks),
        .blocks = blocks,
    };

    plover_hello_encode(bytes, &hello);
    bytes->data[bytes->len - 2] = 'a';
    refused(PLOVER_HELLO, bytes, "'ram'");
}

static void what_a_newer_hello_adds_is_skipped(void)
{
    g_autoptr(GByteArray) bytes = sample_hello();
    g_autoptr(GError) error = NULL;
    PloverHello hello;

    bytes->data[HELLO_ZERO8] = 7;
    g_byte_array_append(bytes, (const uint8_t *)"more", 4);
    g_assert_true(plover_hello_decode(&hello, bytes->data, bytes->len, TRUE,
                                      &error));
    g_assert_cmpuint(hello.n_blocks, ==, 2);
    plover_hello_clear(&hello);
}

static void hello_holds_the_most_there_may_be(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverBlock blocks[PLOVER_BLOCKS_MAX];
    PloverHello hello = {
        .page_size = 1 << 20,
        .n_blocks = PLOVER_BLOCKS_MAX,
        .blocks = blocks,
    };

    for (unsigned i = 0; i < PLOVER_BLOCKS_MAX; i++) {
        blocks[i].name = g_strdup_printf("%0255u", i);
        blocks[i].pages = PLOVER_PAGES_MAX / PLOVER_BLOCKS_MAX;
    }
    plover_hello_encode(bytes, &hello);
    g_assert_true(decode(PLOVER_HELLO, bytes->data, bytes->len, NULL));
    for (unsigned i = 0; i < PLOVER_BLOCKS_MAX; i++) {
        g_free(blocks[i].name);
    }
}

/* SYNC, END, APPLIED */

static void sync_survives(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_SYNC);
    g_autoptr(GError) error = NULL;
    PloverSync sync;

    plover_sync_decode(&sync, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(sync.reasons, ==,
                     PLOVER_REASON_IDLE | PLOVER_REASON_REQUEST);
    g_assert_true(sync.verify);
    g_assert_cmpuint(sync.sent, ==, UINT64_MAX - 1);
}

static void impossible_sync_is_refused(void)
{
    static const struct {
        unsigned at;
        const char *named;
    } cases[] = {
        { 0, "reasons 0x40" },
        { 3, "reasons 0x40000000" },
        { 4, "verify is 65" },
        { 5, "000040 instead of 0" },
        { 7, "400000 instead of 0" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = sample(PLOVER_SYNC);

        bytes->data[cases[i].at] |= 0x40;
        refused(PLOVER_SYNC, bytes, cases[i].named);
    }
}

static void end_survives(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_END);
    g_autoptr(GError) error = NULL;
    PloverEnd end;

    plover_end_decode(&end, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(end.pages, ==, PLOVER_PAGES_MAX);
    g_assert_cmpuint(end.sections, ==, UINT32_MAX);
    g_assert_cmpuint(end.resumed, ==, UINT32_MAX - 1);
    g_assert_cmpuint(end.digest.low, ==, UINT64_MAX - 1);
    g_assert_cmpuint(end.digest.high, ==, UINT64_MAX - 2);
}

static void impossible_end_is_refused(void)
{
    g_autoptr(GByteArray) many = sample(PLOVER_END);

    put(many->data, PLOVER_PAGES_MAX + 1, 8);
    refused(PLOVER_END, many, "2147483649 pages");
    put(many->data, UINT64_C(1) << 56, 8);
    refused(PLOVER_END, many, "72057594037927936 pages");
}

static void applied_survives(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_APPLIED);
    g_autoptr(GError) error = NULL;
    PloverApplied applied;

    plover_applied_decode(&applied, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(applied.stop, ==, UINT32_MAX);
    g_assert_cmpuint(applied.map, ==, UINT32_MAX - 1);
    g_assert_cmpuint(applied.hash, ==, UINT32_MAX - 2);
    g_assert_cmpuint(applied.receive, ==, UINT32_MAX - 3);
    g_assert_cmpuint(applied.apply, ==, UINT32_MAX - 4);
    g_assert_cmpuint(applied.load, ==, UINT32_MAX - 5);
    g_assert_cmpuint(applied.stopped, ==, UINT32_MAX - 6);
    g_assert_cmpuint(applied.loaded, ==, UINT32_MAX - 7);
}

/* HASHES */

static void hashes_survive(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_HASHES);
    g_autoptr(GError) error = NULL;
    PloverHashes hashes;

    plover_hashes_decode(&hashes, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hashes.first, ==, 300);
    g_assert_cmpuint(hashes.n, ==, 2);
    g_assert_true(plover_hash_equal(plover_hashes_get(&hashes, 0),
                                    (PloverHash) { UINT64_MAX, 2 }));
    g_assert_true(plover_hash_equal(plover_hashes_get(&hashes, 1),
                                    (PloverHash) { 3, UINT64_MAX }));
}

static void hashes_may_be_of_the_last_pages(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_HASHES);

    put(bytes->data + HASHES_FIRST, PLOVER_PAGES_MAX - 2, 8);
    g_assert_true(decode(PLOVER_HASHES, bytes->data, bytes->len, NULL));
}

static void impossible_hashes_are_refused(void)
{
    static const struct {
        unsigned at;
        uint64_t value;
        unsigned bytes;
        const char *named;
    } cases[] = {
        { HASHES_N, 1, 4, "48 bytes for 1 hashes" },
        { HASHES_N, 3, 4, "48 bytes for 3 hashes" },
        /* 16 times that is the right size, in 32 bits. */
        { HASHES_N, 0x10000002, 4, "48 bytes for 268435458 hashes" },
        { HASHES_ZERO32, 0x80000000, 4, "80000000 instead of 0" },
        { HASHES_FIRST, PLOVER_PAGES_MAX - 1, 8, "from 2147483647 on" },
        { HASHES_FIRST, UINT64_MAX, 8, "from 18446744073709551615 on" },
    };
    g_autoptr(GByteArray) none = sample(PLOVER_HASHES);

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = sample(PLOVER_HASHES);

        put(bytes->data + cases[i].at, cases[i].value, cases[i].bytes);
        refused(PLOVER_HASHES, bytes, cases[i].named);
    }

    g_byte_array_set_size(none, HASHES_DATA);
    put(none->data + HASHES_N, 0, 4);
    refused(PLOVER_HASHES, none, "for 0 hashes");
}

/* DEVICES */

static void devices_survive(const uint8_t *sections, size_t size,
                            gboolean compress, size_t expected)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    /* Whatever is in it goes. */
    g_byte_array_append(out, (const uint8_t *)"old", 3);
    plover_devices_encode(bytes, sections, size, compress);
    if (expected > 0) {
        g_assert_cmpuint(bytes->len, ==, expected);
    } else {
        g_assert_cmpuint(bytes->len, <, size / 10);
    }
    plover_devices_decode(out, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(out->data, out->len, sections, size);
}

static void devices_are_compressed_if_that_helps(void)
{
    g_autofree uint8_t *many = g_malloc0(10 << 20);
    uint8_t zeroes[5000] = { 0 };
    uint8_t noise[5000];

    for (unsigned i = 0; i < sizeof(noise); i++) {
        noise[i] = g_test_rand_int();
    }
    devices_survive(zeroes, sizeof(zeroes), TRUE, 0);
    devices_survive(zeroes, sizeof(zeroes), FALSE,
                    DEVICES_DATA + sizeof(zeroes));
    devices_survive(noise, sizeof(noise), TRUE, DEVICES_DATA + sizeof(noise));
    devices_survive(noise, 2, TRUE, DEVICES_DATA + 2);
    devices_survive(noise, 1, TRUE, DEVICES_DATA + 1);
    devices_survive(noise, 0, TRUE, DEVICES_DATA);
    /* Nothing is smaller when it is compressed. */
    devices_survive(many, 10 << 20, TRUE, 0);
}

static void impossible_devices_are_refused(void)
{
    g_autoptr(GByteArray) bytes = sample(PLOVER_DEVICES);
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    put(bytes->data, PLOVER_DEVICES_ENCODED_MAX + 1, 4);
    g_assert_false(plover_devices_decode(out, bytes->data, bytes->len,
                                         &error));
    corrupt(error, "DEVICES: 85983233 bytes");
    g_assert_cmpuint(out->len, ==, 0);

    for (unsigned packing = 0; packing < 2; packing++) {
        g_autoptr(GError) too = NULL;

        /* It might be, but what there is cannot become so much. */
        bytes->data[DEVICES_PACKING] = packing;
        put(bytes->data, PLOVER_DEVICES_ENCODED_MAX, 4);
        g_assert_false(plover_devices_decode(out, bytes->data, bytes->len,
                                             &too));
        corrupt(too, "do not become 85983232");
        g_assert_cmpuint(out->len, ==, 0);
    }
    put(bytes->data, PAGE_SIZE + 1, 4);
    refused(PLOVER_DEVICES, bytes, "do not become 4097");
    put(bytes->data, PAGE_SIZE - 1, 4);
    refused(PLOVER_DEVICES, bytes, "do not become 4095");
    put(bytes->data, PAGE_SIZE, 4);
    bytes->data[DEVICES_PACKING] = 2;
    refused(PLOVER_DEVICES, bytes, "packed in way 2");
}

/* REFUSE and CANCEL */

static void text_becomes(const char *text, const char *expected)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *decoded = NULL;

    plover_text_encode(bytes, text);
    decoded = plover_text_decode(bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(decoded, ==, expected);
}

static void text_is_made_to_fit(void)
{
    g_autofree char *longest = g_strnfill(PLOVER_TEXT_MAX, 'x');
    g_autofree char *longer = g_strconcat(longest, "y", NULL);
    /* The cut would be within the character. */
    g_autofree char *odd = g_strconcat(longest + 1, "\u00fc", NULL);

    text_becomes("device 'x' \u00fc", "device 'x' \u00fc");
    text_becomes("x", "x");
    text_becomes("", "no reason given");
    text_becomes("a\xff" "b", "a\ufffd" "b");
    text_becomes(longest, longest);
    text_becomes(longer, longest);
    text_becomes(odd, longest + 1);
}

static void impossible_text_is_refused(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    refused(PLOVER_REFUSE, bytes, "of 0 bytes");
    g_byte_array_append(bytes, (const uint8_t *)"a\0b", 3);
    refused(PLOVER_REFUSE, bytes, "UTF-8");
    bytes->data[1] = 0x80;
    refused(PLOVER_REFUSE, bytes, "UTF-8");
    g_byte_array_set_size(bytes, PLOVER_TEXT_MAX + 1);
    memset(bytes->data, 'x', bytes->len);
    refused(PLOVER_REFUSE, bytes, "of 1025 bytes");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/header/layout", header_stands_as_documented);
    g_test_add_func("/wire/header/version-1", version_1_alone_is_zeroes);
    g_test_add_func("/wire/header/versions", versions_survive);
    g_test_add_func("/wire/header/versions/impossible",
                    impossible_versions_are_refused);
    g_test_add_func("/wire/header/survives", header_survives);
    g_test_add_func("/wire/header/pieces", payload_comes_in_pieces);
    g_test_add_func("/wire/header/names", every_type_has_a_name);
    g_test_add_func("/wire/header/version", other_version_is_refused);
    g_test_add_func("/wire/header/type", unknown_type_is_refused);
    g_test_add_func("/wire/header/reserved",
                    reserved_bytes_of_the_header_are_refused);
    g_test_add_func("/wire/header/size",
                    size_is_bounded_before_anyone_waits_for_it);
    g_test_add_func("/wire/header/bits", every_changed_bit_is_noticed);
    g_test_add_func("/wire/header/replay",
                    message_of_another_connection_is_refused);
    g_test_add_func("/wire/header/hello", hello_needs_no_key);
    g_test_add_func("/wire/payload/cut", cut_off_payload_is_refused);
    g_test_add_func("/wire/payload/trailing", trailing_byte_is_refused);
    g_test_add_func("/wire/payload/bits", changed_bits_do_no_harm);
    g_test_add_func("/wire/hello/survives", hello_survives);
    g_test_add_func("/wire/hello/impossible", impossible_hello_is_refused);
    g_test_add_func("/wire/hello/newer", what_a_newer_hello_adds_is_skipped);
    g_test_add_func("/wire/hello/unique", block_names_are_unique);
    g_test_add_func("/wire/hello/most", hello_holds_the_most_there_may_be);
    g_test_add_func("/wire/sync/survives", sync_survives);
    g_test_add_func("/wire/sync/impossible", impossible_sync_is_refused);
    g_test_add_func("/wire/end/survives", end_survives);
    g_test_add_func("/wire/end/impossible", impossible_end_is_refused);
    g_test_add_func("/wire/applied/survives", applied_survives);
    g_test_add_func("/wire/hashes/survive", hashes_survive);
    g_test_add_func("/wire/hashes/last", hashes_may_be_of_the_last_pages);
    g_test_add_func("/wire/hashes/impossible", impossible_hashes_are_refused);
    g_test_add_func("/wire/devices/compressed",
                    devices_are_compressed_if_that_helps);
    g_test_add_func("/wire/devices/impossible",
                    impossible_devices_are_refused);
    g_test_add_func("/wire/text/fits", text_is_made_to_fit);
    g_test_add_func("/wire/text/impossible", impossible_text_is_refused);
    return g_test_run();
}
