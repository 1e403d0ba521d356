/*
 * Fuzzing of lists of device sections: the input is the size of a list, two
 * bytes, that list, and one that follows it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/delta.h"
#include "plover-sync/core/sections.h"
#include "tests/fuzz/fuzz.h"

#define MAX_STATE (64u << 10)

static gboolean decode(PloverSections *list, const PloverSections *old,
                       const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    gboolean ok;

    ok = plover_sections_decode(list, old, data, size, MAX_STATE, &error);
    fuzz_outcome(ok, error, g_error_matches(error, PLOVER_DELTA_ERROR,
                                            PLOVER_DELTA_ERROR_CORRUPT) ?
                 PLOVER_DELTA_ERROR : PLOVER_SECTIONS_ERROR);
    if (!ok) {
        g_assert_cmpuint(plover_sections_count(list), ==, 0);
    }
    g_assert_cmpuint(plover_sections_count(list), <=, PLOVER_SECTIONS_MAX);
    g_assert_cmpuint(plover_sections_bytes(list), <=, MAX_STATE);
    return ok;
}

static void equal(const PloverSections *a, const PloverSections *b)
{
    size_t bytes = 0;

    g_assert_cmpuint(plover_sections_count(a), ==, plover_sections_count(b));
    for (unsigned i = 0; i < plover_sections_count(a); i++) {
        const PloverSection *left = plover_sections_get(a, i);
        const PloverSection *right = plover_sections_get(b, i);

        g_assert_cmpstr(left->name, ==, right->name);
        g_assert_cmpuint(left->instance, ==, right->instance);
        g_assert_cmpmem(left->data->data, left->data->len,
                        right->data->data, right->data->len);
        bytes += left->data->len;
    }
    g_assert_cmpuint(plover_sections_bytes(a), ==, bytes);
    g_assert_cmpuint(plover_sections_bytes(b), ==, bytes);
}

/* What comes of @list and @old is @list again. */
static void survives(const PloverSections *list, const PloverSections *old)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverSections *again = plover_sections_new();

    plover_sections_encode(list, old, bytes);
    g_assert_true(decode(again, old, bytes->data, bytes->len));
    equal(again, list);
    plover_sections_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PloverSections *none = plover_sections_new();
    PloverSections *old = plover_sections_new();
    PloverSections *list = plover_sections_new();
    size_t first;

    if (size >= 2) {
        first = MIN(data[0] | (size_t)data[1] << 8, size - 2);
        if (decode(old, none, data + 2, first)) {
            survives(old, none);
        }
        if (decode(list, old, data + 2 + first, size - 2 - first)) {
            survives(list, old);
            survives(list, none);
            /* Into a list that is in use. */
            survives(old, list);
        }
    }
    plover_sections_free(none);
    plover_sections_free(old);
    plover_sections_free(list);
    return 0;
}

void fuzz_seeds(void)
{
    static const uint8_t data[64] = { 1, 2, 3 }, other[64] = { 1, 9, 3 };
    g_autoptr(GByteArray) seed = g_byte_array_new();
    PloverSections *none = plover_sections_new();
    PloverSections *old = plover_sections_new();
    PloverSections *list = plover_sections_new();

    plover_sections_add(old, "timer", 0, data, 10);
    plover_sections_add(old, "cpu", 0, data, sizeof(data));
    plover_sections_add(old, "cpu", 1, data, sizeof(data));
    g_byte_array_append(seed, (const uint8_t *)"\0\0", 2);
    plover_sections_encode(old, none, seed);
    seed->data[0] = seed->len - 2;

    plover_sections_add(list, "timer", 0, data, 10);
    plover_sections_add(list, "cpu", 0, other, sizeof(other));
    plover_sections_add(list, "cpu", 1, data, 20);
    plover_sections_add(list, "", UINT32_MAX, NULL, 0);
    plover_sections_encode(list, old, seed);
    fuzz_seed(seed->data, seed->len);

    plover_sections_free(none);
    plover_sections_free(old);
    plover_sections_free(list);
}
