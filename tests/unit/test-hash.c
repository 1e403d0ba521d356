/*
 * Pages and messages hash alike everywhere, and only if they are the same
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* The same algorithm without any vectors, for comparison. */
#define XXH_INLINE_ALL
#define XXH_VECTOR 0 /* XXH_SCALAR */
#include <xxhash.h>

#include <string.h>

#include "plover-sync/core/hash.h"

#define PAGE 4096

static PloverHasher random_hasher(void)
{
    PloverHasher hasher;

    for (size_t i = 0; i < sizeof(hasher.secret); i++) {
        hasher.secret[i] = g_test_rand_int();
    }
    return hasher;
}

static uint8_t *random_bytes(size_t size)
{
    uint8_t *bytes = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        bytes[i] = g_test_rand_int();
    }
    return bytes;
}

static void same_with_and_without_vectors(void)
{
    PloverHasher hasher = random_hasher();
    g_autofree uint8_t *bytes = random_bytes(4 * PAGE);

    for (size_t size = 0; size <= 4 * PAGE; size += size < 600 ? 1 : 97) {
        PloverHash hash = plover_hash(&hasher, bytes, size);
        XXH128_hash_t plain = XXH3_128bits_withSecret(
            bytes, size, hasher.secret, sizeof(hasher.secret));

        g_assert_cmphex(hash.low, ==, plain.low64);
        g_assert_cmphex(hash.high, ==, plain.high64);
    }
}

/* Computed once; a library that computes another one is of no use. */
static void known_answer(void)
{
    PloverHasher hasher;
    uint8_t page[PAGE];
    PloverHash hash;

    for (size_t i = 0; i < sizeof(hasher.secret); i++) {
        hasher.secret[i] = 7 * i + 1;
    }
    for (size_t i = 0; i < PAGE; i++) {
        page[i] = i * i >> 3;
    }
    hash = plover_hash(&hasher, page, PAGE);
    g_assert_cmphex(hash.low, ==, UINT64_C(0x239136e4a1898a2d));
    g_assert_cmphex(hash.high, ==, UINT64_C(0x409f8674495ee682));
    g_assert_cmphex(plover_checksum(3, &(PloverPiece) { page, PAGE }, 1), ==,
                    UINT64_C(0xfb74ddefbbd1ede4));
}

static void any_alignment_is_the_same(void)
{
    PloverHasher hasher = random_hasher();
    g_autofree uint8_t *page = random_bytes(PAGE);
    g_autofree uint8_t *room = g_malloc(PAGE + 64);
    PloverHash hash = plover_hash(&hasher, page, PAGE);

    for (int offset = 0; offset < 64; offset++) {
        memcpy(room + offset, page, PAGE);
        g_assert_true(plover_hash_equal(
            plover_hash(&hasher, room + offset, PAGE), hash));
    }
}

static void every_bit_counts(void)
{
    PloverHasher hasher = random_hasher();
    g_autofree uint8_t *page = random_bytes(PAGE);
    PloverHash hash = plover_hash(&hasher, page, PAGE);

    for (int bit = 0; bit < 8 * PAGE; bit++) {
        PloverHash other;

        page[bit / 8] ^= 1 << bit % 8;
        other = plover_hash(&hasher, page, PAGE);
        g_assert_cmphex(other.low, !=, hash.low);
        g_assert_cmphex(other.high, !=, hash.high);
        page[bit / 8] ^= 1 << bit % 8;
    }
}

static void another_secret_is_another_hash(void)
{
    PloverHasher hasher = random_hasher();
    g_autofree uint8_t *page = random_bytes(PAGE);
    PloverHash hash = plover_hash(&hasher, page, PAGE);

    for (size_t i = 0; i < sizeof(hasher.secret); i++) {
        PloverHasher other = hasher;

        other.secret[i] ^= 1;
        g_assert_false(plover_hash_equal(plover_hash(&other, page, PAGE),
                                         hash));
    }
}

static void both_halves_make_hashes_equal(void)
{
    PloverHash hash = { 1, 2 };

    g_assert_true(plover_hash_equal(hash, (PloverHash) { 1, 2 }));
    g_assert_false(plover_hash_equal(hash, (PloverHash) { 0, 2 }));
    g_assert_false(plover_hash_equal(hash, (PloverHash) { 1, 0 }));
}

/* @n pages, some of them the same memory, with @workers threads. */
static void pages_hash_as_one_by_one(unsigned workers, size_t n)
{
    enum { DIFFERENT = 50 };
    PloverHasher hasher = random_hasher();
    PloverPool *pool = workers ? plover_pool_new(workers) : NULL;
    g_autofree uint8_t *bytes = random_bytes(DIFFERENT * PAGE);
    g_autofree const void **pages = g_new(const void *, n);
    g_autofree PloverHash *hashes = g_new0(PloverHash, n + 1);

    for (size_t i = 0; i < n; i++) {
        pages[i] = bytes + g_test_rand_int_range(0, DIFFERENT) * PAGE;
    }
    plover_hash_pages(&hasher, pool, pages, n, PAGE, hashes);
    for (size_t i = 0; i < n; i++) {
        g_assert_true(plover_hash_equal(
            hashes[i], plover_hash(&hasher, pages[i], PAGE)));
    }
    g_assert_true(plover_hash_equal(hashes[n], (PloverHash) { 0 }));
    plover_pool_free(pool);
}

