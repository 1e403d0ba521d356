/*
 * Fuzzing of message headers: the input is a header and a payload
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/wire.h"
#include "tests/fuzz/fuzz.h"

#define KEY 42

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *payload = data + PLOVER_HEADER_SIZE;
    g_autoptr(GError) error = NULL;
    uint8_t again[PLOVER_HEADER_SIZE];
    PloverHeader header;
    PloverPiece piece;
    gboolean ok;

    if (size < PLOVER_HEADER_SIZE) {
        return 0;
    }
    ok = plover_header_decode(&header, data, &error);
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    if (!ok) {
        return 0;
    }
    g_assert_nonnull(plover_type_name(header.type));
    g_assert_cmpuint(header.size, <=, PLOVER_PAYLOAD_MAX);
    if (header.size > size - PLOVER_HEADER_SIZE) {
        return 0;
    }

    piece = (PloverPiece) { .data = payload, .size = header.size };
    plover_header_encode(again, &header, KEY, &piece, 1);
    g_assert_cmpmem(again, PLOVER_CHECKED_SIZE, data, PLOVER_CHECKED_SIZE);
    ok = plover_header_check(data, KEY, payload, &error);
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    g_assert_true(ok == (memcmp(again, data, sizeof(again)) == 0));
    return 0;
}

void fuzz_seeds(void)
{
    for (PloverType type = PLOVER_HELLO; type < PLOVER_TYPE__END; type++) {
        uint8_t seed[PLOVER_HEADER_SIZE + 5] = { 0 };
        PloverPiece piece = {
            .data = seed + PLOVER_HEADER_SIZE,
            .size = sizeof(seed) - PLOVER_HEADER_SIZE,
        };
        PloverHeader header = {
            .type = type,
            .term = 1,
            .epoch = 1000,
            .base = 999,
            .speaks = { 1, 3 },
        };

        plover_header_encode(seed, &header, KEY, &piece, 1);
        fuzz_seed(seed, sizeof(seed));
    }
}
