/*
 * The connection between two replicas of a disk: its beginning and its end
 *
 * The receiving thread makes the connection, starts the sending thread when
 * both sides have agreed, outlives it, and says that it is over.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/lockable.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "qemu/yank.h"
#include "peer-internal.h"
#include "trace.h"

/* --- ending --------------------------------------------------------------- */

/* The first one who knows says why. With the lock. */
static void set_reason(GannetPeer *peer, const char *reason)
{
    if (!peer->reason) {
        peer->reason = g_strdup(reason);
    }
}

void gannet_peer_stalled(GannetPeer *peer, const char *reason)
{
    QEMU_LOCK_GUARD(&peer->lock);
    set_reason(peer, reason);
}

static void set_state(GannetPeer *peer, GannetPeerState state)
{
    assert(state >= peer->state);
    qatomic_store_release(&peer->state, state);
}

void gannet_peer_kick(GannetPeer *peer)
{
    if (!qatomic_xchg(&peer->kicked, true)) {
        qemu_sem_post(&peer->wake);
    }
}

void gannet_peer_shutdown(GannetPeer *peer, const char *reason)
{
    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        if (peer->state == PEER_ENDED) {
            return;
        }
        set_reason(peer, reason);
        set_state(peer, PEER_ENDED);
        if (peer->connect) {
            gannet_connect_cancel(peer->connect);
        }
        if (peer->has_channel) {
            gannet_channel_shutdown(&peer->channel);
        }
    }
    gannet_peer_kick(peer);
}

/* The sending thread goes on to the end of what it has, or will begin to. */
static bool leave(GannetPeer *peer, GannetPeerState state, const char *reason)
{
    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        if (!peer->has_channel) {
            return false;
        }
        if (peer->state < state) {
            set_reason(peer, reason);
            if (state == PEER_REFUSING) {
                peer->refusal = g_strdup(reason);
            }
            if (!peer->end_before) {
                peer->end_before = get_clock() + gannet_peer_timeout(peer);
            }
            set_state(peer, state);
        }
    }
    gannet_peer_kick(peer);
    return true;
}

void gannet_peer_finish(GannetPeer *peer, const char *reason)
{
    if (!leave(peer, PEER_FINISHING, reason)) {
        gannet_peer_shutdown(peer, reason);
    }
}

/* --- the handshake -------------------------------------------------------- */

static bool open_socket(GannetPeer *peer, QIOChannelSocket *socket,
                        Error **errp)
{
    if (!gannet_channel_init(&peer->channel, socket, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&peer->lock);
    peer->has_channel = true;
    if (peer->state == PEER_ENDED) {
        gannet_channel_shutdown(&peer->channel);
    }
    return true;
}

static QIOChannelSocket *connect_to(GannetPeer *peer, Error **errp)
{
    g_autoptr(GannetConnect) connect = gannet_connect_new(peer->address);
    QIOChannelSocket *socket;

    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        peer->connect = connect;
        if (peer->state == PEER_ENDED) {
            gannet_connect_cancel(connect);
        }
    }
    socket = gannet_connect_wait(connect, get_clock() +
                                 gannet_peer_timeout(peer), errp);
    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        peer->connect = NULL;
    }
    if (!socket) {
        error_prepend(errp, "%s cannot be reached: ", peer->name);
    }
    return socket;
}

static bool open_channel(GannetPeer *peer, Error **errp)
{
    bool server = peer->role == GANNET_SECONDARY;
    g_autoptr(QIOChannelSocket) socket =
        server ? g_steal_pointer(&peer->accepted) : connect_to(peer, errp);

    if (!socket || !open_socket(peer, socket, errp)) {
        return false;
    }
    peer->reader.deadline = get_clock() + gannet_peer_timeout(peer);
    if (peer->tls_creds &&
        !gannet_channel_start_tls(&peer->channel, peer->tls_creds, server,
                                  peer->tls_hostname, peer->reader.deadline,
                                  errp)) {
        error_prepend(errp, "no TLS with %s: ", peer->name);
        peer->reader.lost = true;
        return false;
    }
    return true;
}

