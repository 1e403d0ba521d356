/*
 * Regions: a bitmap that knows how many of its bits are set
 *
 * Bits beyond the last region are never set. Whole words are handled at once,
 * so that a range costs one step for each 64 regions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/regions.h"

#include <string.h>

struct GannetRegions {
    uint64_t size;
    unsigned shift;   /* of the granularity */
    uint64_t regions;
    uint64_t set;     /* how many bits are */
    uint64_t words;
    uint64_t *bits;
};

#define fail(errp, ...) \
    g_set_error(errp, g_quark_from_static_string("gannet-regions"), 0, \
                __VA_ARGS__)

GannetRegions *gannet_regions_new(uint64_t size, uint64_t granularity)
{
    GannetRegions *regions = g_new0(GannetRegions, 1);

    g_assert(granularity >= GANNET_SECTOR);
    g_assert((granularity & (granularity - 1)) == 0);
    regions->size = size;
    regions->shift = __builtin_ctzll(granularity);
    regions->regions = size / granularity + (size % granularity != 0);
    regions->words = regions->regions / 64 + (regions->regions % 64 != 0);
    regions->bits = g_new0(uint64_t, regions->words);
    return regions;
}

void gannet_regions_free(GannetRegions *regions)
{
    if (regions) {
        g_free(regions->bits);
        g_free(regions);
    }
}

uint64_t gannet_regions_granularity(const GannetRegions *regions)
{
    return UINT64_C(1) << regions->shift;
}

/* --- bits ----------------------------------------------------------------- */

/* The bits of the word that belong to the regions first to end, exclusive. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end)
{
    uint64_t mask = ~UINT64_C(0);

    if (first > word * 64) {
        mask &= ~UINT64_C(0) << first % 64;
    }
    if (end < word * 64 + 64) {
        mask &= ~(~UINT64_C(0) << end % 64);
    }
    return mask;
}

static void change(GannetRegions *regions, uint64_t first, uint64_t end,
                   gboolean set)
{
    for (uint64_t i = first / 64; i * 64 < end && first < end; i++) {
        uint64_t mask = word_mask(i, first, end);
        uint64_t old = regions->bits[i];

        regions->bits[i] = set ? old | mask : old & ~mask;
        regions->set += __builtin_popcountll(regions->bits[i]);
        regions->set -= __builtin_popcountll(old);
    }
}

/* The first bit at or after @from that is set, or clear; else @regions. */
static uint64_t find(const GannetRegions *regions, uint64_t from,
                     gboolean set)
{
    for (uint64_t i = from / 64; i < regions->words; i++) {
        uint64_t word = set ? regions->bits[i] : ~regions->bits[i];

        if (i == from / 64) {
            word &= ~UINT64_C(0) << from % 64;
        }
        if (word) {
            return MIN(i * 64 + __builtin_ctzll(word), regions->regions);
        }
    }
    return regions->regions;
}

/* --- ranges --------------------------------------------------------------- */

/* One more than the last region that the range touches. */
static uint64_t end_of(const GannetRegions *regions, uint64_t offset,
                       uint64_t bytes)
{
    g_assert(offset <= regions->size && bytes <= regions->size - offset);
    return bytes ? ((offset + bytes - 1) >> regions->shift) + 1
                 : offset >> regions->shift;
}

void gannet_regions_add(GannetRegions *regions, uint64_t offset,
                        uint64_t bytes)
{
    uint64_t end = end_of(regions, offset, bytes);

    change(regions, offset >> regions->shift, end, TRUE);
}

void gannet_regions_remove(GannetRegions *regions, uint64_t offset,
                           uint64_t bytes)
{
    uint64_t mask = gannet_regions_granularity(regions) - 1;
    uint64_t first = (offset >> regions->shift) + ((offset & mask) != 0);
    uint64_t end = end_of(regions, offset, bytes);

    if (((offset + bytes) & mask) && offset + bytes != regions->size) {
        end = (offset + bytes) >> regions->shift;
    }
    change(regions, first, end, FALSE);
}

void gannet_regions_add_all(GannetRegions *regions)
{
    change(regions, 0, regions->regions, TRUE);
}

void gannet_regions_clear(GannetRegions *regions)
{
    memset(regions->bits, 0, regions->words * sizeof(uint64_t));
    regions->set = 0;
}

void gannet_regions_unite(GannetRegions *regions, const GannetRegions *other)
{
    GannetRange run = { 0, 0 };

    g_assert(regions->size == other->size);
    while (gannet_regions_next(other, run.offset + run.bytes, UINT64_MAX,
                               &run)) {
        gannet_regions_add(regions, run.offset, run.bytes);
    }
}

/* --- questions ------------------------------------------------------------ */

gboolean gannet_regions_touch(const GannetRegions *regions, uint64_t offset,
                              uint64_t bytes)
{
    uint64_t end = end_of(regions, offset, bytes);

    return find(regions, offset >> regions->shift, TRUE) < end;
}

gboolean gannet_regions_cover(const GannetRegions *regions, uint64_t offset,
                              uint64_t bytes)
{
    uint64_t end = end_of(regions, offset, bytes);

    return find(regions, offset >> regions->shift, FALSE) >= end;
}

gboolean gannet_regions_next(const GannetRegions *regions, uint64_t from,
                             uint64_t max_bytes, GannetRange *run)
{
    uint64_t first, end;

    if (from >= regions->size) {
        return FALSE;
    }
    first = find(regions, from >> regions->shift, TRUE);
    if (first == regions->regions) {
        return FALSE;
    }
    end = find(regions, first, FALSE);
    run->offset = MAX(first << regions->shift, from);
    run->bytes = (end == regions->regions ? regions->size
                                          : end << regions->shift)
                 - run->offset;
    run->bytes = MIN(run->bytes, max_bytes);
    return run->bytes != 0;
}

uint64_t gannet_regions_bytes(const GannetRegions *regions)
{
    uint64_t last = regions->regions - 1;
    uint64_t bytes = regions->set << regions->shift;

    /* The last region may be shorter than the others. */
    if (regions->regions && regions->bits[last / 64] >> last % 64 & 1) {
        bytes -= (regions->regions << regions->shift) - regions->size;
    }
    return bytes;
}

/* --- as bytes ------------------------------------------------------------- */

static uint64_t saved_size(const GannetRegions *regions)
{
    return regions->regions / 8 + (regions->regions % 8 != 0);
}

GBytes *gannet_regions_save(const GannetRegions *regions)
{
    uint64_t size = saved_size(regions);
    uint8_t *data = g_malloc(size);

    for (uint64_t i = 0; i < size; i++) {
        data[i] = regions->bits[i / 8] >> i % 8 * 8;
    }
    return g_bytes_new_take(data, size);
}

gboolean gannet_regions_load(GannetRegions *regions, const void *data,
                             size_t size, GError **errp)
{
    const uint8_t *bytes = data;
    unsigned spare = -regions->regions % 8;

    if (size != saved_size(regions)) {
        fail(errp, "a map of %" G_GUINT64_FORMAT " regions needs %"
             G_GUINT64_FORMAT " bytes; %zu came", regions->regions,
             saved_size(regions), size);
        return FALSE;
    }
    if (size && spare && bytes[size - 1] >> (8 - spare)) {
        fail(errp, "a map names regions beyond the end of the disk");
        return FALSE;
    }
    gannet_regions_clear(regions);
    for (size_t i = 0; i < size; i++) {
        regions->bits[i / 8] |= (uint64_t)bytes[i] << i % 8 * 8;
        regions->set += __builtin_popcount(bytes[i]);
    }
    return TRUE;
}
