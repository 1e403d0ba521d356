/*
 * The RDMA link that may carry a connection
 *
 * It is made at the end of the handshake (docs/internals/rdma-streams.rst).
 * Then nothing is sent over the socket any more, but it stays: when it ends,
 * reading and writing do, after what had come before was read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "peer-internal.h"
#include "trace.h"

/* On each side, and as much again for what it sends; of each disk. */
#define RING_SIZE (1 << 20)
/* An answer may take that long; who sleeps has to be woken. */
#define POLL_NS (20 * SCALE_US)
/* Pieces that are written at once. */
#define MAX_PIECES 32

/* A link's error becomes QEMU's. */
static void fail(Error **errp, GError *error)
{
    error_setg(errp, "%s", error->message);
    g_error_free(error);
}

/* --- bytes ---------------------------------------------------------------- */

/* Whether it is only TLS that has something to read. */
static bool socket_lives(GannetChannel *channel)
{
    char byte;
    QEMU_LOCK_GUARD(&channel->tls_lock);

    return qio_channel_read(channel->ioc, &byte, 1, NULL) ==
           QIO_CHANNEL_ERR_BLOCK;
}

static uint64_t to_boot_time(int64_t deadline)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec +
           MAX(deadline - get_clock(), 0);
}

bool gannet_stream_wait(GannetChannel *channel, VerbsStream *stream,
                        VerbsStreamFor what, int64_t deadline)
{
    switch (verbs_stream_wait(stream, what, channel->socket->fd,
                              to_boot_time(deadline))) {
    case VERBS_WAIT_LATE:
        return false;
    case VERBS_WAIT_LIFE:
        if (!socket_lives(channel)) {
            qatomic_set(&channel->over, true);
        }
        return true;
    default:
        return true;
    }
}

ssize_t gannet_stream_read(GannetChannel *channel, struct iovec *iov,
                           Error **errp)
{
    GError *error = NULL;
    gssize got = verbs_stream_read(channel->stream, iov->iov_base,
                                   iov->iov_len, &error);

    if (got == VERBS_STREAM_LATER) {
        return qatomic_read(&channel->over) ? 0 : QIO_CHANNEL_ERR_BLOCK;
    }
    /* Who closes the socket closes the link, and either may be seen first. */
    if (got < 0 && !socket_lives(channel)) {
        g_error_free(error);
        return 0;
    }
    if (got < 0) {
        fail(errp, error);
        return -1;
    }
    return got;
}

ssize_t gannet_stream_write(GannetChannel *channel, struct iovec *iov,
                            unsigned n, Error **errp)
{
    VerbsPiece pieces[MAX_PIECES];
    GError *error = NULL;
    gssize sent;

    n = MIN(n, MAX_PIECES);
    for (unsigned i = 0; i < n; i++) {
        pieces[i] = (VerbsPiece) { iov[i].iov_base, iov[i].iov_len };
    }
    if (qatomic_read(&channel->over)) {
        error_setg(errp, "the other side closed it");
        return -1;
    }
    sent = verbs_stream_write(channel->stream, pieces, n, &error);
    if (sent == VERBS_STREAM_LATER) {
        return QIO_CHANNEL_ERR_BLOCK;
    }
    if (sent < 0) {
        fail(errp, error);
        return -1;
    }
    return sent;
}

void gannet_stream_end(GannetChannel *channel, int64_t deadline)
{
    while (!qatomic_read(&channel->over) &&
           verbs_stream_end(channel->stream, NULL) == VERBS_STREAM_LATER &&
           gannet_stream_wait(channel, channel->stream, VERBS_STREAM_WRITES,
                              deadline)) {
        ;
    }
}

/* --- making it ------------------------------------------------------------ */

/* There will be time left to say that it failed. */
static int64_t patience(const GannetPeer *peer)
{
    return gannet_peer_timeout((GannetPeer *)peer) / 2;
}

static VerbsStreamConfig configuration(const GannetPeer *peer)
{
    return (VerbsStreamConfig) {
        .size = RING_SIZE,
        .poll = POLL_NS,
        .connect_timeout = patience(peer),
        .ack_timeout = patience(peer),
    };
}

static bool await_open(GannetPeer *peer, VerbsStream *stream, Error **errp)
{
    int64_t deadline = get_clock() + patience(peer);
    GError *error = NULL;
    int open;

    while (!(open = verbs_stream_is_open(stream, &error))) {
        if (!gannet_stream_wait(&peer->channel, stream, VERBS_STREAM_OPENS,
                                deadline)) {
            error_setg(errp, "no RDMA link came about in time");
            return false;
        }
        if (qatomic_read(&peer->channel.over)) {
            error_setg(errp, "the connection ended");
            return false;
        }
    }
    if (open < 0) {
        fail(errp, error);
    }
    return open > 0;
}

