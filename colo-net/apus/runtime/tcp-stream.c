/*
 * Bytes out and in, with and without TLS
 *
 * A round of the loop costs one system call for each direction: what has come
 * is read at once, as much as there is room for; what goes out is gathered
 * until the round ends, so that an ACK and some notes travel together. What is
 * long goes straight from where the caller has it, behind what was gathered;
 * only what the socket does not take of it is copied.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tcp-internal.h"

/* Read at once; with longer frames, as much as is missing of one. */
#define READ_SIZE (256u << 10)
/* No more than this is copied to be gathered, at once and in all. */
#define GATHER_ONE (16u << 10)
#define GATHER_ALL (256u << 10)
/* Who is not known yet gets less memory. */
#define READ_SIZE_STRANGER 4096

/* --- in ------------------------------------------------------------------- */

static TcpGot got_end(int error)
{
    errno = error;
    return TCP_GOT_END;
}

/* How much of what comes next there should be room for. */
static size_t to_be_read(const TcpConnection *connection)
{
    size_t have = mesh_buffer_size(&connection->mesh.in);
    size_t usual = connection->mesh.stage == MESH_OPEN ? READ_SIZE :
        READ_SIZE_STRANGER;

    /*
     * The rest of a long frame and not a byte more: the next one begins at the
     * front of the buffer again, and nothing has to be moved there.
     */
    return MAX(connection->need, usual) - have;
}

static ssize_t receive(TcpConnection *connection, MeshBuffer *into, size_t size)
{
    ssize_t n;

    mesh_buffer_reserve(into, size);
    do {
        n = recv(connection->fd, into->data + into->end, size, 0);
    } while (n < 0 && errno == EINTR);
    connection->mesh.mesh->counters.reads++;
    if (n > 0) {
        into->end += n;
        connection->mesh.heard = TRUE;
        connection->mesh.mesh->counters.bytes_received += n;
    }
    return n;
}

static ssize_t pull(void *opaque, void *data, size_t size)
{
    TcpConnection *connection = opaque;
    MeshBuffer *cipher = &connection->cipher;

    if (mesh_buffer_size(cipher) == 0) {
        ssize_t n;

        if (!connection->may_read) {
            errno = EAGAIN;
            return -1;
        }
        connection->may_read = FALSE;
        n = receive(connection, cipher, connection->mesh.stage == MESH_OPEN ?
                    READ_SIZE : READ_SIZE_STRANGER);
        if (n <= 0) {
            return n;
        }
    }
    size = MIN(size, mesh_buffer_size(cipher));
    memcpy(data, cipher->data + cipher->start, size);
    mesh_buffer_use(cipher, size);
    return size;
}

static void push(void *opaque, const void *data, size_t size)
{
    TcpConnection *connection = opaque;

    mesh_buffer_append(&connection->out, data, size);
}

const ApusTlsCarrier tcp_stream_carrier = {
    .pull = pull,
    .push = push,
};

void tcp_stream_round(TcpConnection *connection)
{
    connection->may_read = TRUE;
}

static TcpGot read_tls(TcpConnection *connection, GError **errp)
{
    MeshBuffer *in = &connection->mesh.in;
    size_t size = to_be_read(connection);
    ssize_t n;

    mesh_buffer_reserve(in, size);
    n = apus_tls_read(connection->tls, in->data + in->end, size, errp);
    switch (n) {
    case 0:
        return got_end(0);
    case -1:
        return TCP_GOT_NOTHING;
    case -2:
        return got_end(EPROTO);
    default:
        in->end += n;
        return TCP_GOT_SOME;
    }
}

TcpGot tcp_stream_read(TcpConnection *connection, GError **errp)
{
    ssize_t n;

    if (mesh_buffer_size(&connection->mesh.in) == 0) {
        connection->mesh.in.start = connection->mesh.in.end = 0;
    }
    if (connection->tls) {
        return read_tls(connection, errp);
    }
    n = receive(connection, &connection->mesh.in, to_be_read(connection));
    if (n > 0) {
        return TCP_GOT_SOME;
    }
    if (n < 0 && errno == EAGAIN) {
        return TCP_GOT_NOTHING;
    }
    return got_end(n < 0 ? errno : 0);
}

