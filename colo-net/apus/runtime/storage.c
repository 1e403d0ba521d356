/*
 * A member's state directory: founding, opening, closing; tickets and failure
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "storage-internal.h"

#define DEFAULT_SEGMENT_SIZE (8u << 20)
#define MAX_SEGMENT_SIZE (1u << 30)
#define STATE_SIZE (2 * APUS_SLOT_SIZE)

#define LOCK_PATIENCE SECOND
#define LOCK_PAUSE 5000 /* microseconds */

static gboolean cannot(GError **errp, const char *what, const char *path,
                       int error)
{
    return apus_refuse(errp, APUS_ERROR_IO, "cannot %s %s: %s", what, path,
                       g_strerror(-error));
}

static gboolean check_config(const ApusStorageConfig *config, GError **errp)
{
    size_t least = APUS_BLOCK + APUS_BATCH_MAX;

    if (!apus_cluster_check(config->cluster, errp)) {
        return FALSE;
    }
    if (config->id == APUS_NOBODY) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "the id of a member is not "
                           "0");
    }
    if (config->segment_size != 0 &&
        (config->segment_size < least ||
         config->segment_size > MAX_SEGMENT_SIZE ||
         config->segment_size % APUS_BLOCK != 0)) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "a segment has %zu to %u "
                           "bytes, a multiple of %d, not %zu", least,
                           MAX_SEGMENT_SIZE, APUS_BLOCK, config->segment_size);
    }
    return TRUE;
}

/*
 * Who has just been killed has the lock until the last of its writes is over:
 * wait a moment for that.
 */
static gboolean take_lock(const ApusFileOps *files, const char *directory,
                          int *lock, GError **errp)
{
    g_autofree char *path = g_build_filename(directory, "lock", NULL);
    uint64_t until = apus_clock() + (files == &apus_files ? LOCK_PATIENCE : 0);

    *lock = files->lock(files->opaque, path);
    while (*lock == -EWOULDBLOCK && apus_clock() < until) {
        g_usleep(LOCK_PAUSE);
        *lock = files->lock(files->opaque, path);
    }
    if (*lock == -EWOULDBLOCK) {
        return apus_refuse(errp, APUS_ERROR_IN_USE, "%s is in use by another "
                           "process, or by one that still writes", directory);
    }
    if (*lock == -ENOENT || *lock == -ENOTDIR) {
        return apus_refuse(errp, APUS_ERROR_MISSING, "there is no directory "
                           "%s", directory);
    }
    return *lock >= 0 || cannot(errp, "lock", path, *lock);
}

/* --- founding ------------------------------------------------------------- */

static gboolean check_empty(const ApusFileOps *files, const char *directory,
                            GError **errp)
{
    g_autofree char *path = g_build_filename(directory, "state", NULL);
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    int fd = files->open(files->opaque, path, O_RDONLY);
    int result;

    if (fd >= 0) {
        files->close(files->opaque, fd);
        return apus_refuse(errp, APUS_ERROR_IN_USE, "%s has the state of a "
                           "member already", directory);
    }
    if (fd != -ENOENT) {
        return cannot(errp, "open", path, fd);
    }
    result = apus_segments_find(files, directory, numbers);
    if (result < 0) {
        return cannot(errp, "list", directory, result);
    }
    if (numbers->len > 0) {
        return apus_refuse(errp, APUS_ERROR_IN_USE, "%s has the log of a "
                           "member, whose state is missing", directory);
    }
    return TRUE;
}

static int write_first(const ApusFileOps *files, const char *directory,
                       const ApusSlot *slot)
{
    g_autofree char *temporary = g_build_filename(directory, "state.new",
                                                  NULL);
    g_autofree char *path = g_build_filename(directory, "state", NULL);
    g_autofree char *whole = g_canonicalize_filename(directory, NULL);
    g_autofree char *parent = g_path_get_dirname(whole);
    int fd = files->open(files->opaque, temporary,
                         O_RDWR | O_CREAT | O_TRUNC | O_DIRECT);
    int result = fd;

    if (fd >= 0) {
        result = files->allocate(files->opaque, fd, STATE_SIZE);
        if (result == 0) {
            result = apus_slots_write_both(files, fd, slot, 0);
        }
        if (result == 0) {
            result = files->sync(files->opaque, fd);
        }
        files->close(files->opaque, fd);
    }
    if (result >= 0) {
        result = files->rename(files->opaque, temporary, path);
    }
    if (result >= 0) {
        result = apus_files_sync_directory(files, directory);
    }
    return result < 0 ? result : apus_files_sync_directory(files, parent);
}

