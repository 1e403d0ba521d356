/*
 * A connection, from its first byte to its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tcp-internal.h"

/*
 * A peer that has not confirmed for so long what was sent is cut off. TCP's
 * own patience is minutes, and what it sends again it sends more and more
 * rarely; a new connection is there sooner when the network is back.
 */
#define SILENCE_MILLISECONDS 1000
#define SILENCE_SECONDS 1

/* --- sockets -------------------------------------------------------------- */

static void set_option(int fd, int level, int option, int value)
{
    /* None of them is needed for the transport to work. */
    if (setsockopt(fd, level, option, &value, sizeof(value)) < 0) {
        g_debug("socket option %d: %s", option, g_strerror(errno));
    }
}

static void set_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENCE_MILLISECONDS);
    /* Who says little says it again every 200 ms, not more and more rarely. */
    set_option(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, SILENCE_SECONDS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, SILENCE_SECONDS);
}

/* --- in ------------------------------------------------------------------- */

static void take_frames(TcpConnection *connection)
{
    TcpBuffer *in = &connection->in;
    Tcp *tcp = connection->tcp;

    connection->need = 0;
    while (connection->stage == TCP_OPEN && !connection->peer->leaving) {
        g_autoptr(GError) error = NULL;
        ApusMessage message;
        gssize n = apus_wire_decode(&message, in->data + in->start,
                                    tcp_buffer_size(in), &connection->need,
                                    &error);

        if (n < 0) {
            tcp_connection_refuse(connection, TCP_REASON_GARBAGE, "%s",
                                  error->message);
            return;
        }
        if (n == 0) {
            return;
        }
        if (message.from != connection->peer->id ||
            message.to != tcp->hello.from) {
            tcp_connection_refuse(connection, TCP_REASON_GARBAGE,
                                  "a message from %u to %u", message.from,
                                  message.to);
            return;
        }
        in->start += n;
        connection->need = 0;
        tcp->counters.frames_received++;
        tcp->handlers->message(tcp->opaque, &message);
    }
}

static void take(TcpConnection *connection)
{
    if (connection->stage < TCP_OPEN) {
        tcp_handshake_go_on(connection);
    }
    if (connection->stage == TCP_OPEN) {
        take_frames(connection);
    }
}

static void ended(TcpConnection *connection, int error, const GError *tls)
{
    if (tls) {
        tcp_connection_refuse(connection, TCP_REASON_TLS, "%s", tls->message);
    } else if (connection->stage < TCP_OPEN && error == 0 &&
               tcp_buffer_size(&connection->in) > 0) {
        tcp_connection_refuse(connection, TCP_REASON_GARBAGE,
                              "closed in the middle of its handshake");
    } else {
        tcp_connection_close(connection, error ? error : ECONNRESET,
                             error ? g_strerror(error) :
                             "closed by the other side");
    }
}

/* FALSE: it is not done yet, or has failed. */
static gboolean go_on_with_tls(TcpConnection *connection)
{
    g_autoptr(GError) error = NULL;
    int done = apus_tls_handshake(connection->tls, &error);

    /* Also what says why it has failed. */
    tcp_stream_flush(connection);
    if (done < 0) {
        /* Closed without a byte: somebody looked whether we listen. */
        ended(connection, connection->heard ? EPROTO : 0,
              connection->heard ? error : NULL);
    } else if (done) {
        tcp_handshake_begin(connection);
    }
    return done > 0;
}

static void read_all(TcpConnection *connection)
{
    TcpGot got;

    tcp_stream_round(connection);
    if (connection->stage == TCP_TLS && !go_on_with_tls(connection)) {
        return;
    }
    do {
        g_autoptr(GError) error = NULL;

        got = tcp_stream_read(connection, &error);
        if (got == TCP_GOT_SOME) {
            take(connection);
        } else if (got == TCP_GOT_END) {
            ended(connection, errno, error);
        }
    } while (connection->tls && got == TCP_GOT_SOME &&
             connection->stage != TCP_CLOSED);
    /* TLS may have had something to say to what it has read. */
    if (connection->tls && connection->stage != TCP_CLOSED &&
        tcp_buffer_size(&connection->out) > 0) {
        tcp_stream_flush(connection);
    }
}

