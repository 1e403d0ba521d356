/*
 * One side of a connection between two disks, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "io/channel-socket.h"
#include "gannet-side.h"

typedef struct Outgoing {
    GannetMessage message;
    GBytes *payload;
} Outgoing;

/* --- ops ------------------------------------------------------------------ */

static bool fails(const char *text, Error **errp)
{
    if (text) {
        error_setg(errp, "%s", text);
    }
    return text;
}

static bool side_hello(void *opaque, GannetPeer *peer,
                       const GannetHello *theirs, GannetHello *ours,
                       GBytes **intents, Error **errp)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);

    if (side->hello.role == GANNET_SECONDARY) {
        side->theirs = *theirs;
        if (fails(side->refuse, errp)) {
            return false;
        }
        /* Never two at a time. */
        g_assert_null(side->peer);
        side->peer = peer;
    } else {
        g_assert_null(theirs);
    }
    *ours = side->hello;
    *intents = side->intents ? g_bytes_ref(side->intents) : NULL;
    side->hellos++;
    qemu_cond_broadcast(&side->changed);
    return true;
}

static bool side_connected(void *opaque, GannetPeer *peer,
                           const GannetHello *theirs, GBytes *intents,
                           Error **errp)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);

    g_assert_cmpint(side->hello.role, ==, GANNET_PRIMARY);
    side->theirs = *theirs;
    side->their_intents = intents ? g_bytes_ref(intents) : NULL;
    side->connects++;
    qemu_cond_broadcast(&side->changed);
    return !fails(side->refuse, errp);
}

static bool side_receive(void *opaque, GannetPeer *peer,
                         const GannetMessage *message, const void *payload,
                         Error **errp)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);
    Received *received = g_new0(Received, 1);

    g_assert_true(!!payload == (message->payload > 0));
    received->message = *message;
    if (payload && side->keep_payloads) {
        received->payload = g_bytes_new(payload, message->payload);
    }
    g_ptr_array_add(side->received, received);
    side->received_bytes += message->payload;
    side->holding = side->hold;
    qemu_cond_broadcast(&side->changed);
    while (side->hold) {
        qemu_cond_wait(&side->changed, &side->lock);
    }
    side->holding = false;
    return !fails(side->object, errp);
}

static bool side_next(void *opaque, GannetPeer *peer, GannetMessage *message,
                      GBytes **payload)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);
    g_autofree Outgoing *next = g_queue_pop_head(&side->outgoing);

    if (next) {
        *message = next->message;
        *payload = next->payload;
        qemu_cond_broadcast(&side->changed);
    }
    return next;
}

static void side_broken(void *opaque, GannetPeer *peer)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);

    side->broken++;
    side->hold = false;
    qemu_cond_broadcast(&side->changed);
}

static void side_closed(void *opaque, GannetPeer *peer, const char *reason)
{
    Side *side = opaque;
    QEMU_LOCK_GUARD(&side->lock);

    if (side->hello.role == GANNET_SECONDARY) {
        g_assert_true(side->peer == peer);
        side->peer = NULL;
    }
    side->closes++;
    g_free(side->reason);
    side->reason = g_strdup(reason);
    qemu_cond_broadcast(&side->changed);
}

const GannetPeerOps side_ops = {
    .hello = side_hello,
    .connected = side_connected,
    .receive = side_receive,
    .next = side_next,
    .broken = side_broken,
    .closed = side_closed,
};

/* --- for tests ------------------------------------------------------------ */

static void received_free(void *opaque)
{
    Received *received = opaque;

    g_bytes_unref(received->payload);
    g_free(received);
}

Side *side_new(GannetRole role)
{
    Side *side = g_new0(Side, 1);

    side->hello = (GannetHello) {
        .role = role,
        .disk = "disk0",
        .size = SIDE_DISK_SIZE,
        .room = 1 << 20,
        .pair = 0x1111222233334444,
        .generation = 3,
    };
    qemu_mutex_init(&side->lock);
    qemu_cond_init(&side->changed);
    g_queue_init(&side->outgoing);
    side->received = g_ptr_array_new_with_free_func(received_free);
    side->keep_payloads = true;
    return side;
}

