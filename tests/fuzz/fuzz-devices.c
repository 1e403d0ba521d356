/*
 * Fuzzing of DEVICES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/wire.h"
#include "tests/fuzz/fuzz.h"

/* Where the payload says how it is packed. */
#define AT_PACKING 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) sections = g_byte_array_new();
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GByteArray) packed = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gboolean ok;

    ok = plover_devices_decode(sections, data, size, &error);
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    if (!ok) {
        return 0;
    }
    g_assert_cmpuint(sections->len, <=, PLOVER_DEVICES_ENCODED_MAX);
    if (!data[AT_PACKING]) {
        plover_devices_encode(again, sections->data, sections->len, FALSE);
        fuzz_same(again, data, size);
    }
    plover_devices_encode(packed, sections->data, sections->len, TRUE);
    g_assert_true(plover_devices_decode(again, packed->data, packed->len,
                                        &error));
    fuzz_same(again, sections->data, sections->len);
    return 0;
}

void fuzz_seeds(void)
{
    uint8_t sections[600] = { 1, 2, 3 };

    for (size_t size = 1; size <= sizeof(sections); size += 599) {
        for (unsigned compress = 0; compress < 2; compress++) {
            g_autoptr(GByteArray) bytes = g_byte_array_new();

            plover_devices_encode(bytes, sections, size, compress);
            fuzz_seed(bytes->data, bytes->len);
        }
    }
}
