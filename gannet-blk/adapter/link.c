/*
 * The connection of a disk to its peer
 *
 * Called by the connection's threads (peer.h), but for what commands ask for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "crypto/random.h"
#include "migration/colo.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-events-gannet.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "colony/colo-net/adapter/group.h"
#include "gannet.h"
#include "node.h"
#include "trace.h"

/* How long a thread waits at a time before it looks again. */
#define LOOK_MS 100

static const char *name(const GannetNode *node)
{
    return bdrv_get_node_name(node->bs);
}

static int64_t timeout_ns(const GannetNode *node)
{
    return node->peer_timeout * (int64_t)SCALE_MS;
}

/* A core's error becomes QEMU's. */
static bool fail(Error **errp, const GError *error)
{
    error_setg(errp, "%s", error->message);
    return false;
}

void gannet_link_kick(GannetNode *node)
{
    if (node->link) {
        gannet_peer_kick(node->link);
    }
}

void gannet_link_break(GannetNode *node, const char *reason)
{
    if (node->link) {
        node->broken = true;
        qemu_cond_broadcast(&node->changed);
        gannet_peer_shutdown(node->link, reason);
    } else if (node->peer) {
        gannet_peer_shutdown(node->peer, reason);
    }
}

static GannetPeerConfig config(const GannetNode *node,
                               const SocketAddress *address,
                               QCryptoTLSCreds *tls_creds)
{
    return (GannetPeerConfig) {
        .address = address,
        .node_name = name(node),
        .tls_creds = tls_creds,
        .tls_hostname = node->options->tls_hostname,
        .timeout_ms = node->peer_timeout,
        .rdma = node->options->rdma ? &node->rdma : NULL,
    };
}

static void describe(const GannetNode *node, GannetHello *hello)
{
    const GannetSideState *state = gannet_side_file_state(node->side);

    pstrcpy(hello->disk, sizeof(hello->disk), node->disk);
    hello->size = node->size;
    hello->pair = state->pair;
    hello->generation = state->generation;
    hello->partial = state->partial;
}

/* --- primary -------------------------------------------------------------- */

static bool primary_hello(void *opaque, GannetPeer *peer,
                          const GannetHello *theirs, GannetHello *ours,
                          GBytes **intents, Error **errp)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    describe(node, ours);
    /* Whose lacks are known, in the log or only in memory. */
    ours->pair = node->resync == GANNET_RESYNC_FULL ? 0 :
                 gannet_primary_pair(node->primary);
    ours->room = node->queue_limit;
    return true;
}

static bool load_intents(const GannetNode *node, const GannetHello *theirs,
                         GBytes *bytes, GannetRegions **intents, Error **errp)
{
    g_autoptr(GError) error = NULL;
    gsize size;
    const void *data;

    *intents = NULL;
    if (!bytes) {
        return true;
    }
    data = g_bytes_get_data(bytes, &size);
    *intents = gannet_regions_new(node->size, theirs->granularity);
    if (!gannet_regions_load(*intents, data, size, &error)) {
        g_clear_pointer(intents, gannet_regions_free);
        return fail(errp, error);
    }
    return true;
}

/*
 * The write-intent log speaks of one peer. What is written from now on is for
 * another: until the two are in step, the disk is in step with none.
 */
static void forget_pair(GannetNode *node)
{
    GannetSideState state = *gannet_side_file_state(node->side);

    if (state.pair) {
        state.pair = 0;
        gannet_side_set(node, &state);
    }
}

static uint64_t random_name(void)
{
    uint64_t value = 0;

    do {
        qcrypto_random_bytes(&value, sizeof(value), &error_abort);
    } while (!value);
    return value;
}

