/*
 * The content that pages had at the last sync, for those that diverge often
 *
 * Both replicas keep one, and both hold the same: what it does follows from
 * the calls alone, which are the same on both sides, in the same order, once a
 * sync is known to be applied. It is what deltas are made against.
 *
 * Bounded: at most @max_pages, of which the one that was put the longest time
 * ago goes first. Aged: a page that was not put for @max_age syncs goes.
 *
 * A cache belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_CACHE_H
#define PLOVER_CACHE_H

#include <glib.h>
#include <stdint.h>

typedef struct PloverCache PloverCache;

/* Memory is taken as pages come. @max_pages 0: keeps nothing. */
PloverCache *plover_cache_new(size_t page_size, uint32_t max_pages,
                              uint32_t max_age);
void plover_cache_free(PloverCache *cache);

/*
 * The content of @page at the last sync in which it was put; NULL when it is
 * not here. Valid until the next plover_cache_put() or
 * plover_cache_end_sync().
 */
const uint8_t *plover_cache_get(const PloverCache *cache, uint64_t page);

/* Keep @content as that of @page. */
void plover_cache_put(PloverCache *cache, uint64_t page,
                      const uint8_t *content);

/* A sync is over: let pages go that were not put for long. */
void plover_cache_end_sync(PloverCache *cache);

/* How many pages there are. */
uint32_t plover_cache_pages(const PloverCache *cache);

#endif
