/*
 * Peer: the connection between two replicas of a disk
 *
 * A primary connects with gannet_peer_connect(), a secondary has a listener.
 * Either way there is a GannetPeer for each connection, which does the
 * handshake (TLS, HELLO, INTENTS), sends what ops->next() hands out, in order,
 * hands what comes to ops->receive(), and keeps silence from being taken for
 * death: PING and PONG are its own, and are neither asked for nor handed out.
 *
 * Threads: a connection has two, one that connects and receives and one that
 * sends. Sockets do not block, every wait is a poll() with a deadline: so a
 * TLS session, which is locked for each single call, is never held while
 * waiting, and anybody can end a wait with gannet_peer_shutdown(). Ops are
 * called in these threads, without a lock of this module and without the BQL;
 * they must not call the block layer (other than to schedule a bottom half).
 *
 * The order of calls, for one connection:
 *
 *     hello(), [connected(),] { receive() | next() }, [broken(),] closed()
 *
 * receive() and next() run at the same time, in different threads. On a
 * primary closed() is called exactly once for each gannet_peer_connect(), also
 * if there never was a connection. On a secondary it is called exactly once
 * for each hello() that succeeded; who did not get that far was a stranger.
 * After closed() has begun nothing else is called for this connection, and on a
 * secondary the peer is freed as soon as it returns.
 *
 * How a connection ends, and what closed() says of it: the peer closed it, or
 * its host did; nothing came for timeout_ms; the peer took no data for
 * timeout_ms; it sent what does not decode; it sent REFUSE; receive() or
 * connected() failed (the peer is sent REFUSE with the error, if it still
 * reads); gannet_peer_finish() or gannet_peer_shutdown().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_PEER_H
#define GANNET_ADAPTER_PEER_H

#include "qapi/qapi-types-sockets.h"
#include "crypto/tlscreds.h"
#include "gannet-blk/core/wire.h"

typedef struct GannetPeer GannetPeer;
typedef struct GannetListener GannetListener;

typedef struct GannetPeerOps {
    /*
     * Say who we are: fill in @ours but for version, role and timeout_ms. On
     * a primary @theirs is NULL and @intents is not used; it is called after
     * the connection was made. On a secondary the primary said @theirs; who
     * fails refuses it with that error. With @ours->granularity, @intents
     * must be set, to what gannet_regions_save() gives. Once it returned
     * TRUE, @peer may be used until closed() returns.
     */
    bool (*hello)(void *opaque, GannetPeer *peer, const GannetHello *theirs,
                  GannetHello *ours, GBytes **intents, Error **errp);

    /* Primary: the secondary answered. @intents is NULL if it has none. */
    bool (*connected)(void *opaque, GannetPeer *peer,
                      const GannetHello *theirs, GBytes *intents,
                      Error **errp);

    /*
     * A message came, never HELLO, INTENTS, REFUSE, PING or PONG. @payload,
     * NULL if there is none, is valid during the call, and not aligned. May
     * block, e.g. until there is memory, which holds the stream back; the peer
     * is told meanwhile that this side lives. The callee bounds that wait, or
     * ends it on broken().
     */
    bool (*receive)(void *opaque, GannetPeer *peer,
                    const GannetMessage *message, const void *payload,
                    Error **errp);

    /*
     * The next message to send; false: none. @payload gets a reference, which
     * the caller drops, or NULL. Called until it returns false, after each
     * gannet_peer_kick(), and at the beginning.
     */
    bool (*next)(void *opaque, GannetPeer *peer, GannetMessage *message,
                 GBytes **payload);

    /*
     * The connection is broken, or was shut down: a receive() that waits must
     * return. May be NULL. At most once, in the sending thread.
     */
    void (*broken)(void *opaque, GannetPeer *peer);

    /* The connection has ended, or was not made. */
    void (*closed)(void *opaque, GannetPeer *peer, const char *reason);
} GannetPeerOps;

/* All is copied, or a reference is taken. */
typedef struct GannetPeerConfig {
    const SocketAddress *address;
    QCryptoTLSCreds *tls_creds; /* of the right endpoint; NULL: no TLS */
    /* Primary: whom the certificate must be of; NULL: the host of @address. */
    const char *tls_hostname;
    const char *node_name;      /* yank instance, registered; NULL: none */
    uint32_t timeout_ms;        /* for connecting, silence, no progress */
    /* This side's address for an RDMA link; NULL: it wants none. */
    const struct sockaddr_storage *rdma;
} GannetPeerConfig;

/*
 * Start to connect, once, and return at once. A name that does not resolve or
 * a host that does not answer is reported by closed(), after timeout_ms.
 */
GannetPeer *gannet_peer_connect(const GannetPeerConfig *config,
                                const GannetPeerOps *ops, void *opaque);

/*
 * End the connection, if need be, wait for its threads, and free it. Only of
 * peers that gannet_peer_connect() returned. Not in ops, and not with a lock
 * held that ops take. The wait is as long as ops take; under the BQL that is
 * allowed if ops do not wait for something that needs the BQL. closed() has
 * been called when this returns.
 */
void gannet_peer_free(GannetPeer *peer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetPeer, gannet_peer_free)

/* There is something to send. Any thread, in ops too, with any lock held. */
void gannet_peer_kick(GannetPeer *peer);

/*
 * End the connection now, with this reason, and return at once. What was not
 * sent is lost. Does nothing if it is ending. Any thread, in ops too, with any
 * lock held, and under the BQL.
 */
void gannet_peer_shutdown(GannetPeer *peer, const char *reason);

/*
 * End the connection in order, and return at once: what next() still has is
 * sent, then no more, and when the other side has closed too, or after
 * timeout_ms, it is over. Any thread, as gannet_peer_shutdown().
 */
void gannet_peer_finish(GannetPeer *peer, const char *reason);

/*
 * Whether there is an RDMA link, which carries everything; if not, although it
 * was wanted, *@why, to be freed with g_free(), says why. Any thread, with any
 * lock held.
 */
bool gannet_peer_rdma(GannetPeer *peer, char **why);

/*
 * Listen. One peer at a time is served: one that says HELLO meanwhile is
 * refused. Strangers are bounded in number, and have timeout_ms for HELLO;
 * when there are too many, the oldest of them is dropped. Fails when the
 * address cannot be listened on.
 */
GannetListener *gannet_listener_new(const GannetPeerConfig *config,
                                    const GannetPeerOps *ops, void *opaque,
                                    Error **errp);

/* Likewise gannet_peer_free(), for the listener and all its connections. */
void gannet_listener_free(GannetListener *listener);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetListener, gannet_listener_free)

/* Connections that ended before a HELLO was accepted, ever. Any thread. */
uint64_t gannet_listener_refused(GannetListener *listener);

#endif
