/*
 * Frames that a NIC has been given by the log and has not consumed yet
 *
 * They are part of the VM's state: written as a batch (inputs.h), which may be
 * longer than an entry, they go where the VM goes.
 *
 * A PendingQueue belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_PENDING_H
#define COLO_NET_PENDING_H

#include "colo-net/core/inputs.h"

typedef struct PendingFrame PendingFrame;

struct PendingFrame {
    PendingFrame *next;
    uint32_t size;
    uint16_t flags; /* these two are as in InputsFrame */
    uint16_t vnet_len;
    uint8_t data[];
};

typedef struct PendingQueue {
    PendingFrame *head; /* the oldest, or NULL */
    PendingFrame **tail;
    uint64_t frames;
    uint64_t bytes; /* of memory, bookkeeping included */
} PendingQueue;

void pending_init(PendingQueue *queue);
/* Frees all frames. */
void pending_clear(PendingQueue *queue);

/* Copy a frame and add it behind the others. */
void pending_push(PendingQueue *queue, const InputsFrame *frame);
/* Free the oldest frame; there is one. */
void pending_pop(PendingQueue *queue);

/*
 * Make @batch of the frames, all of netdev @key. It is no longer than
 * @queue->bytes + PENDING_SAVE_OVERHEAD.
 */
#define PENDING_SAVE_OVERHEAD 16
void pending_save(const PendingQueue *queue, uint32_t key, GByteArray *batch);

/*
 * Replace the frames by those of the batch that the @size bytes at @data are.
 * Errors are those of inputs_open(), and APUS_ERROR_CORRUPT for a frame of
 * another netdev than @key; the queue is then as it was.
 */
gboolean pending_load(PendingQueue *queue, uint32_t key, const uint8_t *data,
                      size_t size, GError **errp);

#endif
