/*
 * The content that pages had at the last sync, for those that diverge often
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "cache.h"

typedef struct Entry {
    GList link; /* in @recent */
    uint64_t page;
    uint64_t sync; /* in which it was put */
    uint8_t content[];
} Entry;

struct PloverCache {
    size_t page_size;
    uint32_t max_pages;
    uint32_t max_age;
    uint64_t sync; /* how many are over */
    /*
     * By page. Never walked: its order is not the same on both replicas, that
     * of @recent is.
     */
    GHashTable *entries;
    GQueue recent; /* the one that was put last is the head */
};

PloverCache *plover_cache_new(size_t page_size, uint32_t max_pages,
                              uint32_t max_age)
{
    PloverCache *cache = g_new0(PloverCache, 1);

    cache->page_size = page_size;
    cache->max_pages = max_pages;
    cache->max_age = max_age;
    cache->entries = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_queue_init(&cache->recent);
    return cache;
}

static Entry *oldest(const PloverCache *cache)
{
    return cache->recent.tail ? cache->recent.tail->data : NULL;
}

/* Take @entry out; the caller owns it then. */
static void forget(PloverCache *cache, Entry *entry)
{
    g_queue_unlink(&cache->recent, &entry->link);
    g_hash_table_remove(cache->entries, &entry->page);
}

void plover_cache_free(PloverCache *cache)
{
    Entry *entry;

    if (!cache) {
        return;
    }
    while ((entry = oldest(cache))) {
        forget(cache, entry);
        g_free(entry);
    }
    g_hash_table_destroy(cache->entries);
    g_free(cache);
}

const uint8_t *plover_cache_get(const PloverCache *cache, uint64_t page)
{
    const Entry *entry = g_hash_table_lookup(cache->entries, &page);

    return entry ? entry->content : NULL;
}

void plover_cache_put(PloverCache *cache, uint64_t page,
                      const uint8_t *content)
{
    Entry *entry = g_hash_table_lookup(cache->entries, &page);

    if (cache->max_pages == 0) {
        return;
    }
    if (entry) {
        g_queue_unlink(&cache->recent, &entry->link);
    } else {
        if (cache->recent.length == cache->max_pages) {
            entry = oldest(cache);
            forget(cache, entry);
        } else {
            entry = g_malloc(sizeof(*entry) + cache->page_size);
            entry->link = (GList) { .data = entry };
        }
        entry->page = page;
        g_hash_table_insert(cache->entries, &entry->page, entry);
    }
    entry->sync = cache->sync;
    memcpy(entry->content, content, cache->page_size);
    g_queue_push_head_link(&cache->recent, &entry->link);
}

void plover_cache_end_sync(PloverCache *cache)
{
    Entry *entry;

    cache->sync++;
    while ((entry = oldest(cache)) &&
           cache->sync - entry->sync > cache->max_age) {
        forget(cache, entry);
        g_free(entry);
    }
}

uint32_t plover_cache_pages(const PloverCache *cache)
{
    return cache->recent.length;
}
