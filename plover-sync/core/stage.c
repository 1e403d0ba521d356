/*
 * The stage: what the secondary was sent of a sync and has not applied
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/stage.h"

/* Content is kept in slabs, so that it never moves. */
#define SLAB_PAGES 256
/* Slabs that are kept when the stage is reset. */
#define SLABS_KEPT 8

struct PloverStage {
    size_t page_size;
    GPtrArray *slabs;
    GArray *pages;
    GPtrArray *data;
};

PloverStage *plover_stage_new(size_t page_size)
{
    PloverStage *stage = g_new0(PloverStage, 1);

    stage->page_size = page_size;
    stage->slabs = g_ptr_array_new_with_free_func(g_free);
    stage->pages = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    stage->data = g_ptr_array_new();
    return stage;
}

void plover_stage_free(PloverStage *stage)
{
    if (stage) {
        g_ptr_array_unref(stage->slabs);
        g_array_unref(stage->pages);
        g_ptr_array_unref(stage->data);
        g_free(stage);
    }
}

void plover_stage_reset(PloverStage *stage)
{
    g_array_set_size(stage->pages, 0);
    g_ptr_array_set_size(stage->data, 0);
    if (stage->slabs->len > SLABS_KEPT) {
        g_ptr_array_set_size(stage->slabs, SLABS_KEPT);
    }
}

uint8_t *plover_stage_add(PloverStage *stage, uint64_t page)
{
    guint n = stage->pages->len;
    uint8_t *slot;

    if (n && g_array_index(stage->pages, uint64_t, n - 1) >= page) {
        return NULL;
    }
    if (n / SLAB_PAGES == stage->slabs->len) {
        g_ptr_array_add(stage->slabs,
                        g_malloc(SLAB_PAGES * stage->page_size));
    }
    slot = (uint8_t *)stage->slabs->pdata[n / SLAB_PAGES] +
           n % SLAB_PAGES * stage->page_size;
    g_array_append_val(stage->pages, page);
    g_ptr_array_add(stage->data, slot);
    return slot;
}

const GArray *plover_stage_pages(const PloverStage *stage)
{
    return stage->pages;
}

const uint8_t *const *plover_stage_data(const PloverStage *stage)
{
    return (const uint8_t *const *)stage->data->pdata;
}

uint64_t plover_stage_bytes(const PloverStage *stage)
{
    return (uint64_t)stage->pages->len * stage->page_size;
}