/* --- out ------------------------------------------------------------------ */

void tcp_connection_watch(TcpConnection *connection)
{
    uint32_t events = EPOLLIN;

    if (connection->stage == TCP_CONNECTING || connection->full) {
        events |= EPOLLOUT;
    }
    if (connection->watch) {
        apus_watch_change(connection->watch, events);
    }
}

void tcp_connection_say(TcpConnection *connection, const uint8_t *data,
                        size_t size)
{
    struct iovec piece = { .iov_base = (void *)data, .iov_len = size };

    tcp_stream_write(connection, &piece, 1, size);
}

gboolean tcp_connection_send(TcpConnection *connection,
                             const struct iovec *pieces, int n, size_t size,
                             size_t limit)
{
    size_t kept = tcp_buffer_size(&connection->out);

    /* One frame is always taken, however long, when it is the only one. */
    if (connection->mute || (kept > 0 && kept + size > limit)) {
        return FALSE;
    }
    tcp_stream_write(connection, pieces, n, size);
    return TRUE;
}

static void go_on_writing(TcpConnection *connection)
{
    Tcp *tcp = connection->tcp;

    tcp_stream_flush(connection);
    if (connection->stage == TCP_OPEN && !connection->mute &&
        !connection->full) {
        tcp->handlers->writable(tcp->opaque);
    }
}

/* --- beginning ------------------------------------------------------------ */

static void begin(TcpConnection *connection)
{
    Tcp *tcp = connection->tcp;
    g_autoptr(GError) error = NULL;

    /* As long again for the handshake. */
    apus_timer_set(connection->deadline,
                   apus_loop_now(tcp->loop) + 2 * tcp->connect_timeout);
    if (!tcp->tls_keys) {
        tcp_handshake_begin(connection);
        tcp_connection_watch(connection);
        return;
    }
    connection->stage = TCP_TLS;
    connection->tls = apus_tls_new(tcp->tls_keys, connection->called,
                                   &tcp_stream_carrier, connection, &error);
    if (!connection->tls) {
        ended(connection, EPROTO, error);
        return;
    }
    go_on_with_tls(connection);
}

static void connected(TcpConnection *connection)
{
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        tcp_connection_close(connection, error, g_strerror(error));
    } else {
        begin(connection);
    }
}

static void ready(void *opaque, uint32_t events)
{
    TcpConnection *connection = opaque;

    if (connection->stage == TCP_CONNECTING) {
        connected(connection);
        return;
    }
    if (events & EPOLLOUT) {
        go_on_writing(connection);
    }
    if ((events & ~EPOLLOUT) && connection->stage != TCP_CLOSED) {
        read_all(connection);
    }
}

static void too_late(void *opaque)
{
    TcpConnection *connection = opaque;

    if (connection->called) {
        tcp_connection_close(connection, ETIMEDOUT, g_strerror(ETIMEDOUT));
    } else {
        tcp_connection_refuse(connection, TCP_REASON_SILENT,
                              "its handshake takes too long");
    }
}

TcpConnection *tcp_connection_new(Tcp *tcp, int fd, const ApusAddress *address,
                                  TcpPeer *called)
{
    TcpConnection *connection = g_new0(TcpConnection, 1);

    connection->tcp = tcp;
    connection->fd = fd;
    connection->address = *address;
    connection->peer = called;
    connection->called = called != NULL;
    connection->stage = TCP_CONNECTING;
    connection->deadline = apus_loop_timer(tcp->loop, too_late, connection);
    connection->watch = apus_loop_watch(tcp->loop, fd,
                                        called ? EPOLLOUT : EPOLLIN, ready,
                                        connection);
    set_options(fd);
    if (called) {
        apus_timer_set(connection->deadline,
                       apus_loop_now(tcp->loop) + tcp->connect_timeout);
    } else {
        g_queue_push_tail(&tcp->strangers, connection);
        begin(connection);
    }
    return connection;
}