static bool receive_hello(GannetPeer *peer, GannetHello *theirs, Error **errp)
{
    GannetMessage message;
    const void *payload;
    GError *err = NULL;

    if (!gannet_peer_receive(peer, GANNET_HELLO, &message, &payload, errp)) {
        return false;
    }
    if (!gannet_hello_decode(payload, message.payload, theirs, &err)) {
        error_setg(errp, "%s: %s", peer->name, err->message);
        g_error_free(err);
        return false;
    }
    if (theirs->role == peer->role) {
        error_setg(errp, "%s is a %s itself: one side has to be started as "
                   "primary, the other as secondary", peer->name,
                   peer->role == GANNET_PRIMARY ? "primary" : "secondary");
        return false;
    }
    peer->interval = MAX(MIN(peer->timeout_ms, theirs->timeout_ms) *
                         (int64_t)SCALE_MS / 3, SCALE_MS);
    return true;
}

/* @speaks: what we do; in an answer, the one that was chosen. */
static bool send_hello(GannetPeer *peer, GannetHello *ours,
                       ColonyVersions speaks, GBytes *intents, Error **errp)
{
    int64_t deadline = get_clock() + gannet_peer_timeout(peer);
    g_autoptr(GBytes) payload = NULL;

    ours->version = GANNET_WIRE_VERSION;
    ours->speaks = speaks;
    ours->role = peer->role;
    ours->timeout_ms = peer->timeout_ms;
    if (peer->role == GANNET_PRIMARY) {
        ours->granularity = 0;
    }
    peer->size = ours->size;
    payload = gannet_hello_encode(ours);
    return gannet_peer_send(peer, GANNET_HELLO, payload, deadline, errp) &&
           (!ours->granularity ||
            gannet_peer_send(peer, GANNET_INTENTS, intents, deadline, errp));
}

static bool send_offer(GannetPeer *peer, const VerbsOffer *offer, Error **errp)
{
    int64_t deadline = get_clock() + gannet_peer_timeout(peer);
    uint8_t data[VERBS_OFFER_SIZE];
    g_autoptr(GBytes) payload = NULL;

    verbs_offer_encode(offer, data);
    payload = g_bytes_new(data, sizeof(data));
    return gannet_peer_send(peer, GANNET_OFFER, payload, deadline, errp);
}

/*
 * What a primary says that it speaks. The second version adds the carrier only,
 * so who has none leaves it out: the release of the first one refuses whoever
 * says more.
 */
static ColonyVersions offered(const GannetPeer *peer)
{
    ColonyVersions speaks = colony_speaks[COLONY_PROTOCOL_DISK];

    if (!peer->wants_rdma && speaks.newest == GANNET_VERSION_CARRIER) {
        speaks.newest = MAX(speaks.newest - 1, speaks.oldest);
    }
    return speaks;
}

static bool shake_hands_as_primary(GannetPeer *peer, Error **errp)
{
    GannetHello ours = { 0 };
    GannetHello theirs;
    g_autoptr(GBytes) intents = NULL;

    if (!peer->ops->hello(peer->opaque, peer, NULL, &ours, &intents, errp) ||
        !send_hello(peer, &ours, offered(peer), NULL, errp)) {
        return false;
    }
    peer->reader.deadline = get_clock() + gannet_peer_timeout(peer);
    if (!receive_hello(peer, &theirs, errp)) {
        return false;
    }
    if (theirs.granularity) {
        GannetMessage message;
        const void *payload;

        if (!gannet_peer_receive(peer, GANNET_INTENTS, &message, &payload,
                                 errp)) {
            return false;
        }
        intents = g_bytes_new(payload, message.payload);
    }
    if (!gannet_peer_answer_offer(peer, &theirs, errp)) {
        return false;
    }
    return peer->ops->connected(peer->opaque, peer, &theirs, intents, errp);
}

static bool shake_hands_as_secondary(GannetPeer *peer, bool *served,
                                     Error **errp)
{
    GannetHello ours = { 0 };
    GannetHello theirs;
    g_autoptr(GBytes) intents = NULL;
    g_autoptr(VerbsStream) stream = NULL;
    VerbsOffer offer;
    unsigned version;

    if (!receive_hello(peer, &theirs, errp)) {
        return false;
    }
    version = colony_versions_common(&colony_speaks[COLONY_PROTOCOL_DISK],
                                     &theirs.speaks);
    if (!gannet_listener_claim(peer->listener, peer, errp)) {
        return false;
    }
    *served = peer->ops->hello(peer->opaque, peer, &theirs, &ours, &intents,
                               errp);
    if (!*served) {
        return false;
    }
    ours.offers = gannet_peer_make_offer(peer, version, &stream, &offer);
    return send_hello(peer, &ours, (ColonyVersions) { version, version },
                      intents, errp) &&
           (!stream || (send_offer(peer, &offer, errp) &&
                        gannet_peer_hear_carrier(
                            peer, g_steal_pointer(&stream), errp)));
}

