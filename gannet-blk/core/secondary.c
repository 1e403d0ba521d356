/*
 * Secondary: the side of a pair of disks that takes over
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/secondary.h"

#include <string.h>

struct GannetSecondary {
    GannetStore *store;
    GannetSecondaryState state;
    gboolean connected;
    gboolean stopped; /* the own guest, by gannet_secondary_stop() */
    gboolean ended;   /* END has come */

    uint64_t guest_reserve;  /* for writes under way when the VM stops */
    uint64_t commit_reserve; /* for what stands before a COMMIT waited for */
    gboolean waited_for;     /* a COMMIT is */
    uint64_t promised;       /* an epoch that will be applied, or 0 */
    gboolean pressed;        /* PRESSURE was sent in this epoch */

    uint64_t writes; /* of the open epoch */
    uint64_t sum;
    uint64_t base; /* the store's marks do not begin anew with a connection */

    GQueue queue; /* of Reply */
    GannetSecondaryStats stats;
};

typedef struct Reply {
    GannetMessage message;
    GBytes *payload; /* or NULL */
} Reply;

static GQuark error_quark(void)
{
    return g_quark_from_static_string("gannet-secondary");
}

#define fail(errp, ...) g_set_error(errp, error_quark(), 0, __VA_ARGS__)

GannetSecondary *gannet_secondary_new(GannetStore *store)
{
    GannetSecondary *secondary = g_new0(GannetSecondary, 1);

    secondary->store = store;
    g_queue_init(&secondary->queue);
    return secondary;
}

static void drop_queue(GannetSecondary *secondary)
{
    Reply *reply;

    while ((reply = g_queue_pop_head(&secondary->queue))) {
        g_clear_pointer(&reply->payload, g_bytes_unref);
        g_free(reply);
    }
}

void gannet_secondary_free(GannetSecondary *secondary)
{
    drop_queue(secondary);
    g_free(secondary);
}

GannetSecondaryState gannet_secondary_state(const GannetSecondary *secondary)
{
    return secondary->state;
}

static void send(GannetSecondary *secondary, GannetMessage message,
                 GBytes *payload)
{
    Reply *reply;

    if (!secondary->connected) {
        return;
    }
    reply = g_new0(Reply, 1);
    reply->message = message;
    if (payload) {
        reply->message.payload = g_bytes_get_size(payload);
        reply->payload = g_bytes_ref(payload);
    }
    g_queue_push_tail(&secondary->queue, reply);
}

gboolean gannet_secondary_has_message(const GannetSecondary *secondary)
{
    return secondary->queue.length > 0;
}

gboolean gannet_secondary_next(GannetSecondary *secondary,
                               GannetMessage *message, GBytes **payload)
{
    Reply *reply = g_queue_pop_head(&secondary->queue);

    if (!reply) {
        return FALSE;
    }
    *message = reply->message;
    *payload = reply->payload;
    g_free(reply);
    return TRUE;
}

/* --- the connection ------------------------------------------------------- */

/*
 * The stream can bring a whole queue before the COMMIT that is waited for, and
 * a write that was under way. Half of the memory at least is for work.
 */
static gboolean divide(GannetSecondary *secondary, uint64_t queue,
                       GError **errp)
{
    GannetStoreStats store;

    gannet_store_stats(secondary->store, &store);
    secondary->guest_reserve = store.limit / 8;
    secondary->commit_reserve = queue + GANNET_MAX_WRITE + store.limit / 16;
    if (queue > store.limit || secondary->commit_reserve > store.limit / 2) {
        fail(errp, "a buffer-limit of %" G_GUINT64_FORMAT " is too small for "
             "the primary's queue-limit of %" G_GUINT64_FORMAT
             ", it must be %" G_GUINT64_FORMAT " at least", store.limit,
             queue, (queue + GANNET_MAX_WRITE) / 7 * 16 + 16);
        return FALSE;
    }
    return TRUE;
}

