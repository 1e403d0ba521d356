/*
 * The storage: files of the log
 *
 * A segment is made before it is needed, all zeros and on disk, so that a
 * batch only overwrites what is there and the file system has nothing to note.
 * One that nobody needs any more is used again: it gets a new header, with
 * another number and nonce, and another name. The keeper does one such thing
 * at a time, and a segment is ready only when its name is safe as well.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage-internal.h"

#define PREFIX "log-"
#define NEW_NAME "log.new"
/*
 * Zeros are written in such pieces: a commit that comes meanwhile waits for
 * one of them, not for all.
 */
#define CHUNK (128u << 10)

typedef struct {
    ApusJob job;
    ApusStorage *storage;
    const ApusFileOps *files;
    char *directory;
    ApusSegment header;
    char *old; /* the file to be used again or removed; NULL: a new one */
    int old_fd;
    gboolean remove;
    int fd; /* the result: a descriptor, or an error */
} KeeperJob;

char *apus_segments_path(const char *directory, uint64_t number)
{
    return g_strdup_printf("%s/" PREFIX "%016" PRIx64, directory, number);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

int apus_segments_find(const ApusFileOps *files, const char *directory,
                       GArray *numbers)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    int result = files->list(files->opaque, directory, names);

    for (unsigned i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        char again[32];
        uint64_t number;

        if (!g_str_has_prefix(name, PREFIX)) {
            continue;
        }
        number = g_ascii_strtoull(name + strlen(PREFIX), NULL, 16);
        snprintf(again, sizeof(again), PREFIX "%016" PRIx64, number);
        if (number != 0 && strcmp(again, name) == 0) {
            g_array_append_val(numbers, number);
        }
    }
    g_array_sort(numbers, compare);
    return result;
}

static int write_zeros(const ApusFileOps *files, int fd, uint64_t size)
{
    uint8_t *zeros = apus_files_memory(CHUNK);
    int result = files->allocate(files->opaque, fd, size);

    for (uint64_t at = 0; at < size && result == 0; at += CHUNK) {
        result = apus_files_write(files, fd, zeros, MIN(CHUNK, size - at), at,
                                  FALSE);
    }
    free(zeros);
    return result;
}

static int write_header(const ApusFileOps *files, int fd,
                        const ApusSegment *header)
{
    uint8_t *block = apus_files_memory(APUS_BLOCK);
    int result;

    apus_segment_put(block, header);
    result = apus_files_write(files, fd, block, APUS_BLOCK, 0, FALSE);
    free(block);
    return result < 0 ? result : files->sync(files->opaque, fd);
}

/*
 * @from, open as @fd, becomes the segment of @header. Returns @fd, or closes
 * it.
 */
static int become(const ApusFileOps *files, const char *directory,
                  const char *from, int fd, const ApusSegment *header)
{
    g_autofree char *path = apus_segments_path(directory, header->number);
    int result = write_header(files, fd, header);

    if (result == 0) {
        result = files->rename(files->opaque, from, path);
    }
    if (result == 0) {
        result = apus_files_sync_directory(files, directory);
    }
    if (result < 0) {
        /* Neither is needed; what cannot be removed is in nobody's way. */
        files->close(files->opaque, fd);
        files->remove(files->opaque, from);
        files->remove(files->opaque, path);
        return result;
    }
    return fd;
}

static int make_new(const ApusFileOps *files, const char *directory,
                    const ApusSegment *header)
{
    g_autofree char *path = g_build_filename(directory, NEW_NAME, NULL);
    int fd = files->open(files->opaque, path,
                         O_RDWR | O_CREAT | O_TRUNC | O_DIRECT);
    int result;

    if (fd < 0) {
        return fd;
    }
    result = write_zeros(files, fd, header->size);
    if (result < 0) {
        files->close(files->opaque, fd);
        files->remove(files->opaque, path);
        return result;
    }
    return become(files, directory, path, fd, header);
}

static int use_again(const ApusFileOps *files, const char *directory,
                     const char *old, int fd, const ApusSegment *header)
{
    if (fd < 0) {
        fd = files->open(files->opaque, old, O_RDWR | O_DIRECT);
    }
    return fd < 0 ? fd : become(files, directory, old, fd, header);
}

static void run(ApusJob *base)
{
    KeeperJob *job = (KeeperJob *)base;

    if (job->remove) {
        if (job->old_fd >= 0) {
            job->files->close(job->files->opaque, job->old_fd);
        }
        job->fd = job->files->remove(job->files->opaque, job->old);
    } else if (job->old) {
        job->fd = use_again(job->files, job->directory, job->old, job->old_fd,
                            &job->header);
    } else {
        job->fd = make_new(job->files, job->directory, &job->header);
    }
}

static void add_spare(ApusStorage *storage, const KeeperJob *job)
{
    Segment *segment = g_new0(Segment, 1);

    *segment = (Segment) {
        .number = job->header.number,
        .nonce = job->header.nonce,
        .size = job->header.size,
        .fd = job->fd,
    };
    g_queue_push_tail(&storage->spares, segment);
}