static void fill_slot(ApusSlot *slot, const ApusStorageConfig *config,
                      const ApusHardState *state)
{
    *slot = (ApusSlot) {
        .sequence = 1,
        .id = config->id,
        .durability = config->durability,
        .log_start = 1,
        .log_safe = 0,
        .state = *state,
    };
    g_strlcpy(slot->cluster, config->cluster, APUS_CLUSTER_SIZE);
}

gboolean apus_storage_found(const ApusStorageConfig *config,
                            const ApusHardState *state, GError **errp)
{
    const ApusFileOps *files = config->files ?: &apus_files;
    ApusSlot slot;
    gboolean founded;
    int result, lock;

    if (!check_config(config, errp)) {
        return FALSE;
    }
    result = files->make_directory(files->opaque, config->directory);
    if (result < 0 && result != -EEXIST) {
        return cannot(errp, "make the directory", config->directory, result);
    }
    if (!take_lock(files, config->directory, &lock, errp)) {
        return FALSE;
    }
    founded = check_empty(files, config->directory, errp);
    if (founded) {
        fill_slot(&slot, config, state);
        result = write_first(files, config->directory, &slot);
        founded = result >= 0 || cannot(errp, "write the state in",
                                        config->directory, result);
    }
    files->close(files->opaque, lock);
    return founded;
}

/* --- opening -------------------------------------------------------------- */

static void add_note(GPtrArray *notes, char *note)
{
    if (note) {
        g_ptr_array_add(notes, note);
    }
}

static gboolean open_state(ApusStorage *storage,
                           const ApusStorageConfig *config, GPtrArray *notes,
                           GError **errp)
{
    const ApusFileOps *files = storage->files;
    g_autofree char *path = g_build_filename(storage->directory, "state",
                                             NULL);

    storage->slots = files->open(files->opaque, path, O_RDWR | O_DIRECT);
    if (storage->slots == -ENOENT) {
        return apus_refuse(errp, APUS_ERROR_MISSING, "%s has no state of a "
                           "member", storage->directory);
    }
    if (storage->slots < 0) {
        return cannot(errp, "open", path, storage->slots);
    }
    if (!apus_slots_read(files, storage->slots, &storage->slot,
                         storage->slot_sequence, notes, errp)) {
        g_prefix_error(errp, "%s: ", path);
        return FALSE;
    }
    if (storage->slot.id != config->id ||
        strcmp(storage->slot.cluster, config->cluster) != 0) {
        return apus_refuse(errp, APUS_ERROR_FOREIGN, "%s belongs to member %u "
                           "of cluster %s, not to member %u of %s", path,
                           storage->slot.id, storage->slot.cluster, config->id,
                           config->cluster);
    }
    return TRUE;
}

static gboolean read_segment(ApusStorage *storage, uint64_t number,
                             ApusSegmentUse *use, GError **errp)
{
    const ApusFileOps *files = storage->files;
    g_autofree char *path = apus_segments_path(storage->directory, number);
    g_autofree uint8_t *data = NULL;
    int fd = files->open(files->opaque, path, O_RDONLY);
    int64_t size = fd;
    int result;

    if (fd < 0) {
        return cannot(errp, "open", path, fd);
    }
    size = files->size(files->opaque, fd);
    result = MIN(size, 0);
    if (result == 0) {
        size = MIN(size, MAX_SEGMENT_SIZE);
        data = g_malloc(size + 1);
        result = apus_files_read(files, fd, data, size, 0);
    }
    if (result == 0) {
        result = files->sync(files->opaque, fd);
    }
    files->close(files->opaque, fd);
    if (result < 0) {
        return cannot(errp, "read", path, result);
    }
    if (!apus_recovery_segment(storage->recovery, number, data, size, use,
                               errp)) {
        g_prefix_error(errp, "%s: ", path);
        return FALSE;
    }
    if (use->sequence != 0) {
        Segment *segment = g_new0(Segment, 1);
        const Segment *last = g_queue_peek_tail(&storage->segments);

        *segment = (Segment) {
            .number = number,
            .size = size,
            .sequence = use->sequence,
            .newest = MAX(use->newest, last ? last->newest : 0),
            .fd = -1,
        };
        g_queue_push_tail(&storage->segments, segment);
    }
    return TRUE;
}