gboolean gannet_secondary_connected(GannetSecondary *secondary,
                                    const GannetHello *hello, uint64_t size,
                                    uint64_t generation, GError **errp)
{
    if (secondary->state != GANNET_SECONDARY_IDLE) {
        fail(errp, "this disk has taken over, or is to: it takes no writes "
             "of another");
        return FALSE;
    }
    if (hello->role != GANNET_PRIMARY) {
        fail(errp, "the peer is a secondary, too");
        return FALSE;
    }
    if (hello->size != size) {
        fail(errp, "the primary's disk has %" G_GUINT64_FORMAT " bytes, this "
             "one %" G_GUINT64_FORMAT, hello->size, size);
        return FALSE;
    }
    if (hello->generation < generation) {
        fail(errp, "the primary is of generation %" G_GUINT64_FORMAT
             ", this disk of %" G_GUINT64_FORMAT, hello->generation,
             generation);
        return FALSE;
    }
    if (!divide(secondary, hello->room, errp)) {
        return FALSE;
    }
    secondary->state = GANNET_SECONDARY_FOLLOWING;
    secondary->connected = TRUE;
    secondary->stats.term = 0;
    secondary->stats.sealed = secondary->stats.applied = 0;
    secondary->stats.pair = secondary->stats.pair_mark = 0;
    secondary->base += secondary->stats.mark;
    secondary->stats.mark = secondary->stats.durable = 0;
    return TRUE;
}

/* Back to a disk without a peer, or one that is followed. */
static void leave_epochs(GannetSecondary *secondary)
{
    secondary->state = secondary->connected ? GANNET_SECONDARY_FOLLOWING :
                                              GANNET_SECONDARY_IDLE;
    secondary->stopped = secondary->ended = FALSE;
    secondary->waited_for = secondary->pressed = FALSE;
    secondary->promised = 0;
    secondary->stats.term = 0;
    secondary->stats.sealed = secondary->stats.applied = 0;
}

void gannet_secondary_disconnected(GannetSecondary *secondary)
{
    secondary->connected = FALSE;
    drop_queue(secondary);
    if (secondary->state == GANNET_SECONDARY_FOLLOWING) {
        secondary->state = GANNET_SECONDARY_IDLE;
    } else if (secondary->state == GANNET_SECONDARY_EPOCHS &&
               secondary->stopped) {
        gannet_store_reset(secondary->store);
        leave_epochs(secondary);
    }
}

/* --- messages ------------------------------------------------------------- */

static gboolean is_data(const GannetMessage *message)
{
    return message->type == GANNET_WRITE || message->type == GANNET_ZERO;
}

static gboolean check(const GannetSecondary *secondary,
                      const GannetMessage *message, GError **errp)
{
    const GannetSecondaryStats *stats = &secondary->stats;
    gboolean epochs = secondary->state == GANNET_SECONDARY_EPOCHS;

    if (!secondary->connected) {
        fail(errp, "there is no connection");
        return FALSE;
    }
    if (message->type != GANNET_BEGIN && message->term != stats->term) {
        fail(errp, "a %s of term %" G_GUINT64_FORMAT " in term %"
             G_GUINT64_FORMAT, gannet_message_name(message->type),
             message->term, stats->term);
        return FALSE;
    }
    if ((is_data(message) || message->type == GANNET_VERIFY) &&
        message->epoch != (epochs ? stats->sealed + 1 : 0)) {
        fail(errp, "a %s of epoch %" G_GUINT64_FORMAT " after epoch %"
             G_GUINT64_FORMAT, gannet_message_name(message->type),
             message->epoch, stats->sealed);
        return FALSE;
    }
    if (message->mark && message->mark != stats->mark + 1) {
        fail(errp, "mark %" G_GUINT64_FORMAT " after %" G_GUINT64_FORMAT,
             message->mark, stats->mark);
        return FALSE;
    }
    return TRUE;
}

static void press(GannetSecondary *secondary)
{
    GannetSecondaryStats *stats = &secondary->stats;

    if (!secondary->pressed &&
        secondary->state == GANNET_SECONDARY_EPOCHS) {
        secondary->pressed = TRUE;
        send(secondary, (GannetMessage) {
            .type = GANNET_PRESSURE, .term = stats->term,
            .epoch = stats->sealed + 1 }, NULL);
    }
}

