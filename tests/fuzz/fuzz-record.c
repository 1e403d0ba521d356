/*
 * Fuzzing of log records: as they are, and with a checksum that is right
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/record.h"
#include "tests/fuzz/fuzz.h"

/* What the checksum covers begins here. */
#define COVERED 8
#define AT_LENGTH 8

static void decode(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    ApusEntry entry;
    gssize n;

    n = apus_record_decode(&entry, data, size, &error);
    fuzz_outcome(n >= 0, error, APUS_RECORD_ERROR);
    if (n > 0) {
        g_assert_cmpuint(n, <=, size);
        g_assert_cmpuint(n, ==, apus_record_size(&entry));
        apus_record_append(again, &entry);
        fuzz_same(again, data, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *copy = g_memdup2(data, size);
    size_t length;

    decode(data, size);
    if (size < APUS_RECORD_HEADER) {
        return 0;
    }
    length = MIN(apus_get32(data + AT_LENGTH), size - APUS_RECORD_HEADER);
    apus_put64(copy, apus_checksum(data + COVERED,
                                   APUS_RECORD_HEADER - COVERED + length));
    decode(copy, size);
    return 0;
}

void fuzz_seeds(void)
{
    for (ApusEntryKind kind = APUS_ENTRY_INPUT; kind <= APUS_ENTRY_MEMBER;
         kind++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ApusEntry entry = {
            .kind = kind,
            .term = 1,
            .index = 1000,
            .payload = (const uint8_t *)"frame",
            .length = kind == APUS_ENTRY_SYNC ? 0 : 5,
        };

        apus_record_append(bytes, &entry);
        fuzz_seed(bytes->data, bytes->len);
    }
}
