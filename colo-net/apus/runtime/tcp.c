/*
 * The TCP transport: what the interface promises, put together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tcp-internal.h"

#define CONNECT_TIMEOUT (500 * TCP_MILLISECOND)
#define RETRY_MIN TCP_MILLISECOND
#define RETRY_MAX (250 * TCP_MILLISECOND)

/* A beat does not wait behind more notes than this, in bytes. */
#define NOTE_LIMIT ((size_t)2 << 20)

static Tcp *tcp_of(const ApusTransport *transport)
{
    return (Tcp *)transport;
}

int tcp_socket(const ApusAddress *address)
{
    return socket(address->storage.ss_family,
                  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* --- peers ---------------------------------------------------------------- */

static TcpPeer *peer_at(const Tcp *tcp, unsigned i)
{
    return g_ptr_array_index(tcp->peers, i);
}

TcpPeer *tcp_find(const Tcp *tcp, ApusId id)
{
    for (unsigned i = 0; i < tcp->peers->len; i++) {
        if (peer_at(tcp, i)->id == id && !peer_at(tcp, i)->leaving) {
            return peer_at(tcp, i);
        }
    }
    return NULL;
}

static void let_go(Tcp *tcp, TcpPeer *peer)
{
    if (peer->call) {
        tcp_connection_close(peer->call, ECONNABORTED, "");
    }
    if (peer->open) {
        tcp_connection_close(peer->open, ECONNABORTED, "no member any more");
    }
    g_ptr_array_remove(tcp->peers, peer);
}

void tcp_sweep(Tcp *tcp)
{
    unsigned i = 0;

    /* What is closed below may be in somebody's hands: it goes next time. */
    g_ptr_array_set_size(tcp->closed, 0);

    while (i < tcp->peers->len) {
        if (peer_at(tcp, i)->leaving) {
            let_go(tcp, peer_at(tcp, i));
        } else {
            i++;
        }
    }
}

static void sweep(void *opaque)
{
    Tcp *tcp = opaque;

    tcp_sweep(tcp);
    for (unsigned i = 0; i < tcp->peers->len; i++) {
        TcpPeer *peer = peer_at(tcp, i);
        g_autofree char *complaint = g_steal_pointer(&peer->complaint);

        if (complaint) {
            tcp_complain(tcp, TCP_REASON_SYSTEM, peer, "member %u: %s",
                         peer->id, complaint);
        }
    }
}

void tcp_sweep_soon(Tcp *tcp)
{
    apus_timer_set(tcp->sweep, apus_loop_now(tcp->loop));
}

static void set_peers(ApusTransport *transport, const ApusMembers *members)
{
    Tcp *tcp = tcp_of(transport);

    for (unsigned i = 0; i < tcp->peers->len; i++) {
        TcpPeer *peer = peer_at(tcp, i);

        if (!peer->guest && apus_members_find(members, peer->id) < 0) {
            peer->leaving = TRUE;
            tcp_sweep_soon(tcp);
        }
    }
    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *member = &members->member[i];
        TcpPeer *peer = tcp_find(tcp, member->id);

        if (member->id == tcp->hello.from) {
            continue;
        }
        if (!peer) {
            peer = tcp_peer_new(tcp, member->id);
            g_ptr_array_add(tcp->peers, peer);
        }
        tcp_peer_set_address(peer, member->address);
    }
}

/* --- messages ------------------------------------------------------------- */

static void send_message(ApusTransport *transport, const ApusMessage *message)
{
    ApusRecords records = apus_wire_records(message);
    Tcp *tcp = tcp_of(transport);
    TcpPeer *peer = tcp_find(tcp, message->to);
    uint8_t head[APUS_WIRE_MAX_HEAD];
    struct iovec pieces[3];
    size_t size, limit = tcp->send_limit;
    int n = 1;

    if (!peer || !peer->open) {
        tcp->counters.dropped++;
        return;
    }
    size = apus_wire_head(head, message);
    pieces[0] = (struct iovec) { .iov_base = head, .iov_len = size };
    for (int i = 0; i < 2; i++) {
        if (records.size[i] > 0) {
            pieces[n++] = (struct iovec) {
                .iov_base = (void *)records.data[i],
                .iov_len = records.size[i],
            };
            size += records.size[i];
        }
    }
    if (message->type == APUS_MESSAGE_NOTE) {
        limit = MIN(limit, NOTE_LIMIT);
    }
    if (tcp_connection_send(peer->open, pieces, n, size, limit)) {
        tcp->counters.frames_sent++;
    } else {
        tcp->counters.dropped++;
        tcp->counters.dropped_notes += message->type == APUS_MESSAGE_NOTE;
    }
}

static void flush(ApusTransport *transport)
{
    Tcp *tcp = tcp_of(transport);

    for (unsigned i = 0; i < tcp->peers->len; i++) {
        TcpConnection *open = peer_at(tcp, i)->open;

        if (open && !open->mute) {
            tcp_stream_end_round(open);
        }
    }
}

static void end_round(void *opaque)
{
    flush(opaque);
}

static gboolean is_ready(ApusTransport *transport, ApusId id)
{
    TcpPeer *peer = tcp_find(tcp_of(transport), id);

    return peer && peer->open && !peer->open->mute && !peer->open->full;
}

static void fence(ApusTransport *transport G_GNUC_UNUSED,
                  uint64_t term G_GNUC_UNUSED)
{
    /* Nobody writes here but this process. */
}

static void get_counters(ApusTransport *transport,
                         ApusTransportCounters *counters)
{
    *counters = tcp_of(transport)->counters;
}

/* --- beginning and end ---------------------------------------------------- */

static void stop(ApusTransport *transport)
{
    Tcp *tcp = tcp_of(transport);
    TcpConnection *stranger;

    tcp->closing = TRUE;
    tcp_listen_stop(tcp);
    while ((stranger = g_queue_peek_head(&tcp->strangers))) {
        tcp_connection_close(stranger, ECONNABORTED, "");
    }
    for (unsigned i = 0; i < tcp->peers->len; i++) {
        TcpPeer *peer = peer_at(tcp, i);

        tcp_probe_stop(peer);
        apus_timer_set(peer->retry, 0);
        if (peer->call) {
            tcp_connection_close(peer->call, ECONNABORTED, "");
        }
        if (peer->open) {
            tcp_stream_flush(peer->open);
        }
    }
}

static void free_all(ApusTransport *transport)
{
    Tcp *tcp = tcp_of(transport);

    stop(transport);
    apus_loop_remove_end(tcp->loop, tcp);
    g_ptr_array_unref(tcp->peers);
    g_ptr_array_unref(tcp->closed);
    apus_timer_free(tcp->sweep);
    apus_tls_keys_free(tcp->tls_keys);
    explicit_bzero(tcp->key, sizeof(tcp->key));
    g_free(tcp->cluster);
    g_free(tcp->address);
    g_free(tcp);
}

static const ApusTransportOps ops = {
    .free = free_all,
    .peers = set_peers,
    .send = send_message,
    .ready = is_ready,
    .flush = flush,
    .fence = fence,
    .close = stop,
    .counters = get_counters,
};

static gboolean check(const ApusTransportConfig *config, GError **errp)
{
    const char *wrong = NULL;

    if (!apus_cluster_check(config->cluster, errp)) {
        return FALSE;
    }
    if (config->id == APUS_NOBODY) {
        wrong = "a member's id is 1 or more";
    } else if (!config->ring_size ||
               (config->ring_size & (config->ring_size - 1))) {
        wrong = "the size of the log is a power of two";
    } else if (config->key_size && (config->key_size < APUS_KEY_MIN ||
                                    config->key_size > APUS_KEY_MAX)) {
        wrong = "a key has 16 to 64 bytes";
    } else if (config->tls && !config->key_size) {
        wrong = "TLS needs a key";
    } else if (!config->listen) {
        wrong = "there is no address to listen at";
    }
    if (wrong) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_CONFIG, wrong);
        return FALSE;
    }
    return TRUE;
}

