/*
 * A thread that does what would block a loop
 *
 * Jobs are done one after another, in the order given; the loop is told of
 * each when it is done. A job belongs to the worker from apus_worker_do() until
 * its done() is called.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_WORKER_H
#define APUS_WORKER_H

#include "loop.h"

typedef struct ApusWorker ApusWorker;
typedef struct ApusJob ApusJob;

struct ApusJob {
    void (*run)(ApusJob *job); /* in the worker's thread */
    void (*done)(ApusJob *job); /* in the thread that collects */
    ApusJob *next; /* the worker's */
};

ApusWorker *apus_worker_new(const char *name, GError **errp);

/* Becomes readable when a job is done: call apus_worker_collect(). */
int apus_worker_fd(const ApusWorker *worker);
/* Calls done() of all jobs that are. */
void apus_worker_collect(ApusWorker *worker);

void apus_worker_do(ApusWorker *worker, ApusJob *job);

/* There must be no job; waits for the thread. */
void apus_worker_free(ApusWorker *worker);

#endif
