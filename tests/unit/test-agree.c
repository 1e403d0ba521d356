/*
 * What both sides compute alike: unions, digests, what a cache keeps
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/agree.h"

#define PAGES 200
#define PAGE_SIZE 512

static GArray *list_of(const gboolean *has)
{
    GArray *list = plover_list_new();

    for (uint64_t page = 0; page < PAGES; page++) {
        if (has[page]) {
            g_array_append_val(list, page);
        }
    }
    return list;
}

static void assert_list(const GArray *list, const gboolean *has)
{
    g_autoptr(GArray) expected = list_of(has);

    g_assert_cmpmem(list->data, list->len * sizeof(uint64_t),
                    expected->data, expected->len * sizeof(uint64_t));
}

static void unions_have_all_and_each_once(void)
{
    g_autoptr(GArray) out = plover_list_new();

    for (int run = 0; run < 500; run++) {
        gboolean in[2][PAGES], both[PAGES];
        g_autoptr(GArray) a = NULL;
        g_autoptr(GArray) b = NULL;
        int often[2];

        for (int i = 0; i < 2; i++) {
            /* Also none and all. */
            often[i] = g_test_rand_int_range(0, 11);
            for (int page = 0; page < PAGES; page++) {
                in[i][page] = g_test_rand_int_range(0, 10) < often[i];
            }
        }
        for (int page = 0; page < PAGES; page++) {
            both[page] = in[0][page] || in[1][page];
        }
        a = list_of(in[0]);
        b = list_of(in[1]);
        plover_list_unite(out, a, b);
        assert_list(out, both);
        for (int page = 0; page < PAGES; page++) {
            gssize index = plover_list_index(out, page);

            g_assert_true((index >= 0) == both[page]);
            g_assert_true(index < 0 ||
                          plover_list_get(out, index) == (uint64_t)page);
        }
    }
}

static PloverHash digest(const uint64_t *pages, const uint64_t *hashes,
                         size_t n, const PloverSections *devices)
{
    PloverHasher hasher;
    PloverDigest digest;
    PloverHash hash;

    for (unsigned i = 0; i < sizeof(hasher.secret); i++) {
        hasher.secret[i] = i * 37 + 11;
    }
    plover_digest_init(&digest);
    /* What was before does not count. */
    plover_digest_add_page(&digest, 1, (PloverHash) { 1, 1 });
    plover_digest_reset(&digest);
    for (size_t i = 0; i < n; i++) {
        plover_digest_add_page(&digest, pages[i],
                               (PloverHash) { hashes[i], 0 });
    }
    hash = plover_digest_finish(&digest, &hasher, devices);
    plover_digest_clear(&digest);
    return hash;
}

static void digests_tell_pages_and_devices_apart(void)
{
    PloverSections *devices[5];
    uint64_t pages[][2] = { { 1, 2 }, { 1, 3 }, { 2, 1 } };
    uint64_t hashes[][2] = { { 5, 6 }, { 6, 5 } };
    GArray *all = g_array_new(FALSE, FALSE, sizeof(PloverHash));

    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        devices[i] = plover_sections_new();
    }
    plover_sections_add(devices[1], "a", 0, "x", 1);
    plover_sections_add(devices[2], "a", 0, "y", 1);
    plover_sections_add(devices[3], "a", 0, "x", 1);
    plover_sections_add(devices[3], "b", 0, "y", 1);
    plover_sections_add(devices[4], "a", 0, "y", 1);
    plover_sections_add(devices[4], "b", 0, "x", 1);

    for (size_t d = 0; d < G_N_ELEMENTS(devices); d++) {
        for (size_t p = 0; p < G_N_ELEMENTS(pages); p++) {
            for (size_t h = 0; h < G_N_ELEMENTS(hashes); h++) {
                for (size_t n = p || h ? 2 : 0; n <= 2; n++) {
                    PloverHash hash = digest(pages[p], hashes[h], n,
                                             devices[d]);

                    g_array_append_val(all, hash);
                }
            }
        }
    }
    for (guint i = 0; i < all->len; i++) {
        for (guint j = 0; j < i; j++) {
            g_assert_false(plover_hash_equal(
                g_array_index(all, PloverHash, i),
                g_array_index(all, PloverHash, j)));
        }
    }
    g_assert_true(plover_hash_equal(digest(pages[0], hashes[0], 2, devices[3]),
                                    digest(pages[0], hashes[0], 2,
                                           devices[3])));
    g_array_unref(all);
    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        plover_sections_free(devices[i]);
    }
}

/* Content of united pages: the number that @opaque says. */
static const uint8_t *page_of_all(void *opaque, guint index G_GNUC_UNUSED)
{
    static uint8_t page[PAGE_SIZE];

    memset(page, *(int *)opaque, sizeof(page));
    return page;
}

static void settle(PloverCache *cache, int content, uint64_t united,
                   gboolean differs)
{
    g_autoptr(GArray) a = plover_list_new();
    g_autoptr(GArray) b = plover_list_new();

    if (united) {
        g_array_append_val(a, united);
    }
    if (differs) {
        g_array_append_val(b, united);
    }
    plover_cache_settle(cache, a, b, page_of_all, &content);
}

static void caches_keep_what_differed(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 10, 3);

    settle(cache, 1, 8, FALSE);
    g_assert_null(plover_cache_get(cache, 8));
    settle(cache, 2, 8, TRUE);
    g_assert_cmpuint(plover_cache_get(cache, 8)[0], ==, 2);
    /* Both wrote it alike: that is what the next delta is made against. */
    settle(cache, 3, 8, FALSE);
    g_assert_cmpuint(plover_cache_get(cache, 8)[PAGE_SIZE - 1], ==, 3);
    /* Nobody writes it any more. */
    for (int i = 0; i < 3; i++) {
        g_assert_nonnull(plover_cache_get(cache, 8));
        settle(cache, 4, 0, FALSE);
    }
    g_assert_null(plover_cache_get(cache, 8));
    plover_cache_free(cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plover/agree/unions", unions_have_all_and_each_once);
    g_test_add_func("/plover/agree/digests",
                    digests_tell_pages_and_devices_apart);
    g_test_add_func("/plover/agree/caches", caches_keep_what_differed);
    return g_test_run();
}
