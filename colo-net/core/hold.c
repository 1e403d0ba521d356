/*
 * A queue of frames that wait for an output commit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/hold.h"

static size_t frame_bytes(const HoldFrame *frame)
{
    return HOLD_OVERHEAD + frame->size;
}

void hold_queue_init(HoldQueue *queue)
{
    *queue = (HoldQueue) { .tail = &queue->head };
}

void hold_queue_clear(HoldQueue *queue)
{
    hold_queue_release(queue);
    while (queue->head) {
        hold_queue_pop(queue);
    }
}

HoldFrame *hold_frame_new(size_t size)
{
    HoldFrame *frame = g_malloc(HOLD_OVERHEAD + size);

    *frame = (HoldFrame) { .size = size };
    return frame;
}

static void append(HoldQueue *queue, HoldFrame *frame)
{
    frame->next = NULL;
    *queue->tail = frame;
    queue->tail = &frame->next;
    queue->bytes += frame_bytes(frame);
}

void hold_queue_hold(HoldQueue *queue, HoldFrame *frame, uint64_t sealed)
{
    frame->after = sealed;
    append(queue, frame);
    if (!queue->held) {
        queue->held = frame;
    }
    queue->held_frames++;
}

void hold_queue_add(HoldQueue *queue, HoldFrame *frame)
{
    g_assert(!queue->held);
    append(queue, frame);
    queue->leaving_frames++;
}

/* Move the border behind the first held frame. */
static void release_one(HoldQueue *queue)
{
    queue->held = queue->held->next;
    queue->held_frames--;
    queue->leaving_frames++;
}

uint64_t hold_queue_commit(HoldQueue *queue, uint64_t epoch)
{
    uint64_t n = 0;

    while (queue->held && queue->held->after < epoch) {
        release_one(queue);
        n++;
    }
    return n;
}

uint64_t hold_queue_release(HoldQueue *queue)
{
    uint64_t n = queue->held_frames;

    while (queue->held) {
        release_one(queue);
    }
    return n;
}

uint64_t hold_queue_discard(HoldQueue *queue)
{
    uint64_t n = queue->held_frames;
    HoldFrame *frame = queue->held;

    queue->tail = &queue->head;
    while (*queue->tail != frame) {
        queue->tail = &(*queue->tail)->next;
    }
    *queue->tail = NULL;
    queue->held = NULL;
    queue->held_frames = 0;

    while (frame) {
        HoldFrame *next = frame->next;

        queue->bytes -= frame_bytes(frame);
        g_free(frame);
        frame = next;
    }
    return n;
}

void hold_queue_unseal(HoldQueue *queue)
{
    for (HoldFrame *frame = queue->held; frame; frame = frame->next) {
        frame->after = 0;
    }
}

HoldFrame *hold_queue_next(const HoldQueue *queue)
{
    return queue->head == queue->held ? NULL : queue->head;
}

HoldFrame *hold_queue_take(HoldQueue *queue)
{
    HoldFrame *frame = queue->head;

    g_assert(frame && frame != queue->held);
    queue->head = frame->next;
    if (!queue->head) {
        queue->tail = &queue->head;
    }
    queue->leaving_frames--;
    queue->bytes -= frame_bytes(frame);
    return frame;
}

void hold_queue_pop(HoldQueue *queue)
{
    g_free(hold_queue_take(queue));
}
