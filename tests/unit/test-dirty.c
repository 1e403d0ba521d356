/*
 * Dirty maps: small on the wire, the same on the other side, refused when
 * they are anything else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <string.h>

#include "plover-sync/core/dirty.h"

#define HEADER 18
#define MAX_PAGES 1000

typedef struct {
    uint64_t words[MAX_PAGES / 64 + 1];
} Map;

static void set_page(Map *map, uint64_t page)
{
    map->words[page / 64] |= UINT64_C(1) << page % 64;
}

static GArray *to_list(const Map *map, uint64_t pages)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (uint64_t page = 0; page < pages; page++) {
        if (map->words[page / 64] >> page % 64 & 1) {
            g_array_append_val(list, page);
        }
    }
    return list;
}

static GByteArray *encode(const Map *map, uint64_t pages)
{
    GByteArray *bytes = g_byte_array_new();
    g_autoptr(GArray) list = to_list(map, pages);

    plover_dirty_append(bytes, list, pages);
    return bytes;
}

static void survives(const Map *map, uint64_t pages)
{
    g_autoptr(GByteArray) bytes = encode(map, pages);
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GError) error = NULL;
    Map decoded = { 0 };

    plover_dirty_decode(list, pages, bytes->data, bytes->len, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < list->len; i++) {
        uint64_t page = g_array_index(list, uint64_t, i);

        g_assert_true(i == 0 || page > g_array_index(list, uint64_t, i - 1));
        set_page(&decoded, page);
    }
    g_assert_cmpmem(&decoded, sizeof(decoded), map, sizeof(*map));
}

static void refused(const uint8_t *data, size_t size, uint64_t pages,
                    PloverDirtyError code)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GError) error = NULL;

    g_assert_false(plover_dirty_decode(list, pages, data, size, &error));
    g_assert_error(error, PLOVER_DIRTY_ERROR, (int)code);
    g_assert_cmpuint(list->len, ==, 0);
}

/* The ranges @tail of a map of 100 pages, @dirty of them dirty. */
static void ranges_refused(uint64_t dirty, const char *tail, size_t size)
{
    uint8_t data[64] = { [0] = 1, [2] = 100, [10] = dirty };

    memcpy(data + HEADER, tail, size);
    refused(data, HEADER + size, 100, PLOVER_DIRTY_ERROR_CORRUPT);
}

static void random_maps_survive(void)
{
    for (int round = 0; round < 2000; round++) {
        uint64_t pages = g_test_rand_int_range(0, MAX_PAGES);
        int density = g_test_rand_int_range(1, 40);
        Map map = { 0 };

        for (uint64_t page = 0; page < pages; page++) {
            if (g_test_rand_int_range(0, density) == 0) {
                set_page(&map, page);
            }
        }
        survives(&map, pages);
    }
}

static void edges_survive(void)
{
    static const uint64_t sizes[] = { 1, 7, 8, 9, 63, 64, 65, 128, 999 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        Map map = { 0 };

        survives(&map, sizes[i]);
        set_page(&map, sizes[i] - 1);
        survives(&map, sizes[i]);
        for (uint64_t page = 0; page < sizes[i]; page++) {
            set_page(&map, page);
        }
        survives(&map, sizes[i]);
    }
}

static void idle_guest_costs_only_the_header(void)
{
    Map map = { 0 };
    g_autoptr(GByteArray) bytes = encode(&map, MAX_PAGES);

    g_assert_cmpuint(bytes->len, ==, HEADER);
}

static void one_range_costs_a_few_bytes(void)
{
    Map map = { 0 };
    g_autoptr(GByteArray) bytes = NULL;

    for (uint64_t page = 300; page < 900; page++) {
        set_page(&map, page);
    }
    bytes = encode(&map, MAX_PAGES);
    g_assert_cmpuint(bytes->len, ==, HEADER + 4);
}

static void never_larger_than_one_bit_per_page(void)
{
    Map map = { 0 };
    g_autoptr(GByteArray) bytes = NULL;

    for (uint64_t page = 0; page < MAX_PAGES; page += 2) {
        set_page(&map, page);
    }
    bytes = encode(&map, MAX_PAGES);
    g_assert_cmpuint(bytes->len, ==, HEADER + MAX_PAGES / 8);
}

static void other_memory_size_is_refused(void)
{
    Map map = { 0 };
    g_autoptr(GByteArray) bytes = encode(&map, 512);

    refused(bytes->data, bytes->len, 513, PLOVER_DIRTY_ERROR_SIZE);
}

