/*
 * A socket, from its first byte to its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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
    MeshConnection *mesh = &connection->mesh;
    MeshBuffer *in = &mesh->in;

    connection->need = 0;
    while (mesh->stage == MESH_OPEN && !mesh->peer->leaving) {
        g_autoptr(GError) error = NULL;
        ApusMessage message;
        gssize n = apus_wire_decode(&message, mesh_buffer_data(in),
                                    mesh_buffer_size(in), &connection->need,
                                    &error);

        if (n < 0) {
            mesh_connection_refuse(mesh, MESH_REASON_GARBAGE, "%s",
                                   error->message);
            return;
        }
        if (n == 0) {
            return;
        }
        in->start += n;
        connection->need = 0;
        if (!mesh_connection_take(mesh, &message)) {
            return;
        }
    }
}

/* It has something to say that only TLS begins with. */
static gboolean wants_tls(const TcpConnection *connection)
{
    const MeshBuffer *in = &connection->mesh.in;

    return !connection->tls && connection->mesh.stage == MESH_HELLO &&
           mesh_buffer_size(in) > 0 && *mesh_buffer_data(in) == 0x16;
}

static void take(TcpConnection *connection)
{
    if (wants_tls(connection)) {
        mesh_connection_refuse(&connection->mesh, MESH_REASON_TLS,
                               "it wants TLS, which is off here");
    } else if (connection->mesh.stage < MESH_OPEN) {
        mesh_handshake_go_on(&connection->mesh);
    }
    if (connection->mesh.stage == MESH_OPEN) {
        take_frames(connection);
    }
}

