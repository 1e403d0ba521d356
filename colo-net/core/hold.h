/*
 * A queue of frames that wait for an output commit
 *
 * Frames leave in the order in which they came. In front are those that may
 * leave, behind them those that are held; a commit, or the end of a session,
 * moves the border. A frame remembers the epoch that was sealed last when it
 * came, so that sealing, which is done while the VM stands, costs nothing.
 *
 * Everything is counted in bytes of memory: what a frame takes, HOLD_OVERHEAD
 * included, so that many small frames are as bounded as few large ones.
 *
 * A HoldQueue belongs to one thread at a time and does no I/O.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_HOLD_H
#define COLO_NET_HOLD_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HoldFrame HoldFrame;

struct HoldFrame {
    HoldFrame *next;
    uint64_t after; /* the epoch that was sealed last when it came */
    unsigned flags; /* for the user, as is context */
    unsigned context;
    size_t size;
    uint8_t data[];
};

#define HOLD_OVERHEAD sizeof(HoldFrame)

typedef struct HoldQueue {
    HoldFrame *head;
    HoldFrame **tail;
    HoldFrame *held; /* the first that may not leave, NULL if all may */
    uint64_t leaving_frames;
    uint64_t held_frames;
    uint64_t bytes; /* of both */
} HoldQueue;

void hold_queue_init(HoldQueue *queue);
/* Frees all frames. */
void hold_queue_clear(HoldQueue *queue);

/* Room for a frame of @size bytes, which the caller fills in and adds. */
HoldFrame *hold_frame_new(size_t size);

/* Add a frame, which then belongs to the queue, behind the others. */
void hold_queue_hold(HoldQueue *queue, HoldFrame *frame, uint64_t sealed);
/* The same, but it may leave at once. Not while others are held. */
void hold_queue_add(HoldQueue *queue, HoldFrame *frame);

/*
 * @epoch has been sealed, and no later one: let what came before that seal
 * leave. Returns the number of frames.
 */
uint64_t hold_queue_commit(HoldQueue *queue, uint64_t epoch);
/* Let everything leave. Returns the number of frames. */
uint64_t hold_queue_release(HoldQueue *queue);
/* Free everything that is held. Returns the number of frames. */
uint64_t hold_queue_discard(HoldQueue *queue);
/* Forget which epochs were sealed: a new session begins. */
void hold_queue_unseal(HoldQueue *queue);

/* The frame that is to leave next, or NULL; it stays the queue's. */
HoldFrame *hold_queue_next(const HoldQueue *queue);
/* It has left: free it. */
void hold_queue_pop(HoldQueue *queue);
/* The same, but it is the caller's now. */
HoldFrame *hold_queue_take(HoldQueue *queue);

#endif
