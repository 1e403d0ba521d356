/*
 * A fixed pool of worker threads for loops over many pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <stdatomic.h>

#include "pool.h"

struct PloverPool {
    unsigned workers;
    GThread **threads;

    /* The loop: set by the caller while no worker takes part in it. */
    PloverPoolFn *fn;
    void *opaque;
    size_t n;
    size_t grain;
    size_t pieces;
    /* The first piece that nobody has taken yet; from pieces on: none. */
    atomic_size_t next;

    /* Not GLib's: TSan sees only what pthread's do. */
    pthread_mutex_t lock;
    pthread_cond_t wanted_cond; /* wanted has grown, or quit is set */
    pthread_cond_t busy_cond;   /* busy has become 0 */
    unsigned wanted;   /* workers that may still join the loop */
    unsigned busy;     /* workers that take part in it */
    gboolean quit;
};

static void take_pieces(PloverPool *pool)
{
    for (;;) {
        /*
         * What one thread did is seen by the others because of the lock, which
         * they take before and after: this only deals out numbers.
         */
        size_t piece = atomic_fetch_add_explicit(&pool->next, 1,
                                                 memory_order_relaxed);
        size_t first = piece * pool->grain;

        if (piece >= pool->pieces) {
            return;
        }
        pool->fn(pool->opaque, first,
                 first + MIN(pool->grain, pool->n - first));
    }
}

static void *worker(void *opaque)
{
    PloverPool *pool = opaque;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->wanted && !pool->quit) {
            pthread_cond_wait(&pool->wanted_cond, &pool->lock);
        }
        if (pool->quit) {
            break;
        }
        pool->wanted--;
        pool->busy++;
        pthread_mutex_unlock(&pool->lock);
        take_pieces(pool);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) {
            pthread_cond_signal(&pool->busy_cond);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

PloverPool *plover_pool_new(unsigned workers)
{
    PloverPool *pool = g_new0(PloverPool, 1);

    pool->workers = workers;
    pool->threads = g_new(GThread *, workers);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wanted_cond, NULL);
    pthread_cond_init(&pool->busy_cond, NULL);
    for (unsigned i = 0; i < workers; i++) {
        pool->threads[i] = g_thread_new("plover-pool", worker, pool);
    }
    return pool;
}

void plover_pool_free(PloverPool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->quit = TRUE;
    pthread_cond_broadcast(&pool->wanted_cond);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->workers; i++) {
        g_thread_join(pool->threads[i]);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wanted_cond);
    pthread_cond_destroy(&pool->busy_cond);
    g_free(pool->threads);
    g_free(pool);
}

unsigned plover_pool_workers(const PloverPool *pool)
{
    return pool->workers;
}

void plover_pool_run(PloverPool *pool, size_t n, size_t grain,
                     PloverPoolFn *fn, void *opaque)
{
    unsigned wanted;

    g_assert(grain);
    if (!n) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    g_assert(!pool->busy);
    pool->fn = fn;
    pool->opaque = opaque;
    pool->n = n;
    pool->grain = grain;
    pool->pieces = (n - 1) / grain + 1;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    /* The first piece is the caller's. */
    wanted = MIN(pool->pieces - 1, pool->workers);
    pool->wanted = wanted;
    pthread_mutex_unlock(&pool->lock);

    /* Signalled outside the lock, or they would wake only to wait for it. */
    for (unsigned i = 0; i < wanted; i++) {
        pthread_cond_signal(&pool->wanted_cond);
    }
    take_pieces(pool);

    pthread_mutex_lock(&pool->lock);
    /* Who has not come by now need not come: nothing is left. */
    pool->wanted = 0;
    while (pool->busy) {
        pthread_cond_wait(&pool->busy_cond, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}
