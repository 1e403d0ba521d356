/*
 * The messages between two replicas of a disk as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/verbs/offer.h"
#include "gannet-blk/core/wire.h"

#define DISK (1ull << 40)

/* Of each type one that is right. */
static const GannetMessage samples[] = {
    { .type = GANNET_HELLO, .payload = 120 },
    { .type = GANNET_REFUSE, .payload = 5 },
    { .type = GANNET_INTENTS, .payload = GANNET_WIRE_MAX_INTENTS },
    { .type = GANNET_WRITE, 7, 9, DISK - 1024, 1024, .payload = 1024 },
    { .type = GANNET_ZERO, 7, 9, 0, DISK },
    { .type = GANNET_MARK, .term = 7, .mark = 1 },
    { .type = GANNET_SYNCED, .mark = 2, .value = 0x1122334455667788 },
    { .type = GANNET_BEGIN, .term = 7, .mark = 3 },
    { .type = GANNET_COMMIT, 7, 9, .bytes = 4096, .mark = 4, .value = 2 },
    { .type = GANNET_VERIFY, 7, 9, 512, GANNET_MAX_WRITE, .payload = 16 },
    { .type = GANNET_PING },
    { .type = GANNET_END, .term = 7, .mark = 5 },
    { .type = GANNET_DURABLE, .term = 7, .mark = 5 },
    { .type = GANNET_PRESSURE, .term = 7, .epoch = 9 },
    { .type = GANNET_VERIFIED, 7, 9, 512, 4096, .value = 1 },
    { .type = GANNET_PONG },
    { .type = GANNET_FAILED, .payload = 1 },
    { .type = GANNET_OFFER, .payload = VERBS_OFFER_SIZE },
    { .type = GANNET_CARRIER, .payload = 1 },
};

static uint8_t *payload_of(const GannetMessage *message)
{
    return (uint8_t *)g_strnfill(message->payload, 'a' + message->type);
}

static void assert_same(const GannetMessage *a, const GannetMessage *b)
{
    g_assert_cmpint(a->type, ==, b->type);
    g_assert_cmpuint(a->term, ==, b->term);
    g_assert_cmpuint(a->epoch, ==, b->epoch);
    g_assert_cmpuint(a->offset, ==, b->offset);
    g_assert_cmpuint(a->bytes, ==, b->bytes);
    g_assert_cmpuint(a->mark, ==, b->mark);
    g_assert_cmpuint(a->value, ==, b->value);
    g_assert_cmpuint(a->payload, ==, b->payload);
}

static void refused(const uint8_t *header, uint64_t size, const char *pattern)
{
    g_autoptr(GError) error = NULL;
    GannetMessage message;

    g_assert_false(gannet_wire_decode(header, size, &message, &error));
    g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_CORRUPT);
    if (!g_pattern_match_simple(pattern, error->message)) {
        g_error("'%s' is not '%s'", error->message, pattern);
    }
}

static void refused_message(GannetMessage message, const char *pattern)
{
    g_autofree uint8_t *payload = payload_of(&message);
    uint8_t header[GANNET_WIRE_HEADER];

    gannet_wire_encode(&message, payload, header);
    refused(header, DISK, pattern);
}

/* --- headers -------------------------------------------------------------- */

/* As documented. */
static void a_header_has_the_documented_bytes(void)
{
    static const uint8_t expected[GANNET_WIRE_HEADER] = {
        'G', 'N', 'N', 'T', 0, 0, 0, 4,
        0, 0, 2, 0, 0, 0, 0, 0,
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0,
        0, 0, 0, 0, 0, 0, 2, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
        0x94, 0x06, 0x6c, 0xcb, 0xdc, 0x87, 0x9a, 0x6c,
    };
    const GannetMessage message = {
        .type = GANNET_WRITE,
        .term = 0x0102030405060708,
        .epoch = 0x1112131415161718,
        .offset = 0x1234567800,
        .bytes = 512,
        .payload = 512,
    };
    uint8_t header[GANNET_WIRE_HEADER];
    uint8_t payload[512];

    for (unsigned i = 0; i < sizeof(payload); i++) {
        payload[i] = i;
    }
    gannet_wire_encode(&message, payload, header);
    g_assert_cmpmem(header, sizeof(header), expected, sizeof(expected));
}

