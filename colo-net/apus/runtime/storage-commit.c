/*
 * The storage: a batch goes to disk
 *
 * By io_uring, where there is one and the files are the system's own: the
 * write, around the page cache and with RWF_DSYNC, is begun in the loop's
 * thread, which does not wait for it, and its end is an event of the loop; no
 * other thread has to wake up in between. Else the writer does it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <liburing.h>

#include "storage-internal.h"

#define RING_ENTRIES 8
/* A write that is shorter than it should be is begun again so often. */
#define MAX_TRIES 16
/* Nanoseconds until the kernel may have room again for what it is to do. */
#define SUBMIT_RETRY 1000000

typedef struct {
    ApusJob job;
    Committer *committer;
    Work *work;
    int fd;
    int result;
} CommitJob;

struct Committer {
    ApusStorage *storage;
    unsigned under_way;
    gboolean has_ring;
    gboolean use_writer; /* all the same */
    struct io_uring ring;
    CommitJob job[DEPTH]; /* without a ring */
};

static void written(Committer *committer, Work *work, int result)
{
    ApusStorage *storage = committer->storage;

    committer->under_way--;
    work->writing = FALSE;
    if (storage->failure) {
        return;
    }
    if (apus_files_is_full(result)) {
        /*
         * A file system that copies on write says this. All of the batch is
         * written again, so nothing depends on what became of this write.
         */
        work->full = TRUE;
        apus_storage_full(storage);
    } else if (committer->has_ring && !committer->use_writer &&
               (result == -EINVAL || result == -EOPNOTSUPP)) {
        /* This kernel's io_uring, or this file system, cannot do that. */
        committer->use_writer = TRUE;
        apus_commit_write(storage, work);
    } else if (result == -EINTR || result == -EAGAIN ||
               (result >= 0 && (size_t)result < work->size)) {
        if (work->tries++ < MAX_TRIES) {
            apus_commit_write(storage, work);
        } else {
            apus_storage_fail(storage, "cannot write the log", -EIO);
        }
    } else if (result < 0) {
        apus_storage_fail(storage, "cannot write the log", result);
    } else {
        work->written = TRUE;
        work->full = FALSE;
        apus_orders_written(storage);
    }
}

/* --- io_uring ------------------------------------------------------------- */

/*
 * When a process is killed, its descriptors are closed before the writes of its
 * ring are over. The ring keeps the lock until they are, or the next process
 * would read what is still being written.
 */
static gboolean start_ring(Committer *committer)
{
    struct io_uring *ring = &committer->ring;

    /*
     * The loop asks for completions when it comes to it; it need not be
     * interrupted. Kernels before 5.19 do not know that.
     */
    if (io_uring_queue_init(RING_ENTRIES, ring, IORING_SETUP_COOP_TASKRUN |
                            IORING_SETUP_TASKRUN_FLAG) < 0 &&
        io_uring_queue_init(RING_ENTRIES, ring, 0) < 0) {
        return FALSE;
    }
    if (io_uring_register_files(ring, &committer->storage->lock, 1) < 0) {
        io_uring_queue_exit(ring);
        return FALSE;
    }
    return TRUE;
}

/* Hand over what the ring has; what the kernel cannot take now stays there. */
static int submit(Committer *committer)
{
    int submitted = io_uring_submit(&committer->ring);

    if (submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY) {
        apus_orders_kick_at(committer->storage, apus_clock() + SUBMIT_RETRY);
        return 0;
    }
    return submitted;
}

static void write_by_ring(Committer *committer, Work *work)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&committer->ring);
    int submitted;

    g_assert(entry);
    io_uring_prep_write(entry, work->segment->fd, work->memory, work->size,
                        work->offset);
    entry->rw_flags = RWF_DSYNC;
    io_uring_sqe_set_data(entry, work);
    submitted = submit(committer);
    if (submitted < 0) {
        committer->under_way--;
        apus_storage_fail(committer->storage, "cannot write the log",
                          submitted);
    }
}

static void collect_from_ring(Committer *committer)
{
    struct io_uring_cqe *entry;

    if (io_uring_sq_ready(&committer->ring) > 0 &&
        !committer->storage->failure) {
        submit(committer);
    }
    while (io_uring_peek_cqe(&committer->ring, &entry) == 0) {
        Work *work = io_uring_cqe_get_data(entry);
        int result = entry->res;

        io_uring_cqe_seen(&committer->ring, entry);
        written(committer, work, result);
    }
}

/* --- the writer ----------------------------------------------------------- */

static void run(ApusJob *base)
{
    CommitJob *job = (CommitJob *)base;
    const Work *work = job->work;

    job->result = apus_files_write(job->committer->storage->files, job->fd,
                                   work->memory, work->size, work->offset,
                                   TRUE);
}

static void done(ApusJob *base)
{
    CommitJob *job = (CommitJob *)base;
    Work *work = job->work;

    job->work = NULL;
    written(job->committer, work, job->result < 0 ? job->result
                                                  : (int)work->size);
}

static void write_by_writer(Committer *committer, Work *work)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        CommitJob *job = &committer->job[i];

        if (!job->work) {
            *job = (CommitJob) {
                .job = { .run = run, .done = done },
                .committer = committer,
                .work = work,
                .fd = work->segment->fd,
            };
            apus_worker_do(committer->storage->writer, &job->job);
            return;
        }
    }
    g_assert_not_reached();
}

/* --- either --------------------------------------------------------------- */

void apus_commit_start(ApusStorage *storage)
{
    Committer *committer = g_new0(Committer, 1);

    committer->storage = storage;
    committer->has_ring = storage->real &&
                          storage->durability == APUS_DURABILITY_DISK &&
                          start_ring(committer);
    storage->committer = committer;
}

unsigned apus_commit_under_way(const ApusStorage *storage)
{
    return storage->committer ? storage->committer->under_way : 0;
}

void apus_commit_write(ApusStorage *storage, Work *work)
{
    Committer *committer = storage->committer;

    g_assert(!work->writing);
    work->writing = TRUE;
    committer->under_way++;
    if (committer->has_ring && !committer->use_writer) {
        write_by_ring(committer, work);
    } else {
        write_by_writer(committer, work);
    }
}

void apus_commit_retry(ApusStorage *storage)
{
    for (GList *item = storage->queue.head; item; item = item->next) {
        Work *work = item->data;

        if (work->full && !work->writing) {
            apus_commit_write(storage, work);
        }
    }
}

int apus_commit_fd(const ApusStorage *storage)
{
    Committer *committer = storage->committer;

    return committer && committer->has_ring ? committer->ring.ring_fd : -1;
}

void apus_commit_collect(ApusStorage *storage)
{
    if (storage->committer && storage->committer->has_ring) {
        collect_from_ring(storage->committer);
    }
}

void apus_commit_free(ApusStorage *storage)
{
    if (storage->committer && storage->committer->has_ring) {
        /* The kernel takes its time to free a ring, and the lock with it. */
        io_uring_unregister_files(&storage->committer->ring);
        io_uring_queue_exit(&storage->committer->ring);
    }
    g_free(storage->committer);
}
