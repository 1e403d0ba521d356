/*
 * A thread that does what would block a loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../core/types.h"
#include "worker.h"

/* Jobs, in order. */
typedef struct {
    ApusJob *head, *tail;
} Jobs;

struct ApusWorker {
    pthread_t thread;
    bool has_thread;
    /* Not GLib's, which ThreadSanitizer does not see. */
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t more;
    Jobs waiting, finished;
    bool ends;

    int event; /* eventfd */
};

static void push(Jobs *jobs, ApusJob *job)
{
    job->next = NULL;
    if (jobs->head) {
        jobs->tail->next = job;
    } else {
        jobs->head = job;
    }
    jobs->tail = job;
}

static ApusJob *pop(Jobs *jobs)
{
    ApusJob *job = jobs->head;

    if (job) {
        jobs->head = job->next;
    }
    return job;
}

/* NULL: the thread is to end. */
static ApusJob *wait_for_job(ApusWorker *worker)
{
    ApusJob *job;

    pthread_mutex_lock(&worker->mutex);
    while (!worker->waiting.head && !worker->ends) {
        pthread_cond_wait(&worker->more, &worker->mutex);
    }
    job = pop(&worker->waiting);
    pthread_mutex_unlock(&worker->mutex);
    return job;
}

static void *work(void *opaque)
{
    ApusWorker *worker = opaque;
    ApusJob *job;

    while ((job = wait_for_job(worker))) {
        uint64_t one = 1;
        ssize_t written;

        job->run(job);
        pthread_mutex_lock(&worker->mutex);
        push(&worker->finished, job);
        pthread_mutex_unlock(&worker->mutex);
        written = write(worker->event, &one, sizeof(one));
        g_assert(written == sizeof(one));
    }
    return NULL;
}

ApusWorker *apus_worker_new(const char *name, GError **errp)
{
    ApusWorker *worker = g_new0(ApusWorker, 1);
    int error;

    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->more, NULL);
    worker->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = worker->event < 0 ? errno : pthread_create(&worker->thread, NULL,
                                                       work, worker);
    if (error) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO,
                    "cannot begin the thread %s: %s", name,
                    g_strerror(error));
        apus_worker_free(worker);
        return NULL;
    }
    worker->has_thread = true;
    pthread_setname_np(worker->thread, name);
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
    Jobs finished;
    ApusJob *job;

    g_assert(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
    pthread_mutex_lock(&worker->mutex);
    finished = worker->finished;
    worker->finished = (Jobs) { NULL };
    pthread_mutex_unlock(&worker->mutex);
    while ((job = pop(&finished))) {
        job->done(job);
    }
}

void apus_worker_do(ApusWorker *worker, ApusJob *job)
{
    pthread_mutex_lock(&worker->mutex);
    push(&worker->waiting, job);
    pthread_cond_signal(&worker->more);
    pthread_mutex_unlock(&worker->mutex);
}

void apus_worker_free(ApusWorker *worker)
{
    if (!worker) {
        return;
    }
    if (worker->has_thread) {
        pthread_mutex_lock(&worker->mutex);
        worker->ends = true;
        pthread_cond_signal(&worker->more);
        pthread_mutex_unlock(&worker->mutex);
        pthread_join(worker->thread, NULL);
    }
    if (worker->event >= 0) {
        close(worker->event);
    }
    pthread_cond_destroy(&worker->more);
    pthread_mutex_destroy(&worker->mutex);
    g_free(worker);
}
