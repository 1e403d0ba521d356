/*
 * What happens next: a binary heap of events
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>

#include "queue.h"

static bool before(const SimEvent *a, const SimEvent *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_queue_push(SimQueue *queue, const SimEvent *event)
{
    size_t at = queue->count++;
    SimEvent new = *event;

    if (queue->count > queue->room) {
        queue->room = MAX(256, 2 * queue->room);
        queue->event = g_renew(SimEvent, queue->event, queue->room);
    }
    new.order = queue->order++;
    while (at > 0 && before(&new, &queue->event[(at - 1) / 2])) {
        queue->event[at] = queue->event[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->event[at] = new;
}

gboolean sim_queue_pop(SimQueue *queue, SimEvent *event)
{
    const SimEvent *last;
    size_t at = 0, child;

    if (queue->count == 0) {
        return FALSE;
    }
    *event = queue->event[0];
    last = &queue->event[--queue->count];
    while ((child = 2 * at + 1) < queue->count) {
        if (child + 1 < queue->count &&
            before(&queue->event[child + 1], &queue->event[child])) {
            child++;
        }
        if (!before(&queue->event[child], last)) {
            break;
        }
        queue->event[at] = queue->event[child];
        at = child;
    }
    queue->event[at] = *last;
    return TRUE;
}
