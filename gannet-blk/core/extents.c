/*
 * Extents: the bytes of a disk that were written, kept in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "extents.h"

/*
 * Content stands behind the structure, so that an extent is one allocation.
 * It is never shared: cutting an extent copies what is left, and so frees
 * what was cut off.
 */
typedef struct {
    uint64_t offset;
    uint64_t end; /* the key: the first that overlaps ends behind the start */
    bool zero;
    uint8_t data[];
} Extent;

/* What the allocator and the tree need besides, on a 64-bit machine. */
#define EXTENT_OVERHEAD (sizeof(Extent) + 72)

struct GannetExtents {
    GTree *by_end;
    uint64_t covered;
    uint64_t memory;
};

static gint compare_ends(gconstpointer a, gconstpointer b, gpointer unused)
{
    uint64_t end_a = *(const uint64_t *)a;
    uint64_t end_b = *(const uint64_t *)b;

    (void)unused;
    return (end_a > end_b) - (end_a < end_b);
}

GannetExtents *gannet_extents_new(void)
{
    GannetExtents *extents = g_new0(GannetExtents, 1);

    extents->by_end = g_tree_new_full(compare_ends, NULL, NULL, g_free);
    return extents;
}

void gannet_extents_free(GannetExtents *extents)
{
    g_tree_destroy(extents->by_end);
    g_free(extents);
}

static uint64_t range_end(uint64_t offset, uint64_t length)
{
    g_assert(length > 0 && length <= INT64_MAX);
    g_assert(offset <= INT64_MAX - length);
    return offset + length;
}

/* The first extent with a byte at @offset or behind, NULL if there is none. */
static Extent *first_from(const GannetExtents *extents, uint64_t offset)
{
    GTreeNode *node = g_tree_upper_bound(extents->by_end, &offset);

    return node ? g_tree_node_value(node) : NULL;
}

static uint64_t memory_of(const Extent *e)
{
    return EXTENT_OVERHEAD + (e->zero ? 0 : e->end - e->offset);
}

/* Nothing may stand in the range. @data is NULL for zeroes. */
static void insert(GannetExtents *extents, uint64_t offset, uint64_t end,
                   const void *data)
{
    uint64_t size = data ? end - offset : 0;
    Extent *e = g_malloc(sizeof(*e) + size);

    e->offset = offset;
    e->end = end;
    e->zero = !data;
    if (data) {
        memcpy(e->data, data, size);
    }
    g_tree_insert(extents->by_end, &e->end, e);
    extents->covered += end - offset;
    extents->memory += memory_of(e);
}

static void insert_part(GannetExtents *extents, const Extent *of,
                        uint64_t offset, uint64_t end)
{
    if (offset < end) {
        insert(extents, offset, end,
               of->zero ? NULL : of->data + (offset - of->offset));
    }
}

static void clear(GannetExtents *extents, uint64_t offset, uint64_t end)
{
    Extent *e;

    while ((e = first_from(extents, offset)) && e->offset < end) {
        g_tree_steal(extents->by_end, &e->end);
        extents->covered -= e->end - e->offset;
        extents->memory -= memory_of(e);
        insert_part(extents, e, e->offset, MAX(offset, e->offset));
        insert_part(extents, e, MIN(end, e->end), e->end);
        g_free(e);
    }
}

void gannet_extents_write(GannetExtents *extents, uint64_t offset,
                          uint64_t length, const void *data)
{
    uint64_t end = range_end(offset, length);
    Extent *e = first_from(extents, offset);

    g_assert(data);
    if (e && !e->zero && e->offset <= offset && e->end >= end) {
        /* The usual case, a block written again: no cut, no allocation. */
        memcpy(e->data + (offset - e->offset), data, length);
        return;
    }
    clear(extents, offset, end);
    insert(extents, offset, end, data);
}

void gannet_extents_write_zeroes(GannetExtents *extents, uint64_t offset,
                                 uint64_t length)
{
    uint64_t end = range_end(offset, length);

    clear(extents, offset, end);
    insert(extents, offset, end, NULL);
}

void gannet_extents_remove(GannetExtents *extents, uint64_t offset,
                           uint64_t length)
{
    clear(extents, offset, range_end(offset, length));
}

bool gannet_extents_find(const GannetExtents *extents, uint64_t offset,
                         uint64_t length, GannetExtent *found)
{
    const Extent *e = first_from(extents, offset);
    uint64_t end = offset + length;

    if (!e || e->offset >= end) {
        return false;
    }
    found->offset = MAX(offset, e->offset);
    found->length = MIN(end, e->end) - found->offset;
    found->data = e->zero ? NULL : e->data + (found->offset - e->offset);
    return true;
}

uint64_t gannet_extents_covered(const GannetExtents *extents)
{
    return extents->covered;
}

uint64_t gannet_extents_memory(const GannetExtents *extents)
{
    return sizeof(*extents) + extents->memory;
}
