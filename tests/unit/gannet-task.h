/*
 * Tasks of a replica in tests of GANNET: what begins in one step and ends in
 * another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_TASK_H
#define GANNET_TASK_H

#include "gannet-replica.h"

typedef enum GannetTaskKind {
    GANNET_TASK_WRITE,      /* of the guest, to the disk */
    GANNET_TASK_MEMORY,     /* of the guest, to svm: it waits for room */
    GANNET_TASK_FLUSH,      /* of the guest */
    GANNET_TASK_WRITE_BACK,
    GANNET_TASK_REPORT,     /* flush, side file, DURABLE */
    GANNET_TASK_COPY,
    GANNET_TASK_HASH,
    GANNET_TASK_SETTLE,     /* take back marks */
    GANNET_TASK_PAIR,       /* in step with a peer: flush, side file */
} GannetTaskKind;

struct GannetTask {
    GannetTaskKind kind;
    unsigned phase;     /* what comes next; depends on the kind */
    gboolean holds;     /* the range, against others */
    GannetRange range;
    uint64_t number;    /* what is written; 0: zeroes */
    gboolean mirrored;
    gboolean slow;      /* the disk takes its time */
    uint64_t change;    /* of the side file, to be waited for */
    GannetWriteBack *piece;
    GBytes *data;
    uint64_t mark;
    uint64_t connection;
    gboolean clean;
    uint64_t pieces;
    uint64_t flush;
    uint64_t *image;    /* the disk when the flush began */
    uint64_t *seen;     /* what the guest had written before its flush */
    GannetRegions *pending;
};

/* In @seen: written since. */
#define GANNET_REWRITTEN UINT64_MAX

/* What comes next of a write. */
enum {
    GANNET_WRITE_ADMIT,
    GANNET_WRITE_HOLD,
    GANNET_WRITE_MARK,
    GANNET_WRITE_MARKED,
    GANNET_WRITE_DISK,
    GANNET_WRITE_FORGET,
};

GannetTask *gannet_task_new(GannetReplica *replica, GannetTaskKind kind);
/* The guest flushes. */
void gannet_task_flush(GannetReplica *replica);
void gannet_task_free(GannetTask *task);

/* In step with a peer. */
void gannet_task_pair(GannetReplica *replica);

/* Do what comes next; FALSE: it has to wait. @done: it has ended. */
gboolean gannet_task_step(GannetReplica *replica, GannetTask *task,
                          gboolean *done);
/* Begin something in the background; FALSE: nothing is due. */
gboolean gannet_task_begin(GannetReplica *replica);
/* Of a write that a crash ends: some sectors may be there. */
void gannet_task_tear(GannetReplica *replica, const GannetTask *task);
/* The numbers that the task writes to the disk. */
uint64_t gannet_task_number(const GannetReplica *replica,
                            const GannetTask *task, unsigned sector);
/* Whether it writes to the disk now. */
gboolean gannet_task_is_writing(const GannetTask *task);

/* --- for the tasks alone -------------------------------------------------- */

/* Take the range, unless another task has it that gets in the way. */
gboolean gannet_task_hold(const GannetReplica *replica, GannetTask *task);
/* A flush of the disk: what is there at the beginning is durable in the end. */
void gannet_task_flush_begin(GannetReplica *replica, GannetTask *task);
void gannet_task_flush_end(GannetReplica *replica, const GannetTask *task);
/* The range filled with the number; the bytes, NULL for NULL. */
GBytes *gannet_task_fill(const GannetRange *range, uint64_t number);
const void *gannet_task_bytes(GBytes *data);
/* What the task writes goes into the image. */
void gannet_task_put(GannetReplica *replica, uint64_t *image,
                     const GannetTask *task);

/* Steps of what the guest asks for. */
gboolean gannet_task_step_write(GannetReplica *replica, GannetTask *task,
                                gboolean *done);
gboolean gannet_task_step_memory(GannetReplica *replica, GannetTask *task,
                                 gboolean *done);
gboolean gannet_task_step_flush(GannetReplica *replica, GannetTask *task,
                                gboolean *done);

#endif