static void every_type_comes_back_as_it_was(void)
{
    g_assert_cmpuint(G_N_ELEMENTS(samples), ==, GANNET_MESSAGE_TYPES - 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree uint8_t *payload = payload_of(&samples[i]);
        g_autoptr(GError) error = NULL;
        uint8_t header[GANNET_WIRE_HEADER];
        GannetMessage message;

        g_assert_cmpint(samples[i].type, ==, i + 1);
        gannet_wire_encode(&samples[i], payload, header);
        gannet_wire_decode(header, DISK, &message, &error);
        g_assert_no_error(error);
        assert_same(&message, &samples[i]);
        gannet_wire_check(header, &message, payload, &error);
        g_assert_no_error(error);
    }
}

static void every_type_has_a_name(void)
{
    g_assert_cmpstr(gannet_message_name(GANNET_HELLO), ==, "HELLO");
    g_assert_cmpstr(gannet_message_name(GANNET_FAILED), ==, "FAILED");
    for (unsigned i = 1; i < GANNET_MESSAGE_TYPES; i++) {
        g_assert_nonnull(gannet_message_name(i));
    }
}

/* Whatever a type does not use must be 0. */
static void unused_fields_are_refused(void)
{
    static const char *const names[] = {
        "term", "epoch", "offset", "bytes", "mark", "value",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(samples); i++) {
        const uint64_t used[] = {
            samples[i].term, samples[i].epoch, samples[i].offset,
            samples[i].bytes, samples[i].mark, samples[i].value,
        };
        gboolean range = samples[i].bytes && samples[i].type != GANNET_COMMIT;

        for (unsigned field = 0; field < G_N_ELEMENTS(names); field++) {
            uint8_t header[GANNET_WIRE_HEADER];
            g_autofree uint8_t *payload = payload_of(&samples[i]);
            g_autofree char *pattern = NULL;

            if (used[field] || (range && field == 2)) {
                continue;
            }
            gannet_wire_encode(&samples[i], payload, header);
            header[16 + 8 * field + 5] = 1;
            pattern = g_strdup_printf("%s: %s is 65536 instead of 0",
                                      gannet_message_name(samples[i].type),
                                      names[field]);
            refused(header, DISK, pattern);
        }
    }
}

static void what_is_no_message_is_refused(void)
{
    uint8_t header[GANNET_WIRE_HEADER] = { 'G', 'E', 'T', ' ' };

    refused(header, DISK, "no message of gannet: it begins with 47 45 54 20");
}

static void unknown_types_are_refused(void)
{
    const GannetMessage ping = { .type = GANNET_PING };
    uint8_t header[GANNET_WIRE_HEADER];

    gannet_wire_encode(&ping, NULL, header);
    header[7] = 0;
    refused(header, DISK, "unknown message type 0");
    header[7] = GANNET_MESSAGE_TYPES;
    refused(header, DISK, "unknown message type 20");
    header[4] = 0xff;
    refused(header, DISK, "unknown message type 42781*");
}

static void reserved_bytes_are_refused(void)
{
    const GannetMessage ping = { .type = GANNET_PING };
    uint8_t header[GANNET_WIRE_HEADER];

    gannet_wire_encode(&ping, NULL, header);
    header[15] = 1;
    refused(header, DISK, "PING: reserved bytes of the header are 00000001 *");
}

