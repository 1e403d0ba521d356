/*
 * The storage from inside
 *
 * One concern per file:
 *
 *   storage.c           founding, opening, closing; tickets and failure
 *   storage-orders.c    what was ordered, in batches, in the order given
 *   storage-slots.c     the hard state, in two slots
 *   storage-segments.c  files of the log: made ahead, used again, removed
 *   storage-commit.c    a batch goes to disk, by io_uring or by a thread
 *
 * Everything here belongs to the loop's thread. What blocks is a job of one of
 * two workers: the writer, on which commits wait, and the keeper, which makes
 * and removes files. A job has copies of what it needs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_STORAGE_INTERNAL_H
#define APUS_STORAGE_INTERNAL_H

#include "../core/recovery.h"
#include "files.h"
#include "worker.h"

/*
 * Batches under way at once. One: a second write to the same disk does not
 * make the first one's flush shorter, and what waits meanwhile goes into one
 * larger batch (docs/internals/apus-storage.rst has the measurement).
 */
#define DEPTH 1

/*
 * Segments that are ready before they are needed, and at most; and files that
 * wait to be used again.
 */
#define SPARES_MIN 2
#define SPARES_MAX 4
#define TRIMMED_MAX 8

#define SECOND 1000000000ull
#define STALL_RETRY SECOND
#define MARK_DELAY SECOND

typedef struct {
    uint64_t number, nonce, size;
    uint64_t sequence; /* of its newest batch; 0: none */
    uint64_t newest; /* the highest index in it, or in an older one */
    int fd; /* -1: not open */
} Segment;

typedef enum {
    WORK_BATCH,
    WORK_SAVE,
} WorkKind;

/* One thing to be made safe; done in the order of the queue. */
typedef struct {
    WorkKind kind;
    uint64_t ticket; /* with it everything up to this one is; 0: nothing new */
    ApusHardState state; /* WORK_SAVE */
    /* WORK_BATCH */
    uint8_t *memory; /* APUS_BATCH_MAX bytes */
    ApusBatch batch;
    uint64_t next; /* index after its last record */
    Segment *segment; /* NULL: not under way */
    uint64_t offset;
    size_t size;
    gboolean writing, written;
    gboolean full; /* the disk was: it is to be written again */
    unsigned tries;
} Work;

typedef struct SlotJob SlotJob;
typedef struct Committer Committer;

struct ApusStorage {
    /* What it was opened with */
    char *directory;
    ApusDurability durability;
    size_t segment_size;
    const ApusFileOps *files;
    gboolean real; /* the files are the system's own */
    int lock;
    ApusRecovery *recovery; /* until apus_storage_start() */

    ApusLoop *loop;
    const ApusStorageHandlers *handlers;
    void *opaque;
    ApusTimer *kick, *retry;
    gboolean retrying;
    ApusWorker *writer, *keeper;
    ApusWatch *writer_watch, *keeper_watch, *commit_watch;

    /* storage.c */
    GError *failure;
    gboolean closing, stalled;
    uint64_t ticket, told; /* safe up to here, and what the user knows */

    /* storage-orders.c */
    GQueue queue; /* Work, those under way first */
    GQueue idle; /* Work to be used again */
    unsigned under_way; /* batches */
    gboolean saving;
    size_t backlog;
    uint64_t sequence; /* of the newest batch that was made */
    uint64_t safe; /* batches up to here are */

    /* storage-slots.c */
    int slots; /* the file's descriptor */
    ApusSlot slot; /* as it was written, or is being written, last */
    uint64_t slot_sequence[2]; /* what each place has; 0: nothing valid */
    SlotJob *slot_job; /* idle, or */
    gboolean slot_busy; /* from the first try to the last */
    gboolean slot_running; /* the writer has it */
    gboolean slot_full; /* the disk was full: it is to be written again */
    uint64_t base; /* index of the base in a state that is safe */
    ApusTimer *mark;
    gboolean mark_set;

    /* storage-segments.c */
    GQueue segments; /* Segment with batches, oldest first; the last is used */
    GQueue spares; /* Segment that are ready */
    GQueue trimmed; /* Segment that nobody needs */
    uint64_t number; /* of the newest segment */
    uint64_t offset; /* in the last of segments: the next batch */
    uint64_t trim; /* entries up to here are not needed */
    gboolean keeping; /* the keeper has a job */
    gboolean keeper_full; /* the disk was full */

    Committer *committer; /* storage-commit.c */
};

/* --- storage.c ------------------------------------------------------------ */

void apus_storage_fail(ApusStorage *storage, const char *what, int error);
/*
 * Something has found the disk full, or not any more: see to it that it is
 * tried again, and that the user knows.
 */
void apus_storage_full(ApusStorage *storage);
/* Say which orders are safe. */
void apus_storage_tell(ApusStorage *storage);

/* --- storage-orders.c ----------------------------------------------------- */

/* Begin what can be begun. */
void apus_orders_kick(ApusStorage *storage);
/* Do so, and look for completions, at that time. */
void apus_orders_kick_at(ApusStorage *storage, uint64_t when);
/* A batch was written. */
void apus_orders_written(ApusStorage *storage);
/* The save at the queue's head is in a slot. */
void apus_orders_saved(ApusStorage *storage);
gboolean apus_orders_wait_for_segment(const ApusStorage *storage);
gboolean apus_orders_found_full(const ApusStorage *storage);
void apus_orders_free(ApusStorage *storage);

/* --- storage-slots.c ------------------------------------------------------ */

/* Both places of @fd, read; the newest into @slot. */
gboolean apus_slots_read(const ApusFileOps *files, int fd, ApusSlot *slot,
                         uint64_t sequence[2], GPtrArray *notes,
                         GError **errp);
/* Write @slot to both places of @fd, @first first, and wait. */
int apus_slots_write_both(const ApusFileOps *files, int fd,
                          const ApusSlot *slot, unsigned first);
void apus_slots_start(ApusStorage *storage);
void apus_slots_save(ApusStorage *storage, const ApusHardState *state);
void apus_slots_retry(ApusStorage *storage);
/* Nothing else is to be done: the second copy, if it is older. */
void apus_slots_tend(ApusStorage *storage);
/* A batch is safe that the slot does not know of. */
void apus_slots_mark(ApusStorage *storage, gboolean soon);
gboolean apus_slots_clean(const ApusStorage *storage);
void apus_slots_free(ApusStorage *storage);

/* --- storage-segments.c --------------------------------------------------- */

int apus_segments_find(const ApusFileOps *files, const char *directory,
                       GArray *numbers);
char *apus_segments_path(const char *directory, uint64_t number);
/* A place of @size bytes for @work; FALSE: none is ready. */
gboolean apus_segments_place(ApusStorage *storage, Work *work);
/* Give the keeper something to do, if there is and the disk was not full. */
void apus_segments_tend(ApusStorage *storage);
/* The last segment has a batch. */
void apus_segments_written(ApusStorage *storage);
void apus_segments_free(ApusStorage *storage);

/* --- storage-commit.c ----------------------------------------------------- */

void apus_commit_start(ApusStorage *storage);
void apus_commit_write(ApusStorage *storage, Work *work);
void apus_commit_retry(ApusStorage *storage);
/*
 * A descriptor that becomes readable when there is something to collect; -1:
 * the writer's.
 */
int apus_commit_fd(const ApusStorage *storage);
void apus_commit_collect(ApusStorage *storage);
/* Writes that the kernel or the writer has. */
unsigned apus_commit_under_way(const ApusStorage *storage);
void apus_commit_free(ApusStorage *storage);

#endif
