/*
 * What both sides of a sync compute, and must compute alike
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_AGREE_H
#define PLOVER_AGREE_H

#include <glib.h>

#include "plover-sync/core/cache.h"
#include "plover-sync/core/hash.h"
#include "plover-sync/core/sections.h"
#include "plover-sync/core/vm.h"

/* Hashes travel in chunks of this many, or what is left. */
#define PLOVER_CHUNK 128
/*
 * The secondary sends hashes of no more than this many pages beyond those that
 * the leader has settled: 32 KiB, which the sockets between them can hold. So
 * the secondary never waits for a leader who waits for the secondary.
 */
#define PLOVER_AHEAD 2048

static inline uint64_t plover_list_get(const GArray *list, guint index)
{
    return g_array_index(list, uint64_t, index);
}

/* A new, empty list of pages. */
GArray *plover_list_new(void);

/* Make @out, which is neither, the union of @a and @b. */
void plover_list_unite(GArray *out, const GArray *a, const GArray *b);

static inline void plover_list_swap(GArray **a, GArray **b)
{
    GArray *was = *a;

    *a = *b;
    *b = was;
}

/* The index of @page in @list, or -1. */
gssize plover_list_index(const GArray *list, uint64_t page);

/*
 * A digest of what a sync makes of memory and devices: of each page that
 * differs, in order, its number and the hash of what it becomes; then of each
 * device section its place, name, instance, size and hash.
 */
typedef struct PloverDigest {
    GByteArray *items;
} PloverDigest;

void plover_digest_init(PloverDigest *digest);
void plover_digest_reset(PloverDigest *digest);
void plover_digest_clear(PloverDigest *digest);
void plover_digest_add_page(PloverDigest *digest, uint64_t page,
                            PloverHash hash);
PloverHash plover_digest_finish(PloverDigest *digest,
                                const PloverHasher *hasher,
                                const PloverSections *devices);

/*
 * The sync is applied: keep what the pages of the @united have now. Those that
 * differed are kept from now on, those that are in the cache already get new.
 * @page tells the content, on both sides the same.
 */
void plover_cache_settle(PloverCache *cache, const GArray *united,
                         const GArray *differing,
                         const uint8_t *(*page)(void *opaque, guint index),
                         void *opaque);

#endif