/* The other side is told why, if it is there to hear it. */
static void refuse(GannetPeer *peer, const char *why)
{
    int64_t deadline = get_clock() + gannet_peer_timeout(peer) / 2;
    g_autoptr(GBytes) text = gannet_text_encode(why);

    if (gannet_peer_send(peer, GANNET_REFUSE, text, deadline, NULL)) {
        gannet_channel_end(&peer->channel, deadline);
        gannet_peer_discard(peer, deadline);
    }
}

/* --- the threads ---------------------------------------------------------- */

/*
 * Who kicks has a guest waiting: on a busy CPU it goes on first, and what comes
 * together is sent at once. Where that cannot be had nothing is lost.
 */
static void be_patient(void)
{
#ifdef CONFIG_LINUX
    const struct sched_param param = { 0 };

    sched_setscheduler(0, SCHED_BATCH, &param);
#endif
}

static void *send_thread(void *opaque)
{
    GannetPeer *peer = opaque;
    Error *err = NULL;

    be_patient();
    if (!gannet_peer_send_stream(peer, &err)) {
        trace_gannet_peer_broken(peer->name, error_get_pretty(err));
        error_free(err);
    } else if (gannet_peer_state(peer) != PEER_ENDED) {
        gannet_channel_end(&peer->channel,
                           get_clock() + gannet_peer_timeout(peer));
        return NULL;
    }
    if (peer->ops->broken) {
        peer->ops->broken(peer->opaque, peer);
    }
    /* The other side's last words are still read. */
    gannet_channel_shutdown(&peer->channel);
    return NULL;
}

static void run(GannetPeer *peer)
{
    Error *err = NULL;

    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        if (peer->state == PEER_ENDED) {
            return;
        }
        if (peer->state == PEER_OPENING) {
            set_state(peer, PEER_RUNNING);
        }
    }
    trace_gannet_peer_up(peer->name);
    qemu_thread_create(&peer->sender, "gannet-send", send_thread, peer,
                       QEMU_THREAD_JOINABLE);
    if (!gannet_peer_receive_stream(peer, &err) && !peer->reader.lost) {
        leave(peer, PEER_REFUSING, error_get_pretty(err));
        gannet_peer_discard(peer, peer->end_before);
    }
    gannet_peer_shutdown(peer, err ? error_get_pretty(err) : "finished");
    error_free(err);
    qemu_thread_join(&peer->sender);
}

/* Whether ops have to be told that it is over. */
static bool serve(GannetPeer *peer)
{
    bool primary = peer->role == GANNET_PRIMARY;
    bool served = primary;
    Error *err = NULL;

    if (open_channel(peer, &err) &&
        (primary ? shake_hands_as_primary(peer, &err)
                 : shake_hands_as_secondary(peer, &served, &err))) {
        run(peer);
        return true;
    }
    if (peer->has_channel && !peer->reader.lost &&
        gannet_peer_state(peer) != PEER_ENDED) {
        refuse(peer, error_get_pretty(err));
    }
    gannet_peer_shutdown(peer, error_get_pretty(err));
    error_free(err);
    return served;
}

/* What is to be freed when everybody knows: an adapter may take long for it. */
static VerbsStream *close_channel(GannetPeer *peer)
{
    VerbsStream *stream;

    WITH_QEMU_LOCK_GUARD(&peer->lock) {
        if (!peer->has_channel) {
            return NULL;
        }
        peer->has_channel = false;
        stream = g_steal_pointer(&peer->channel.stream);
    }
    gannet_channel_destroy(&peer->channel);
    return stream;
}