static bool primary_connected(void *opaque, GannetPeer *peer,
                              const GannetHello *theirs, GBytes *bytes,
                              Error **errp)
{
    GannetNode *node = opaque;
    g_autoptr(GannetRegions) intents = NULL;
    g_autoptr(GError) error = NULL;
    GannetPrimaryStats stats;

    if (strcmp(theirs->disk, node->disk)) {
        error_setg(errp, "the peer's disk is '%s', this one '%s'",
                   theirs->disk, node->disk);
        return false;
    }
    if (theirs->size != node->size) {
        error_setg(errp, "the peer's disk has %" PRIu64 " bytes, this one %"
                   PRIu64, theirs->size, node->size);
        return false;
    }
    if (!load_intents(node, theirs, bytes, &intents, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&node->lock);
    if (!gannet_primary_connected(node->primary, theirs, intents,
                                  random_name(), node->resync, &error)) {
        return fail(errp, error);
    }
    gannet_primary_stats(node->primary, &stats);
    /* Of a copy of everything only memory knows how much is missing. */
    if (theirs->pair != gannet_side_file_state(node->side)->pair ||
        stats.copy_total == node->size) {
        forget_pair(node);
    }
    node->link = peer;
    g_clear_pointer(&node->error, g_free);
    trace_gannet_connected(name(node), "primary");
    node->follows = false;
    gannet_work(node);
    return true;
}

static void send_verified(GannetNode *node)
{
    const GArray *ranges = gannet_primary_differences(node->primary);
    GannetDifferenceList *list = NULL, **tail = &list;
    GannetPrimaryStats stats;

    for (guint i = 0; i < ranges->len; i++) {
        const GannetRange *range = &g_array_index(ranges, GannetRange, i);
        GannetDifference *difference = g_new0(GannetDifference, 1);

        difference->offset = range->offset;
        difference->length = range->bytes;
        QAPI_LIST_APPEND(tail, difference);
    }
    gannet_primary_stats(node->primary, &stats);
    qapi_event_send_gannet_verified(name(node), stats.verified,
                                    stats.differing, list);
    qapi_free_GannetDifferenceList(list);
}

static void request_checkpoint(void *opaque)
{
    colo_request_checkpoint();
}

static void handle_event(GannetNode *node, GannetPrimaryEvent event)
{
    switch (event) {
    case GANNET_PRIMARY_NOTHING:
        break;
    case GANNET_PRIMARY_PAIRED:
        node->pairing = true;
        break;
    case GANNET_PRIMARY_DURABLE:
        node->settle = true;
        break;
    case GANNET_PRIMARY_PRESSURE:
        qapi_event_send_gannet_pressure(name(node));
        aio_bh_schedule_oneshot(qemu_get_aio_context(), request_checkpoint,
                                NULL);
        break;
    case GANNET_PRIMARY_VERIFIED:
        send_verified(node);
        break;
    case GANNET_PRIMARY_REFUSED:
        gannet_link_break(node, gannet_primary_why(node->primary));
        break;
    }
}

static void handle_events(GannetNode *node)
{
    GannetPrimaryEvent event;

    while ((event = gannet_primary_event(node->primary)) !=
           GANNET_PRIMARY_NOTHING) {
        handle_event(node, event);
    }
}

static bool primary_receive(void *opaque, GannetPeer *peer,
                            const GannetMessage *message, const void *payload,
                            Error **errp)
{
    GannetNode *node = opaque;
    g_autoptr(GError) error = NULL;

    QEMU_LOCK_GUARD(&node->lock);
    if (!gannet_primary_receive(node->primary, message, payload, &error)) {
        return fail(errp, error);
    }
    handle_events(node);
    gannet_link_kick(node);
    gannet_work(node);
    return true;
}

void gannet_link_watch(GannetNode *node)
{
    timer_mod(node->held_timer, node->held_since + timeout_ns(node));
}

void gannet_link_held(void *opaque)
{
    GannetNode *node = opaque;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    QEMU_LOCK_GUARD(&node->lock);
    if (!node->held_since || !node->connecting) {
        return;
    }
    if (now < node->held_since + timeout_ns(node)) {
        gannet_link_watch(node);
    } else {
        g_autofree char *why = g_strdup_printf(
            "the full queue of %" PRIu64 " bytes did not move for %u ms",
            node->queue_limit, node->peer_timeout);

        gannet_link_break(node, why);
    }
}

static bool primary_next(void *opaque, GannetPeer *peer,
                         GannetMessage *message, GBytes **payload)
{
    GannetNode *node = opaque;
    GannetPrimaryStats stats;
    bool found;

    QEMU_LOCK_GUARD(&node->lock);
    found = gannet_primary_next(node->primary, message, payload);
    if (found && node->n_held) {
        node->held_since = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
        gannet_wake(node, &node->held);
    }
    gannet_primary_stats(node->primary, &stats);
    if (stats.missing || stats.verifying) {
        gannet_work(node);
    }
    return found;
}

static void lost(GannetNode *node, GannetPeer *peer, const char *reason)
{
    /* A survivor may have a new one already. */
    if (node->link == peer) {
        node->link = NULL;
        node->broken = false;
    }
    trace_gannet_closed(name(node), reason);
    if (node->started != GANNET_STARTED_SURVIVOR) {
        if (!node->error) {
            node->error = g_strdup_printf("The peer is lost: %s", reason);
        }
        qapi_event_send_gannet_peer_lost(name(node), reason);
    }
    replication_notify();
}

static void primary_closed(void *opaque, GannetPeer *peer, const char *reason)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    gannet_primary_disconnected(node->primary);
    handle_events(node);
    node->pairing = node->in_step = false;
    node->connecting = false;
    lost(node, peer, reason);
    gannet_wake(node, &node->held);
}

