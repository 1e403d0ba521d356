/*
 * The messages of a connection: in, out, and the silence between them
 *
 * Who has nothing to send says so three times in the time after which the
 * other side would give up: PING from a primary, PONG from a secondary, which
 * a receiver held back by a lack of memory does not keep from being sent.
 * So a stream that does not move is no sign of death where it may happen for
 * a reason: a primary waits as long as it hears the other side. Its queue is
 * bounded, and how long a guest waits for room in it is the driver's matter.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qapi/error.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "peer-internal.h"
#include "trace.h"

/* Read at once, and the longest payload that is used where it was read. */
#define READ_BUFFER (256 << 10)
#define SHORT_PAYLOAD (64 << 10)

/* Sent at once; what next() handed out is in nobody's account. */
#define MAX_BATCH 64
#define MAX_BATCH_BYTES (1 << 20)

/* --- out ------------------------------------------------------------------ */

typedef struct Batch {
    unsigned n;
    size_t bytes;
    uint8_t headers[MAX_BATCH][GANNET_WIRE_HEADER];
    GBytes *payloads[MAX_BATCH];
    unsigned n_iov;
    struct iovec iov[2 * MAX_BATCH];
} Batch;

/* Takes the payload. */
static void batch_add(Batch *batch, const GannetMessage *message,
                      GBytes *payload)
{
    uint8_t *header = batch->headers[batch->n];
    gsize size = 0;
    const void *data = payload ? g_bytes_get_data(payload, &size) : NULL;

    assert(size == message->payload);
    gannet_wire_encode(message, data, header);
    batch->payloads[batch->n++] = payload;
    batch->bytes += GANNET_WIRE_HEADER + size;
    batch->iov[batch->n_iov++] = (struct iovec) {
        .iov_base = header, .iov_len = GANNET_WIRE_HEADER,
    };
    if (size) {
        batch->iov[batch->n_iov++] = (struct iovec) {
            .iov_base = (void *)data, .iov_len = size,
        };
    }
    trace_gannet_peer_send(gannet_message_name(message->type), message->epoch,
                           message->offset, message->bytes, message->mark);
}

static void batch_clear(Batch *batch)
{
    for (unsigned i = 0; i < batch->n; i++) {
        g_bytes_unref(batch->payloads[i]);
    }
    batch->n = batch->n_iov = 0;
    batch->bytes = 0;
}

/* Whether a batch that does not move has to be given up. */
static bool give_up(GannetPeer *peer, int64_t deadline, Error **errp)
{
    g_autofree char *text = NULL;

    if (!deadline && peer->role == GANNET_PRIMARY &&
        gannet_peer_state(peer) == PEER_RUNNING) {
        return false;
    }
    text = g_strdup_printf("%s took nothing for %" PRIu32 " ms", peer->name,
                           peer->timeout_ms);
    gannet_peer_stalled(peer, text);
    error_setg(errp, "%s", text);
    return true;
}

/* @deadline 0: as the stream goes. */
static bool send_batch(GannetPeer *peer, Batch *batch, int64_t deadline,
                       Error **errp)
{
    struct iovec *iov = batch->iov;
    unsigned n = batch->n_iov;
    bool late = false;

    while (n) {
        ssize_t sent = gannet_channel_writev(&peer->channel, iov, n, errp);

        if (sent == QIO_CHANNEL_ERR_BLOCK) {
            if (late && give_up(peer, deadline, errp)) {
                return false;
            }
            late = !gannet_channel_wait(&peer->channel, POLLOUT, deadline ?:
                                        get_clock() +
                                        gannet_peer_timeout(peer));
        } else if (sent < 0) {
            error_prepend(errp, "the connection to %s was lost: ",
                          peer->name);
            return false;
        } else {
            late = false;
            iov_discard_front(&iov, &n, sent);
        }
    }
    return true;
}

bool gannet_peer_send(GannetPeer *peer, GannetMessageType type,
                      GBytes *payload, int64_t deadline, Error **errp)
{
    g_autofree Batch *batch = g_new0(Batch, 1);
    GannetMessage message = {
        .type = type,
        .payload = g_bytes_get_size(payload),
    };
    bool ok;

    batch_add(batch, &message, g_bytes_ref(payload));
    ok = send_batch(peer, batch, deadline, errp);
    batch_clear(batch);
    return ok;
}

