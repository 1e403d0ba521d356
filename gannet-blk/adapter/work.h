/*
 * Work: tasks of the background worker
 *
 * work.c looks for work in the order of importance, by the functions below:
 * each gives the next task of its kind, or NULL, with the node's lock held. A
 * task runs in the node's AioContext, without the lock, which it takes where it
 * needs it; the worker has the graph lock as long as any task runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_WORK_H
#define GANNET_ADAPTER_WORK_H

#include "node.h"

/* The largest piece that is copied, or written back, at once. */
#define GANNET_PIECE (1u << 20)

typedef struct GannetTask GannetTask;
typedef void coroutine_fn (*GannetRun)(GannetNode *node, GannetTask *task);

struct GannetTask {
    GannetNode *node;
    GannetRun run;
    GannetWriteBack *piece;
    GannetBusy busy;
    GannetRange range;
    uint64_t mark; /* or the number of a question, or a pair */
};

/* Freed when it has run. */
GannetTask *gannet_task_new(GannetRun run);

/* --- write-back.c --------------------------------------------------------- */

/* Pages of the side file that write-back waits for. */
GannetTask *gannet_next_side(GannetNode *node);
/* What has been written back can be reported. */
GannetTask *gannet_next_flush(GannetNode *node);
/* A piece of what was agreed on. */
GannetTask *gannet_next_write_back(GannetNode *node);
/* Memory has become free, or never will: wake who may have waited for it. */
void gannet_progress(GannetNode *node);

/* --- copy.c --------------------------------------------------------------- */

/* Compare a range, for the primary that asked. */
GannetTask *gannet_next_answer(GannetNode *node);
/* Both disks have everything: a name for the pair. */
GannetTask *gannet_next_pair(GannetNode *node);
/* Have the peer compare a range. */
GannetTask *gannet_next_ask(GannetNode *node);
/* A range that the peer lacks. */
GannetTask *gannet_next_copy(GannetNode *node);
/* Marks of the write-intent log that can be taken back. */
GannetTask *gannet_next_settle(GannetNode *node);

#endif