static void outgoing_free(void *opaque)
{
    Outgoing *outgoing = opaque;

    g_bytes_unref(outgoing->payload);
    g_free(outgoing);
}

void side_free(Side *side)
{
    g_queue_clear_full(&side->outgoing, outgoing_free);
    g_ptr_array_unref(side->received);
    g_bytes_unref(side->intents);
    g_bytes_unref(side->their_intents);
    g_free(side->reason);
    qemu_cond_destroy(&side->changed);
    qemu_mutex_destroy(&side->lock);
    g_free(side);
}

void side_send(Side *side, const GannetMessage *message)
{
    Outgoing *outgoing = g_new0(Outgoing, 1);

    outgoing->message = *message;
    if (message->payload) {
        uint8_t *bytes = g_malloc(message->payload);
        uint64_t *words = (uint64_t *)bytes;

        for (unsigned i = 0; i < message->payload / sizeof(*words); i++) {
            words[i] = message->offset * 0x9e3779b97f4a7c15 + i;
        }
        outgoing->payload = g_bytes_new_take(bytes, message->payload);
    }
    QEMU_LOCK_GUARD(&side->lock);
    g_queue_push_tail(&side->outgoing, outgoing);
    if (side->peer) {
        gannet_peer_kick(side->peer);
    }
}

void side_send_write(Side *side, uint64_t offset, uint64_t bytes)
{
    side_send(side, &(GannetMessage) {
        .type = GANNET_WRITE,
        .offset = offset,
        .bytes = bytes,
        .payload = bytes,
    });
}

void side_send_mark(Side *side, uint64_t mark)
{
    side_send(side, &(GannetMessage) {
        .type = side->hello.role == GANNET_PRIMARY ? GANNET_MARK
                                                   : GANNET_DURABLE,
        .mark = mark,
    });
}

/* With the lock, which it gives up meanwhile. */
static void wait_change(Side *side, int64_t deadline)
{
    int64_t left = MAX(deadline - g_get_monotonic_time(), 0);

    if (!qemu_cond_timedwait(&side->changed, &side->lock, left / 1000)) {
        g_error("waited too long; %u hello, %u connected, %u received, %u "
                "closed: %s", side->hellos, side->connects,
                side->received->len, side->closes, side->reason);
    }
}

void side_wait(Side *side, const unsigned *count, unsigned at_least)
{
    int64_t deadline = g_get_monotonic_time() + SIDE_DEADLINE;
    QEMU_LOCK_GUARD(&side->lock);

    while (*count < at_least) {
        wait_change(side, deadline);
    }
}

void side_wait_received(Side *side, unsigned at_least)
{
    side_wait(side, &side->received->len, at_least);
}

void side_wait_holding(Side *side)
{
    int64_t deadline = g_get_monotonic_time() + SIDE_DEADLINE;
    QEMU_LOCK_GUARD(&side->lock);

    while (!side->holding) {
        wait_change(side, deadline);
    }
}

void side_release(Side *side)
{
    QEMU_LOCK_GUARD(&side->lock);

    side->hold = false;
    qemu_cond_broadcast(&side->changed);
}

bool side_is_closed(Side *side)
{
    QEMU_LOCK_GUARD(&side->lock);
    return side->closes;
}

void side_wait_closed(Side *side, const char *pattern)
{
    side_wait(side, &side->closes, 1);
    if (!g_pattern_match_simple(pattern, side->reason)) {
        g_error("closed with '%s', not with '%s'", side->reason, pattern);
    }
}

/* --- both ----------------------------------------------------------------- */

static SocketAddress *unix_address(const char *folder)
{
    SocketAddress *address = g_new0(SocketAddress, 1);

    address->type = SOCKET_ADDRESS_TYPE_UNIX;
    address->u.q_unix.path = g_build_filename(folder, "listen", NULL);
    return address;
}

