/*
 * The queue of submissions: from any thread to the member's
 *
 * A submission is pushed in front of a list with one atomic exchange; the
 * member's thread takes the whole list and turns it around. Who finds the list
 * empty wakes the loop, so that a batch costs one wake-up. What the log has no
 * room for waits in the order in which it came, and fills up the queue's
 * limit: that is the back-pressure that submitters feel.
 *
 * Handlers run in the member's thread between calls of the core, or in its
 * completed(): there a submission goes to the core directly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "../core/payload.h"
#include "apus-internal.h"

/* A payload of no more bytes is copied into the submission itself. */
#define INLINE 512

/*
 * So much is taken in one round, or else a long queue would make the round so
 * long that beats came too late.
 */
#define ROUND_COUNT 2048
#define ROUND_BYTES (4u << 20)

struct ApusSubmission {
    ApusSubmission *next;
    ApusDone *done;
    void *opaque;
    uint64_t when; /* it was made */
    size_t charged; /* bytes of the queue's limit */
    uint8_t *payload; /* bytes, or memory of its own */
    uint32_t length;
    ApusEntryKind kind;
    gboolean own; /* of the member's thread */
    uint8_t bytes[];
};

/* In place of a list: nothing is accepted any more. */
static ApusSubmission closed;

static ApusSubmission *submission_new(ApusEntryKind kind,
                                      const uint8_t *payload, uint32_t length,
                                      ApusDone *done, void *opaque)
{
    size_t size = sizeof(ApusSubmission) + (length <= INLINE ? length : 0);
    ApusSubmission *submission = g_malloc(size);

    *submission = (ApusSubmission) {
        .done = done,
        .opaque = opaque,
        .charged = sizeof(ApusSubmission) + length,
        .kind = kind,
        .length = length,
    };
    submission->payload = length <= INLINE ? submission->bytes
                                           : g_malloc(length);
    if (length) {
        memcpy(submission->payload, payload, length);
    }
    return submission;
}

static void forget_payload(ApusSubmission *submission)
{
    if (submission->payload != submission->bytes) {
        g_free(submission->payload);
    }
    submission->payload = submission->bytes;
    submission->length = 0;
}

static void submission_free(ApusSubmission *submission)
{
    forget_payload(submission);
    g_free(submission);
}

void apus_submit_completed(Apus *apus, void *token, ApusFate fate,
                           uint64_t index)
{
    ApusSubmission *submission = token;
    ApusDone *done = submission->done;
    void *opaque = submission->opaque;

    (void)apus;
    submission_free(submission);
    if (done) {
        done(opaque, fate, index);
    }
}

/* --- in the member's thread ---------------------------------------------- */

static void take_out(Apus *apus, GList *link)
{
    const ApusSubmission *submission = link->data;

    apus->urgent -= submission->kind != APUS_ENTRY_INPUT;
    g_queue_delete_link(&apus->waiting, link);
}

static void uncharge(Apus *apus, const ApusSubmission *submission)
{
    atomic_fetch_sub(&apus->queued, submission->charged);
    if (submission->own) {
        apus->own--;
    }
}

