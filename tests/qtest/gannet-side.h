/*
 * One side of a connection between two disks, for tests: it sends what it is
 * given, keeps what it gets, and checks that ops are called as promised.
 *
 * Waits have a deadline of SIDE_DEADLINE and assert that it is not needed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_SIDE_H
#define GANNET_SIDE_H

#include "qemu/thread.h"
#include "gannet-blk/adapter/peer.h"

#define SIDE_DISK_SIZE (64u << 20)
#define SIDE_DEADLINE (20 * G_USEC_PER_SEC)

typedef struct Received {
    GannetMessage message;
    GBytes *payload; /* or NULL */
} Received;

typedef struct Side {
    GannetHello hello;  /* what to say */
    GBytes *intents;
    const char *refuse; /* how to fail in hello() or connected() */
    const char *object; /* how to fail in receive() */

    QemuMutex lock; /* for all below */
    QemuCond changed;
    GannetPeer *peer; /* while ops may be called */
    GQueue outgoing;
    GPtrArray *received;
    uint64_t received_bytes;
    bool keep_payloads;
    bool hold;    /* receive() waits */
    bool holding; /* receive() is waiting */
    GannetHello theirs;
    GBytes *their_intents;
    unsigned started; /* connections of a primary */
    unsigned hellos;
    unsigned connects;
    unsigned broken;
    unsigned closes;
    char *reason; /* the last that closed() gave */
} Side;

extern const GannetPeerOps side_ops;

Side *side_new(GannetRole role);
void side_free(Side *side);

/* Of random bytes, if it is a WRITE. */
void side_send(Side *side, const GannetMessage *message);
void side_send_write(Side *side, uint64_t offset, uint64_t bytes);
void side_send_mark(Side *side, uint64_t mark);

/* Wait until one of these counts is at least that. */
void side_wait(Side *side, const unsigned *count, unsigned at_least);
void side_wait_received(Side *side, unsigned at_least);
void side_wait_holding(Side *side);
void side_release(Side *side);
bool side_is_closed(Side *side);
/* Wait for closed(), which has to say something that matches. */
void side_wait_closed(Side *side, const char *pattern);

/* A secondary that listens on a socket in a folder of its own, or on TCP. */
typedef struct Pair {
    char *folder;
    SocketAddress *address;
    uint32_t timeout_ms;         /* of both, unless changed */
    QCryptoTLSCreds *tls_server; /* as of the listener's start */
    QCryptoTLSCreds *tls_client;
    const char *node_name; /* yank instance of the primary */
    Side *secondary;
    Side *primary;
    GannetListener *listener;
    GannetPeer *peer; /* the primary's */
} Pair;

/*
 * All that are made from now on use RDMA links over the fake fabric, on
 * addresses that are NULL for sides without.
 */
void pair_over_rdma(const char *primary, const char *secondary);

Pair *pair_new(bool tcp, uint32_t timeout_ms);
void pair_free(Pair *pair);
void pair_listen(Pair *pair);
void pair_connect(Pair *pair);
/* Both, and wait until they are connected. */
Pair *pair_up(bool tcp, uint32_t timeout_ms);
/* End the primary's connection; a new primary may follow. */
void pair_disconnect(Pair *pair);
/* Count what was refused, waiting for it. */
void pair_wait_refused(Pair *pair, uint64_t n);

#endif