/* Half of what is for work is in layers that a checkpoint would clear. */
static void watch(GannetSecondary *secondary)
{
    GannetStoreStats store;
    uint64_t work;

    gannet_store_stats(secondary->store, &store);
    work = store.limit - secondary->guest_reserve - secondary->commit_reserve;
    if (store.svm + store.pvm + store.sealed > work / 2) {
        press(secondary);
    }
}

/* No room for the stream. Will there ever be? */
static GannetVerdict stall(GannetSecondary *secondary, GError **errp)
{
    GannetStoreStats store;

    press(secondary);
    gannet_store_stats(secondary->store, &store);
    if (secondary->waited_for && !store.committed && !store.garbage) {
        fail(errp, "buffer-limit, %" G_GUINT64_FORMAT " bytes, is reached and "
             "the end of the epoch has not come", store.limit);
        return GANNET_ERROR;
    }
    return GANNET_WAIT;
}

static uint64_t stream_spare(const GannetSecondary *secondary)
{
    if (secondary->state != GANNET_SECONDARY_EPOCHS || secondary->stopped ||
        secondary->waited_for) {
        return 0;
    }
    return secondary->guest_reserve + secondary->commit_reserve;
}

static GannetVerdict take_data(GannetSecondary *secondary,
                               const GannetMessage *message,
                               const void *payload, GError **errp)
{
    gboolean epochs = secondary->state == GANNET_SECONDARY_EPOCHS;
    GannetLayer layer = epochs ? GANNET_PVM : GANNET_COMMITTED;
    uint64_t spare = stream_spare(secondary);
    gboolean stored;

    if (message->type == GANNET_ZERO) {
        stored = gannet_store_write_zeroes(secondary->store, layer,
                                           message->offset, message->bytes,
                                           spare);
    } else {
        struct iovec iov = { (void *)payload, message->bytes };

        stored = gannet_store_write(secondary->store, layer, message->offset,
                                    message->bytes, &iov, 1, spare);
    }
    if (!stored) {
        return stall(secondary, errp);
    }
    secondary->writes++;
    secondary->sum += message->bytes;
    secondary->stats.received += message->payload;
    watch(secondary);
    return GANNET_DONE;
}

static gboolean take_begin(GannetSecondary *secondary,
                           const GannetMessage *message, GError **errp)
{
    if (secondary->state != GANNET_SECONDARY_FOLLOWING ||
        !secondary->stats.pair) {
        fail(errp, "epochs begin before the disks are in step");
        return FALSE;
    }
    gannet_store_close(secondary->store, secondary->base + message->mark);
    secondary->state = GANNET_SECONDARY_EPOCHS;
    secondary->stats.term = message->term;
    secondary->writes = secondary->sum = 0;
    return TRUE;
}

static gboolean take_commit(GannetSecondary *secondary,
                            const GannetMessage *message, GError **errp)
{
    GannetSecondaryStats *stats = &secondary->stats;

    if (secondary->state != GANNET_SECONDARY_EPOCHS || secondary->ended ||
        message->epoch <= stats->sealed) {
        fail(errp, "epoch %" G_GUINT64_FORMAT " ends after epoch %"
             G_GUINT64_FORMAT, message->epoch, stats->sealed);
        return FALSE;
    }
    if (message->value != secondary->writes ||
        message->bytes != secondary->sum) {
        fail(errp, "epoch %" G_GUINT64_FORMAT " had %" G_GUINT64_FORMAT
             " writes of %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
             " of %" G_GUINT64_FORMAT " have come", message->epoch,
             message->value, message->bytes, secondary->writes,
             secondary->sum);
        return FALSE;
    }
    gannet_store_seal(secondary->store, secondary->base + message->mark);
    stats->sealed = message->epoch;
    secondary->writes = secondary->sum = 0;
    secondary->waited_for = FALSE;
    return TRUE;
}

/* The epochs have ended on both sides: what the primary wrote is agreed on. */
static void settle(GannetSecondary *secondary)
{
    gannet_store_seal(secondary->store,
                      secondary->base + secondary->stats.mark);
    gannet_store_apply(secondary->store);
    leave_epochs(secondary);
}

