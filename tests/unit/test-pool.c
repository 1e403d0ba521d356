/*
 * The pool does every item once, and is done when it says so
 *
 * That no thread touches what it may not is for the build with TSan to find:
 * the items below are plain memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "plover-sync/core/pool.h"

#define MAX_ITEMS 3000

typedef struct Work {
    unsigned done[MAX_ITEMS];
    size_t grain;
    size_t n;
    atomic_uint calls;
} Work;

static void count(void *opaque, size_t first, size_t end)
{
    Work *work = opaque;

    g_assert_cmpuint(first, <, end);
    g_assert_cmpuint(end, <=, work->n);
    g_assert_cmpuint(end - first, <=, work->grain);
    atomic_fetch_add(&work->calls, 1);
    for (size_t i = first; i < end; i++) {
        work->done[i]++;
    }
}

static void runs_all_once(PloverPool *pool, size_t n, size_t grain)
{
    Work work = { .n = n, .grain = grain };

    plover_pool_run(pool, n, grain, count, &work);
    for (size_t i = 0; i < MAX_ITEMS; i++) {
        g_assert_cmpuint(work.done[i], ==, i < n);
    }
    g_assert_cmpuint(work.calls, ==, n / grain + (n % grain != 0));
}

static void every_item_is_done_once(void)
{
    for (unsigned workers = 0; workers <= 4; workers++) {
        PloverPool *pool = plover_pool_new(workers);

        g_assert_cmpuint(plover_pool_workers(pool), ==, workers);
        for (int run = 0; run < 500; run++) {
            runs_all_once(pool, g_test_rand_int_range(0, MAX_ITEMS),
                          g_test_rand_int_range(1, 200));
        }
        plover_pool_free(pool);
    }
}

static void edges(void)
{
    PloverPool *pool = plover_pool_new(2);

    runs_all_once(pool, 0, 1);
    runs_all_once(pool, 1, 1);
    runs_all_once(pool, 1, SIZE_MAX);
    runs_all_once(pool, 64, 64);
    runs_all_once(pool, 65, 64);
    runs_all_once(pool, MAX_ITEMS, 1);
    runs_all_once(pool, MAX_ITEMS, MAX_ITEMS - 1);
    plover_pool_free(pool);
}

/* A worker that comes late to one loop must not do the next one's items. */
static void short_loops_follow_each_other(void)
{
    PloverPool *pool = plover_pool_new(3);

    for (int run = 0; run < 5000; run++) {
        runs_all_once(pool, 1 + run % 5, 1);
    }
    plover_pool_free(pool);
}

static void remember_thread(void *opaque, size_t first, size_t end)
{
    GThread **threads = opaque;

    for (size_t i = first; i < end; i++) {
        threads[i] = g_thread_self();
    }
}

static void without_workers_the_caller_does_all(void)
{
    PloverPool *pool = plover_pool_new(0);
    GThread *threads[100] = { NULL };

    plover_pool_run(pool, G_N_ELEMENTS(threads), 1, remember_thread, threads);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_assert_true(threads[i] == g_thread_self());
    }
    plover_pool_free(pool);
}

static void one_piece_wakes_nobody(void)
{
    PloverPool *pool = plover_pool_new(3);
    GThread *threads[10] = { NULL };

    for (int run = 0; run < 100; run++) {
        plover_pool_run(pool, 10, 10, remember_thread, threads);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
            g_assert_true(threads[i] == g_thread_self());
        }
    }
    plover_pool_free(pool);
}

typedef struct Meeting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned here;
    unsigned expected;
} Meeting;

static void meet(void *opaque, size_t first, size_t end)
{
    Meeting *meeting = opaque;
    struct timespec deadline;

    g_assert_cmpuint(end, ==, first + 1);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    pthread_mutex_lock(&meeting->lock);
    meeting->here++;
    pthread_cond_broadcast(&meeting->cond);
    while (meeting->here < meeting->expected) {
        g_assert_true(!pthread_cond_timedwait(&meeting->cond,
                                              &meeting->lock, &deadline));
    }
    pthread_mutex_unlock(&meeting->lock);
}

/* Each piece waits until all are under way. */
static void all_workers_and_the_caller_work_at_once(void)
{
    PloverPool *pool = plover_pool_new(3);

    for (int run = 0; run < 50; run++) {
        Meeting meeting = { .expected = 4 };

        pthread_mutex_init(&meeting.lock, NULL);
        pthread_cond_init(&meeting.cond, NULL);
        plover_pool_run(pool, 4, 1, meet, &meeting);
        pthread_mutex_destroy(&meeting.lock);
        pthread_cond_destroy(&meeting.cond);
    }
    plover_pool_free(pool);
}

static void pools_come_and_go(void)
{
    for (int i = 0; i < 200; i++) {
        PloverPool *pool = plover_pool_new(i % 4);

        if (i % 2) {
            runs_all_once(pool, i, 3);
        }
        plover_pool_free(pool);
    }
    plover_pool_free(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool/every-item-is-done-once", every_item_is_done_once);
    g_test_add_func("/pool/edges", edges);
    g_test_add_func("/pool/short-loops-follow-each-other",
                    short_loops_follow_each_other);
    g_test_add_func("/pool/without-workers-the-caller-does-all",
                    without_workers_the_caller_does_all);
    g_test_add_func("/pool/one-piece-wakes-nobody", one_piece_wakes_nobody);
    g_test_add_func("/pool/all-workers-and-the-caller-work-at-once",
                    all_workers_and_the_caller_work_at_once);
    g_test_add_func("/pool/pools-come-and-go", pools_come_and_go);
    return g_test_run();
}
