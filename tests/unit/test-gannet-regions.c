/*
 * Regions: what is in the set, in bytes of the disk, and on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-blk/core/regions.h"

#define KIB UINT64_C(1024)
#define MAX_REGIONS 300

static void touched_regions_are_added(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(64 * KIB, 4 * KIB);

    gannet_regions_add(regions, 4 * KIB + 512, 512);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 4 * KIB);
    gannet_regions_add(regions, 16 * KIB - 512, 1024);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 12 * KIB);
    g_assert_true(gannet_regions_cover(regions, 12 * KIB, 8 * KIB));
    g_assert_false(gannet_regions_touch(regions, 8 * KIB, 4 * KIB));
    g_assert_true(gannet_regions_touch(regions, 8 * KIB, 4 * KIB + 512));
}

static void only_whole_regions_are_removed(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(64 * KIB, 4 * KIB);

    gannet_regions_add_all(regions);
    gannet_regions_remove(regions, 512, 4 * KIB);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 64 * KIB);
    gannet_regions_remove(regions, 512, 12 * KIB);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 56 * KIB);
    g_assert_true(gannet_regions_cover(regions, 0, 4 * KIB));
    g_assert_false(gannet_regions_touch(regions, 4 * KIB, 8 * KIB));
}

/* A range that ends with the disk has the whole of the last region. */
static void last_region_may_be_shorter(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(9 * KIB, 4 * KIB);
    GannetRange run;

    gannet_regions_add_all(regions);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 9 * KIB);
    g_assert_true(gannet_regions_next(regions, 0, UINT64_MAX, &run));
    g_assert_cmpuint(run.bytes, ==, 9 * KIB);
    gannet_regions_remove(regions, 8 * KIB, 1 * KIB);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 8 * KIB);
    gannet_regions_add(regions, 9 * KIB - 512, 512);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 9 * KIB);
    gannet_regions_remove(regions, 8 * KIB, 512);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 9 * KIB);
}

static void empty_ranges_change_nothing(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(64 * KIB, 4 * KIB);

    gannet_regions_add(regions, 8 * KIB, 0);
    gannet_regions_add(regions, 64 * KIB, 0);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 0);
    gannet_regions_add_all(regions);
    gannet_regions_remove(regions, 4 * KIB + 512, 0);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 64 * KIB);
    g_assert_false(gannet_regions_touch(regions, 0, 0));
    g_assert_true(gannet_regions_cover(regions, 0, 0));
}

static void runs_are_cut_where_asked(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(64 * KIB, 4 * KIB);
    GannetRange run;

    gannet_regions_add(regions, 8 * KIB, 12 * KIB);
    g_assert_true(gannet_regions_next(regions, 0, 5 * KIB, &run));
    g_assert_cmpuint(run.offset, ==, 8 * KIB);
    g_assert_cmpuint(run.bytes, ==, 5 * KIB);
    /* From the middle of a region on. */
    g_assert_true(gannet_regions_next(regions, 13 * KIB, UINT64_MAX, &run));
    g_assert_cmpuint(run.offset, ==, 13 * KIB);
    g_assert_cmpuint(run.bytes, ==, 7 * KIB);
    g_assert_false(gannet_regions_next(regions, 20 * KIB, UINT64_MAX, &run));
    g_assert_false(gannet_regions_next(regions, 64 * KIB, UINT64_MAX, &run));
}

static void sets_of_other_granularities_unite(void)
{
    g_autoptr(GannetRegions) fine = gannet_regions_new(60 * KIB, 1 * KIB);
    g_autoptr(GannetRegions) coarse = gannet_regions_new(60 * KIB, 8 * KIB);

    gannet_regions_add(fine, 7 * KIB, 2 * KIB);
    gannet_regions_unite(coarse, fine);
    g_assert_cmpuint(gannet_regions_bytes(coarse), ==, 16 * KIB);
    gannet_regions_add(coarse, 59 * KIB, 1 * KIB);
    gannet_regions_unite(fine, coarse);
    g_assert_cmpuint(gannet_regions_bytes(fine), ==, 20 * KIB);
}

