/*
 * What carries messages between members
 *
 * One interface for TCP and RDMA; the simulator implements the same promises
 * without it. A transport lives in its member's loop: it calls its handlers,
 * and is called, in that thread only. It connects with every peer it is given,
 * accepts connections from them, connects again when one breaks, with a
 * back-off, and never gives up. It proves to itself who the other side is
 * before it says connected(): cluster, key, member id, and that both have the
 * same ring size.
 *
 * Who proves to have the key, but is not among the peers that were given, is a
 * guest: accepted, two at most, and handled like the others, but never dialled.
 * It may be a new member that this one has not heard of yet. For the same
 * reason the member that is to be dialled dials itself when nobody does.
 * Without a key there are no guests.
 *
 * A connection belongs to one life of each side. connected() is called for a
 * new life of a peer after disconnected() for its older one. When a connection
 * closes, the transport at once tries the listening socket of that peer: if
 * that is refused it calls refused(), with the life that the connection had,
 * if that life was found to listen there before; anything else, a time-out, a
 * success, an unreachable host, says nothing (R8). A second process that
 * claims the id of a peer that is connected and alive is refused and counted.
 *
 * What is sent during a round of the loop goes out when it ends, in one write,
 * unless it is long. A note is taken only if there is little before it: beats
 * must not wait.
 *
 * Handlers are called from the loop only, never from within one of the
 * operations below: those only take note.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_TRANSPORT_H
#define APUS_TRANSPORT_H

#include "../core/message.h"
#include "loop.h"

typedef struct {
    void (*message)(void *opaque, const ApusMessage *message);
    void (*connected)(void *opaque, ApusId peer, uint64_t life,
                      uint64_t incarnation);
    void (*disconnected)(void *opaque, ApusId peer, const char *why);
    void (*refused)(void *opaque, ApusId peer, uint64_t life);
    /* ready() has become true again for some peer. */
    void (*writable)(void *opaque);
    /* For the operator: a stranger, a wrong key, a duplicate id, ... */
    void (*complaint)(void *opaque, const char *text);
} ApusTransportHandlers;

typedef struct {
    uint64_t connects, disconnects, refusals, strangers;
    uint64_t bytes_sent, bytes_received, frames_sent, frames_received;
    /* System calls; over RDMA: operations, and records that came. */
    uint64_t writes, reads;
    /* RDMA only */
    uint64_t credits; /* of the writes: they said only what has been read */
    uint64_t sleeps; /* times that something came while the member slept */
    uint64_t fenced; /* times that a leader's right to write was taken back */
    uint64_t kept_out; /* links that ended because somebody wrote without */
    uint64_t dropped; /* messages that had no room, or no connection */
    uint64_t dropped_notes; /* of those, notes that had no room */
} ApusTransportCounters;

typedef struct ApusTransport ApusTransport;

typedef struct {
    void (*free)(ApusTransport *transport);
    /* Those, without oneself, to be connected with; called again on change. */
    void (*peers)(ApusTransport *transport, const ApusMembers *members);
    void (*send)(ApusTransport *transport, const ApusMessage *message);
    gboolean (*ready)(ApusTransport *transport, ApusId peer);
    /* What this round has put together goes out now. */
    void (*flush)(ApusTransport *transport);
    void (*fence)(ApusTransport *transport, uint64_t term);
    /*
     * The listening socket is closed, so that reconnects are refused, and what
     * was handed over is sent if that is possible at once.
     */
    void (*close)(ApusTransport *transport);
    void (*counters)(ApusTransport *transport, ApusTransportCounters *counters);
} ApusTransportOps;

struct ApusTransport {
    const ApusTransportOps *ops;
};

#define APUS_KEY_MIN 16 /* bytes */
#define APUS_KEY_MAX 64

typedef struct {
    const char *cluster; /* 1 to 63 printable characters */
    ApusId id;
    uint64_t life, incarnation;
    size_t ring_size;
    const char *listen; /* HOST:PORT; port 0 lets the system choose */
    /*
     * The cluster's secret. Without one whoever knows the cluster's name may
     * take part. Copied.
     */
    const uint8_t *key;
    size_t key_size; /* 0: none */
    gboolean tls; /* TLS 1.3 with the key as PSK; needs a key */
    size_t send_limit; /* bytes kept for a peer that does not read */
    /* Nanoseconds; 0: the default. */
    uint64_t connect_timeout, retry_min, retry_max;
    /* RDMA only; 0: the default. */
    size_t rdma_ring; /* bytes, a power of two: of entries from one leader */
    uint64_t rdma_poll; /* ns of looking at memory before the member sleeps */
    uint64_t rdma_ack_timeout; /* ns until a silent host's link is broken */
} ApusTransportConfig;

#define APUS_RDMA_RING_MIN (64u << 10)
#define APUS_RDMA_RING_MAX (256u << 20)

ApusTransport *apus_tcp_new(const ApusTransportConfig *config, ApusLoop *loop,
                            const ApusTransportHandlers *handlers,
                            void *opaque, GError **errp);

/*
 * The same over RDMA: docs/internals/apus-rdma.rst. Fails with
 * APUS_ERROR_CONFIG where Colony was built without it, and says what is
 * missing. An APPEND or SNAPSHOT of a leader that has no right yet to write at
 * its receiver arrives as its beat alone; ready() says when it has.
 */
ApusTransport *apus_rdma_new(const ApusTransportConfig *config, ApusLoop *loop,
                             const ApusTransportHandlers *handlers,
                             void *opaque, GError **errp);

/* HOST:PORT that is listened on, with the port that the system chose. */
const char *apus_transport_address(const ApusTransport *transport);

#endif