static gboolean take_end(GannetSecondary *secondary,
                         const GannetMessage *message, GError **errp)
{
    if (secondary->state != GANNET_SECONDARY_EPOCHS || secondary->ended) {
        fail(errp, "epochs end that have not begun");
        return FALSE;
    }
    secondary->ended = TRUE;
    secondary->stats.mark = message->mark;
    if (secondary->stopped) {
        settle(secondary);
    }
    return TRUE;
}

static gboolean take_mark(GannetSecondary *secondary,
                          const GannetMessage *message, GError **errp)
{
    if (secondary->state != GANNET_SECONDARY_FOLLOWING) {
        fail(errp, "a %s while epochs are on",
             gannet_message_name(message->type));
        return FALSE;
    }
    gannet_store_close(secondary->store, secondary->base + message->mark);
    if (message->type == GANNET_SYNCED) {
        secondary->stats.pair = message->value;
        secondary->stats.pair_mark = message->mark;
    }
    return TRUE;
}

static GannetVerdict take(GannetSecondary *secondary,
                          const GannetMessage *message, const void *payload,
                          GError **errp)
{
    gboolean ok;

    switch (message->type) {
    case GANNET_WRITE:
    case GANNET_ZERO:
        /* Nothing follows END before the own guest has stopped. */
        return secondary->ended ? GANNET_WAIT :
               take_data(secondary, message, payload, errp);
    case GANNET_MARK:
    case GANNET_SYNCED:
        ok = take_mark(secondary, message, errp);
        break;
    case GANNET_BEGIN:
        ok = take_begin(secondary, message, errp);
        break;
    case GANNET_COMMIT:
        if (secondary->promised) {
            /* The disks of a VM are at this epoch: not one of them further. */
            return GANNET_WAIT;
        }
        ok = take_commit(secondary, message, errp);
        break;
    case GANNET_END:
        ok = take_end(secondary, message, errp);
        break;
    case GANNET_VERIFY:
        return GANNET_HASH;
    default:
        fail(errp, "the primary sent a %s, which is a secondary's to send",
             gannet_message_name(message->type));
        return GANNET_ERROR;
    }
    return ok ? GANNET_DONE : GANNET_ERROR;
}

GannetVerdict gannet_secondary_receive(GannetSecondary *secondary,
                                       const GannetMessage *message,
                                       const void *payload, GError **errp)
{
    GannetVerdict verdict;

    /* After END the primary is in no term; here it ends with the guest. */
    if (secondary->ended && message->term == 0 && secondary->connected) {
        return GANNET_WAIT;
    }
    if (!check(secondary, message, errp)) {
        return GANNET_ERROR;
    }
    verdict = take(secondary, message, payload, errp);
    if (verdict == GANNET_DONE || verdict == GANNET_HASH) {
        secondary->stats.messages++;
        secondary->stats.mark = MAX(secondary->stats.mark, message->mark);
    }
    return verdict;
}

void gannet_secondary_verified(GannetSecondary *secondary,
                               const GannetMessage *message,
                               gboolean differs)
{
    send(secondary, (GannetMessage) {
        .type = GANNET_VERIFIED, .term = message->term,
        .epoch = message->epoch, .offset = message->offset,
        .bytes = message->bytes, .value = differs ? 1 : 0 }, NULL);
}

void gannet_secondary_fail(GannetSecondary *secondary, const char *why)
{
    g_autoptr(GBytes) text = gannet_text_encode(why);

    send(secondary, (GannetMessage) { .type = GANNET_FAILED }, text);
}

/* --- the checkpoint framework --------------------------------------------- */

GannetVerdict gannet_secondary_sealed(GannetSecondary *secondary,
                                      uint64_t epoch, GError **errp)
{
    const GannetSecondaryStats *stats = &secondary->stats;
    gboolean epochs = secondary->state == GANNET_SECONDARY_EPOCHS;
    uint64_t pending = epochs ? gannet_secondary_pending(secondary) : 0;

    secondary->promised = pending == epoch ? pending : 0;
    secondary->waited_for = FALSE;
    if (epoch == 0 ? epochs :
        pending && (epoch == pending || epoch == GANNET_ANY_EPOCH)) {
        return GANNET_DONE;
    }
    if (!secondary->connected) {
        fail(errp, "there is no connection to the primary's disk");
        return GANNET_ERROR;
    }
    if (epoch && !epochs) {
        fail(errp, "replication is not on");
        return GANNET_ERROR;
    }
    if (epoch && (epoch <= stats->sealed || secondary->ended)) {
        fail(errp, "the primary's disk is past epoch %" G_GUINT64_FORMAT,
             epoch);
        return GANNET_ERROR;
    }
    secondary->waited_for = epoch != 0;
    return GANNET_WAIT;
}

