/*
 * Fuzzing of the messages between two replicas of a disk: the input is a header
 * and a payload; and it is taken for the payload of a HELLO
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-blk/core/wire.h"
#include "tests/fuzz/fuzz.h"

#define DISK (1ull << 30)
/* What the checksum does not cover: itself. */
#define CHECKED (GANNET_WIRE_HEADER - 8)

static void decode_hello(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) error = NULL;
    GannetHello hello;
    gboolean ok = gannet_hello_decode(data, size, &hello, &error);

    fuzz_outcome(ok, error, GANNET_WIRE_ERROR);
    /* What is reserved here may mean something to a newer one. */
    if (ok && !colony_versions_are_newer(&colony_speaks[COLONY_PROTOCOL_DISK],
                                         &hello.speaks)) {
        bytes = gannet_hello_encode(&hello);
        g_byte_array_append(again, g_bytes_get_data(bytes, NULL),
                            g_bytes_get_size(bytes));
        fuzz_same(again, data, size);
    }
}

/* What a receiver relies on. */
static void check_message(const GannetMessage *message)
{
    g_assert_nonnull(gannet_message_name(message->type));
    g_assert_cmpuint(message->payload, <=, GANNET_MAX_WRITE);
    if (message->type != GANNET_COMMIT) {
        g_assert_cmpuint(message->offset, <=, DISK);
        g_assert_cmpuint(message->bytes, <=, DISK - message->offset);
    }
    if (message->type == GANNET_WRITE) {
        g_assert_cmpuint(message->payload, ==, message->bytes);
    }
}

static void decode_message(const uint8_t *data, size_t size)
{
    const uint8_t *payload = data + GANNET_WIRE_HEADER;
    g_autoptr(GError) error = NULL;
    uint8_t again[GANNET_WIRE_HEADER];
    GannetMessage message;
    gboolean ok = gannet_wire_decode(data, DISK, &message, &error);

    fuzz_outcome(ok, error, GANNET_WIRE_ERROR);
    if (!ok) {
        return;
    }
    check_message(&message);
    if (message.payload > size - GANNET_WIRE_HEADER) {
        return;
    }
    gannet_wire_encode(&message, payload, again);
    g_assert_cmpmem(again, CHECKED, data, CHECKED);

    /* Nobody guesses checksums: what comes after that is tried with a right. */
    ok = gannet_wire_check(data, &message, payload, &error);
    fuzz_outcome(ok, error, GANNET_WIRE_ERROR);
    g_assert_true(!ok || memcmp(again, data, sizeof(again)) == 0);
    g_clear_error(&error);
    ok = gannet_wire_check(again, &message, payload, &error);
    fuzz_outcome(ok, error, GANNET_WIRE_ERROR);
    if (message.type == GANNET_REFUSE || message.type == GANNET_FAILED ||
        message.type == GANNET_CARRIER) {
        g_assert_true(ok == g_utf8_validate_len((const char *)payload,
                                                message.payload, NULL));
    } else {
        g_assert_true(ok);
    }
    if (message.type == GANNET_HELLO) {
        decode_hello(payload, message.payload);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= GANNET_WIRE_HEADER) {
        decode_message(data, size);
    }
    decode_hello(data, size);
    return 0;
}

static void seed(GannetMessage message, const void *payload)
{
    g_autofree uint8_t *bytes = g_malloc(GANNET_WIRE_HEADER +
                                         message.payload);

    gannet_wire_encode(&message, payload, bytes);
    if (message.payload) {
        memcpy(bytes + GANNET_WIRE_HEADER, payload, message.payload);
    }
    fuzz_seed(bytes, GANNET_WIRE_HEADER + message.payload);
}

void fuzz_seeds(void)
{
    const GannetHello hello = {
        .version = GANNET_WIRE_VERSION,
        .speaks = { 1, 1 },
        .role = GANNET_SECONDARY,
        .disk = "disk0",
        .size = DISK,
        .granularity = 65536,
        .timeout_ms = 1000,
        .partial = TRUE,
    };
    g_autoptr(GBytes) payload = gannet_hello_encode(&hello);
    g_autofree uint8_t *zeroes = g_malloc0(1024);

    fuzz_seed(g_bytes_get_data(payload, NULL), g_bytes_get_size(payload));
    seed((GannetMessage) {
        .type = GANNET_HELLO, .payload = g_bytes_get_size(payload),
    }, g_bytes_get_data(payload, NULL));
    for (GannetMessageType type = GANNET_REFUSE; type < GANNET_MESSAGE_TYPES;
         type++) {
        seed((GannetMessage) {
            .type = type, .term = 1, .epoch = 2, .offset = 4096,
            .bytes = 1024, .mark = 3, .value = 1, .payload = 1024,
        }, zeroes);
        seed((GannetMessage) { .type = type, .term = 1, .mark = 3 }, NULL);
        seed((GannetMessage) { .type = type }, NULL);
    }
    seed((GannetMessage) { .type = GANNET_FAILED, .payload = 4 }, "\xc3\xbc..");
    seed((GannetMessage) {
        .type = GANNET_WRITE, .offset = 512, .bytes = 1024, .payload = 1024,
    }, zeroes);
    seed((GannetMessage) {
        .type = GANNET_VERIFY, .bytes = 512, .payload = 16,
    }, zeroes);
    seed((GannetMessage) {
        .type = GANNET_SYNCED, .mark = 1, .value = 1,
    }, NULL);
    seed((GannetMessage) {
        .type = GANNET_COMMIT, .term = 1, .epoch = 1, .mark = 1,
    }, NULL);
    seed((GannetMessage) { .type = GANNET_VERIFIED, .bytes = 512 }, NULL);
}