/* Remove the @numbers that are not 0. */
static gboolean remove_segments(ApusStorage *storage, const GArray *numbers,
                                GError **errp)
{
    const ApusFileOps *files = storage->files;
    int result = 0;

    for (unsigned i = 0; i < numbers->len && result == 0; i++) {
        uint64_t number = g_array_index(numbers, uint64_t, i);
        g_autofree char *path = apus_segments_path(storage->directory,
                                                   number);

        if (number != 0) {
            result = files->remove(files->opaque, path);
        }
    }
    if (result == 0 && numbers->len > 0) {
        result = apus_files_sync_directory(files, storage->directory);
    }
    return result >= 0 || cannot(errp, "remove segments of the log in",
                                 storage->directory, result);
}

/*
 * What is in the slot and what is found is put down, in both places: also
 * because what was read may be what a process wrote that died before it was
 * safe.
 */
static gboolean write_state(ApusStorage *storage, GError **errp)
{
    unsigned older = storage->slot_sequence[0] > storage->slot_sequence[1];
    int result;

    storage->slot.sequence++;
    result = apus_slots_write_both(storage->files, storage->slots,
                                   &storage->slot, older);
    storage->slot_sequence[0] = storage->slot.sequence;
    storage->slot_sequence[1] = storage->slot.sequence;
    return result >= 0 || cannot(errp, "write the state in",
                                 storage->directory, result);
}

/* The log begins anew, with nothing in it. */
static gboolean empty_log(ApusStorage *storage, uint64_t last,
                          const GArray *numbers, GError **errp)
{
    storage->slot.log_start = MAX(last, storage->slot.log_safe) + 1;
    storage->slot.log_safe = storage->slot.log_start - 1;
    storage->sequence = storage->slot.log_safe;
    apus_segments_free(storage);
    g_clear_pointer(&storage->recovery, apus_recovery_free);
    return write_state(storage, errp) &&
           remove_segments(storage, numbers, errp);
}

/* Read the log; what has no batch that counts stays in @numbers. */
static gboolean read_log(ApusStorage *storage, GArray *numbers, GError **errp)
{
    storage->recovery = apus_recovery_new(&storage->slot);
    for (unsigned i = 0; i < numbers->len; i++) {
        uint64_t *number = &g_array_index(numbers, uint64_t, i);
        ApusSegmentUse use;

        if (!read_segment(storage, *number, &use, errp)) {
            return FALSE;
        }
        if (use.sequence != 0) {
            *number = 0;
        }
    }
    return TRUE;
}

static gboolean recover_log(ApusStorage *storage, GArray *numbers,
                            GPtrArray *notes, GError **errp)
{
    g_autoptr(GArray) all = g_array_copy(numbers);
    char *note;
    uint64_t last;

    if (!read_log(storage, numbers, errp)) {
        return FALSE;
    }
    last = apus_recovery_sequence(storage->recovery);
    if (!apus_recovery_end(storage->recovery, &note)) {
        add_note(notes, note);
        add_note(notes, g_strdup("the log is emptied: this member has no vote "
                                 "until a leader has brought it up to date"));
        storage->slot.state.amnesiac = TRUE;
        return empty_log(storage, last, all, errp);
    }
    add_note(notes, note);
    storage->slot.log_safe = storage->sequence = last;
    return write_state(storage, errp) &&
           remove_segments(storage, numbers, errp);
}

static gboolean open_log(ApusStorage *storage, GPtrArray *notes,
                         GError **errp)
{
    ApusHardState *state = &storage->slot.state;
    ApusDurability before = storage->slot.durability;
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    int result = apus_segments_find(storage->files, storage->directory,
                                    numbers);

    if (result < 0) {
        return cannot(errp, "list", storage->directory, result);
    }
    if (numbers->len > 0) {
        storage->number = g_array_index(numbers, uint64_t, numbers->len - 1);
    }
    storage->slot.durability = storage->durability;
    if (before == APUS_DURABILITY_MEMORY ||
        storage->durability == APUS_DURABILITY_MEMORY) {
        state->amnesiac |= state->term != 0;
        return empty_log(storage, 0, numbers, errp);
    }
    return recover_log(storage, numbers, notes, errp);
}

