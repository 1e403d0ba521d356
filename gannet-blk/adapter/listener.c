/*
 * Who may connect to a secondary
 *
 * One thread accepts, and frees connections that are over. Everything that a
 * stranger could draw out happens in the connection's own thread, with a
 * deadline; there are at most MAX_STRANGERS of them, and the oldest goes when
 * another comes, so that those who say nothing cannot keep a primary out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/event_notifier.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "peer-internal.h"
#include "trace.h"

#define MAX_STRANGERS 16
/* With those that are about to end. */
#define MAX_PEERS (3 * MAX_STRANGERS)
#define BACKLOG 1024

struct GannetListener {
    const GannetPeerOps *ops;
    void *opaque;
    GannetPeerConfig config; /* what accepted peers are given */
    struct sockaddr_storage rdma; /* its, if it has any */
    QIOChannelSocket *socket;
    QemuThread thread;
    EventNotifier wake; /* the thread: something below has changed */

    QemuMutex lock; /* for all below */
    QemuCond changed;
    QTAILQ_HEAD(, GannetPeer) peers; /* oldest first */
    unsigned n_peers;
    unsigned n_strangers;
    GannetPeer *served; /* said HELLO, and was the only one */
    uint64_t refused;
    bool stopping;
};

/* --- for connections ------------------------------------------------------ */

static void not_a_stranger(GannetListener *listener, GannetPeer *peer)
{
    if (peer->stranger) {
        peer->stranger = false;
        listener->n_strangers--;
    }
}

bool gannet_listener_claim(GannetListener *listener, GannetPeer *peer,
                           Error **errp)
{
    /*
     * A primary may be back before its old connection was seen to be gone,
     * and waits for an answer for its own timeout.
     */
    int64_t deadline = get_clock() + gannet_peer_timeout(peer) / 2;

    QEMU_LOCK_GUARD(&listener->lock);
    not_a_stranger(listener, peer);
    while (listener->served && !listener->stopping &&
           gannet_peer_state(peer) != PEER_ENDED) {
        int64_t left = deadline - get_clock();

        if (left <= 0) {
            error_setg(errp, "a primary is already connected");
            return false;
        }
        qemu_cond_timedwait(&listener->changed, &listener->lock,
                            DIV_ROUND_UP(left, SCALE_MS));
    }
    if (listener->served || listener->stopping) {
        error_setg(errp, "this side is closing");
        return false;
    }
    listener->served = peer;
    return true;
}

void gannet_listener_done(GannetListener *listener, GannetPeer *peer,
                          bool served)
{
    WITH_QEMU_LOCK_GUARD(&listener->lock) {
        not_a_stranger(listener, peer);
        if (listener->served == peer) {
            listener->served = NULL;
            qemu_cond_broadcast(&listener->changed);
        }
        listener->refused += !served;
        peer->over = true;
    }
    event_notifier_set(&listener->wake);
}

/* --- the thread ----------------------------------------------------------- */

static void drop_oldest_stranger(GannetListener *listener)
{
    GannetPeer *peer;

    QTAILQ_FOREACH(peer, &listener->peers, next) {
        if (peer->stranger) {
            not_a_stranger(listener, peer);
            gannet_peer_shutdown(peer, "too many strangers are connected");
            return;
        }
    }
}

/* Takes the reference. */
static void admit(GannetListener *listener, QIOChannelSocket *socket)
{
    GannetPeer *peer;

    /* With the lock: the new thread must find itself in the list. */
    QEMU_LOCK_GUARD(&listener->lock);
    if (listener->n_strangers == MAX_STRANGERS) {
        drop_oldest_stranger(listener);
    }
    peer = gannet_peer_accepted(listener, &listener->config, listener->ops,
                                listener->opaque, socket);
    peer->stranger = true;
    listener->n_strangers++;
    listener->n_peers++;
    QTAILQ_INSERT_TAIL(&listener->peers, peer, next);
}

static GannetPeer *take_over(GannetListener *listener)
{
    GannetPeer *peer;

    QEMU_LOCK_GUARD(&listener->lock);
    QTAILQ_FOREACH(peer, &listener->peers, next) {
        if (peer->over) {
            QTAILQ_REMOVE(&listener->peers, peer, next);
            listener->n_peers--;
            break;
        }
    }
    return peer;
}