/* A list that was submitted, @newest first, goes behind what waits. */
static void collect(Apus *apus, ApusSubmission *newest)
{
    ApusSubmission *oldest = NULL;

    while (newest) {
        ApusSubmission *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    for (; oldest; oldest = oldest->next) {
        g_queue_push_tail(&apus->waiting, oldest);
        apus->urgent += oldest->kind != APUS_ENTRY_INPUT;
    }
}

static gboolean expired(const Apus *apus, const ApusSubmission *submission)
{
    return apus_loop_now(apus->loop) >=
           submission->when + apus->config.submit_timeout;
}

/*
 * What is no INPUT has room of its own in the log, and may be what makes room
 * for them: it overtakes those that wait.
 */
unsigned apus_submit_take(Apus *apus)
{
    unsigned count = 0, taken = 0;
    gboolean full = FALSE;
    size_t bytes = 0;
    GList *next;

    if (atomic_load(&apus->submitted)) {
        collect(apus, atomic_exchange(&apus->submitted, NULL));
    }
    apus->more = FALSE;
    for (GList *link = apus->waiting.head; link; link = next) {
        ApusSubmission *submission = link->data;
        gboolean is_input = submission->kind == APUS_ENTRY_INPUT;
        g_autoptr(GError) error = NULL;

        next = link->next;
        if (full && is_input) {
            continue;
        }
        if (++count > ROUND_COUNT || bytes > ROUND_BYTES) {
            apus->more = TRUE;
            break;
        }
        bytes += submission->length;
        if (apus_core_submit(apus->core, submission->kind,
                             submission->payload, submission->length,
                             submission, apus_loop_now(apus->loop), &error)) {
            take_out(apus, link);
            uncharge(apus, submission);
            forget_payload(submission);
            taken++;
            continue;
        }
        if ((error->code == APUS_ERROR_FULL ||
             error->code == APUS_ERROR_BUSY) && !expired(apus, submission)) {
            full = is_input;
            if (!full || !apus->urgent) {
                break;
            }
            continue;
        }
        take_out(apus, link);
        uncharge(apus, submission);
        apus_submit_completed(apus, submission, APUS_FATE_UNKNOWN, 0);
    }
    return taken;
}

uint64_t apus_submit_deadline(const Apus *apus)
{
    const ApusSubmission *oldest = apus->waiting.head ?
                                   apus->waiting.head->data : NULL;

    return oldest ? oldest->when + apus->config.submit_timeout : UINT64_MAX;
}

void apus_submit_close(Apus *apus)
{
    ApusSubmission *submission;

    atomic_store(&apus->accepts, false);
    collect(apus, atomic_exchange(&apus->submitted, &closed));
    apus->urgent = 0;
    while ((submission = g_queue_pop_head(&apus->waiting))) {
        uncharge(apus, submission);
        apus_submit_completed(apus, submission, APUS_FATE_UNKNOWN, 0);
    }
}

static gboolean submit_directly(Apus *apus, ApusEntryKind kind,
                                const uint8_t *payload, uint32_t length,
                                ApusDone *done, void *opaque, GError **errp)
{
    /* The core copies the payload: what is kept is the token. */
    ApusSubmission *submission = submission_new(kind, NULL, 0, done, opaque);

    if (!apus_core_submit(apus->core, kind, payload, length, submission,
                          apus_loop_now(apus->loop), errp)) {
        submission_free(submission);
        return FALSE;
    }
    if (!apus->flushing) {
        apus_loop_wake(apus->loop);
    }
    return TRUE;
}

/* --- in any thread ------------------------------------------------------- */

static gboolean check(Apus *apus, ApusEntryKind kind, const uint8_t *payload,
                      uint32_t length, GError **errp)
{
    ApusEntry entry = { .kind = kind, .payload = payload, .length = length };

    if (length > APUS_RECORD_MAX_PAYLOAD) {
        return apus_refuse(errp, APUS_ERROR_TOO_LONG, "the entry is too long");
    }
    if (kind == APUS_ENTRY_MEMBER || !apus_log_valid(&entry)) {
        return apus_refuse(errp, APUS_ERROR_CORRUPT, "this is no entry that "
                           "can be submitted");
    }
    if (!atomic_load(&apus->accepts)) {
        return atomic_load(&apus->submitted) == &closed
               ? apus_refuse(errp, APUS_ERROR_STOPPED, "the member has "
                             "stopped")
               : apus_refuse(errp, APUS_ERROR_NOT_LEADER, "this member does "
                             "not lead, or not yet");
    }
    return TRUE;
}

/* Room in the queue for @submission, which is then counted. */
static gboolean charge(Apus *apus, const ApusSubmission *submission)
{
    size_t before = atomic_fetch_add(&apus->queued, submission->charged);

    if (before + submission->charged > apus->config.queue_limit) {
        atomic_fetch_sub(&apus->queued, submission->charged);
        return FALSE;
    }
    return TRUE;
}

static gboolean push(Apus *apus, ApusSubmission *submission)
{
    ApusSubmission *newest = atomic_load(&apus->submitted);

    do {
        if (newest == &closed) {
            return FALSE;
        }
        submission->next = newest;
    } while (!atomic_compare_exchange_weak(&apus->submitted, &newest,
                                           submission));
    if (!newest) {
        apus_loop_wake(apus->loop);
    }
    return TRUE;
}

static gboolean enqueue(Apus *apus, ApusSubmission *submission, GError **errp)
{
    if (!charge(apus, submission)) {
        submission_free(submission);
        return apus_refuse(errp, APUS_ERROR_FULL, "the queue of submissions is "
                           "full");
    }
    if (submission->own) {
        apus->own++;
    }
    submission->when = apus_clock();
    if (!push(apus, submission)) {
        uncharge(apus, submission);
        submission_free(submission);
        return apus_refuse(errp, APUS_ERROR_STOPPED, "the member has stopped");
    }
    return TRUE;
}

/*
 * What the log has no room for goes to the queue, whoever submits it: the log
 * may be full of what is committed, so that no done() is left to come.
 */
gboolean apus_submit(Apus *apus, ApusEntryKind kind, const uint8_t *payload,
                     uint32_t length, ApusDone *done, void *opaque,
                     GError **errp)
{
    gboolean own = apus_is_own_thread(apus);
    ApusSubmission *submission;

    /* What this thread has submitted before must not be overtaken. */
    if (own && (!apus->in_core || apus->in_done) && apus->own == 0) {
        g_autoptr(GError) error = NULL;

        if (submit_directly(apus, kind, payload, length, done, opaque,
                            &error)) {
            return TRUE;
        }
        if (error->code != APUS_ERROR_FULL) {
            g_propagate_error(errp, g_steal_pointer(&error));
            return FALSE;
        }
    }
    if (!check(apus, kind, payload, length, errp)) {
        return FALSE;
    }
    submission = submission_new(kind, payload, length, done, opaque);
    submission->own = own;
    return enqueue(apus, submission, errp);
}

/* What @id runs, if it is connected; else 0. */
static uint64_t incarnation_of(Apus *apus, ApusId id)
{
    const ApusPeerStatus *peer;
    uint64_t incarnation;

    pthread_mutex_lock(&apus->lock);
    peer = apus_status_peer(&apus->seen, id);
    incarnation = peer && peer->connected ? peer->incarnation : 0;
    pthread_mutex_unlock(&apus->lock);
    return incarnation;
}

gboolean apus_submit_role(Apus *apus, ApusId secondary, uint64_t incarnation,
                          ApusDone *done, void *opaque, GError **errp)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusRole role = {
        .leader = apus->config.id,
        .leader_incarnation = apus->config.incarnation,
        .secondary = secondary,
    };

    if (secondary != APUS_NOBODY) {
        role.secondary_incarnation = incarnation
                                     ?: incarnation_of(apus, secondary);
        if (!role.secondary_incarnation) {
            return apus_refuse(errp, APUS_ERROR_ROLE, "member %u cannot be "
                               "named secondary: it is not connected",
                               secondary);
        }
    }
    apus_role_append(payload, &role);
    return apus_submit(apus, APUS_ENTRY_ROLE, payload->data, payload->len,
                       done, opaque, errp);
}