/* Let the primary call, until it does, or has something to say. */
static void await_call(GannetPeer *peer, VerbsStream *stream)
{
    uint64_t deadline = to_boot_time(get_clock() + patience(peer));

    while (!verbs_stream_is_open(stream, NULL) &&
           verbs_stream_wait(stream, VERBS_STREAM_OPENS,
                             peer->channel.socket->fd, deadline) ==
           VERBS_WAIT_READY) {
        ;
    }
}

/* It stands: use it. Who shuts the channel down shuts it down, too. */
static bool use(GannetPeer *peer, VerbsStream *stream, Error **errp)
{
    if (peer->reader.start != peer->reader.end) {
        error_setg(errp, "%s went on where it should not", peer->name);
        verbs_stream_free(stream);
        return false;
    }
    QEMU_LOCK_GUARD(&peer->lock);
    peer->channel.stream = stream;
    if (peer->state == PEER_ENDED) {
        gannet_channel_shutdown(&peer->channel);
    }
    trace_gannet_peer_rdma(peer->name, "");
    return true;
}

static void give_up(GannetPeer *peer, const char *why)
{
    QEMU_LOCK_GUARD(&peer->lock);
    if (peer->wants_rdma && !peer->why_no_rdma) {
        peer->why_no_rdma = g_strdup(why);
        trace_gannet_peer_rdma(peer->name, why);
    }
}

bool gannet_peer_rdma(GannetPeer *peer, char **why)
{
    QEMU_LOCK_GUARD(&peer->lock);
    *why = g_strdup(peer->why_no_rdma);
    return peer->channel.stream;
}

bool gannet_peer_make_offer(GannetPeer *peer, unsigned version,
                            VerbsStream **stream, VerbsOffer *offer)
{
    const VerbsStreamConfig config = configuration(peer);
    g_autoptr(GError) error = NULL;

    if (!peer->wants_rdma) {
        return false;
    }
    if (version < GANNET_VERSION_CARRIER) {
        give_up(peer, "the primary has no rdma=, or its Colony is too old for "
                "it");
        return false;
    }
    *stream = verbs_stream_listen(&config, &peer->rdma, offer, &error);
    if (!*stream) {
        give_up(peer, error->message);
    }
    return *stream;
}

bool gannet_peer_hear_carrier(GannetPeer *peer, VerbsStream *taken,
                              Error **errp)
{
    g_autoptr(VerbsStream) stream = taken;
    g_autofree char *why = NULL;
    GannetMessage message;
    const void *payload;

    await_call(peer, stream);
    peer->reader.deadline = get_clock() + gannet_peer_timeout(peer);
    if (!gannet_peer_receive(peer, GANNET_CARRIER, &message, &payload, errp)) {
        return false;
    }
    if (message.payload) {
        why = g_strndup(payload, message.payload);
        give_up(peer, why);
        return true;
    }
    return await_open(peer, stream, errp) &&
           use(peer, g_steal_pointer(&stream), errp);
}

/* NULL: why not is said. */
static VerbsStream *call(GannetPeer *peer, const VerbsOffer *offer,
                         Error **errp)
{
    const VerbsStreamConfig config = configuration(peer);
    g_autoptr(VerbsStream) stream = NULL;
    GError *error = NULL;

    if (!peer->wants_rdma) {
        error_setg(errp, "the primary has no rdma=");
        return NULL;
    }
    stream = verbs_stream_call(&config, offer, &error);
    if (!stream) {
        fail(errp, error);
        return NULL;
    }
    return await_open(peer, stream, errp) ? g_steal_pointer(&stream) : NULL;
}

static bool send_carrier(GannetPeer *peer, const char *why, Error **errp)
{
    int64_t deadline = get_clock() + gannet_peer_timeout(peer);
    g_autoptr(GBytes) text = why ? gannet_text_encode(why) :
                             g_bytes_new(NULL, 0);

    return gannet_peer_send(peer, GANNET_CARRIER, text, deadline, errp);
}

static bool receive_offer(GannetPeer *peer, VerbsOffer *offer, Error **errp)
{
    GannetMessage message;
    const void *payload;
    GError *error = NULL;

    if (!gannet_peer_receive(peer, GANNET_OFFER, &message, &payload, errp)) {
        return false;
    }
    if (!verbs_offer_decode(offer, payload, message.payload, &error)) {
        error_setg(errp, "%s: %s", peer->name, error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

bool gannet_peer_answer_offer(GannetPeer *peer, const GannetHello *theirs,
                              Error **errp)
{
    g_autoptr(VerbsStream) stream = NULL;
    VerbsOffer offer;
    Error *why = NULL;

    if (!theirs->offers) {
        give_up(peer, "the secondary offers none: it has no rdma=, or cannot "
                "use it");
        return true;
    }
    if (!receive_offer(peer, &offer, errp)) {
        return false;
    }
    stream = call(peer, &offer, &why);
    if (!stream) {
        bool ok = send_carrier(peer, error_get_pretty(why), errp);

        give_up(peer, error_get_pretty(why));
        error_free(why);
        return ok;
    }
    return send_carrier(peer, NULL, errp) &&
           use(peer, g_steal_pointer(&stream), errp);
}
