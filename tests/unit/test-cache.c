/*
 * The page cache: holds what was put last, within its bounds, and the same on
 * both replicas
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <string.h>

#include "plover-sync/core/cache.h"

#define PAGE_SIZE 512
#define PAGES 40

/* Page numbers as they are in a VM of many GiB. */
static uint64_t number(unsigned page)
{
    return page * UINT64_C(0x100000001);
}

static void put(PloverCache *cache, unsigned page, uint8_t byte)
{
    g_autofree uint8_t *content = g_malloc(PAGE_SIZE);

    memset(content, byte, PAGE_SIZE);
    plover_cache_put(cache, number(page), content);
}

/* The byte that @page is made of; -1 when it is not there. */
static int byte_of(const PloverCache *cache, unsigned page)
{
    const uint8_t *content = plover_cache_get(cache, number(page));

    if (!content) {
        return -1;
    }
    for (size_t i = 1; i < PAGE_SIZE; i++) {
        g_assert_cmphex(content[i], ==, content[0]);
    }
    return content[0];
}

/* What cache.h says, with nothing but a table of all pages. */
typedef struct {
    uint32_t max_pages, max_age;
    uint32_t puts, sync;
    struct {
        bool there;
        uint8_t byte;
        uint32_t put, sync;
    } pages[PAGES];
} Model;

static uint32_t model_pages(const Model *model)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < PAGES; i++) {
        n += model->pages[i].there;
    }
    return n;
}

static void model_put(Model *model, unsigned page, uint8_t byte)
{
    unsigned oldest = page;

    model->pages[page].there = true;
    model->pages[page].byte = byte;
    model->pages[page].put = model->puts++;
    model->pages[page].sync = model->sync;
    if (model_pages(model) > model->max_pages) {
        for (unsigned i = 0; i < PAGES; i++) {
            if (model->pages[i].there &&
                model->pages[i].put < model->pages[oldest].put) {
                oldest = i;
            }
        }
        model->pages[oldest].there = false;
    }
}

static void model_end_sync(Model *model)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (model->sync - model->pages[i].sync >= model->max_age) {
            model->pages[i].there = false;
        }
    }
    model->sync++;
}

static void assert_holds(const PloverCache *cache, const Model *model)
{
    g_assert_cmpuint(plover_cache_pages(cache), ==, model_pages(model));
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_cmpint(byte_of(cache, i), ==,
                        model->pages[i].there ? model->pages[i].byte : -1);
    }
}

/* Does other things first, until nothing of them is left. */
static PloverCache *new_with_a_past(uint32_t max_pages, uint32_t max_age)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, max_pages, max_age);

    for (int i = 0; i < 300; i++) {
        put(cache, g_test_rand_int_range(0, 1000), 0xee);
    }
    for (uint32_t i = 0; i <= max_age; i++) {
        plover_cache_end_sync(cache);
    }
    g_assert_cmpuint(plover_cache_pages(cache), ==, 0);
    return cache;
}

static void same_calls_make_the_same_cache(void)
{
    for (int run = 0; run < 40; run++) {
        uint32_t max_pages = g_test_rand_int_range(0, PAGES + 5);
        uint32_t max_age = g_test_rand_int_range(1, 6);
        Model model = { .max_pages = max_pages, .max_age = max_age };
        PloverCache *one = plover_cache_new(PAGE_SIZE, max_pages, max_age);
        PloverCache *other = new_with_a_past(max_pages, max_age);

        for (int step = 0; step < 150; step++) {
            if (g_test_rand_int_range(0, 10) == 0) {
                plover_cache_end_sync(one);
                plover_cache_end_sync(other);
                model_end_sync(&model);
            } else {
                unsigned page = g_test_rand_int_range(0, PAGES);
                uint8_t byte = g_test_rand_int();

                put(one, page, byte);
                put(other, page, byte);
                model_put(&model, page, byte);
            }
            assert_holds(one, &model);
            assert_holds(other, &model);
        }
        plover_cache_free(one);
        plover_cache_free(other);
    }
}

static void page_that_was_never_put_is_not_there(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 10, 10);

    g_assert_null(plover_cache_get(cache, 0));
    put(cache, 1, 1);
    g_assert_null(plover_cache_get(cache, 1));
    g_assert_nonnull(plover_cache_get(cache, number(1)));
    plover_cache_free(cache);
}

static void put_again_replaces_the_content(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 10, 10);

    put(cache, 1, 0x11);
    put(cache, 1, 0x22);
    g_assert_cmphex(byte_of(cache, 1), ==, 0x22);
    g_assert_cmpuint(plover_cache_pages(cache), ==, 1);
    plover_cache_free(cache);
}

static void the_one_put_longest_ago_makes_room(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 3, 10);

    put(cache, 1, 1);
    put(cache, 2, 2);
    put(cache, 3, 3);
    put(cache, 1, 4); /* now 2 is the oldest; looking at it changes nothing */
    g_assert_cmpint(byte_of(cache, 2), ==, 2);
    put(cache, 5, 5);
    g_assert_cmpint(byte_of(cache, 2), ==, -1);
    g_assert_cmpint(byte_of(cache, 1), ==, 4);
    g_assert_cmpint(byte_of(cache, 3), ==, 3);
    g_assert_cmpint(byte_of(cache, 5), ==, 5);
    plover_cache_free(cache);
}

static void page_goes_when_it_was_not_put_for_max_age_syncs(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 10, 2);

    put(cache, 1, 1);
    put(cache, 2, 2);
    plover_cache_end_sync(cache);
    plover_cache_end_sync(cache); /* the first without */
    put(cache, 2, 3);
    g_assert_cmpint(byte_of(cache, 1), ==, 1);
    plover_cache_end_sync(cache); /* the second without 1 */
    g_assert_cmpint(byte_of(cache, 1), ==, -1);
    g_assert_cmpint(byte_of(cache, 2), ==, 3);
    plover_cache_free(cache);
}

static void without_pages_nothing_is_kept(void)
{
    PloverCache *cache = plover_cache_new(PAGE_SIZE, 0, 10);

    put(cache, 1, 1);
    g_assert_null(plover_cache_get(cache, number(1)));
    g_assert_cmpuint(plover_cache_pages(cache), ==, 0);
    plover_cache_end_sync(cache);
    plover_cache_free(cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache/same-calls-make-the-same-cache",
                    same_calls_make_the_same_cache);
    g_test_add_func("/cache/page-that-was-never-put-is-not-there",
                    page_that_was_never_put_is_not_there);
    g_test_add_func("/cache/put-again-replaces-the-content",
                    put_again_replaces_the_content);
    g_test_add_func("/cache/the-one-put-longest-ago-makes-room",
                    the_one_put_longest_ago_makes_room);
    g_test_add_func("/cache/page-goes-when-it-was-not-put-for-max-age-syncs",
                    page_goes_when_it_was_not_put_for_max_age_syncs);
    g_test_add_func("/cache/without-pages-nothing-is-kept",
                    without_pages_nothing_is_kept);
    return g_test_run();
}