static void done(ApusJob *base)
{
    KeeperJob *job = (KeeperJob *)base;
    ApusStorage *storage = job->storage;

    storage->keeping = FALSE;
    storage->keeper_full = FALSE;
    if (job->fd < 0 && apus_files_is_full(job->fd)) {
        storage->keeper_full = TRUE;
    } else if (job->fd < 0 && !storage->failure) {
        apus_storage_fail(storage, job->remove
                          ? "cannot remove a segment of the log"
                          : "cannot make a segment of the log", job->fd);
    } else if (job->fd >= 0 && !job->remove) {
        add_spare(storage, job);
    }
    g_free(job->directory);
    g_free(job->old);
    g_free(job);
    if (!storage->failure) {
        apus_orders_kick(storage);
        apus_segments_tend(storage);
        apus_storage_full(storage);
    }
}

/* Have @segment, or a new file if it is NULL, be used or removed. */
static void give_job(ApusStorage *storage, Segment *segment, gboolean remove)
{
    KeeperJob *job = g_new0(KeeperJob, 1);

    *job = (KeeperJob) {
        .job = { .run = run, .done = done },
        .storage = storage,
        .files = storage->files,
        .directory = g_strdup(storage->directory),
        .old = segment ? apus_segments_path(storage->directory,
                                            segment->number) : NULL,
        .old_fd = segment ? segment->fd : -1,
        .remove = remove,
    };
    if (!remove) {
        job->header = (ApusSegment) {
            .id = storage->slot.id,
            .number = ++storage->number,
            .nonce = (uint64_t)g_random_int() << 32 | g_random_int(),
            .size = storage->segment_size,
        };
        g_strlcpy(job->header.cluster, storage->slot.cluster,
                  APUS_CLUSTER_SIZE);
    }
    g_free(segment);
    storage->keeping = TRUE;
    apus_worker_do(storage->keeper, &job->job);
}

/*
 * Entries that nobody needs, and that the base of a state that is safe stands
 * for. The segment of the newest batch stays: it says where the log ends.
 */
static void collect_trimmed(ApusStorage *storage)
{
    uint64_t index = MIN(storage->trim, storage->base);
    Segment *head;

    while ((head = g_queue_peek_head(&storage->segments)) &&
           head->newest <= index) {
        Segment *next = g_queue_peek_nth(&storage->segments, 1);

        if (!next || next->sequence == 0) {
            break;
        }
        g_queue_push_tail(&storage->trimmed,
                          g_queue_pop_head(&storage->segments));
    }
}

void apus_segments_tend(ApusStorage *storage)
{
    unsigned spares = storage->spares.length;
    Segment *old;

    if (storage->durability != APUS_DURABILITY_DISK || storage->failure ||
        storage->keeping ||
        (storage->closing && !apus_orders_wait_for_segment(storage))) {
        return;
    }
    collect_trimmed(storage);
    old = g_queue_peek_head(&storage->trimmed);
    if (old && (old->size != storage->segment_size ||
                storage->trimmed.length > TRIMMED_MAX)) {
        give_job(storage, g_queue_pop_head(&storage->trimmed), TRUE);
    } else if (old && spares < SPARES_MAX) {
        give_job(storage, g_queue_pop_head(&storage->trimmed), FALSE);
    } else if (spares < SPARES_MIN && !storage->keeper_full) {
        give_job(storage, NULL, FALSE);
    }
}

gboolean apus_segments_place(ApusStorage *storage, Work *work)
{
    Segment *segment = g_queue_peek_tail(&storage->segments);

    if (!segment || segment->fd < 0 ||
        storage->offset + work->size > segment->size) {
        uint64_t newest = segment ? segment->newest : 0;

        segment = g_queue_pop_head(&storage->spares);
        if (!segment) {
            return FALSE;
        }
        segment->newest = newest;
        g_queue_push_tail(&storage->segments, segment);
        storage->offset = APUS_BLOCK;
        apus_segments_tend(storage);
        apus_slots_mark(storage, TRUE);
    }
    work->segment = segment;
    work->offset = storage->offset;
    storage->offset += work->size;
    return TRUE;
}

void apus_segments_written(ApusStorage *storage)
{
    /* Nothing is written any more to the one before it. */
    if (storage->segments.length >= 2) {
        Segment *segment = g_queue_peek_nth(&storage->segments,
                                            storage->segments.length - 2);
        const Segment *last = g_queue_peek_tail(&storage->segments);

        if (last->sequence != 0 && segment->fd >= 0) {
            storage->files->close(storage->files->opaque, segment->fd);
            segment->fd = -1;
        }
    }
    apus_segments_tend(storage);
}

static void free_queue(const ApusStorage *storage, GQueue *queue)
{
    Segment *segment;

    while ((segment = g_queue_pop_head(queue))) {
        if (segment->fd >= 0) {
            storage->files->close(storage->files->opaque, segment->fd);
        }
        g_free(segment);
    }
}

void apus_segments_free(ApusStorage *storage)
{
    free_queue(storage, &storage->segments);
    free_queue(storage, &storage->spares);
    free_queue(storage, &storage->trimmed);
}