static void *receive_thread(void *opaque)
{
    GannetPeer *peer = opaque;
    g_autoptr(VerbsStream) stream = NULL;
    bool served;

    trace_gannet_peer_begin(peer->name);
    served = serve(peer);
    stream = close_channel(peer);
    trace_gannet_peer_closed(peer->name, peer->reason);
    if (served) {
        peer->ops->closed(peer->opaque, peer, peer->reason);
    }
    if (peer->listener) {
        gannet_listener_done(peer->listener, peer, served);
    }
    return NULL;
}

/* --- life ----------------------------------------------------------------- */

static void yank(void *opaque)
{
    gannet_peer_shutdown(opaque, "ended by command yank");
}

static GannetPeer *peer_new(const GannetPeerConfig *config, GannetRole role,
                            const GannetPeerOps *ops, void *opaque)
{
    GannetPeer *peer = g_new0(GannetPeer, 1);

    assert(config->timeout_ms > 0);
    peer->ops = ops;
    peer->opaque = opaque;
    peer->role = role;
    peer->timeout_ms = config->timeout_ms;
    peer->tls_creds = config->tls_creds;
    if (peer->tls_creds) {
        object_ref(OBJECT(peer->tls_creds));
    }
    peer->node_name = g_strdup(config->node_name);
    if (config->rdma) {
        peer->wants_rdma = true;
        peer->rdma = *config->rdma;
    }
    qemu_sem_init(&peer->wake, 0);
    qemu_mutex_init(&peer->lock);
    gannet_reader_init(&peer->reader);
    return peer;
}

/* From here on anybody may end it. */
static void peer_start(GannetPeer *peer)
{
    if (peer->node_name) {
        yank_register_function(BLOCKDEV_YANK_INSTANCE(peer->node_name), yank,
                               peer);
    }
    qemu_thread_create(&peer->receiver, "gannet-receive", receive_thread, peer,
                       QEMU_THREAD_JOINABLE);
}

GannetPeer *gannet_peer_connect(const GannetPeerConfig *config,
                                const GannetPeerOps *ops, void *opaque)
{
    GannetPeer *peer = peer_new(config, GANNET_PRIMARY, ops, opaque);
    const char *hostname = config->tls_hostname;
    g_autofree char *uri = NULL;

    peer->address = QAPI_CLONE(SocketAddress, config->address);
    if (!hostname && peer->address->type == SOCKET_ADDRESS_TYPE_INET) {
        hostname = peer->address->u.inet.host;
    }
    peer->tls_hostname = g_strdup(hostname);
    uri = socket_uri(peer->address);
    peer->name = g_strdup_printf("the secondary at %s", uri);
    peer_start(peer);
    return peer;
}

GannetPeer *gannet_peer_accepted(GannetListener *listener,
                                 const GannetPeerConfig *config,
                                 const GannetPeerOps *ops, void *opaque,
                                 QIOChannelSocket *socket)
{
    GannetPeer *peer = peer_new(config, GANNET_SECONDARY, ops, opaque);
    g_autoptr(SocketAddress) address =
        qio_channel_socket_get_remote_address(socket, NULL);
    g_autofree char *uri = NULL;

    if (address && address->type == SOCKET_ADDRESS_TYPE_INET) {
        uri = socket_uri(address);
    }
    peer->name = g_strdup_printf("the primary%s%s", uri ? " at " : "",
                                 uri ?: "");
    peer->listener = listener;
    peer->accepted = socket;
    peer_start(peer);
    return peer;
}

void gannet_peer_join(GannetPeer *peer)
{
    qemu_thread_join(&peer->receiver);
    if (peer->node_name) {
        yank_unregister_function(BLOCKDEV_YANK_INSTANCE(peer->node_name), yank,
                                 peer);
    }
    gannet_reader_destroy(&peer->reader);
    qemu_mutex_destroy(&peer->lock);
    qemu_sem_destroy(&peer->wake);
    if (peer->tls_creds) {
        object_unref(OBJECT(peer->tls_creds));
    }
    qapi_free_SocketAddress(peer->address);
    g_free(peer->tls_hostname);
    g_free(peer->node_name);
    g_free(peer->name);
    g_free(peer->reason);
    g_free(peer->refusal);
    g_free(peer->why_no_rdma);
    g_free(peer);
}

void gannet_peer_free(GannetPeer *peer)
{
    if (peer) {
        gannet_peer_shutdown(peer, "this side closed the connection");
        gannet_peer_join(peer);
    }
}
