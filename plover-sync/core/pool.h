/*
 * A fixed pool of worker threads for loops over many pages
 *
 * plover_pool_run() cuts a loop into pieces that the workers and the caller
 * take in turn, and returns when the last is done. A pool belongs to one
 * caller at a time. With 0 workers the caller does everything.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_POOL_H
#define PLOVER_POOL_H

#include <glib.h>
#include <stddef.h>

typedef struct PloverPool PloverPool;

/* Do items @first to @end (exclusive); called by several threads at once. */
typedef void PloverPoolFn(void *opaque, size_t first, size_t end);

/* @workers threads more than the caller; they sleep while there is no work. */
PloverPool *plover_pool_new(unsigned workers);
void plover_pool_free(PloverPool *pool);

unsigned plover_pool_workers(const PloverPool *pool);

/*
 * Call @fn for the items 0 to @n (exclusive), in pieces of @grain items. Only
 * as many workers are woken as there are pieces beside the first.
 */
void plover_pool_run(PloverPool *pool, size_t n, size_t grain,
                     PloverPoolFn *fn, void *opaque);

#endif
