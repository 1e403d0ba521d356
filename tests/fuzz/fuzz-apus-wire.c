/*
 * Fuzzing of messages between members: as they are, and with a checksum that
 * is right
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/apus-samples.h"

enum {
    AT_CHECKSUM = 8,
    COVERED = 16, /* what the checksum covers begins here */
    AT_TYPE = 16,
    AT_HEAD = 18,
    HEADER = 64,
};

/* Decoded, they are in one piece. */
static size_t records_size(const ApusMessage *message)
{
    return apus_wire_records(message).size[0];
}

static void decode(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    uint8_t head[APUS_WIRE_MAX_HEAD];
    ApusMessage message;
    size_t need = 0, n_head;
    gssize n;

    n = apus_wire_decode(&message, data, size, &need, &error);
    fuzz_outcome(n >= 0, error, APUS_ERROR);
    if (n == 0) {
        g_assert_cmpuint(need, >, size);
        g_assert_cmpuint(need, <=, APUS_WIRE_MAX);
    }
    if (n > 0) {
        g_assert_cmpuint(n, <=, size);
        n_head = apus_wire_head(head, &message);
        g_assert_cmpuint(n, ==, n_head + records_size(&message));
        g_byte_array_append(again, head, n_head);
        fuzz_same(again, data, n_head);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *copy = g_memdup2(data, size);
    size_t head;

    decode(data, size);
    if (size < HEADER) {
        return 0;
    }
    head = CLAMP(apus_get16(data + AT_HEAD), COVERED, size);
    if (copy[AT_TYPE] == APUS_MESSAGE_NOTE && head >= HEADER + 8) {
        apus_put64(copy + HEADER, apus_checksum(data + head, size - head));
    }
    apus_put64(copy + AT_CHECKSUM,
               apus_checksum(copy + COVERED, head - COVERED));
    decode(copy, size);
    return 0;
}

void fuzz_seeds(void)
{
    static const uint8_t records[] = "records are not looked at";
    static const uint8_t note[] = "a note";

    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        uint8_t head[APUS_WIRE_MAX_HEAD];
        ApusMessage message;

        sample_message(&message, type);
        if (type == APUS_MESSAGE_APPEND) {
            message.append.records.data[0] = records;
            message.append.records.size[0] = sizeof(records);
        }
        if (type == APUS_MESSAGE_NOTE) {
            message.note = (ApusNote) { note, sizeof(note) };
        }
        g_byte_array_append(bytes, head, apus_wire_head(head, &message));
        g_byte_array_append(bytes, apus_wire_records(&message).data[0],
                            records_size(&message));
        fuzz_seed(bytes->data, bytes->len);
    }
}