static void other_version_is_refused(void)
{
    Map map = { 0 };
    g_autoptr(GByteArray) bytes = encode(&map, 100);

    bytes->data[0] = 2;
    refused(bytes->data, bytes->len, 100, PLOVER_DIRTY_ERROR_VERSION);
    refused(bytes->data, 0, 100, PLOVER_DIRTY_ERROR_VERSION);
}

static void every_truncation_is_refused(void)
{
    g_autoptr(GByteArray) bytes = NULL;
    Map map = { 0 };

    set_page(&map, 10);
    set_page(&map, 80);
    bytes = encode(&map, 100);
    for (guint size = 1; size < bytes->len; size++) {
        refused(bytes->data, size, 100, PLOVER_DIRTY_ERROR_CORRUPT);
    }
}

static void wrong_count_is_refused(void)
{
    ranges_refused(4, "\x05\x03", 2);
}

static void range_beyond_the_memory_is_refused(void)
{
    ranges_refused(1, "\x64\x01", 2);
    ranges_refused(2, "\x63\x02", 2);
    /* 2^64 - 1: an end that is computed carelessly wraps around */
    ranges_refused(1, "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
}

static void other_encodings_of_a_map_are_refused(void)
{
    ranges_refused(0, "\x05\x00", 2); /* an empty range */
    ranges_refused(2, "\x05\x01\x00\x01", 4); /* ranges that touch */
    ranges_refused(1, "\x85\x00\x01", 3); /* a padded number */
}

static void larger_form_is_refused(void)
{
    uint8_t bitmap[HEADER + 13] = { [0] = 1, [1] = 1, [2] = 100, [10] = 1 };
    uint8_t ranges[HEADER + 14] = { [0] = 1, [2] = 100, [10] = 7 };

    bitmap[HEADER] = 1;
    refused(bitmap, sizeof(bitmap), 100, PLOVER_DIRTY_ERROR_CORRUPT);
    /* Seven ranges take 14 bytes, the bitmap 13. */
    memset(ranges + HEADER, 1, sizeof(ranges) - HEADER);
    refused(ranges, sizeof(ranges), 100, PLOVER_DIRTY_ERROR_CORRUPT);
}

static void bits_behind_the_last_page_are_refused(void)
{
    uint8_t data[HEADER + 13] = { [0] = 1, [1] = 1, [2] = 100, [10] = 49 };

    /* But for one bit that is what a sender makes of it. */
    memset(data + HEADER, 0x55, 12);
    data[HEADER + 12] = 0x10;
    refused(data, sizeof(data), 100, PLOVER_DIRTY_ERROR_CORRUPT);
}

static void damaged_maps_do_no_harm(void)
{
    for (int round = 0; round < 20000; round++) {
        g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        g_autoptr(GByteArray) bytes = NULL;
        Map map = { 0 };

        for (int i = g_test_rand_int_range(0, 20); i > 0; i--) {
            set_page(&map, g_test_rand_int_range(0, MAX_PAGES));
        }
        bytes = encode(&map, MAX_PAGES);
        for (int i = g_test_rand_int_range(1, 4); i > 0; i--) {
            bytes->data[g_test_rand_int_range(0, bytes->len)] =
                g_test_rand_int();
        }
        /* Accepted or not: the sanitizers see to it that nothing breaks. */
        plover_dirty_decode(list, MAX_PAGES, bytes->data, bytes->len, NULL);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty/random-maps-survive", random_maps_survive);
    g_test_add_func("/dirty/edges-survive", edges_survive);
    g_test_add_func("/dirty/idle-guest-costs-only-the-header",
                    idle_guest_costs_only_the_header);
    g_test_add_func("/dirty/one-range-costs-a-few-bytes",
                    one_range_costs_a_few_bytes);
    g_test_add_func("/dirty/never-larger-than-one-bit-per-page",
                    never_larger_than_one_bit_per_page);
    g_test_add_func("/dirty/other-memory-size-is-refused",
                    other_memory_size_is_refused);
    g_test_add_func("/dirty/other-version-is-refused",
                    other_version_is_refused);
    g_test_add_func("/dirty/every-truncation-is-refused",
                    every_truncation_is_refused);
    g_test_add_func("/dirty/wrong-count-is-refused", wrong_count_is_refused);
    g_test_add_func("/dirty/range-beyond-the-memory-is-refused",
                    range_beyond_the_memory_is_refused);
    g_test_add_func("/dirty/other-encodings-of-a-map-are-refused",
                    other_encodings_of_a_map_are_refused);
    g_test_add_func("/dirty/larger-form-is-refused", larger_form_is_refused);
    g_test_add_func("/dirty/bits-behind-the-last-page-are-refused",
                    bits_behind_the_last_page_are_refused);
    g_test_add_func("/dirty/damaged-maps-do-no-harm",
                    damaged_maps_do_no_harm);
    return g_test_run();
}