static void ranges_beyond_the_disk_are_refused(void)
{
    refused_message((GannetMessage) {
        .type = GANNET_WRITE, .offset = DISK, .bytes = 512, .payload = 512,
    }, "WRITE: 512 bytes at offset 1099511627776, beyond the *");
    refused_message((GannetMessage) {
        .type = GANNET_ZERO, .offset = DISK - 512, .bytes = 1024,
    }, "ZERO: 1024 bytes at offset *, beyond *");
    refused_message((GannetMessage) {
        .type = GANNET_ZERO, .offset = UINT64_MAX - 511, .bytes = 1024,
    }, "ZERO: * beyond *");
    refused_message((GannetMessage) {
        .type = GANNET_ZERO, .offset = 1024, .bytes = UINT64_MAX - 511,
    }, "ZERO: * beyond *");
    refused_message((GannetMessage) {
        .type = GANNET_VERIFIED, .offset = 2 * DISK, .bytes = 512,
    }, "VERIFIED: * beyond *");
}

static void ranges_between_sectors_are_refused(void)
{
    refused_message((GannetMessage) {
        .type = GANNET_ZERO, .offset = 1, .bytes = 512,
    }, "ZERO: offset 1 or bytes 512 is no multiple of 512");
    refused_message((GannetMessage) { .type = GANNET_ZERO, .bytes = 513 },
                    "ZERO: offset 0 or bytes 513 is no multiple of 512");
    refused_message((GannetMessage) {
        .type = GANNET_COMMIT, 1, 1, .bytes = 100, .mark = 1
    }, "COMMIT: * is no multiple of 512");
}

static void empty_ranges_are_refused(void)
{
    refused_message((GannetMessage) { .type = GANNET_ZERO, .offset = 512 },
                    "ZERO: a range of 0 bytes");
}

static void long_writes_are_refused(void)
{
    const uint32_t over = GANNET_MAX_WRITE + GANNET_SECTOR;

    refused_message((GannetMessage) {
        .type = GANNET_WRITE, .bytes = over, .payload = over,
    }, "WRITE: a payload of 4194816 bytes instead of 512 to 4194304");
    refused_message((GannetMessage) {
        .type = GANNET_VERIFY, .bytes = over, .payload = 16,
    }, "VERIFY: 4194816 bytes, more than the 4194304 *");
    refused_message((GannetMessage) { .type = GANNET_VERIFIED, .bytes = over },
                    "VERIFIED: 4194816 bytes, more than *");
}

static void payloads_of_another_size_are_refused(void)
{
    refused_message((GannetMessage) {
        .type = GANNET_WRITE, .bytes = 1024, .payload = 512,
    }, "WRITE: a payload of 512 bytes for 1024 bytes of disk");
    refused_message((GannetMessage) { .type = GANNET_PING, .payload = 1 },
                    "PING: a payload of 1 bytes instead of 0 to 0");
    refused_message((GannetMessage) { .type = GANNET_FAILED },
                    "FAILED: a payload of 0 bytes *");
    refused_message((GannetMessage) { .type = GANNET_REFUSE, .payload = 1025 },
                    "REFUSE: a payload of 1025 bytes *");
    refused_message((GannetMessage) {
        .type = GANNET_INTENTS, .payload = GANNET_WIRE_MAX_INTENTS + 1,
    }, "INTENTS: a payload of 1048577 bytes *");
    refused_message((GannetMessage) {
        .type = GANNET_VERIFY, .bytes = 512, .payload = 15,
    }, "VERIFY: a payload of 15 bytes instead of 16 to 16");
    refused_message((GannetMessage) { .type = GANNET_HELLO, .payload = 4097 },
                    "HELLO: a payload of 4097 bytes *");
}

static void impossible_places_are_refused(void)
{
    refused_message((GannetMessage) {
        .type = GANNET_ZERO, .epoch = 3, .bytes = 512,
    }, "ZERO: epoch 3 of no term");
    refused_message((GannetMessage) { .type = GANNET_BEGIN, .mark = 1 },
                    "BEGIN: term is 0");
    refused_message((GannetMessage) { .type = GANNET_END, .term = 1 },
                    "END: mark is 0");
    refused_message((GannetMessage) {
        .type = GANNET_COMMIT, .term = 1, .mark = 1
    }, "COMMIT: epoch is 0");
    refused_message((GannetMessage) { .type = GANNET_SYNCED, .mark = 1 },
                    "SYNCED: value is 0");
    refused_message((GannetMessage) {
        .type = GANNET_VERIFIED, .bytes = 512, .value = 2,
    }, "VERIFIED: value is 2 instead of 0 or 1");
}

