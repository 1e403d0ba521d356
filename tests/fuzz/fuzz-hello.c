/*
 * Fuzzing of HELLO
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    PloverHello hello;
    gboolean ok;

    ok = plover_hello_decode(&hello, data, size, FALSE, &error);
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    if (ok) {
        plover_hello_encode(again, &hello);
        fuzz_same(again, data, size);
        plover_hello_clear(&hello);
    }
    /* Of a newer leader, who may have more to say. */
    if (plover_hello_decode(&hello, data, size, TRUE, NULL)) {
        plover_hello_clear(&hello);
    } else {
        g_assert_false(ok);
    }
    return 0;
}

void fuzz_seeds(void)
{
    PloverBlock blocks[] = {
        { (char *)"pc.ram", PLOVER_PAGES_MAX - 300 },
        { (char *)"vga", 200 },
        { (char *)"\u00fc", 100 },
    };
    PloverHello hello = {
        .key = 1,
        .page_size = 4096,
        .copy = PLOVER_COPY_FULL,
        .run = TRUE,
        .cache_pages = 100,
        .cache_age = 10,
        .blocks = blocks,
    };

    for (unsigned n = 1; n <= G_N_ELEMENTS(blocks); n++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        hello.n_blocks = n;
        plover_hello_encode(bytes, &hello);
        fuzz_seed(bytes->data, bytes->len);
    }
}
