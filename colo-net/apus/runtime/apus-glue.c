/*
 * Who is called when: the core between transport, storage and user
 *
 * The loop calls the transport's and the storage's handlers, which tell the
 * core what happened. At the end of each round the core is given what others
 * have submitted and asked for, is flushed, once, and what other threads see
 * is brought up to date. The user's changed() and failed() are called then,
 * outside of the core, so that they may call anything.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "apus-internal.h"

void apus_log(Apus *apus, GLogLevelFlags level, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (!apus->handlers.log) {
        return;
    }
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    apus->handlers.log(apus->opaque, level, text);
}

/* --- what the core asks for ---------------------------------------------- */

static void core_send(void *opaque, const ApusMessage *message)
{
    Apus *apus = opaque;

    /* Others may lead as soon as they have it: first be silent (R9). */
    if (message->type == APUS_MESSAGE_RESIGN) {
        atomic_store(&apus->lease, 0);
    }
    apus->transport->ops->send(apus->transport, message);
}

static gboolean core_ready(void *opaque, ApusId peer)
{
    Apus *apus = opaque;

    return apus->transport->ops->ready(apus->transport, peer);
}

static void core_fence(void *opaque, uint64_t term)
{
    Apus *apus = opaque;

    apus->transport->ops->fence(apus->transport, term);
}

static void core_save(void *opaque, uint64_t ticket,
                      const ApusHardState *state)
{
    Apus *apus = opaque;

    apus_storage_save(apus->storage, ticket, state);
}

static void core_append(void *opaque, uint64_t ticket, uint64_t first,
                        const ApusRecords *records)
{
    Apus *apus = opaque;

    apus_storage_append(apus->storage, ticket, first, records);
}

static void core_trim(void *opaque, uint64_t index)
{
    Apus *apus = opaque;

    apus_storage_trim(apus->storage, index);
}

static ApusDeliver core_deliver(void *opaque, const ApusEntry *entry)
{
    Apus *apus = opaque;
    ApusDeliver next;

    /* It may wake threads that take this CPU: first what others wait for. */
    apus->transport->ops->flush(apus->transport);
    apus->in_core = TRUE;
    next = apus->handlers.deliver(apus->opaque, entry);
    apus->in_core = FALSE;
    return next;
}

static void core_skipped(void *opaque, const ApusSnapshot *snapshot)
{
    Apus *apus = opaque;

    if (apus->handlers.skipped) {
        apus->in_core = TRUE;
        apus->handlers.skipped(apus->opaque, snapshot);
        apus->in_core = FALSE;
    }
}

static void core_completed(void *opaque, void *token, ApusFate fate,
                           uint64_t index)
{
    Apus *apus = opaque;

    apus->in_core = apus->in_done = TRUE;
    apus_submit_completed(apus, token, fate, index);
    apus->in_core = apus->in_done = FALSE;
}

static void core_changed(void *opaque)
{
    Apus *apus = opaque;

    apus->changed = TRUE;
}

static void core_told(void *opaque, ApusId from, uint64_t term,
                      const uint8_t *data, size_t size)
{
    Apus *apus = opaque;

    if (apus->handlers.told) {
        apus->in_core = TRUE;
        apus->handlers.told(apus->opaque, from, term, data, size);
        apus->in_core = FALSE;
    }
}

static void core_term_rises(void *opaque, uint64_t term)
{
    Apus *apus = opaque;

    if (apus->handlers.term_rises) {
        apus->in_core = TRUE;
        apus->handlers.term_rises(apus->opaque, term);
        apus->in_core = FALSE;
    }
}

static void core_peers(void *opaque, const ApusMembers *members)
{
    Apus *apus = opaque;

    apus->transport->ops->peers(apus->transport, members);
}

static uint32_t core_random(void *opaque)
{
    (void)opaque;
    return apus_random();
}

const ApusCoreOps apus_core_ops = {
    .send = core_send,
    .ready = core_ready,
    .fence = core_fence,
    .save = core_save,
    .append = core_append,
    .trim = core_trim,
    .deliver = core_deliver,
    .skipped = core_skipped,
    .completed = core_completed,
    .changed = core_changed,
    .told = core_told,
    .term_rises = core_term_rises,
    .peers = core_peers,
    .random = core_random,
};

/* --- what the transport tells -------------------------------------------- */

static void on_message(void *opaque, const ApusMessage *message)
{
    Apus *apus = opaque;

    apus_core_receive(apus->core, message, apus_loop_now(apus->loop));
}

static void on_connected(void *opaque, ApusId peer, uint64_t life,
                         uint64_t incarnation)
{
    Apus *apus = opaque;

    apus_core_connected(apus->core, peer, life, incarnation,
                        apus_loop_now(apus->loop));
    apus_log(apus, G_LOG_LEVEL_DEBUG, "connected with member %u", peer);
}