ApusStorage *apus_storage_open(const ApusStorageConfig *config,
                               ApusHardState *state, GPtrArray *notes,
                               GError **errp)
{
    ApusStorage *storage;

    if (!check_config(config, errp)) {
        return NULL;
    }
    storage = g_new0(ApusStorage, 1);
    storage->directory = g_strdup(config->directory);
    storage->durability = config->durability;
    storage->segment_size = config->segment_size ?: DEFAULT_SEGMENT_SIZE;
    storage->real = config->files == NULL;
    storage->files = config->files ?: &apus_files;
    storage->lock = storage->slots = -1;
    if (!take_lock(storage->files, storage->directory, &storage->lock,
                   errp) ||
        !open_state(storage, config, notes, errp) ||
        !open_log(storage, notes, errp)) {
        apus_storage_close(storage, 0);
        return NULL;
    }
    storage->safe = storage->sequence;
    *state = storage->slot.state;
    return storage;
}

gboolean apus_storage_replay(ApusStorage *storage,
                             gboolean (*entry)(void *opaque,
                                               const ApusEntry *entry,
                                               GError **errp),
                             void *opaque, GError **errp)
{
    const ApusRecovery *recovery = storage->recovery;
    unsigned count = recovery ? apus_recovery_count(recovery) : 0;

    for (unsigned i = 0; i < count; i++) {
        ApusEntry found;

        apus_recovery_entry(recovery, i, &found);
        if (!entry(opaque, &found, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* --- running -------------------------------------------------------------- */

void apus_storage_tell(ApusStorage *storage)
{
    if (storage->ticket > storage->told && !storage->failure) {
        storage->told = storage->ticket;
        if (!storage->closing) {
            storage->handlers->stored(storage->opaque, storage->told);
        }
    }
}

void apus_storage_fail(ApusStorage *storage, const char *what, int error)
{
    if (storage->failure) {
        return;
    }
    g_set_error(&storage->failure, APUS_ERROR, APUS_ERROR_IO, "%s in %s: %s",
                what, storage->directory, g_strerror(-error));
    if (!storage->closing) {
        storage->handlers->failed(storage->opaque, storage->failure);
    }
}

void apus_storage_full(ApusStorage *storage)
{
    gboolean stalled = storage->slot_full || apus_orders_found_full(storage) ||
                       (storage->keeper_full &&
                        apus_orders_wait_for_segment(storage));

    if (storage->failure || storage->closing) {
        return;
    }
    if ((stalled || storage->keeper_full) && !storage->retrying) {
        storage->retrying = TRUE;
        apus_timer_set(storage->retry,
                       apus_loop_now(storage->loop) + STALL_RETRY);
    }
    if (stalled != storage->stalled) {
        g_autofree char *why = g_strdup_printf(
            "the disk is full: nothing more can be stored in %s until there "
            "is room", storage->directory);

        storage->stalled = stalled;
        storage->handlers->stalled(storage->opaque, stalled ? why : NULL);
    }
}

static void retry(void *opaque)
{
    ApusStorage *storage = opaque;

    storage->retrying = FALSE;
    storage->keeper_full = FALSE;
    apus_segments_tend(storage);
    apus_slots_retry(storage);
    apus_commit_retry(storage);
}

static void kick(void *opaque)
{
    ApusStorage *storage = opaque;

    apus_commit_collect(storage);
    apus_orders_kick(storage);
    apus_storage_full(storage);
}

static void collect_writer(void *opaque, uint32_t events)
{
    ApusStorage *storage = opaque;

    (void)events;
    apus_worker_collect(storage->writer);
}

static void collect_keeper(void *opaque, uint32_t events)
{
    ApusStorage *storage = opaque;

    (void)events;
    apus_worker_collect(storage->keeper);
}

static void collect_commits(void *opaque, uint32_t events)
{
    (void)events;
    apus_commit_collect(opaque);
}

gboolean apus_storage_start(ApusStorage *storage, ApusLoop *loop,
                            const ApusStorageHandlers *handlers, void *opaque,
                            GError **errp)
{
    storage->writer = apus_worker_new("apus-writer", errp);
    storage->keeper = storage->writer ? apus_worker_new("apus-keeper", errp)
                                      : NULL;
    if (!storage->keeper) {
        g_clear_pointer(&storage->writer, apus_worker_free);
        return FALSE;
    }
    g_clear_pointer(&storage->recovery, apus_recovery_free);
    storage->loop = loop;
    storage->handlers = handlers;
    storage->opaque = opaque;
    storage->kick = apus_loop_timer(loop, kick, storage);
    storage->retry = apus_loop_timer(loop, retry, storage);
    storage->writer_watch = apus_loop_watch(loop,
                                            apus_worker_fd(storage->writer),
                                            EPOLLIN, collect_writer, storage);
    storage->keeper_watch = apus_loop_watch(loop,
                                            apus_worker_fd(storage->keeper),
                                            EPOLLIN, collect_keeper, storage);
    apus_slots_start(storage);
    apus_commit_start(storage);
    if (apus_commit_fd(storage) >= 0) {
        storage->commit_watch = apus_loop_watch(loop, apus_commit_fd(storage),
                                                EPOLLIN, collect_commits,
                                                storage);
    }
    apus_segments_tend(storage);
    return TRUE;
}

/* --- closing -------------------------------------------------------------- */

static gboolean has_jobs(const ApusStorage *storage)
{
    return storage->keeping || storage->slot_running ||
           apus_commit_under_way(storage) > 0;
}

static gboolean is_done(const ApusStorage *storage)
{
    if (has_jobs(storage)) {
        return FALSE;
    }
    return storage->failure ||
           (storage->queue.length == 0 && apus_slots_clean(storage));
}

/* The loop does not turn any more: wait for what it would have brought. */
static void drain(ApusStorage *storage, uint64_t until)
{
    struct pollfd descriptors[] = {
        { .fd = apus_worker_fd(storage->writer), .events = POLLIN },
        { .fd = apus_worker_fd(storage->keeper), .events = POLLIN },
        { .fd = apus_commit_fd(storage), .events = POLLIN },
    };

    for (;;) {
        uint64_t now = apus_clock();

        apus_orders_kick(storage);
        apus_slots_tend(storage);
        if (is_done(storage) || now >= until) {
            return;
        }
        /* What the disk had no room for is tried once more each second. */
        if (poll(descriptors, G_N_ELEMENTS(descriptors),
                 MIN((until - now) / 1000000 + 1, 1000)) == 0) {
            retry(storage);
        }
        apus_worker_collect(storage->writer);
        apus_worker_collect(storage->keeper);
        apus_commit_collect(storage);
    }
}

static void free_storage(ApusStorage *storage)
{
    const ApusFileOps *files = storage->files;

    apus_worker_free(storage->writer);
    apus_worker_free(storage->keeper);
    apus_commit_free(storage);
    apus_orders_free(storage);
    apus_slots_free(storage);
    apus_segments_free(storage);
    apus_recovery_free(storage->recovery);
    if (storage->slots >= 0) {
        files->close(files->opaque, storage->slots);
    }
    if (storage->lock >= 0) {
        files->close(files->opaque, storage->lock);
    }
    g_clear_error(&storage->failure);
    g_free(storage->directory);
    g_free(storage);
}

void apus_storage_close(ApusStorage *storage, uint64_t timeout)
{
    if (!storage) {
        return;
    }
    storage->closing = TRUE;
    if (storage->loop) {
        apus_watch_free(storage->writer_watch);
        apus_watch_free(storage->keeper_watch);
        apus_watch_free(storage->commit_watch);
        drain(storage, apus_clock() + timeout);
        apus_timer_free(storage->kick);
        apus_timer_free(storage->retry);
        apus_timer_free(storage->mark);
        if (has_jobs(storage)) {
            /*
             * The kernel does not give them back. They still write, so the
             * lock stays taken, and what they use is not freed, as long as
             * the process lives.
             */
            return;
        }
    }
    free_storage(storage);
}
