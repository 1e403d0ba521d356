/*
 * Extents: the bytes of a disk that were written, kept in memory
 *
 * One layer of GANNET's block buffer: a set of disjoint extents, each with its
 * offset on the disk and its content. Byte ranges of any offset and length are
 * written over one another and the newest wins; ranges never written belong to
 * the layer below. Zeroes are remembered as such and take no memory for their
 * content.
 *
 * A layer owns a copy of everything written to it and has no lock: whoever
 * shares it between threads provides one. Offsets and lengths are in bytes;
 * offset + length must not exceed INT64_MAX, as on QEMU's disks. Memory is
 * bounded by the caller, who asks gannet_extents_memory().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_EXTENTS_H
#define GANNET_EXTENTS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct GannetExtents GannetExtents;

/* A part of a layer, as seen by a reader. */
typedef struct {
    uint64_t offset;
    uint64_t length;
    const uint8_t *data; /* NULL: all zero. Valid until the layer changes. */
} GannetExtent;

GannetExtents *gannet_extents_new(void);
void gannet_extents_free(GannetExtents *extents);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetExtents, gannet_extents_free)

/* Write @length bytes at @data, at least one, to @offset. */
void gannet_extents_write(GannetExtents *extents, uint64_t offset,
                          uint64_t length, const void *data);

/* Likewise, but zeroes. */
void gannet_extents_write_zeroes(GannetExtents *extents, uint64_t offset,
                                 uint64_t length);

/* Give the range back to the layer below. */
void gannet_extents_remove(GannetExtents *extents, uint64_t offset,
                           uint64_t length);

/*
 * Find what stands first in the given range, cut to it. Returns false when
 * nothing does. Reading a range, or walking over a whole layer, is
 *
 *     while (gannet_extents_find(extents, offset, end - offset, &found)) {
 *         // offset to found.offset is a hole
 *         offset = found.offset + found.length;
 *     }
 *     // offset to end is a hole
 */
bool gannet_extents_find(const GannetExtents *extents, uint64_t offset,
                         uint64_t length, GannetExtent *found);

/* The bytes of disk that the layer covers, zeroes included. */
uint64_t gannet_extents_covered(const GannetExtents *extents);

/* The memory in bytes that the layer takes, its own structures included. */
uint64_t gannet_extents_memory(const GannetExtents *extents);

#endif