/* --- out ------------------------------------------------------------------ */

/*
 * Nothing goes out any more. What has come in before the connection broke is
 * still read, so this does not end it; the loop meets its end behind that.
 */
static void fall_silent(TcpConnection *connection)
{
    connection->mesh.mute = TRUE;
    connection->full = FALSE;
    connection->out.start = connection->out.end = 0;
    shutdown(connection->fd, SHUT_RDWR);
}

/* How many bytes of @pieces the socket takes; 0 if none, also when broken. */
static size_t transmit(TcpConnection *connection, const struct iovec *pieces,
                       int n)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)pieces,
        .msg_iovlen = n,
    };
    ssize_t sent;

    do {
        sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    connection->mesh.mesh->counters.writes++;
    if (sent >= 0) {
        connection->mesh.mesh->counters.bytes_sent += sent;
        return sent;
    }
    if (errno != EAGAIN) {
        fall_silent(connection);
    }
    return 0;
}

static struct iovec kept(const TcpConnection *connection)
{
    return (struct iovec) {
        .iov_base = connection->out.data + connection->out.start,
        .iov_len = mesh_buffer_size(&connection->out),
    };
}

/* After a transmit(): what is left waits for the socket. */
static void see_whether_full(TcpConnection *connection)
{
    connection->full = mesh_buffer_size(&connection->out) > 0;
    tcp_connection_watch(connection);
}

void tcp_stream_flush(TcpConnection *connection)
{
    struct iovec piece = kept(connection);
    size_t sent;

    if (piece.iov_len > 0) {
        sent = transmit(connection, &piece, 1);
        if (!connection->mesh.mute) {
            mesh_buffer_use(&connection->out, sent);
        }
    }
    see_whether_full(connection);
}

void tcp_stream_end_round(TcpConnection *connection)
{
    if (!connection->full && mesh_buffer_size(&connection->out) > 0) {
        tcp_stream_flush(connection);
    }
}

/* May @size bytes more wait for the end of the round? */
static gboolean gathers(const TcpConnection *connection, size_t size)
{
    return connection->mesh.stage == MESH_OPEN && size <= GATHER_ONE &&
           mesh_buffer_size(&connection->out) + size <= GATHER_ALL &&
           apus_loop_in_round(connection->mesh.mesh->loop);
}

static void write_tls(TcpConnection *connection, const struct iovec *pieces,
                      int n, size_t size)
{
    if (!apus_tls_write(connection->tls, pieces, n, NULL)) {
        fall_silent(connection);
    } else if (!connection->full && !gathers(connection, size)) {
        tcp_stream_flush(connection);
    }
}

static void write_plain(TcpConnection *connection, const struct iovec *pieces,
                        int n)
{
    struct iovec all[4] = { kept(connection) };
    size_t before = all[0].iov_len;
    size_t sent;

    g_assert((size_t)n < G_N_ELEMENTS(all));
    memcpy(all + 1, pieces, n * sizeof(*pieces));
    sent = before ? transmit(connection, all, n + 1)
                  : transmit(connection, pieces, n);
    if (!connection->mesh.mute) {
        mesh_buffer_use(&connection->out, MIN(sent, before));
        mesh_buffer_append_rest(&connection->out, pieces, n,
                                sent - MIN(sent, before));
    }
    see_whether_full(connection);
}

void tcp_stream_write(TcpConnection *connection, const struct iovec *pieces,
                      int n, size_t size)
{
    if (connection->mesh.mute) {
        return;
    }
    if (connection->tls) {
        write_tls(connection, pieces, n, size);
    } else if (connection->full || gathers(connection, size)) {
        mesh_buffer_append_rest(&connection->out, pieces, n, 0);
    } else {
        write_plain(connection, pieces, n);
    }
}