static void on_disconnected(void *opaque, ApusId peer, const char *why)
{
    Apus *apus = opaque;

    apus_core_disconnected(apus->core, peer, apus_loop_now(apus->loop));
    apus_log(apus, G_LOG_LEVEL_INFO, "disconnected from member %u: %s", peer,
             why);
}

static void on_refused(void *opaque, ApusId peer, uint64_t life)
{
    Apus *apus = opaque;

    apus_core_refused(apus->core, peer, life, apus_loop_now(apus->loop));
    apus_log(apus, G_LOG_LEVEL_DEBUG, "member %u is dead: its process is gone",
             peer);
}

/* There is room again: the flush at the end of this round uses it. */
static void on_writable(void *opaque)
{
    (void)opaque;
}

static void on_complaint(void *opaque, const char *text)
{
    apus_log(opaque, G_LOG_LEVEL_WARNING, "%s", text);
}

const ApusTransportHandlers apus_transport_handlers = {
    .message = on_message,
    .connected = on_connected,
    .disconnected = on_disconnected,
    .refused = on_refused,
    .writable = on_writable,
    .complaint = on_complaint,
};

/* --- what the storage tells ---------------------------------------------- */

static void on_stored(void *opaque, uint64_t ticket)
{
    Apus *apus = opaque;

    apus_core_stored(apus->core, ticket, apus_loop_now(apus->loop));
}

static void on_failed(void *opaque, const GError *error)
{
    Apus *apus = opaque;

    atomic_store(&apus->lease, 0);
    apus_core_failed(apus->core, apus_loop_now(apus->loop));
    if (!apus->failure) {
        apus->failure = g_error_copy(error);
    }
}

static void on_stalled(void *opaque, const char *why)
{
    if (why) {
        apus_log(opaque, G_LOG_LEVEL_WARNING, "cannot store anything: %s; "
                 "tried again every second", why);
    } else {
        apus_log(opaque, G_LOG_LEVEL_INFO, "storing goes on");
    }
}

const ApusStorageHandlers apus_storage_handlers = {
    .stored = on_stored,
    .failed = on_failed,
    .stalled = on_stalled,
};

/* --- rounds -------------------------------------------------------------- */

void apus_tick(void *opaque)
{
    Apus *apus = opaque;

    /* Nothing else may have woken this thread since the main loop turned. */
    apus_ask_alive(apus);
    apus_core_tick(apus->core, apus_loop_now(apus->loop));
}

static void flush(Apus *apus)
{
    apus->flushing = TRUE;
    apus_core_flush(apus->core, apus_loop_now(apus->loop));
    apus->flushing = FALSE;
}

static void publish(Apus *apus, ApusStatus *status)
{
    pthread_mutex_lock(&apus->lock);
    apus->seen = *status;
    pthread_mutex_unlock(&apus->lock);
    atomic_store(&apus->accepts, status->accepts &&
                                 !atomic_load(&apus->stop));
}

static void see_superseded(Apus *apus, const ApusStatus *status)
{
    if (status->superseded && !apus->superseded) {
        apus->superseded = TRUE;
        g_clear_error(&apus->failure);
        apus_refuse(&apus->failure, APUS_ERROR_SUPERSEDED, "an operator has "
                    "forced another member to go on without this one: set it "
                    "up anew, as one that joins");
    }
}

static void tell_user(Apus *apus)
{
    ApusStatus status;

    if (apus->changed) {
        apus->changed = FALSE;
        apus_core_status(apus->core, &status, apus_loop_now(apus->loop));
        publish(apus, &status);
        see_superseded(apus, &status);
        if (apus->handlers.changed) {
            apus->handlers.changed(apus->opaque, &status);
        }
    }
    if (apus->failure) {
        g_autoptr(GError) failure = g_steal_pointer(&apus->failure);

        if (apus->handlers.failed) {
            apus->handlers.failed(apus->opaque, failure);
        }
    }
}

void apus_round(void *opaque)
{
    Apus *apus = opaque;
    uint64_t deadline;

    apus_ask_serve(apus);
    apus_tell_take(apus);
    apus_submit_take(apus);
    flush(apus);
    /* What was committed just now may have made room. */
    if (apus->waiting.length && !apus->more && apus_submit_take(apus)) {
        flush(apus);
    }
    if (apus->more) {
        apus_loop_wake(apus->loop);
    }
    atomic_store(&apus->lease,
                 apus_core_lease(apus->core, apus_loop_now(apus->loop)));
    deadline = MIN(apus_core_deadline(apus->core), apus_submit_deadline(apus));
    apus_timer_set(apus->timer, deadline == UINT64_MAX ? 0 : deadline);
    tell_user(apus);
    if (atomic_load(&apus->stop)) {
        apus_stopping(apus);
    }
}
