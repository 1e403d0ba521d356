/*
 * What the files of a connection have in common
 *
 * peer.c begins and ends it, peer-stream.c has what goes over it, peer-rdma.c
 * the link that may carry it, and listener.c who may come.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_PEER_INTERNAL_H
#define GANNET_ADAPTER_PEER_INTERNAL_H

#include "qemu/queue.h"
#include "qemu/thread.h"
#include "peer.h"
#include "peer-io.h"

/* It only ever goes down this list. */
typedef enum GannetPeerState {
    PEER_OPENING,   /* connecting, TLS, HELLO */
    PEER_RUNNING,
    PEER_FINISHING, /* what there is to send is sent, then no more */
    PEER_REFUSING,  /* REFUSE is sent, then no more; what comes is dropped */
    PEER_ENDED,     /* the socket is shut down */
} GannetPeerState;

/* Of the receiving thread. */
typedef struct GannetReader {
    uint8_t *bytes; /* what came and was not used yet stands in */
    size_t start;
    size_t end;
    uint8_t *payload; /* of one long message */
    size_t payload_size;
    bool running;     /* each read has a deadline of its own; */
    int64_t deadline; /* else this is of all */
    bool lost; /* the other side is not there, or has said why it goes */
} GannetReader;

struct GannetPeer {
    /* Constant. */
    const GannetPeerOps *ops;
    void *opaque;
    GannetRole role;
    char *name; /* of the other side, for errors */
    SocketAddress *address; /* primary */
    QCryptoTLSCreds *tls_creds;
    char *tls_hostname;
    char *node_name;
    uint32_t timeout_ms;
    bool wants_rdma;
    struct sockaddr_storage rdma;

    /* Secondary. */
    GannetListener *listener;
    QIOChannelSocket *accepted;
    bool stranger; /* under the listener's lock */
    bool over;     /* likewise */
    QTAILQ_ENTRY(GannetPeer) next;

    QemuThread receiver;
    QemuThread sender;
    QemuSemaphore wake; /* the sender */
    bool kicked;        /* atomic: it has been posted */
    bool pong_due;      /* atomic */
    int64_t interval;   /* ns: the other side hears something this often */

    QemuMutex lock; /* for all below */
    GannetPeerState state; /* written with the lock, read atomically */
    GannetConnect *connect;
    bool has_channel;
    char *reason;
    char *refusal;      /* set before PEER_REFUSING, then constant */
    int64_t end_before; /* likewise, and before PEER_FINISHING */
    char *why_no_rdma;

    GannetChannel channel; /* destroyed by the receiver */
    GannetReader reader;
    uint64_t size;         /* of the disk */
};

/* --- peer.c --------------------------------------------------------------- */

/* For the listener: a connection that came in. Takes the reference. */
GannetPeer *gannet_peer_accepted(GannetListener *listener,
                                 const GannetPeerConfig *config,
                                 const GannetPeerOps *ops, void *opaque,
                                 QIOChannelSocket *socket);
/* It is over; only then. */
void gannet_peer_join(GannetPeer *peer);

/* Why it is going to end. */
void gannet_peer_stalled(GannetPeer *peer, const char *reason);

static inline GannetPeerState gannet_peer_state(GannetPeer *peer)
{
    return qatomic_load_acquire(&peer->state);
}

static inline int64_t gannet_peer_timeout(GannetPeer *peer)
{
    return peer->timeout_ms * (int64_t)SCALE_MS;
}

/* --- peer-stream.c -------------------------------------------------------- */

void gannet_reader_init(GannetReader *reader);
void gannet_reader_destroy(GannetReader *reader);

/* One message of the handshake; whatever @deadline says. */
bool gannet_peer_send(GannetPeer *peer, GannetMessageType type,
                      GBytes *payload, int64_t deadline, Error **errp);
/*
 * The next message, REFUSE being an error. In the handshake only one of
 * @expected is taken, 0 standing for all. @payload is valid until the next.
 */
bool gannet_peer_receive(GannetPeer *peer, GannetMessageType expected,
                         GannetMessage *message, const void **payload,
                         Error **errp);
/* Drop what comes until the other side closes, or it is late. */
void gannet_peer_discard(GannetPeer *peer, int64_t deadline);

/*
 * What the sending thread does until there is no more to send, and what the
 * receiving thread does until the connection ends, which is an error unless
 * it was to end.
 */
bool gannet_peer_send_stream(GannetPeer *peer, Error **errp);
bool gannet_peer_receive_stream(GannetPeer *peer, Error **errp);

/* --- peer-rdma.c ---------------------------------------------------------- */

/*
 * Secondary: with a link that can be offered, *@stream is what listens, and
 * @offer what the primary has to be told.
 */
bool gannet_peer_make_offer(GannetPeer *peer, unsigned version,
                            VerbsStream **stream, VerbsOffer *offer);
/* OFFER was sent: hear what became of it, and use @stream or free it. */
bool gannet_peer_hear_carrier(GannetPeer *peer, VerbsStream *stream,
                              Error **errp);
/* Primary: after HELLO and INTENTS, take the offer that follows, or not. */
bool gannet_peer_answer_offer(GannetPeer *peer, const GannetHello *theirs,
                              Error **errp);

/* --- listener.c ----------------------------------------------------------- */

/* A primary said HELLO: serve it, or there is another. */
bool gannet_listener_claim(GannetListener *listener, GannetPeer *peer,
                           Error **errp);
/* The connection is over; @served: it had succeeded in that. */
void gannet_listener_done(GannetListener *listener, GannetPeer *peer,
                          bool served);

#endif