static const GannetPeerOps primary_ops = {
    .hello = primary_hello,
    .connected = primary_connected,
    .receive = primary_receive,
    .next = primary_next,
    .closed = primary_closed,
};

static GannetResync resync_of(GannetResyncMode mode)
{
    switch (mode) {
    case GANNET_RESYNC_MODE_FULL:
        return GANNET_RESYNC_FULL;
    case GANNET_RESYNC_MODE_NONE:
        return GANNET_RESYNC_NONE;
    default:
        return GANNET_RESYNC_CHANGED;
    }
}

/* Whether it may connect, as far as can be told here; with the lock held. */
static bool check_resync(GannetNode *node, const SocketAddress *peer,
                         Error **errp)
{
    GannetSecondaryState state = gannet_node_state(node);
    const char *not_leading = apus_group_not_leading();

    if (!node->options->peer && !peer) {
        error_setg(errp, "Node '%s' has no option 'peer': it does not know "
                   "whom to connect to; name the peer", name(node));
    } else if (not_leading) {
        error_setg(errp, "Node '%s' must not overwrite its peer: %s; let the "
                   "leader bring this disk up to date", name(node),
                   not_leading);
    } else if (node->connecting) {
        error_setg(errp, "Node '%s' is connected to its peer already, or "
                   "about to be", name(node));
    } else if (state == GANNET_SECONDARY_FOLLOWING ||
               state == GANNET_SECONDARY_EPOCHS) {
        error_setg(errp, "Node '%s' is a secondary", name(node));
    } else if (gannet_is_mixture(node)) {
        error_setg(errp, "The disk of node '%s' has a part of some state "
                   "only: it has to be brought up to date, not its peer",
                   name(node));
    } else {
        return true;
    }
    return false;
}

static void set_peer(GannetNode *node, const SocketAddress *peer)
{
    qapi_free_SocketAddress(node->options->peer);
    node->options->peer = QAPI_CLONE(SocketAddress, peer);
}

