/*
 * Sockets with deadlines, for the threads of a connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "crypto/tlssession.h"
#include "io/channel-tls.h"
#include "peer-io.h"

/*
 * UNIX sockets do not grow on their own, as TCP's do, whose growth this would
 * end. The kernel cuts it to net.core.wmem_max.
 */
#define UNIX_BUFFER (4 << 20)

/* What GnuTLS sends as one. */
#define TLS_RECORD (16 << 10)

/* --- making a connection -------------------------------------------------- */

struct GannetConnect {
    int users; /* atomic */
    SocketAddress *address;
    QemuMutex lock; /* for all below */
    QemuCond changed;
    bool cancelled;
    bool done;
    QIOChannelSocket *socket; /* done and not failed */
    Error *err;
};

void gannet_connect_unref(GannetConnect *connect)
{
    if (qatomic_fetch_dec(&connect->users) == 1) {
        qapi_free_SocketAddress(connect->address);
        object_unref(OBJECT(connect->socket));
        error_free(connect->err);
        qemu_cond_destroy(&connect->changed);
        qemu_mutex_destroy(&connect->lock);
        g_free(connect);
    }
}

static void *connect_thread(void *opaque)
{
    GannetConnect *connect = opaque;
    QIOChannelSocket *socket = qio_channel_socket_new();
    Error *err = NULL;

    if (qio_channel_socket_connect_sync(socket, connect->address, &err) < 0) {
        object_unref(OBJECT(socket));
        socket = NULL;
    }
    WITH_QEMU_LOCK_GUARD(&connect->lock) {
        connect->socket = socket;
        connect->err = err;
        connect->done = true;
        qemu_cond_broadcast(&connect->changed);
    }
    gannet_connect_unref(connect);
    return NULL;
}

GannetConnect *gannet_connect_new(const SocketAddress *address)
{
    GannetConnect *connect = g_new0(GannetConnect, 1);
    QemuThread thread;

    connect->users = 2;
    connect->address = QAPI_CLONE(SocketAddress, address);
    qemu_mutex_init(&connect->lock);
    qemu_cond_init(&connect->changed);
    qemu_thread_create(&thread, "gannet-connect", connect_thread, connect,
                       QEMU_THREAD_DETACHED);
    return connect;
}

/* In ms, rounded up, at least 0. */
static int time_left(int64_t deadline)
{
    int64_t left = deadline - get_clock();

    return left <= 0 ? 0 : MIN(DIV_ROUND_UP(left, SCALE_MS), INT_MAX);
}

QIOChannelSocket *gannet_connect_wait(GannetConnect *connect, int64_t deadline,
                                      Error **errp)
{
    QEMU_LOCK_GUARD(&connect->lock);
    while (!connect->done && !connect->cancelled) {
        int left = time_left(deadline);

        if (!left) {
            error_setg(errp, "no connection in time");
            return NULL;
        }
        qemu_cond_timedwait(&connect->changed, &connect->lock, left);
    }
    if (!connect->done) {
        error_setg(errp, "cancelled");
        return NULL;
    }
    error_propagate(errp, g_steal_pointer(&connect->err));
    return g_steal_pointer(&connect->socket);
}

void gannet_connect_cancel(GannetConnect *connect)
{
    QEMU_LOCK_GUARD(&connect->lock);
    connect->cancelled = true;
    qemu_cond_broadcast(&connect->changed);
}

/* --- a connection --------------------------------------------------------- */