/* Returns whether there may be more. */
static bool collect(GannetPeer *peer, Batch *batch)
{
    GannetMessage message;

    while (batch->n < MAX_BATCH - 1 && batch->bytes < MAX_BATCH_BYTES) {
        GBytes *payload = NULL;

        if (!peer->ops->next(peer->opaque, peer, &message, &payload)) {
            return false;
        }
        batch_add(batch, &message, payload);
    }
    return true;
}

static bool send_refusal(GannetPeer *peer, Error **errp)
{
    g_autoptr(GBytes) text = gannet_text_encode(peer->refusal);

    return gannet_peer_send(peer, GANNET_REFUSE, text, peer->end_before, errp);
}

bool gannet_peer_send_stream(GannetPeer *peer, Error **errp)
{
    g_autofree Batch *batch = g_new0(Batch, 1);
    GannetMessage alive = {
        .type = peer->role == GANNET_PRIMARY ? GANNET_PING : GANNET_PONG,
    };
    int64_t due = get_clock() + peer->interval;
    bool more = true;

    for (;;) {
        GannetPeerState state;
        int64_t left;
        bool ok;

        /* Whoever changes the state kicks: look at it after this. */
        more |= qatomic_xchg(&peer->kicked, false);
        state = gannet_peer_state(peer);
        if (state >= PEER_REFUSING) {
            return state == PEER_ENDED || send_refusal(peer, errp);
        }
        if (more || state == PEER_FINISHING) {
            more = collect(peer, batch);
        }
        left = due - get_clock();
        if (qatomic_xchg(&peer->pong_due, false) || (!batch->n && left <= 0)) {
            batch_add(batch, &alive, NULL);
        }
        if (batch->n) {
            ok = send_batch(peer, batch, 0, errp);
            batch_clear(batch);
            if (!ok) {
                return false;
            }
            due = get_clock() + peer->interval;
        } else if (state == PEER_FINISHING) {
            return true;
        } else {
            qemu_sem_timedwait(&peer->wake, DIV_ROUND_UP(left, SCALE_MS));
        }
    }
}

/* --- in ------------------------------------------------------------------- */

void gannet_reader_init(GannetReader *reader)
{
    reader->bytes = g_malloc(READ_BUFFER);
}

void gannet_reader_destroy(GannetReader *reader)
{
    g_free(reader->bytes);
    g_free(reader->payload);
}

static int64_t read_deadline(GannetPeer *peer)
{
    if (!peer->reader.running) {
        return peer->reader.deadline;
    }
    if (gannet_peer_state(peer) == PEER_FINISHING) {
        return peer->end_before;
    }
    return get_clock() + gannet_peer_timeout(peer);
}

/* Read at least one byte. */
static ssize_t read_some(GannetPeer *peer, struct iovec *iov, unsigned n,
                         Error **errp)
{
    bool late = false;

    for (;;) {
        ssize_t got = gannet_channel_readv(&peer->channel, iov, n, errp);

        if (got > 0) {
            return got;
        }
        if (got == 0) {
            peer->reader.lost = true;
            error_setg(errp, "%s closed the connection", peer->name);
            return -1;
        }
        if (got != QIO_CHANNEL_ERR_BLOCK) {
            peer->reader.lost = true;
            error_prepend(errp, "the connection to %s was lost: ",
                          peer->name);
            return -1;
        }
        /* Late, or was this process stopped for a while? Look once more. */
        if (late) {
            peer->reader.lost = true;
            error_setg(errp, "no answer from %s for %" PRIu32 " ms",
                       peer->name, peer->timeout_ms);
            return -1;
        }
        late = !gannet_channel_wait(&peer->channel, POLLIN,
                                    read_deadline(peer));
    }
}