/* Each bit of header and payload is covered. */
static void every_flipped_bit_is_noticed(void)
{
    const GannetMessage write = {
        .type = GANNET_WRITE, 1, 1, 0, 512, .payload = 512,
    };
    uint8_t bytes[GANNET_WIRE_HEADER + 512];

    for (unsigned bit = 0; bit < 8 * sizeof(bytes); bit++) {
        g_autoptr(GError) error = NULL;
        GannetMessage message;

        memset(bytes, 0x55, sizeof(bytes));
        gannet_wire_encode(&write, bytes + GANNET_WIRE_HEADER, bytes);
        bytes[bit / 8] ^= 1 << bit % 8;
        g_assert_false(
            gannet_wire_decode(bytes, DISK, &message, &error) &&
            gannet_wire_check(bytes, &message, bytes + GANNET_WIRE_HEADER,
                              &error));
        g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_CORRUPT);
    }
}

/* --- texts ---------------------------------------------------------------- */

static void check_text(const char *text, const char *expected)
{
    g_autoptr(GBytes) bytes = gannet_text_encode(text);
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);

    g_assert_cmpmem(data, size, expected, strlen(expected));
}

static void texts_are_made_to_fit(void)
{
    g_autofree char *dots = g_strnfill(2000, '.');
    g_autofree char *fitting = g_strnfill(GANNET_WIRE_MAX_TEXT, '.');
    g_autofree char *umlauts = g_strdup_printf("%.1023s\u00fc.", dots);
    g_autofree char *cut = g_strnfill(GANNET_WIRE_MAX_TEXT - 1, '.');

    check_text("no space left", "no space left");
    check_text("", "no reason given");
    check_text("\xff!", "\ufffd!");
    check_text(dots, fitting);
    check_text(umlauts, cut);
}

static void texts_that_are_not_utf8_are_refused(void)
{
    static const char *const texts[] = { "\xff", "a\0b", "\xc3" };
    static const uint32_t sizes[] = { 1, 3, 1 };

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        const GannetMessage failed = {
            .type = i ? GANNET_FAILED : GANNET_REFUSE,
            .payload = sizes[i],
        };
        g_autoptr(GError) error = NULL;
        uint8_t header[GANNET_WIRE_HEADER];

        gannet_wire_encode(&failed, texts[i], header);
        g_assert_false(gannet_wire_check(header, &failed, texts[i], &error));
        g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_CORRUPT);
    }
}

/* --- HELLO ---------------------------------------------------------------- */

static const GannetHello hello_sample = {
    .version = GANNET_WIRE_VERSION,
    .speaks = { 1, 1 },
    .role = GANNET_SECONDARY,
    .disk = "disk 0",
    .size = 0x0102030400,
    .room = 0x1112131415161718,
    .pair = 0x2122232425262728,
    .generation = 0x3132333435363738,
    .granularity = 4096,
    .timeout_ms = 1000,
    .partial = TRUE,
};

static const uint8_t hello_bytes[120] = {
    0, 0, 0, 1, 2, 1, 0, 0,
    0, 0, 0x03, 0xe8, 0, 0, 0, 0,
    0, 0, 0, 0x01, 0x02, 0x03, 0x04, 0x00,
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
    0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
    0, 0, 0, 0, 0, 0, 0x10, 0,
    'd', 'i', 's', 'k', ' ', '0',
};

static void hello_has_the_documented_bytes(void)
{
    g_autoptr(GBytes) bytes = gannet_hello_encode(&hello_sample);
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);

    g_assert_cmpmem(data, size, hello_bytes, sizeof(hello_bytes));
}