/* A port that was free a moment ago. */
static SocketAddress *tcp_address(void)
{
    SocketAddress any = {
        .type = SOCKET_ADDRESS_TYPE_INET,
        .u.inet = { .host = (char *)"127.0.0.1", .port = (char *)"0" },
    };
    g_autoptr(QIOChannelSocket) socket = qio_channel_socket_new();

    qio_channel_socket_listen_sync(socket, &any, 1, &error_abort);
    return qio_channel_socket_get_local_address(socket, &error_abort);
}

static bool connected_or_closed(Side *side)
{
    int64_t deadline = g_get_monotonic_time() + SIDE_DEADLINE;

    QEMU_LOCK_GUARD(&side->lock);
    while (!side->connects && side->closes < side->started) {
        wait_change(side, deadline);
    }
    return side->connects;
}

static struct sockaddr_storage rdma[2];
static bool has_rdma[2];

static void set_rdma(int side, const char *text)
{
    has_rdma[side] = text;
    if (text) {
        g_assert_true(verbs_address_parse(&rdma[side], text, NULL));
    }
}

void pair_over_rdma(const char *primary, const char *secondary)
{
    set_rdma(0, primary);
    set_rdma(1, secondary);
}

Pair *pair_new(bool tcp, uint32_t timeout_ms)
{
    Pair *pair = g_new0(Pair, 1);

    pair->folder = g_dir_make_tmp("gannet-peer-XXXXXX", NULL);
    g_assert_nonnull(pair->folder);
    pair->address = tcp ? tcp_address() : unix_address(pair->folder);
    pair->timeout_ms = timeout_ms;
    pair->secondary = side_new(GANNET_SECONDARY);
    pair->primary = side_new(GANNET_PRIMARY);
    return pair;
}

void pair_listen(Pair *pair)
{
    GannetPeerConfig config = {
        .address = pair->address,
        .tls_creds = pair->tls_server,
        .timeout_ms = pair->timeout_ms,
        .rdma = has_rdma[1] ? &rdma[1] : NULL,
    };

    pair->listener = gannet_listener_new(&config, &side_ops, pair->secondary,
                                         &error_abort);
}

void pair_connect(Pair *pair)
{
    GannetPeerConfig config = {
        .address = pair->address,
        .tls_creds = pair->tls_client,
        .node_name = pair->node_name,
        .timeout_ms = pair->timeout_ms,
        .rdma = has_rdma[0] ? &rdma[0] : NULL,
    };
    GannetPeer *peer;

    peer = gannet_peer_connect(&config, &side_ops, pair->primary);
    qemu_mutex_lock(&pair->primary->lock);
    pair->peer = pair->primary->peer = peer;
    pair->primary->started++;
    qemu_mutex_unlock(&pair->primary->lock);
}

Pair *pair_up(bool tcp, uint32_t timeout_ms)
{
    Pair *pair = pair_new(tcp, timeout_ms);

    pair_listen(pair);
    for (;;) {
        pair_connect(pair);
        if (connected_or_closed(pair->primary)) {
            return pair;
        }
        /* On a busy machine a short timeout is too short for that. */
        pair_disconnect(pair);
    }
}

void pair_disconnect(Pair *pair)
{
    side_release(pair->primary);
    gannet_peer_free(pair->peer);
    pair->peer = pair->primary->peer = NULL;
}

void pair_free(Pair *pair)
{
    if (pair->peer) {
        pair_disconnect(pair);
        g_assert_cmpuint(pair->primary->closes, ==, pair->primary->started);
    }
    side_release(pair->secondary);
    gannet_listener_free(pair->listener);
    g_assert_cmpuint(pair->secondary->closes, ==, pair->secondary->hellos);
    side_free(pair->primary);
    side_free(pair->secondary);
    if (pair->tls_server) {
        object_unref(OBJECT(pair->tls_server));
    }
    if (pair->tls_client) {
        object_unref(OBJECT(pair->tls_client));
    }
    qapi_free_SocketAddress(pair->address);
    g_rmdir(pair->folder);
    g_free(pair->folder);
    g_free(pair);
}

void pair_wait_refused(Pair *pair, uint64_t n)
{
    int64_t deadline = g_get_monotonic_time() + SIDE_DEADLINE;

    while (gannet_listener_refused(pair->listener) < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}