bool gannet_channel_init(GannetChannel *channel, QIOChannelSocket *socket,
                         Error **errp)
{
    QIOChannel *ioc = QIO_CHANNEL(socket);
    int size = UNIX_BUFFER;

    if (qio_channel_set_blocking(ioc, false, errp) < 0) {
        return false;
    }
    qio_channel_set_delay(ioc, false);
    if (socket->localAddr.ss_family == AF_UNIX) {
        setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    channel->socket = QIO_CHANNEL_SOCKET(object_ref(OBJECT(socket)));
    channel->ioc = QIO_CHANNEL(object_ref(OBJECT(socket)));
    qemu_mutex_init(&channel->tls_lock);
    return true;
}

void gannet_channel_destroy(GannetChannel *channel)
{
    object_unref(OBJECT(channel->ioc));
    object_unref(OBJECT(channel->socket));
    g_free(channel->record);
    qemu_mutex_destroy(&channel->tls_lock);
}

bool gannet_channel_wait(GannetChannel *channel, short events,
                         int64_t deadline)
{
    struct pollfd pfd = { .fd = channel->socket->fd, .events = events };
    int left = time_left(deadline);

    if (channel->stream) {
        return gannet_stream_wait(channel, channel->stream,
                                  events == POLLIN ? VERBS_STREAM_READS :
                                  VERBS_STREAM_WRITES, deadline);
    }
    /* Being interrupted, as an error, ends the wait: the caller tries again. */
    return poll(&pfd, 1, left) != 0 || time_left(deadline) > 0;
}

static bool shake_hands(GannetChannel *channel, QCryptoTLSSession *session,
                        int64_t deadline, Error **errp)
{
    int status;

    for (;;) {
        status = qcrypto_tls_session_handshake(session, errp);
        if (status < 0) {
            return false;
        }
        if (status == QCRYPTO_TLS_HANDSHAKE_COMPLETE) {
            return qcrypto_tls_session_check_credentials(session, errp) == 0;
        }
        if (!gannet_channel_wait(channel,
                                 status == QCRYPTO_TLS_HANDSHAKE_SENDING ?
                                 POLLOUT : POLLIN, deadline)) {
            error_setg(errp, "no TLS handshake in time");
            return false;
        }
    }
}

bool gannet_channel_start_tls(GannetChannel *channel, QCryptoTLSCreds *creds,
                              bool server, const char *hostname,
                              int64_t deadline, Error **errp)
{
    QIOChannel *master = QIO_CHANNEL(channel->socket);
    QIOChannelTLS *tls;

    tls = server ? qio_channel_tls_new_server(master, creds, NULL, errp)
                 : qio_channel_tls_new_client(master, creds, hostname, errp);
    if (!tls) {
        return false;
    }
    if (!shake_hands(channel, qio_channel_tls_get_session(tls), deadline,
                     errp)) {
        object_unref(OBJECT(tls));
        return false;
    }
    object_unref(OBJECT(channel->ioc));
    channel->ioc = QIO_CHANNEL(tls);
    channel->record = g_malloc(TLS_RECORD);
    return true;
}

static bool has_tls(const GannetChannel *channel)
{
    return channel->ioc != QIO_CHANNEL(channel->socket);
}

ssize_t gannet_channel_readv(GannetChannel *channel, struct iovec *iov,
                             unsigned n, Error **errp)
{
    if (channel->stream) {
        return gannet_stream_read(channel, iov, errp);
    }
    if (!has_tls(channel)) {
        return qio_channel_readv(channel->ioc, iov, n, errp);
    }
    /*
     * Of several pieces, an error of a later one would hide the ones before.
     * What a message is shows the end of one: no need for that of TLS.
     */
    QEMU_LOCK_GUARD(&channel->tls_lock);
    return qio_channel_readv_full(channel->ioc, iov, 1, NULL, NULL,
                                  QIO_CHANNEL_READ_FLAG_RELAXED_EOF, errp);
}

ssize_t gannet_channel_writev(GannetChannel *channel, struct iovec *iov,
                              unsigned n, Error **errp)
{
    void *bytes = iov[0].iov_base;
    size_t size = iov[0].iov_len;

    if (channel->stream) {
        return gannet_stream_write(channel, iov, n, errp);
    }
    if (!has_tls(channel)) {
        return qio_channel_writev(channel->ioc, iov, n, errp);
    }
    /* Each piece would become a record of its own, however short. */
    if (size < TLS_RECORD) {
        bytes = channel->record;
        size = iov_to_buf(iov, n, 0, bytes, TLS_RECORD);
    }
    QEMU_LOCK_GUARD(&channel->tls_lock);
    return qio_channel_write(channel->ioc, bytes, size, errp);
}

void gannet_channel_end(GannetChannel *channel, int64_t deadline)
{
    if (channel->stream) {
        gannet_stream_end(channel, deadline);
        return;
    }
    qio_channel_shutdown(QIO_CHANNEL(channel->socket),
                         QIO_CHANNEL_SHUTDOWN_WRITE, NULL);
}

void gannet_channel_shutdown(GannetChannel *channel)
{
    qio_channel_shutdown(QIO_CHANNEL(channel->socket),
                         QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
    if (channel->stream) {
        verbs_stream_shutdown(channel->stream);
    }
}
