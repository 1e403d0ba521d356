/*
 * A thread that does what would block a loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../core/types.h"
#include "worker.h"

struct ApusWorker {
    GThread *thread;
    GAsyncQueue *jobs, *finished; /* of ApusJob */
    int event; /* eventfd */
    ApusJob end; /* is no job: the thread ends */
};

static void *work(void *opaque)
{
    ApusWorker *worker = opaque;

    for (;;) {
        ApusJob *job = g_async_queue_pop(worker->jobs);
        uint64_t one = 1;
        ssize_t written;

        if (job == &worker->end) {
            return NULL;
        }
        job->run(job);
        g_async_queue_push(worker->finished, job);
        written = write(worker->event, &one, sizeof(one));
        g_assert(written == sizeof(one));
    }
}

ApusWorker *apus_worker_new(const char *name, GError **errp)
{
    ApusWorker *worker = g_new0(ApusWorker, 1);

    worker->jobs = g_async_queue_new();
    worker->finished = g_async_queue_new();
    worker->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->event < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO,
                    "cannot make an event descriptor: %s",
                    g_strerror(errno));
    } else {
        worker->thread = g_thread_try_new(name, work, worker, errp);
    }
    if (!worker->thread) {
        apus_worker_free(worker);
        return NULL;
    }
    return worker;
}

int apus_worker_fd(const ApusWorker *worker)
{
    return worker->event;
}

void apus_worker_collect(ApusWorker *worker)
{
    uint64_t count;
    ssize_t n = read(worker->event, &count, sizeof(count));
    ApusJob *job;

    g_assert(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
    while ((job = g_async_queue_try_pop(worker->finished))) {
        job->done(job);
    }
}

void apus_worker_do(ApusWorker *worker, ApusJob *job)
{
    g_async_queue_push(worker->jobs, job);
}

void apus_worker_free(ApusWorker *worker)
{
    if (!worker) {
        return;
    }
    if (worker->thread) {
        apus_worker_do(worker, &worker->end);
        g_thread_join(worker->thread);
    }
    if (worker->event >= 0) {
        close(worker->event);
    }
    g_async_queue_unref(worker->jobs);
    g_async_queue_unref(worker->finished);
    g_free(worker);
}