static void hello_comes_back_as_it_was(void)
{
    g_autoptr(GError) error = NULL;
    GannetHello hello;

    gannet_hello_decode(hello_bytes, sizeof(hello_bytes), &hello, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hello.version, ==, hello_sample.version);
    g_assert_cmpint(hello.role, ==, hello_sample.role);
    g_assert_cmpstr(hello.disk, ==, hello_sample.disk);
    g_assert_cmpuint(hello.size, ==, hello_sample.size);
    g_assert_cmpuint(hello.room, ==, hello_sample.room);
    g_assert_cmpuint(hello.pair, ==, hello_sample.pair);
    g_assert_cmpuint(hello.generation, ==, hello_sample.generation);
    g_assert_cmpuint(hello.granularity, ==, hello_sample.granularity);
    g_assert_cmpuint(hello.timeout_ms, ==, hello_sample.timeout_ms);
    g_assert_true(hello.partial);
}

static void check_hello(unsigned at, uint8_t value, const char *pattern)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[sizeof(hello_bytes)];
    GannetHello hello;

    memcpy(bytes, hello_bytes, sizeof(bytes));
    bytes[at] = value;
    g_assert_false(gannet_hello_decode(bytes, sizeof(bytes), &hello, &error));
    g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_CORRUPT);
    if (!g_pattern_match_simple(pattern, error->message)) {
        g_error("'%s' is not '%s'", error->message, pattern);
    }
}

static void a_wrong_hello_is_refused(void)
{
    check_hello(4, 0, "HELLO: unknown role 0");
    check_hello(4, 3, "HELLO: unknown role 3");
    check_hello(4, 1, "HELLO: impossible granularity: 4096"); /* primary */
    check_hello(5, 2, "HELLO: partial is 2 instead of 0 or 1");
    check_hello(7, 1, "HELLO: impossible versions 1 and 2");
    check_hello(12, 1, "HELLO: offers is 1, which it cannot be here");
    check_hello(15, 1, "HELLO: reserved bytes are not 0");
    check_hello(16, 0x80, "HELLO: impossible size of a disk: *");
    check_hello(23, 1, "HELLO: impossible size of a disk: *");
    check_hello(54, 0x11, "HELLO: impossible granularity: 4352");
    check_hello(54, 0x01, "HELLO: impossible granularity: 256");
    check_hello(56, 0, "HELLO: the name of the disk is not 1 to 63 *");
    check_hello(57, '\n', "HELLO: the name of the disk is not *");
    check_hello(57, 0xc3, "HELLO: the name of the disk is not *");
    check_hello(119, 'x', "HELLO: there is something behind the name *");
    /* 2^43 bytes in regions of 4096: 2^31 bits */
    check_hello(18, 0x08, "HELLO: a granularity of 4096 is too fine for *");
}

/* Only what answers a HELLO, from the version on that has it. */
static void an_offer_is_for_a_secondary_that_chose_it(void)
{
    uint8_t bytes[sizeof(hello_bytes)];
    GannetHello hello;

    memcpy(bytes, hello_bytes, sizeof(bytes));
    bytes[6] = bytes[7] = GANNET_VERSION_CARRIER - 1; /* less 1 each */
    bytes[12] = 1;
    g_assert_true(gannet_hello_decode(bytes, sizeof(bytes), &hello, NULL));
    g_assert_true(hello.offers);
    bytes[12] = 2;
    g_assert_false(gannet_hello_decode(bytes, sizeof(bytes), &hello, NULL));
    bytes[12] = 1;
    bytes[4] = GANNET_PRIMARY;
    memset(bytes + 48, 0, 8); /* its granularity */
    g_assert_false(gannet_hello_decode(bytes, sizeof(bytes), &hello, NULL));
    bytes[12] = 0;
    g_assert_true(gannet_hello_decode(bytes, sizeof(bytes), &hello, NULL));
    g_assert_false(hello.offers);
}