/* The next @size bytes of the stream, which fit into the buffer. */
static const uint8_t *read_short(GannetPeer *peer, size_t size, Error **errp)
{
    GannetReader *reader = &peer->reader;
    const uint8_t *bytes;

    if (READ_BUFFER - reader->start < size) {
        memmove(reader->bytes, reader->bytes + reader->start,
                reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    while (reader->end - reader->start < size) {
        struct iovec iov = {
            .iov_base = reader->bytes + reader->end,
            .iov_len = READ_BUFFER - reader->end,
        };
        ssize_t got = read_some(peer, &iov, 1, errp);

        if (got < 0) {
            return NULL;
        }
        reader->end += got;
    }
    bytes = reader->bytes + reader->start;
    reader->start += size;
    return bytes;
}

/* Those of a long payload are read to where they stay. */
static const uint8_t *read_long(GannetPeer *peer, size_t size, Error **errp)
{
    GannetReader *reader = &peer->reader;
    size_t have = MIN(reader->end - reader->start, size);

    if (reader->payload_size < size) {
        g_free(reader->payload);
        reader->payload = g_malloc(size);
        reader->payload_size = size;
    }
    memcpy(reader->payload, reader->bytes + reader->start, have);
    reader->start += have;
    while (have < size) {
        struct iovec iov[2] = {
            { reader->payload + have, size - have },
            { reader->bytes, READ_BUFFER },
        };
        ssize_t got = read_some(peer, iov, 2, errp);

        if (got < 0) {
            return NULL;
        }
        reader->start = 0;
        reader->end = got > size - have ? got - (size - have) : 0;
        have = MIN(have + got, size);
    }
    return reader->payload;
}

static bool malformed(GannetPeer *peer, GError *err, Error **errp)
{
    error_setg(errp, "%s sent what cannot be: %s", peer->name, err->message);
    return false;
}

bool gannet_peer_receive(GannetPeer *peer, GannetMessageType expected,
                         GannetMessage *message, const void **payload,
                         Error **errp)
{
    uint8_t header[GANNET_WIRE_HEADER];
    g_autoptr(GError) err = NULL;
    const uint8_t *bytes;

    bytes = read_short(peer, sizeof(header), errp);
    if (!bytes) {
        return false;
    }
    memcpy(header, bytes, sizeof(header));
    if (!gannet_wire_decode(header, peer->size, message, &err)) {
        return malformed(peer, err, errp);
    }
    if (expected && message->type != expected &&
        message->type != GANNET_REFUSE) {
        error_setg(errp, "%s sent %s instead of %s", peer->name,
                   gannet_message_name(message->type),
                   gannet_message_name(expected));
        return false;
    }
    bytes = message->payload <= SHORT_PAYLOAD
            ? read_short(peer, message->payload, errp)
            : read_long(peer, message->payload, errp);
    if (!bytes) {
        return false;
    }
    if (!gannet_wire_check(header, message, bytes, &err)) {
        return malformed(peer, err, errp);
    }
    trace_gannet_peer_receive(gannet_message_name(message->type),
                              message->epoch, message->offset, message->bytes,
                              message->mark);
    if (message->type == GANNET_REFUSE) {
        peer->reader.lost = true;
        error_setg(errp, "refused by %s: %.*s", peer->name,
                   (int)message->payload, bytes);
        return false;
    }
    *payload = message->payload ? bytes : NULL;
    return true;
}

void gannet_peer_discard(GannetPeer *peer, int64_t deadline)
{
    struct iovec iov = {
        .iov_base = peer->reader.bytes, .iov_len = READ_BUFFER,
    };

    peer->reader.running = false;
    peer->reader.deadline = deadline;
    while (get_clock() < deadline && read_some(peer, &iov, 1, NULL) > 0) {
        ;
    }
}

static bool take(GannetPeer *peer, const GannetMessage *message,
                 const void *payload, Error **errp)
{
    bool primary = peer->role == GANNET_PRIMARY;

    switch (message->type) {
    case GANNET_PING:
        if (!primary) {
            qatomic_set(&peer->pong_due, true);
            gannet_peer_kick(peer);
            return true;
        }
        break;
    case GANNET_PONG:
        if (primary) {
            return true;
        }
        break;
    case GANNET_HELLO:
    case GANNET_INTENTS:
    case GANNET_OFFER:
    case GANNET_CARRIER:
        break;
    default:
        return peer->ops->receive(peer->opaque, peer, message, payload, errp);
    }
    error_setg(errp, "%s sent %s, which does not belong here", peer->name,
               gannet_message_name(message->type));
    return false;
}

bool gannet_peer_receive_stream(GannetPeer *peer, Error **errp)
{
    peer->reader.running = true;
    while (gannet_peer_state(peer) != PEER_FINISHING ||
           get_clock() < peer->end_before) {
        GannetMessage message;
        const void *payload;

        if (!gannet_peer_receive(peer, 0, &message, &payload, errp) ||
            !take(peer, &message, payload, errp)) {
            return false;
        }
    }
    return true;
}