static void strings_of_other_lengths_are_refused(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(17 * KIB, 1 * KIB);
    const uint8_t data[4] = { 0xff, 0xff, 0x01, 0x00 };
    g_autoptr(GError) error = NULL;

    g_assert_false(gannet_regions_load(regions, data, 2, &error));
    g_assert_nonnull(strstr(error->message, "needs 3 bytes; 2 came"));
    g_clear_error(&error);
    g_assert_false(gannet_regions_load(regions, data, 4, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_true(gannet_regions_load(regions, data, 3, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 17 * KIB);
}

static void bits_beyond_the_disk_are_refused(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(17 * KIB, 1 * KIB);
    const uint8_t data[3] = { 0, 0, 2 };
    g_autoptr(GError) error = NULL;

    gannet_regions_add(regions, 0, 512);
    g_assert_false(gannet_regions_load(regions, data, 3, &error));
    g_assert_nonnull(strstr(error->message, "beyond the end"));
    /* And nothing has changed. */
    g_assert_cmpuint(gannet_regions_bytes(regions), ==, 1 * KIB);
}

static void bits_stand_lowest_first(void)
{
    g_autoptr(GannetRegions) regions = gannet_regions_new(17 * KIB, 1 * KIB);
    const uint8_t data[3] = { 0x02, 0x80, 0x01 };
    g_autoptr(GBytes) saved = NULL;

    gannet_regions_add(regions, 1 * KIB, 512);
    gannet_regions_add(regions, 15 * KIB, 2 * KIB);
    saved = gannet_regions_save(regions);
    g_assert_cmpmem(g_bytes_get_data(saved, NULL), g_bytes_get_size(saved),
                    data, sizeof(data));
}

/* --- against an array ----------------------------------------------------- */

typedef struct Model {
    GannetRegions *regions;
    uint64_t size;
    uint64_t unit;
    unsigned n;
    gboolean has[MAX_REGIONS];
} Model;

static uint64_t bytes_of(const Model *m, unsigned i)
{
    return MIN(m->unit, m->size - i * m->unit);
}

static void compare(const Model *m)
{
    uint64_t bytes = 0, at = 0;
    GannetRange run;

    for (unsigned i = 0; i < m->n; i++) {
        bytes += m->has[i] ? bytes_of(m, i) : 0;
        g_assert_cmpint(gannet_regions_touch(m->regions, i * m->unit,
                                             bytes_of(m, i)), ==, m->has[i]);
    }
    g_assert_cmpuint(gannet_regions_bytes(m->regions), ==, bytes);
    while (gannet_regions_next(m->regions, at, UINT64_MAX, &run)) {
        bytes -= run.bytes;
        g_assert_cmpuint(run.offset, >=, at);
        g_assert_true(gannet_regions_cover(m->regions, run.offset,
                                           run.bytes));
        at = run.offset + run.bytes;
    }
    g_assert_cmpuint(bytes, ==, 0);
}

static void change_one(Model *m)
{
    int sectors = m->size / GANNET_SECTOR;
    uint64_t first = g_test_rand_int_range(0, sectors);
    uint64_t end = g_test_rand_int_range(first, sectors + 1);
    gboolean add = g_test_rand_bit();

    first *= GANNET_SECTOR;
    end *= GANNET_SECTOR;
    for (unsigned i = 0; i < m->n; i++) {
        uint64_t start = i * m->unit;
        uint64_t stop = start + bytes_of(m, i);

        if (add && first < end && first < stop && start < end) {
            m->has[i] = TRUE;
        } else if (!add && first <= start && stop <= end) {
            m->has[i] = FALSE;
        }
    }
    if (add) {
        gannet_regions_add(m->regions, first, end - first);
    } else {
        gannet_regions_remove(m->regions, first, end - first);
    }
}

static void survives_the_wire(const Model *m)
{
    Model copy = *m;
    g_autoptr(GBytes) saved = gannet_regions_save(m->regions);
    g_autoptr(GError) error = NULL;

    copy.regions = gannet_regions_new(m->size, m->unit);
    gannet_regions_add_all(copy.regions);
    gannet_regions_load(copy.regions, g_bytes_get_data(saved, NULL),
                        g_bytes_get_size(saved), &error);
    g_assert_no_error(error);
    compare(&copy);
    gannet_regions_free(copy.regions);
}

static void random_ranges_are_as_in_an_array(void)
{
    for (unsigned i = 0; i < 300; i++) {
        Model m = { .unit = GANNET_SECTOR << g_test_rand_int_range(0, 4) };
        int most = m.unit / GANNET_SECTOR * MAX_REGIONS;

        m.size = g_test_rand_int_range(1, most + 1) * GANNET_SECTOR;
        m.n = (m.size + m.unit - 1) / m.unit;
        m.regions = gannet_regions_new(m.size, m.unit);
        g_assert_cmpuint(gannet_regions_granularity(m.regions), ==, m.unit);
        for (unsigned j = 0; j < 20; j++) {
            change_one(&m);
            compare(&m);
        }
        survives_the_wire(&m);
        gannet_regions_clear(m.regions);
        g_assert_cmpuint(gannet_regions_bytes(m.regions), ==, 0);
        gannet_regions_free(m.regions);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gannet/regions/touched-regions-are-added",
                    touched_regions_are_added);
    g_test_add_func("/gannet/regions/only-whole-regions-are-removed",
                    only_whole_regions_are_removed);
    g_test_add_func("/gannet/regions/last-region-may-be-shorter",
                    last_region_may_be_shorter);
    g_test_add_func("/gannet/regions/empty-ranges-change-nothing",
                    empty_ranges_change_nothing);
    g_test_add_func("/gannet/regions/runs-are-cut-where-asked",
                    runs_are_cut_where_asked);
    g_test_add_func("/gannet/regions/sets-of-other-granularities-unite",
                    sets_of_other_granularities_unite);
    g_test_add_func("/gannet/regions/strings-of-other-lengths-are-refused",
                    strings_of_other_lengths_are_refused);
    g_test_add_func("/gannet/regions/bits-beyond-the-disk-are-refused",
                    bits_beyond_the_disk_are_refused);
    g_test_add_func("/gannet/regions/bits-stand-lowest-first",
                    bits_stand_lowest_first);
    g_test_add_func("/gannet/regions/random-ranges-are-as-in-an-array",
                    random_ranges_are_as_in_an_array);
    return g_test_run();
}