static void many_pages_hash_as_one_by_one(void)
{
    static const size_t sizes[] = { 0, 1, 2, 31, 511, 512, 513, 3001 };

    for (unsigned workers = 0; workers < 4; workers++) {
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
            pages_hash_as_one_by_one(workers, sizes[i]);
        }
    }
}

typedef struct Share {
    const PloverHasher *hasher;
    const uint8_t *page;
    PloverHash hash;
} Share;

static void *hash_often(void *opaque)
{
    Share *share = opaque;

    for (int i = 0; i < 1000; i++) {
        share->hash = plover_hash(share->hasher, share->page, PAGE);
    }
    return NULL;
}

static void threads_share_a_hasher(void)
{
    PloverHasher hasher = random_hasher();
    g_autofree uint8_t *page = random_bytes(PAGE);
    Share shares[3];
    GThread *threads[3];

    for (int i = 0; i < 3; i++) {
        shares[i] = (Share) { .hasher = &hasher, .page = page };
        threads[i] = g_thread_new("hash", hash_often, &shares[i]);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
        g_assert_true(plover_hash_equal(shares[i].hash,
                                        plover_hash(&hasher, page, PAGE)));
    }
}

static void checksum_does_not_see_the_cuts(void)
{
    for (int round = 0; round < 3000; round++) {
        size_t size = g_test_rand_int_range(0, round % 3 ? 1500 : 40000);
        g_autofree uint8_t *bytes = random_bytes(size);
        uint64_t key = (uint64_t)g_test_rand_int() << 32 | g_test_rand_int();
        PloverPiece pieces[6];
        size_t at = 0;

        for (int i = 0; i < 5; i++) {
            pieces[i].size = g_test_rand_int_range(0, size - at + 1);
            pieces[i].data = bytes ? bytes + at : NULL;
            at += pieces[i].size;
        }
        pieces[5] = (PloverPiece) { bytes ? bytes + at : NULL, size - at };
        g_assert_cmphex(plover_checksum(key, pieces, 6), ==,
                        plover_checksum(key, &(PloverPiece) { bytes, size },
                                        1));
    }
}

static void checksum_of_nothing(void)
{
    PloverPiece empty = { NULL, 0 };

    g_assert_cmphex(plover_checksum(9, NULL, 0), ==,
                    plover_checksum(9, &empty, 1));
    g_assert_cmphex(plover_checksum(9, NULL, 0), !=,
                    plover_checksum(8, NULL, 0));
}

/* A short message takes another way than a long one. */
static void checksum_needs_key_order_and_every_bit(void)
{
    static const size_t sizes[] = { 40, 400, 5000 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint8_t header[40] = { 1 };
        g_autofree uint8_t *bytes = random_bytes(sizes[i]);
        PloverPiece pieces[2] = { { header, 40 }, { bytes, sizes[i] } };
        PloverPiece turned[2] = { pieces[1], pieces[0] };
        uint64_t sum = plover_checksum(1, pieces, 2);

        g_assert_cmphex(plover_checksum(0, pieces, 2), !=, sum);
        g_assert_cmphex(plover_checksum(UINT64_C(1) << 63, pieces, 2), !=,
                        sum);
        g_assert_cmphex(plover_checksum(1, turned, 2), !=, sum);
        for (size_t bit = 0; bit < 8 * sizes[i]; bit++) {
            bytes[bit / 8] ^= 1 << bit % 8;
            g_assert_cmphex(plover_checksum(1, pieces, 2), !=, sum);
            bytes[bit / 8] ^= 1 << bit % 8;
        }
        header[39] ^= 0x80;
        g_assert_cmphex(plover_checksum(1, pieces, 2), !=, sum);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hash/same-with-and-without-vectors",
                    same_with_and_without_vectors);
    g_test_add_func("/hash/known-answer", known_answer);
    g_test_add_func("/hash/any-alignment-is-the-same",
                    any_alignment_is_the_same);
    g_test_add_func("/hash/every-bit-counts", every_bit_counts);
    g_test_add_func("/hash/another-secret-is-another-hash",
                    another_secret_is_another_hash);
    g_test_add_func("/hash/both-halves-make-hashes-equal",
                    both_halves_make_hashes_equal);
    g_test_add_func("/hash/many-pages-hash-as-one-by-one",
                    many_pages_hash_as_one_by_one);
    g_test_add_func("/hash/threads-share-a-hasher", threads_share_a_hasher);
    g_test_add_func("/hash/checksum-does-not-see-the-cuts",
                    checksum_does_not_see_the_cuts);
    g_test_add_func("/hash/checksum-of-nothing", checksum_of_nothing);
    g_test_add_func("/hash/checksum-needs-key-order-and-every-bit",
                    checksum_needs_key_order_and_every_bit);
    return g_test_run();
}
