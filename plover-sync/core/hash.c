/*
 * Page hashes and the checksum of messages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>
/*
 * On x86 libxxhash has each function once more, which asks the CPU at its
 * first call; the header redefines the plain names. Elsewhere the vectors that
 * every CPU has are the widest.
 */
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#endif

#include "hash.h"

/*
 * A cold page is hashed at the speed at which memory answers, and the CPU's
 * own prefetching stops at the end of each page. So the next page's first
 * lines are fetched while this one is hashed.
 */
enum {
    LINE = 64,
    LINES_AHEAD = 8,
};

/*
 * One thread hashes about two cold pages in a microsecond, and it takes some
 * 50 us until a sleeping worker takes part and until its end is known. With
 * 256 pages that eats the gain; with 512 cold pages three workers save a third
 * of 230 us, with some thousand they come near their share. A piece has to be
 * small beside the loop, lest all wait for the last one.
 */
enum {
    MIN_PAGES = 512,
    GRAIN = 32,
};

/* Pieces that together are no longer than this are copied. */
enum {
    SHORT = 512,
};

PloverHash plover_hash(const PloverHasher *hasher,
                       const void *data, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits_withSecret(data, size, hasher->secret,
                                                 sizeof(hasher->secret));

    return (PloverHash) { .low = hash.low64, .high = hash.high64 };
}

static uint64_t checksum_stream(uint64_t key, const PloverPiece *pieces,
                                size_t n)
{
    XXH3_state_t *state = XXH3_createState();
    uint64_t hash;

    g_assert(state);
    XXH3_64bits_reset_withSeed(state, key);
    for (size_t i = 0; i < n; i++) {
        XXH3_64bits_update(state, pieces[i].data, pieces[i].size);
    }
    hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

uint64_t plover_checksum(uint64_t key, const PloverPiece *pieces, size_t n)
{
    uint8_t whole[SHORT];
    size_t size = 0;

    if (n == 1) {
        return XXH3_64bits_withSeed(pieces[0].data, pieces[0].size, key);
    }
    /* Most messages are short, and a stream takes long to set up. */
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].size > sizeof(whole) - size) {
            return checksum_stream(key, pieces, n);
        }
        if (pieces[i].size) {
            memcpy(whole + size, pieces[i].data, pieces[i].size);
            size += pieces[i].size;
        }
    }
    return XXH3_64bits_withSeed(whole, size, key);
}

typedef struct Loop {
    const PloverHasher *hasher;
    const void *const *pages;
    size_t page_size;
    PloverHash *hashes;
} Loop;

static void hash_some(void *opaque, size_t first, size_t end)
{
    const Loop *loop = opaque;
    size_t ahead = MIN(loop->page_size, LINES_AHEAD * LINE);

    for (size_t i = first; i < end; i++) {
        if (i + 1 < end) {
            const uint8_t *next = loop->pages[i + 1];

            for (size_t at = 0; at < ahead; at += LINE) {
                __builtin_prefetch(next + at);
            }
        }
        loop->hashes[i] = plover_hash(loop->hasher, loop->pages[i],
                                      loop->page_size);
    }
}

void plover_hash_pages(const PloverHasher *hasher, PloverPool *pool,
                       const void *const *pages, size_t n, size_t page_size,
                       PloverHash *hashes)
{
    Loop loop = {
        .hasher = hasher,
        .pages = pages,
        .page_size = page_size,
        .hashes = hashes,
    };

    if (pool && n >= MIN_PAGES) {
        plover_pool_run(pool, n, GRAIN, hash_some, &loop);
    } else {
        hash_some(&loop, 0, n);
    }
}