static Tcp *make(const ApusTransportConfig *config, ApusLoop *loop)
{
    Tcp *tcp = g_new0(Tcp, 1);

    tcp->transport.ops = &ops;
    tcp->loop = loop;
    tcp->cluster = g_strdup(config->cluster);
    tcp->key_size = config->key_size;
    if (config->key_size) {
        memcpy(tcp->key, config->key, config->key_size);
    }
    tcp->hello = (ApusHello) {
        .from = config->id,
        .keyed = config->key_size > 0,
        .cluster = apus_hello_cluster(config->cluster),
        .life = config->life,
        .incarnation = config->incarnation,
        .ring_size = config->ring_size,
    };
    tcp->send_limit = config->send_limit;
    tcp->connect_timeout = config->connect_timeout ?: CONNECT_TIMEOUT;
    tcp->retry_min = config->retry_min ?: RETRY_MIN;
    tcp->retry_max = MAX(config->retry_max ?: RETRY_MAX, tcp->retry_min);
    tcp->listener = -1;
    tcp->peers = g_ptr_array_new_with_free_func(
        (GDestroyNotify)tcp_peer_free);
    tcp->closed = g_ptr_array_new_with_free_func(
        (GDestroyNotify)tcp_connection_free);
    tcp->sweep = apus_loop_timer(loop, sweep, tcp);
    apus_loop_add_end(loop, end_round, tcp);
    g_queue_init(&tcp->strangers);
    return tcp;
}

ApusTransport *apus_tcp_new(const ApusTransportConfig *config, ApusLoop *loop,
                            const ApusTransportHandlers *handlers,
                            void *opaque, GError **errp)
{
    Tcp *tcp;

    if (!check(config, errp)) {
        return NULL;
    }
    tcp = make(config, loop);
    tcp->handlers = handlers;
    tcp->opaque = opaque;
    if (config->tls) {
        tcp->tls_keys = apus_tls_keys_new(config->cluster, config->key,
                                          config->key_size, errp);
    }
    if ((config->tls && !tcp->tls_keys) ||
        !tcp_listen(tcp, config->listen, errp)) {
        free_all(&tcp->transport);
        return NULL;
    }
    return &tcp->transport;
}

const char *apus_tcp_address(const ApusTransport *transport)
{
    return tcp_of(transport)->address;
}