void tcp_connection_open(TcpConnection *connection)
{
    Tcp *tcp = connection->tcp;

    if (!connection->called) {
        g_queue_remove(&tcp->strangers, connection);
    }
    apus_timer_set(connection->deadline, 0);
    connection->stage = TCP_OPEN;
    connection->need = 0;
    connection->since = apus_loop_now(tcp->loop);
    if (tcp_peer_opened(connection->peer, connection)) {
        tcp->counters.connects++;
        tcp->handlers->connected(tcp->opaque, connection->peer->id,
                                 connection->theirs.life,
                                 connection->theirs.incarnation);
    } else {
        tcp->handlers->writable(tcp->opaque);
    }
}

/* --- end ------------------------------------------------------------------ */

/*
 * What comes in now is thrown away: a socket that is closed with bytes unread
 * makes TCP throw away what was sent, too.
 */
static void drain(int fd)
{
    uint8_t bytes[4096];

    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < 64; i++) {
        if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0) {
            break;
        }
    }
}

static void end(TcpConnection *connection)
{
    apus_timer_free(connection->deadline);
    connection->deadline = NULL;
    apus_watch_free(connection->watch);
    connection->watch = NULL;
    if (connection->stage > TCP_CONNECTING) {
        drain(connection->fd);
    }
    close(connection->fd);
    connection->fd = -1;
    connection->stage = TCP_CLOSED;
}

void tcp_connection_free(TcpConnection *connection)
{
    if (connection->stage != TCP_CLOSED) {
        end(connection);
    }
    apus_tls_free(connection->tls);
    tcp_buffer_clear(&connection->in);
    tcp_buffer_clear(&connection->out);
    tcp_buffer_clear(&connection->cipher);
    g_free(connection);
}

void tcp_connection_close(TcpConnection *connection, int error,
                          const char *why)
{
    TcpStage stage = connection->stage;
    TcpPeer *peer = connection->peer;
    Tcp *tcp = connection->tcp;

    if (stage == TCP_CLOSED) {
        return;
    }
    if (stage == TCP_OPEN && !connection->mute) {
        tcp_stream_end_round(connection);
    }
    end(connection);
    g_ptr_array_add(tcp->closed, connection);
    tcp_sweep_soon(tcp);

    if (stage == TCP_OPEN && peer->open != connection) {
        /* There is another one: nothing has happened to the peer. */
    } else if (stage == TCP_OPEN) {
        peer->open = NULL;
        tcp->counters.disconnects++;
        tcp->handlers->disconnected(tcp->opaque, peer->id, why);
        if (!connection->replaced) {
            tcp_peer_lost(peer, apus_loop_now(tcp->loop) - connection->since);
        }
    } else if (connection->called) {
        peer->call = NULL;
        if (!connection->replaced) {
            tcp_peer_call_failed(peer, error, connection->heard);
        }
    } else {
        g_queue_remove(&tcp->strangers, connection);
    }
}

void tcp_connection_refuse(TcpConnection *connection, unsigned reason,
                           const char *format, ...)
{
    g_autofree char *address = apus_address_text(&connection->address);
    Tcp *tcp = connection->tcp;
    TcpPeer *peer = connection->peer;
    g_autofree char *text = NULL;
    va_list arguments;

    if (connection->stage == TCP_CLOSED) {
        return;
    }
    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);

    if (connection->stage < TCP_OPEN) {
        if (!connection->called) {
            tcp->counters.strangers++;
        }
        if (reason < APUS_ANSWERS && !connection->refused) {
            uint8_t answer[APUS_ANSWER_SIZE];

            apus_answer_encode(answer,
                               colony_speaks[COLONY_PROTOCOL_GROUP].newest,
                               reason);
            tcp_connection_say(connection, answer, sizeof(answer));
        }
    }
    if (peer) {
        tcp_complain(tcp, reason, peer, "member %u at %s: %s", peer->id,
                     address, text);
    } else if (connection->theirs.from) {
        tcp_complain(tcp, reason, NULL, "a stranger at %s that says it is"
                     " member %u: %s", address, connection->theirs.from, text);
    } else {
        tcp_complain(tcp, reason, NULL, "a stranger at %s: %s", address,
                     text);
    }
    tcp_connection_close(connection, EPROTO, text);
}