static void ended(TcpConnection *connection, int error, const GError *tls)
{
    if (tls) {
        mesh_connection_refuse(&connection->mesh, MESH_REASON_TLS, "%s",
                               tls->message);
    } else if (connection->mesh.stage < MESH_OPEN && error == 0 &&
               mesh_buffer_size(&connection->mesh.in) > 0) {
        mesh_connection_refuse(&connection->mesh, MESH_REASON_GARBAGE,
                               "closed in the middle of its handshake");
    } else {
        mesh_connection_close(&connection->mesh, error ? error : ECONNRESET,
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
        ended(connection, connection->mesh.heard ? EPROTO : 0,
              connection->mesh.heard ? error : NULL);
    } else if (done) {
        connection->greets = FALSE;
        mesh_handshake_begin(&connection->mesh);
    }
    return done > 0;
}

static void read_all(TcpConnection *connection)
{
    TcpGot got;

    tcp_stream_round(connection);
    if (connection->greets && !go_on_with_tls(connection)) {
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
             connection->mesh.stage != MESH_CLOSED);
    /* TLS may have had something to say to what it has read. */
    if (connection->tls && connection->mesh.stage != MESH_CLOSED &&
        mesh_buffer_size(&connection->out) > 0) {
        tcp_stream_flush(connection);
    }
}

/* --- out ------------------------------------------------------------------ */

static gboolean is_connecting(const TcpConnection *connection)
{
    return connection->mesh.stage == MESH_CONNECTING && !connection->greets;
}

void tcp_connection_watch(TcpConnection *connection)
{
    uint32_t events = EPOLLIN;

    if (is_connecting(connection) || connection->full) {
        events |= EPOLLOUT;
    }
    if (connection->watch) {
        apus_watch_change(connection->watch, events);
    }
}

void tcp_connection_say(MeshConnection *mesh, const uint8_t *data, size_t size)
{
    struct iovec piece = { .iov_base = (void *)data, .iov_len = size };

    tcp_stream_write(tcp_connection_of(mesh), &piece, 1, size);
}

gboolean tcp_connection_send(MeshConnection *mesh, const ApusMessage *message,
                             size_t limit)
{
    TcpConnection *connection = tcp_connection_of(mesh);
    size_t kept = mesh_buffer_size(&connection->out);
    MeshFrame frame;

    mesh_frame(&frame, message);
    /* One frame is always taken, however long, when it is the only one. */
    if (kept > 0 && kept + frame.size > limit) {
        return FALSE;
    }
    tcp_stream_write(connection, frame.pieces, frame.n, frame.size);
    return TRUE;
}

gboolean tcp_connection_ready(const MeshConnection *mesh)
{
    return !((const TcpConnection *)mesh)->full;
}

void tcp_connection_flush(MeshConnection *mesh, gboolean anyway)
{
    if (anyway) {
        tcp_stream_flush(tcp_connection_of(mesh));
    } else {
        tcp_stream_end_round(tcp_connection_of(mesh));
    }
}

static void go_on_writing(TcpConnection *connection)
{
    MeshConnection *mesh = &connection->mesh;

    tcp_stream_flush(connection);
    if (mesh->stage == MESH_OPEN && !mesh->mute && !connection->full) {
        mesh->mesh->handlers->writable(mesh->mesh->opaque);
    }
}

/* --- beginning ------------------------------------------------------------ */

static void begin(TcpConnection *connection)
{
    Tcp *tcp = tcp_of(connection->mesh.mesh);
    g_autoptr(GError) error = NULL;

    mesh_connection_stands(&connection->mesh);
    if (!tcp->tls_keys) {
        mesh_handshake_begin(&connection->mesh);
        tcp_connection_watch(connection);
        return;
    }
    connection->greets = TRUE;
    connection->tls = apus_tls_new(tcp->tls_keys, connection->mesh.called,
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
        mesh_connection_close(&connection->mesh, error, g_strerror(error));
    } else {
        begin(connection);
    }
}

static void ready(void *opaque, uint32_t events)
{
    TcpConnection *connection = opaque;

    if (is_connecting(connection)) {
        connected(connection);
        return;
    }
    if (events & EPOLLOUT) {
        go_on_writing(connection);
    }
    if ((events & ~EPOLLOUT) && connection->mesh.stage != MESH_CLOSED) {
        read_all(connection);
    }
}

TcpConnection *tcp_connection_new(Tcp *tcp, int fd, const ApusAddress *address,
                                  MeshPeer *called)
{
    TcpConnection *connection = g_new0(TcpConnection, 1);

    connection->fd = fd;
    connection->watch = apus_loop_watch(tcp->mesh.loop, fd,
                                        called ? EPOLLOUT : EPOLLIN, ready,
                                        connection);
    set_options(fd);
    mesh_connection_init(&connection->mesh, &tcp->mesh, address, called);
    if (!called) {
        begin(connection);
    }
    return connection;
}

MeshConnection *tcp_connection_call(MeshPeer *peer, int *error)
{
    int fd = tcp_socket(&peer->address);

    if (fd < 0) {
        *error = errno;
        return NULL;
    }
    if (connect(fd, (struct sockaddr *)&peer->address.storage,
                peer->address.size) < 0 && errno != EINPROGRESS) {
        *error = errno;
        close(fd);
        return NULL;
    }
    return &tcp_connection_new(tcp_of(peer->mesh), fd, &peer->address,
                               peer)->mesh;
}

void tcp_connection_opened(MeshConnection *mesh)
{
    tcp_connection_of(mesh)->need = 0;
}

/* --- end ------------------------------------------------------------------ */

gboolean tcp_connection_has_ended(const MeshConnection *mesh)
{
    struct pollfd ask = {
        .fd = ((const TcpConnection *)mesh)->fd,
        .events = POLLRDHUP,
    };

    return poll(&ask, 1, 0) > 0 &&
        (ask.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

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

void tcp_connection_end(MeshConnection *mesh)
{
    TcpConnection *connection = tcp_connection_of(mesh);

    apus_watch_free(connection->watch);
    connection->watch = NULL;
    if (!is_connecting(connection)) {
        drain(connection->fd);
    }
    close(connection->fd);
    connection->fd = -1;
}

void tcp_connection_free(MeshConnection *mesh)
{
    TcpConnection *connection = tcp_connection_of(mesh);

    apus_tls_free(connection->tls);
    mesh_buffer_clear(&connection->out);
    mesh_buffer_clear(&connection->cipher);
    g_free(connection);
}
