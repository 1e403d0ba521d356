/*
 * Regions: which parts of a disk, one bit for each
 *
 * A set of regions of equal size, such as those that a peer lacks. Not
 * thread-safe; the memory is size / granularity / 8 bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_REGIONS_H
#define GANNET_REGIONS_H

#include "gannet-blk/core/types.h"

typedef struct GannetRegions GannetRegions;

/* @granularity is a power of two, at least GANNET_SECTOR. Empty at first. */
GannetRegions *gannet_regions_new(uint64_t size, uint64_t granularity);
void gannet_regions_free(GannetRegions *regions);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetRegions, gannet_regions_free)

uint64_t gannet_regions_granularity(const GannetRegions *regions);

/* Every region that the range touches. */
void gannet_regions_add(GannetRegions *regions, uint64_t offset,
                        uint64_t bytes);
/* Every region that lies within the range, the end of the disk counting. */
void gannet_regions_remove(GannetRegions *regions, uint64_t offset,
                           uint64_t bytes);
void gannet_regions_add_all(GannetRegions *regions);
void gannet_regions_clear(GannetRegions *regions);
/* All of @other, which is of the same disk; its granularity may differ. */
void gannet_regions_unite(GannetRegions *regions, const GannetRegions *other);

/* Whether any region that the range touches is in the set. */
gboolean gannet_regions_touch(const GannetRegions *regions, uint64_t offset,
                              uint64_t bytes);
/* Whether all of them are. */
gboolean gannet_regions_cover(const GannetRegions *regions, uint64_t offset,
                              uint64_t bytes);
/*
 * The first run of regions at or after @from, cut to @max_bytes and to the
 * end of the disk; FALSE when there is none.
 */
gboolean gannet_regions_next(const GannetRegions *regions, uint64_t from,
                             uint64_t max_bytes, GannetRange *run);
/* How many bytes of the disk are in the set. */
uint64_t gannet_regions_bytes(const GannetRegions *regions);

/*
 * As bytes for the wire and back: bit n of the string is region n, lowest bit
 * first. Loading fails when the length is not that of this disk.
 */
GBytes *gannet_regions_save(const GannetRegions *regions);
gboolean gannet_regions_load(GannetRegions *regions, const void *data,
                             size_t size, GError **errp);

#endif