/* Of a release of before there were versions, they are zeroes. */
static void hello_says_versions(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[sizeof(hello_bytes)];
    GannetHello hello;

    memcpy(bytes, hello_bytes, sizeof(bytes));
    bytes[6] = 3;
    bytes[15] = 1; /* what that version has there */
    gannet_hello_decode(bytes, sizeof(bytes), &hello, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(hello.speaks.oldest, ==, 1);
    g_assert_cmpuint(hello.speaks.newest, ==, 4);
}

static void no_common_version_is_refused_by_name(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[sizeof(hello_bytes)];
    GannetHello hello;

    memcpy(bytes, hello_bytes, sizeof(bytes));
    bytes[6] = 3;
    bytes[7] = 2;
    g_assert_false(gannet_hello_decode(bytes, sizeof(bytes), &hello, &error));
    g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_VERSION);
    g_assert_nonnull(strstr(error->message, "the primary speaks versions 1 to "
                            "2 of the disk protocol, the secondary versions 3 "
                            "to 4; upgrade the primary first"));
}

static void another_version_is_refused_whatever_follows(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } others[] = {
        { "\0\0\0\2", 4 }, { "\xff\0\0\0garbage", 11 }, { "\0\0\0\0", 4 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autoptr(GError) error = NULL;
        GannetHello hello;

        g_assert_false(gannet_hello_decode(others[i].bytes, others[i].size,
                                           &hello, &error));
        g_assert_error(error, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_VERSION);
    }
}

static void another_size_of_hello_is_refused(void)
{
    uint8_t bytes[sizeof(hello_bytes) + 1] = { 0 };

    memcpy(bytes, hello_bytes, sizeof(hello_bytes));
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        g_autofree uint8_t *exact = g_memdup2(bytes, size);
        g_autoptr(GError) error = NULL;
        GannetHello hello;

        g_assert_true(gannet_hello_decode(exact, size, &hello, &error) ==
                      (size == sizeof(hello_bytes)));
    }
}

static void names_of_disks_are_printable(void)
{
    g_autofree char *longest = g_strnfill(GANNET_MAX_DISK_NAME, 'd');
    g_autofree char *longer = g_strnfill(GANNET_MAX_DISK_NAME + 1, 'd');

    g_assert_true(gannet_disk_name_valid("#block123"));
    g_assert_true(gannet_disk_name_valid(longest));
    g_assert_false(gannet_disk_name_valid(longer));
    g_assert_false(gannet_disk_name_valid(""));
    g_assert_false(gannet_disk_name_valid("a\tb"));
    g_assert_false(gannet_disk_name_valid("\u00fc"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#define TEST(function) g_test_add_func("/gannet-wire/" #function, function)
    TEST(a_header_has_the_documented_bytes);
    TEST(every_type_comes_back_as_it_was);
    TEST(every_type_has_a_name);
    TEST(unused_fields_are_refused);
    TEST(what_is_no_message_is_refused);
    TEST(unknown_types_are_refused);
    TEST(reserved_bytes_are_refused);
    TEST(ranges_beyond_the_disk_are_refused);
    TEST(ranges_between_sectors_are_refused);
    TEST(empty_ranges_are_refused);
    TEST(long_writes_are_refused);
    TEST(payloads_of_another_size_are_refused);
    TEST(impossible_places_are_refused);
    TEST(every_flipped_bit_is_noticed);
    TEST(texts_are_made_to_fit);
    TEST(texts_that_are_not_utf8_are_refused);
    TEST(hello_has_the_documented_bytes);
    TEST(hello_comes_back_as_it_was);
    TEST(a_wrong_hello_is_refused);
    TEST(an_offer_is_for_a_secondary_that_chose_it);
    TEST(hello_says_versions);
    TEST(no_common_version_is_refused_by_name);
    TEST(another_version_is_refused_whatever_follows);
    TEST(another_size_of_hello_is_refused);
    TEST(names_of_disks_are_printable);
    return g_test_run();
}
