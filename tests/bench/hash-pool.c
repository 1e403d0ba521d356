/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast pages are hashed, beside how fast the memory is.
 *
 *   hash-pool SECONDS THREADS
 *
 * For 1 to THREADS threads, the pages of a set are hashed, read and copied by
 * the same pool, each for SECONDS. Sets:
 *
 *   cold  much larger than the caches, in random order, as dirty pages are
 *   hot   2 MiB, again and again
 *   sync  512 pages of the cold set at a time: about as many as a sync has
 *
 * On standard output, one line for each:
 *
 *   WORK SET threads N gib_per_s X
 *
 * WORK is hash, read or copy; X is the median of the passes. A copied byte
 * counts once.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "plover-sync/core/hash.h"

enum {
    PAGE = 4096,
    GRAIN = 32,
    HOT_PAGES = 512,
    SYNC_PAGES = 512,
    MAX_PASSES = 100000,
};

typedef struct Set {
    const char *name;
    size_t pages; /* of a pass */
    size_t all;   /* pages; passes go through them in turn */
} Set;

typedef struct Bench {
    PloverHasher hasher;
    PloverPool *pool;
    const void **pages;
    uint8_t *target;
    PloverHash *hashes;
    uint64_t *sums;
    const void *const *pass; /* the pages of this pass */
} Bench;

typedef void Work(Bench *bench, size_t n);

static void hash(Bench *bench, size_t n)
{
    plover_hash_pages(&bench->hasher, bench->pool, bench->pass, n, PAGE,
                      bench->hashes);
}

static void read_some(void *opaque, size_t first, size_t end)
{
    typedef uint64_t Vector __attribute__((vector_size(64)));
    Bench *bench = opaque;

    for (size_t i = first; i < end; i++) {
        const Vector *page = bench->pass[i];
        Vector a = { 0 }, b = { 0 };

        /* As where pages are hashed: else this is not the limit. */
        for (size_t at = 0; at < 8 && i + 1 < end; at++) {
            __builtin_prefetch((const Vector *)bench->pass[i + 1] + at);
        }
        for (size_t at = 0; at < PAGE / sizeof(*page); at += 2) {
            a += page[at];
            b += page[at + 1];
        }
        a += b;
        bench->sums[i] = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    }
}

static void read_all(Bench *bench, size_t n)
{
    plover_pool_run(bench->pool, n, GRAIN, read_some, bench);
}

static void copy_some(void *opaque, size_t first, size_t end)
{
    Bench *bench = opaque;

    for (size_t i = first; i < end; i++) {
        memcpy(bench->target + i * PAGE, bench->pass[i], PAGE);
    }
}

static void copy(Bench *bench, size_t n)
{
    plover_pool_run(bench->pool, n, GRAIN, copy_some, bench);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double seconds(void)
{
    return g_get_monotonic_time() / 1e6;
}

/* The median time of a pass. */
static double measure(Bench *bench, const Set *set, Work *work, double limit)
{
    static double times[MAX_PASSES];
    double end = seconds() + limit;
    size_t n = 0, at = 0;

    do {
        double start = seconds();

        bench->pass = (const void *const *)bench->pages + at;
        work(bench, set->pages);
        times[n++] = seconds() - start;
        at += set->pages;
        if (at + set->pages > set->all) {
            at = 0;
        }
    } while (n < MAX_PASSES && (n < 3 || seconds() < end));
    qsort(times, n, sizeof(*times), compare);
    return times[n / 2];
}

static uint8_t *memory(size_t size)
{
    void *room = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (room == MAP_FAILED) {
        fprintf(stderr, "hash-pool: no memory for %zu bytes\n", size);
        exit(1);
    }
    /* As QEMU does with a guest's memory. */
    madvise(room, size, MADV_HUGEPAGE);
    return room;
}

/* Pages with something in them, in random order. */
static void fill(Bench *bench, size_t pages)
{
    uint8_t *room = memory(pages * PAGE);

    bench->target = memory(pages * PAGE);
    memset(bench->target, 1, pages * PAGE);
    bench->pages = g_new(const void *, pages);
    bench->hashes = g_new0(PloverHash, pages);
    bench->sums = g_new0(uint64_t, pages);
    for (size_t i = 0; i < pages * PAGE / 8; i++) {
        ((uint64_t *)room)[i] = i * UINT64_C(0x9e3779b97f4a7c15);
    }
    for (size_t i = 0; i < pages; i++) {
        size_t other = g_random_int_range(0, i + 1);

        bench->pages[i] = bench->pages[other];
        bench->pages[other] = room + i * PAGE;
    }
    for (size_t i = 0; i < sizeof(bench->hasher.secret); i++) {
        bench->hasher.secret[i] = g_random_int();
    }
}

/* Eight times the last cache, within reason. */
static size_t cold_pages(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t size = CLAMP(8 * MAX(cache, 0), 256L << 20, 1L << 30);

    return size / PAGE;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        Work *work;
    } works[] = { { "hash", hash }, { "read", read_all }, { "copy", copy } };
    size_t all = cold_pages();
    const Set sets[] = {
        { "cold", all, all },
        { "hot", HOT_PAGES, HOT_PAGES },
        { "sync", SYNC_PAGES, all },
    };
    double limit = argc == 3 ? g_ascii_strtod(argv[1], NULL) : 0;
    int threads = argc == 3 ? atoi(argv[2]) : 0;
    Bench bench = { 0 };

    if (limit <= 0 || threads <= 0) {
        fprintf(stderr, "usage: hash-pool SECONDS THREADS\n");
        return 2;
    }
    fill(&bench, all);
    for (int n = 1; n <= threads; n++) {
        bench.pool = plover_pool_new(n - 1);
        for (size_t s = 0; s < G_N_ELEMENTS(sets); s++) {
            for (size_t w = 0; w < G_N_ELEMENTS(works); w++) {
                double time = measure(&bench, &sets[s], works[w].work, limit);

                printf("%s %s threads %d gib_per_s %.3f\n", works[w].name,
                       sets[s].name, n,
                       sets[s].pages * (double)PAGE / time / (1 << 30));
                fflush(stdout);
            }
        }
        plover_pool_free(bench.pool);
    }
    return 0;
}