uint64_t gannet_secondary_pending(const GannetSecondary *secondary)
{
    const GannetSecondaryStats *stats = &secondary->stats;

    return stats->sealed != stats->applied ? stats->sealed : 0;
}

void gannet_secondary_apply(GannetSecondary *secondary)
{
    g_assert(gannet_secondary_pending(secondary));
    gannet_store_apply(secondary->store);
    secondary->stats.applied = secondary->stats.sealed;
    secondary->promised = 0;
    secondary->waited_for = secondary->pressed = FALSE;
}

gboolean gannet_secondary_take_over(GannetSecondary *secondary,
                                    GannetRegions *regions, GError **errp)
{
    if (secondary->state != GANNET_SECONDARY_EPOCHS) {
        fail(errp, "replication is not on: the disk may lack what the "
             "primary wrote");
        return FALSE;
    }
    if (regions) {
        g_autoptr(GArray) list = g_array_new(FALSE, FALSE,
                                             sizeof(GannetRange));

        gannet_store_list(secondary->store, GANNET_SVM, list);
        for (guint i = 0; i < list->len; i++) {
            const GannetRange *range = &g_array_index(list, GannetRange, i);

            gannet_regions_add(regions, range->offset, range->bytes);
        }
    }
    gannet_store_take_over(secondary->store);
    secondary->state = GANNET_SECONDARY_SURVIVOR;
    secondary->connected = FALSE;
    drop_queue(secondary);
    return TRUE;
}

void gannet_secondary_stop(GannetSecondary *secondary)
{
    if (secondary->state != GANNET_SECONDARY_EPOCHS) {
        return;
    }
    secondary->stopped = TRUE;
    if (!secondary->connected) {
        gannet_store_reset(secondary->store);
        leave_epochs(secondary);
    } else if (secondary->ended) {
        settle(secondary);
    }
}

/* --- the own guest -------------------------------------------------------- */

GannetVerdict gannet_secondary_write(GannetSecondary *secondary,
                                     uint64_t offset, uint64_t bytes,
                                     const struct iovec *iov, int n_iov,
                                     gboolean draining, GError **errp)
{
    uint64_t spare = draining ? 0 : secondary->commit_reserve +
                                    secondary->guest_reserve;
    gboolean stored;

    if (secondary->state != GANNET_SECONDARY_EPOCHS || secondary->stopped) {
        fail(errp, "replication is not on");
        return GANNET_ERROR;
    }
    stored = iov ? gannet_store_write(secondary->store, GANNET_SVM, offset,
                                      bytes, iov, n_iov, spare)
                 : gannet_store_write_zeroes(secondary->store, GANNET_SVM,
                                             offset, bytes, spare);
    if (!stored) {
        press(secondary);
        if (draining) {
            fail(errp, "buffer-limit is reached by writes under way");
            return GANNET_ERROR;
        }
        return GANNET_WAIT;
    }
    watch(secondary);
    return GANNET_DONE;
}

/* --- write-back ----------------------------------------------------------- */

uint64_t gannet_secondary_flush_due(const GannetSecondary *secondary)
{
    uint64_t written = gannet_store_written(secondary->store);

    if (!secondary->connected ||
        written <= secondary->base + secondary->stats.durable) {
        return 0;
    }
    return written - secondary->base;
}

void gannet_secondary_durable(GannetSecondary *secondary, uint64_t mark)
{
    if (mark > secondary->stats.durable) {
        secondary->stats.durable = mark;
        send(secondary, (GannetMessage) {
            .type = GANNET_DURABLE, .mark = mark,
            .term = secondary->stats.term }, NULL);
    }
}

void gannet_secondary_stats(const GannetSecondary *secondary,
                            GannetSecondaryStats *stats)
{
    *stats = secondary->stats;
}
