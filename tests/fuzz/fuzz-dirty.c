/*
 * Fuzzing of dirty maps: the first two bytes of the input are the number of
 * pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/dirty.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    uint64_t pages, next = 0;
    gboolean ok;

    if (size < 2) {
        return 0;
    }
    pages = data[0] | data[1] << 8;
    data += 2;
    size -= 2;

    ok = plover_dirty_decode(list, pages, data, size, &error);
    fuzz_outcome(ok, error, PLOVER_DIRTY_ERROR);
    if (!ok) {
        g_assert_cmpuint(list->len, ==, 0);
        return 0;
    }
    for (guint i = 0; i < list->len; i++) {
        uint64_t page = g_array_index(list, uint64_t, i);

        g_assert_cmpuint(page, >=, next);
        g_assert_cmpuint(page, <, pages);
        next = page + 1;
    }
    plover_dirty_append(again, list, pages);
    fuzz_same(again, data, size);
    return 0;
}

static void seed(uint64_t pages, uint64_t first, uint64_t step, unsigned n)
{
    const char front[] = { pages & 0xff, pages >> 8 };
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    for (unsigned i = 0; i < n; i++) {
        uint64_t page = first + i * step;

        g_array_append_val(list, page);
    }
    plover_dirty_append(bytes, list, pages);
    fuzz_seed_with(front, sizeof(front), bytes);
}

void fuzz_seeds(void)
{
    seed(0, 0, 0, 0);
    seed(1000, 0, 1, 1000); /* ranges */
    seed(1000, 300, 200, 3);
    seed(100, 1, 2, 50); /* a bitmap */
    seed(96, 0, 2, 48);
}
