/*
 * Fuzzing of deltas: the input is the size of some bytes, two bytes, those
 * bytes in their old version, and, from the delta's point of view, garbage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/delta.h"
#include "tests/fuzz/fuzz.h"

/* What makes @new of @old, with room for @limit bytes and not one more. */
static void survives(const uint8_t *old, const uint8_t *new, size_t size,
                     size_t limit)
{
    g_autofree uint8_t *delta = g_malloc(limit);
    g_autofree uint8_t *made = g_memdup2(old, size);
    g_autoptr(GError) error = NULL;
    gssize n = plover_delta_encode(old, new, size, delta, limit);

    g_assert_cmpint(n, <=, (gssize)limit);
    if (n >= 0) {
        g_assert_true((n == 0) == (memcmp(old, new, size) == 0));
        g_assert_true(plover_delta_apply(made, size, delta, n, &error));
        g_assert_cmpmem(made, size, new, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *new = NULL;
    g_autoptr(GError) error = NULL;
    const uint8_t *old, *delta;
    size_t n, rest;
    gboolean ok;

    if (size < 3) {
        return 0;
    }
    n = MIN((data[0] | (size_t)data[1] << 8) + 1, size - 2);
    old = data + 2;
    delta = old + n;
    rest = size - 2 - n;

    new = g_memdup2(old, n);
    ok = plover_delta_apply(new, n, delta, rest, &error);
    fuzz_outcome(ok, error, PLOVER_DELTA_ERROR);
    if (ok) {
        survives(old, new, n, n);
    }

    /* Two versions that are less alike. */
    if (rest >= n) {
        survives(old, delta, n, n);
        survives(old, delta, n, n / 2 + 1);
        survives(old, delta, n, 2 * n + 2);
    }
    return 0;
}

void fuzz_seeds(void)
{
    uint8_t old[100] = { 1, 2, 3 };
    uint8_t new[100] = { 1, 9, 3 };
    uint8_t delta[100];
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    gssize n;

    new[50] = 1;
    new[99] = 1;
    n = plover_delta_encode(old, new, sizeof(old), delta, sizeof(delta));
    g_byte_array_append(bytes, old, sizeof(old));
    g_byte_array_append(bytes, delta, n);
    fuzz_seed_with("\x63\0", 2, bytes);

    g_byte_array_set_size(bytes, sizeof(old));
    g_byte_array_append(bytes, new, sizeof(new));
    fuzz_seed_with("\x63\0", 2, bytes);
}
