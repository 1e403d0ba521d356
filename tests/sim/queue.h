/*
 * What happens next: events in the order of their time
 *
 * Events of one time keep the order in which they were pushed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include <glib.h>
#include <stdint.h>

typedef struct {
    uint64_t at; /* nanoseconds since the start of the schedule */
    uint64_t order;
    uint64_t arg;
    uint64_t arg2;
    uint32_t life; /* of the process that it is for */
    uint8_t type;
    uint8_t host;
    uint8_t peer;
    uint8_t deferred; /* a slow host has made it wait already */
} SimEvent;

typedef struct {
    SimEvent *event;
    size_t count, room;
    uint64_t order;
} SimQueue;

void sim_queue_push(SimQueue *queue, const SimEvent *event);
gboolean sim_queue_pop(SimQueue *queue, SimEvent *event);

#endif