void gannet_resync(BlockDriverState *bs, const SocketAddress *peer,
                   GannetResyncMode mode, Error **errp)
{
    GannetNode *node = gannet_node(bs);
    GannetPeerConfig to;
    GannetPeer *old;

    WITH_QEMU_LOCK_GUARD(&node->lock) {
        if (!check_resync(node, peer, errp)) {
            return;
        }
        if (peer) {
            set_peer(node, peer);
        }
        node->connecting = true;
        node->resync = resync_of(mode);
        old = g_steal_pointer(&node->peer);
    }
    if (old) {
        gannet_peer_free(old);
    }
    to = config(node, node->options->peer, node->tls_creds);
    /* Its ops wait for the lock until it is known here. */
    WITH_QEMU_LOCK_GUARD(&node->lock) {
        node->peer = gannet_peer_connect(&to, &primary_ops, node);
    }
}

void gannet_verify(BlockDriverState *bs, Error **errp)
{
    GannetNode *node = gannet_node(bs);
    g_autoptr(GError) error = NULL;

    QEMU_LOCK_GUARD(&node->lock);
    if (!gannet_primary_verify(node->primary, &error)) {
        error_setg(errp, "Node '%s' cannot be verified: %s", name(node),
                   error->message);
        return;
    }
    gannet_work(node);
}

/* --- secondary ------------------------------------------------------------ */

/*
 * The disk is this node's to write, guest or not. Not in the middle of
 * somebody's wait, who may be changing the graph.
 */
void gannet_link_make_writable(void *opaque)
{
    GannetNode *node = opaque;
    BlockDriverState *bs = node->bs;
    Error *err = NULL;

    if (bdrv_activate(bs, &err) >= 0) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();

        node->owns_disk = true;
        if (bdrv_child_refresh_perms(bs, bs->file, &err) < 0) {
            node->owns_disk = false;
        }
    }
    qemu_mutex_lock(&node->lock);
    if (err) {
        gannet_fail(node, "The disk cannot be written: %s",
                    error_get_pretty(err));
        gannet_link_break(node, "the disk cannot be written");
        error_free(err);
    } else {
        node->writable = true;
        gannet_work(node);
    }
    qemu_mutex_unlock(&node->lock);
}

static bool check_hello(GannetNode *node, const GannetHello *theirs,
                        Error **errp)
{
    g_autoptr(GError) error = NULL;

    if (strcmp(theirs->disk, node->disk)) {
        error_setg(errp, "the disk here is '%s', not '%s'", node->disk,
                   theirs->disk);
        return false;
    }
    if (!node->open || node->closing) {
        error_setg(errp, "the disk is being closed");
        return false;
    }
    if (node->connecting || node->started == GANNET_STARTED_PRIMARY) {
        error_setg(errp, "this side is a primary, too");
        return false;
    }
    if (node->guest_wrote) {
        error_setg(errp, "a guest has written to this disk since it was "
                   "opened: it is not to be overwritten; if it is, start it "
                   "anew");
        return false;
    }
    if (!gannet_secondary_connected(node->secondary, theirs, node->size,
                                    gannet_side_file_state(node->side)->
                                    generation, &error)) {
        return fail(errp, error);
    }
    return true;
}

static bool secondary_hello(void *opaque, GannetPeer *peer,
                            const GannetHello *theirs, GannetHello *ours,
                            GBytes **intents, Error **errp)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    if (!check_hello(node, theirs, errp)) {
        return false;
    }
    describe(node, ours);
    ours->room = node->options->buffer_limit;
    if (ours->pair) {
        g_autoptr(GannetRegions) marks = gannet_regions_new(
            node->size, gannet_side_file_granularity(node->side));

        gannet_side_file_marks(node->side, marks);
        ours->granularity = gannet_regions_granularity(marks);
        *intents = gannet_regions_save(marks);
    }
    if (theirs->pair != ours->pair) {
        forget_pair(node);
    }
    node->link = peer;
    node->generation = theirs->generation;
    node->connections++;
    node->whole = node->unusable = node->write_failed = false;
    node->follows = true;
    g_clear_pointer(&node->error, g_free);
    trace_gannet_connected(name(node), "secondary");
    if (!node->writable) {
        qemu_bh_schedule(node->writable_bh);
    }
    return true;
}

