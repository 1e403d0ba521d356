/*
 * Page hashes: XXH3-128 with a secret of the connection [PLOVER §4.4]
 *
 * Two pages are taken for equal when their hashes are. The secret is random
 * and new with each connection, so that nobody who can only write to the
 * guest's memory can make two different pages that hash alike.
 *
 * The widest vectors that the CPU has are chosen at run time.
 *
 * A PloverHasher is not changed by hashing: any number of threads may use it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_HASH_H
#define PLOVER_HASH_H

#include <glib.h>
#include <stdint.h>

#include "plover-sync/core/pool.h"

/* Of the secret, in bytes. */
#define PLOVER_SECRET_SIZE 192

/* On the wire: low, then high, each little-endian. */
typedef struct PloverHash {
    uint64_t low;
    uint64_t high;
} PloverHash;

typedef struct PloverHasher {
    uint8_t secret[PLOVER_SECRET_SIZE];
} PloverHasher;

static inline gboolean plover_hash_equal(PloverHash a, PloverHash b)
{
    return a.low == b.low && a.high == b.high;
}

/* The hash of the @size bytes at @data. */
PloverHash plover_hash(const PloverHasher *hasher,
                       const void *data, size_t size);

/*
 * A 64-bit hash of several pieces, in order, as if they were one: the checksum
 * of messages. @key is the connection's.
 */
typedef struct PloverPiece {
    const void *data;
    size_t size;
} PloverPiece;
uint64_t plover_checksum(uint64_t key, const PloverPiece *pieces, size_t n);

/*
 * Hash the @n pages of @page_size bytes at @pages into @hashes. The threads of
 * @pool, which may be NULL, help where there are enough pages to make that
 * pay. Returns when all are done.
 */
void plover_hash_pages(const PloverHasher *hasher, PloverPool *pool,
                       const void *const *pages, size_t n, size_t page_size,
                       PloverHash *hashes);

#endif
