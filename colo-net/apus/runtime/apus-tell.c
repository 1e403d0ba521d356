/*
 * The queue of notes: from any thread to the member's, like submissions
 *
 * A list of which the newest is the head, pushed with one atomic exchange and
 * taken as a whole. Who finds it empty wakes the loop, so what is told in a
 * row costs one wake-up, and, since the transport gathers what a round sends,
 * one write.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "apus-internal.h"

#define LIMIT (4u << 20) /* bytes that wait */

struct ApusTelling {
    ApusTelling *next;
    ApusId to;
    uint32_t size;
    uint8_t data[];
};

/* In place of a list: nothing is accepted any more. */
static ApusTelling closed;

static ApusTelling *oldest_first(ApusTelling *newest)
{
    ApusTelling *oldest = NULL;

    while (newest) {
        ApusTelling *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static size_t charged(const ApusTelling *telling)
{
    return sizeof(*telling) + telling->size;
}

/* The oldest one goes; returns the next. */
static ApusTelling *forget(Apus *apus, ApusTelling *telling)
{
    ApusTelling *next = telling->next;

    atomic_fetch_sub(&apus->telling, charged(telling));
    g_free(telling);
    return next;
}

void apus_tell_take(Apus *apus)
{
    ApusTelling *telling;

    if (!atomic_load(&apus->tellings)) {
        return;
    }
    telling = oldest_first(atomic_exchange(&apus->tellings, NULL));
    while (telling) {
        apus_core_note(apus->core, telling->to, telling->data, telling->size,
                       apus_loop_now(apus->loop));
        telling = forget(apus, telling);
    }
}

void apus_tell_close(Apus *apus)
{
    ApusTelling *telling = atomic_exchange(&apus->tellings, &closed);

    while (telling && telling != &closed) {
        telling = forget(apus, telling);
    }
}

static gboolean push(Apus *apus, ApusTelling *telling)
{
    ApusTelling *newest = atomic_load(&apus->tellings);

    do {
        if (newest == &closed) {
            return FALSE;
        }
        telling->next = newest;
    } while (!atomic_compare_exchange_weak(&apus->tellings, &newest,
                                           telling));
    if (!newest) {
        apus_loop_wake(apus->loop);
    }
    return TRUE;
}

gboolean apus_tell(Apus *apus, ApusId to, const uint8_t *data, size_t size,
                   GError **errp)
{
    ApusTelling *telling;
    size_t bytes = sizeof(*telling) + size;

    if (size > APUS_NOTE_MAX) {
        return apus_refuse(errp, APUS_ERROR_TOO_LONG, "a note of %zu bytes is "
                           "too long: %d are the most", size, APUS_NOTE_MAX);
    }
    if (to == APUS_NOBODY || to == apus->config.id) {
        return apus_refuse(errp, APUS_ERROR_MEMBERS, "member %u tells member "
                           "%u nothing: say who else is meant",
                           apus->config.id, to);
    }
    if (atomic_fetch_add(&apus->telling, bytes) + bytes > LIMIT) {
        atomic_fetch_sub(&apus->telling, bytes);
        return apus_refuse(errp, APUS_ERROR_FULL, "too many notes wait to be "
                           "sent");
    }
    telling = g_malloc(bytes);
    *telling = (ApusTelling) { .to = to, .size = size };
    if (size) {
        memcpy(telling->data, data, size);
    }
    if (!push(apus, telling)) {
        forget(apus, telling);
        return apus_refuse(errp, APUS_ERROR_STOPPED, "the member has stopped");
    }
    return TRUE;
}