static bool wait_changed(GannetNode *node, Error **errp)
{
    if (node->broken) {
        error_setg(errp, "the connection is being closed");
        return false;
    }
    gannet_link_kick(node);
    gannet_work(node);
    qemu_cond_timedwait(&node->changed, &node->lock, LOOK_MS);
    return true;
}

/* The worker reads the disk. */
static bool answer(GannetNode *node, const GannetMessage *message,
                   const void *payload, Error **errp)
{
    GannetQuestion question = {
        .number = ++node->questions,
        .message = *message,
    };
    bool waiting = true;

    memcpy(question.hash, payload, sizeof(question.hash));
    node->question = &question;
    while (!question.answered && waiting) {
        waiting = wait_changed(node, errp);
    }
    node->question = NULL;
    return waiting;
}

static void note_received(GannetNode *node, const GannetMessage *message)
{
    switch (message->type) {
    case GANNET_SYNCED:
    case GANNET_MARK:
    case GANNET_BEGIN:
    case GANNET_COMMIT:
    case GANNET_END:
        if (message->type == GANNET_SYNCED) {
            node->whole = true;
        }
        if (message->type == GANNET_END) {
            gannet_left_epochs(node);
        }
        trace_gannet_received(name(node), gannet_message_name(message->type),
                              message->epoch, message->mark);
        replication_notify();
        gannet_work(node);
        break;
    default:
        gannet_work(node);
        break;
    }
}

static bool secondary_receive(void *opaque, GannetPeer *peer,
                              const GannetMessage *message,
                              const void *payload, Error **errp)
{
    GannetNode *node = opaque;
    g_autoptr(GError) error = NULL;
    GannetVerdict verdict;

    QEMU_LOCK_GUARD(&node->lock);
    for (;;) {
        verdict = gannet_secondary_receive(node->secondary, message, payload,
                                           &error);
        if (verdict != GANNET_WAIT) {
            break;
        }
        if (!wait_changed(node, errp)) {
            return false;
        }
    }
    if (verdict == GANNET_ERROR) {
        return fail(errp, error);
    }
    if (verdict == GANNET_HASH) {
        return answer(node, message, payload, errp);
    }
    note_received(node, message);
    return true;
}

static bool secondary_next(void *opaque, GannetPeer *peer,
                           GannetMessage *message, GBytes **payload)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    return gannet_secondary_next(node->secondary, message, payload);
}

static void secondary_broken(void *opaque, GannetPeer *peer)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    node->broken = true;
    qemu_cond_broadcast(&node->changed);
}

static void secondary_closed(void *opaque, GannetPeer *peer,
                             const char *reason)
{
    GannetNode *node = opaque;

    QEMU_LOCK_GUARD(&node->lock);
    gannet_secondary_disconnected(node->secondary);
    if (node->started != GANNET_STARTED_SECONDARY) {
        gannet_secondary_stop(node->secondary); /* BEGIN came, no start */
    }
    gannet_left_epochs(node);
    lost(node, peer, reason);
    gannet_work(node);
}

static const GannetPeerOps secondary_ops = {
    .hello = secondary_hello,
    .receive = secondary_receive,
    .next = secondary_next,
    .broken = secondary_broken,
    .closed = secondary_closed,
};

bool gannet_link_listen(GannetNode *node, Error **errp)
{
    GannetPeerConfig at = config(node, node->options->listen,
                                 node->tls_server_creds);

    node->listener = gannet_listener_new(&at, &secondary_ops, node, errp);
    return node->listener;
}

void gannet_link_close(GannetNode *node)
{
    GannetPeer *peer;

    WITH_QEMU_LOCK_GUARD(&node->lock) {
        gannet_link_break(node, "the disk is being closed");
        peer = g_steal_pointer(&node->peer);
    }
    g_clear_pointer(&node->listener, gannet_listener_free);
    if (peer) {
        gannet_peer_free(peer);
    }
}
