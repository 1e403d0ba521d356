/*
 * Frames that a NIC has been given by the log and has not consumed yet
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "colo-net/apus/core/types.h"
#include "colo-net/core/pending.h"

static size_t frame_bytes(const PendingFrame *frame)
{
    return sizeof(*frame) + frame->size;
}

void pending_init(PendingQueue *queue)
{
    *queue = (PendingQueue) { .tail = &queue->head };
}

void pending_clear(PendingQueue *queue)
{
    while (queue->head) {
        pending_pop(queue);
    }
}

void pending_push(PendingQueue *queue, const InputsFrame *from)
{
    PendingFrame *frame = g_malloc(sizeof(*frame) + from->size);

    *frame = (PendingFrame) {
        .size = from->size,
        .flags = from->flags,
        .vnet_len = from->vnet_len,
    };
    memcpy(frame->data, from->data, from->size);
    *queue->tail = frame;
    queue->tail = &frame->next;
    queue->frames++;
    queue->bytes += frame_bytes(frame);
}

void pending_pop(PendingQueue *queue)
{
    PendingFrame *frame = queue->head;

    g_assert(frame);
    queue->head = frame->next;
    if (!queue->head) {
        queue->tail = &queue->head;
    }
    queue->frames--;
    queue->bytes -= frame_bytes(frame);
    g_free(frame);
}

void pending_save(const PendingQueue *queue, uint32_t key, GByteArray *batch)
{
    inputs_begin(batch, 0);
    for (PendingFrame *frame = queue->head; frame; frame = frame->next) {
        const InputsFrame out = {
            .netdev = key,
            .flags = frame->flags,
            .vnet_len = frame->vnet_len,
            .size = frame->size,
        };

        memcpy(inputs_append(batch, &out), frame->data, frame->size);
    }
}

static gboolean all_of(InputsReader reader, uint32_t key, GError **errp)
{
    InputsFrame frame;

    while (inputs_next(&reader, &frame)) {
        if (frame.netdev != key) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_CORRUPT,
                        "A frame is of netdev %08" PRIx32 ", but the others"
                        " are of %08" PRIx32, frame.netdev, key);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean pending_load(PendingQueue *queue, uint32_t key, const uint8_t *data,
                      size_t size, GError **errp)
{
    InputsReader reader;
    InputsFrame frame;

    if (!inputs_open(&reader, data, size, errp) ||
        !all_of(reader, key, errp)) {
        return FALSE;
    }
    pending_clear(queue);
    while (inputs_next(&reader, &frame)) {
        pending_push(queue, &frame);
    }
    return TRUE;
}