/* Wait for a connection, unless there are enough, or for a change. */
static QIOChannelSocket *wait_for_one(GannetListener *listener, bool enough)
{
    struct pollfd pfd[2] = {
        { .fd = event_notifier_get_fd(&listener->wake), .events = POLLIN },
        { .fd = listener->socket->fd, .events = POLLIN },
    };
    QIOChannelSocket *socket;
    Error *err = NULL;

    poll(pfd, enough ? 1 : 2, -1);
    event_notifier_test_and_clear(&listener->wake);
    if (enough || !pfd[1].revents) {
        return NULL;
    }
    socket = qio_channel_socket_accept(listener->socket, &err);
    if (!socket) {
        bool again = errno != EMFILE && errno != ENFILE &&
                     errno != ENOBUFS && errno != ENOMEM;

        trace_gannet_listener_failed(error_get_pretty(err));
        error_free(err);
        /* Who was gone already must not hold up others; what is short may. */
        poll(pfd, 1, again ? 0 : 100);
    }
    return socket;
}

static void *listener_thread(void *opaque)
{
    GannetListener *listener = opaque;

    for (;;) {
        QIOChannelSocket *socket;
        GannetPeer *peer;
        bool enough;

        while ((peer = take_over(listener))) {
            gannet_peer_join(peer);
        }
        WITH_QEMU_LOCK_GUARD(&listener->lock) {
            if (listener->stopping && !listener->n_peers) {
                return NULL;
            }
            enough = listener->stopping || listener->n_peers >= MAX_PEERS;
        }
        socket = wait_for_one(listener, enough);
        if (socket) {
            admit(listener, socket);
        }
    }
}

/* --- life ----------------------------------------------------------------- */

static QIOChannelSocket *listen_on(const SocketAddress *address, Error **errp)
{
    QIOChannelSocket *socket = qio_channel_socket_new();
    g_autoptr(SocketAddress) copy = QAPI_CLONE(SocketAddress, address);

    if (qio_channel_socket_listen_sync(socket, copy, BACKLOG, errp) < 0 ||
        qio_channel_set_blocking(QIO_CHANNEL(socket), false, errp) < 0) {
        object_unref(OBJECT(socket));
        return NULL;
    }
    return socket;
}

GannetListener *gannet_listener_new(const GannetPeerConfig *config,
                                    const GannetPeerOps *ops, void *opaque,
                                    Error **errp)
{
    QIOChannelSocket *socket = listen_on(config->address, errp);
    GannetListener *listener;

    if (!socket) {
        return NULL;
    }
    listener = g_new0(GannetListener, 1);
    listener->ops = ops;
    listener->opaque = opaque;
    listener->config = (GannetPeerConfig) {
        .tls_creds = config->tls_creds,
        .node_name = g_strdup(config->node_name),
        .timeout_ms = config->timeout_ms,
    };
    if (config->tls_creds) {
        object_ref(OBJECT(config->tls_creds));
    }
    if (config->rdma) {
        listener->rdma = *config->rdma;
        listener->config.rdma = &listener->rdma;
    }
    listener->socket = socket;
    qemu_mutex_init(&listener->lock);
    qemu_cond_init(&listener->changed);
    QTAILQ_INIT(&listener->peers);
    event_notifier_init(&listener->wake, 0);
    qemu_thread_create(&listener->thread, "gannet-listen", listener_thread,
                       listener, QEMU_THREAD_JOINABLE);
    return listener;
}

void gannet_listener_free(GannetListener *listener)
{
    GannetPeer *peer;

    if (!listener) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&listener->lock) {
        listener->stopping = true;
        QTAILQ_FOREACH(peer, &listener->peers, next) {
            gannet_peer_shutdown(peer, "this side closed the connection");
        }
        qemu_cond_broadcast(&listener->changed);
    }
    event_notifier_set(&listener->wake);
    qemu_thread_join(&listener->thread);
    object_unref(OBJECT(listener->socket));
    if (listener->config.tls_creds) {
        object_unref(OBJECT(listener->config.tls_creds));
    }
    g_free((char *)listener->config.node_name);
    event_notifier_cleanup(&listener->wake);
    qemu_cond_destroy(&listener->changed);
    qemu_mutex_destroy(&listener->lock);
    g_free(listener);
}

uint64_t gannet_listener_refused(GannetListener *listener)
{
    QEMU_LOCK_GUARD(&listener->lock);
    return listener->refused;
}
