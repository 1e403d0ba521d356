/*
 * Sockets with deadlines, for the threads of a connection
 *
 * A channel is a socket, or TLS over one, that does not block; who uses it
 * waits in poll(). One thread may read while another writes, and any may shut
 * it down: GnuTLS does not promise that of one session, so each call into it
 * is locked, and none of them waits.
 *
 * Deadlines are in ns of get_clock().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_PEER_IO_H
#define GANNET_ADAPTER_PEER_IO_H

#include "qapi/qapi-types-sockets.h"
#include "qemu/thread.h"
#include "crypto/tlscreds.h"
#include "io/channel-socket.h"
#include "colo-net/verbs/stream.h"

/* --- making a connection -------------------------------------------------- */

typedef struct GannetConnect GannetConnect;

/*
 * Begin to connect, in a thread of its own: a resolver cannot be interrupted.
 * A thread that is given up ends when the kernel gives up connecting.
 */
GannetConnect *gannet_connect_new(const SocketAddress *address);
/* Wait for it. NULL with @errp: it failed, was late, or was cancelled. */
QIOChannelSocket *gannet_connect_wait(GannetConnect *connect, int64_t deadline,
                                      Error **errp);
/* Let gannet_connect_wait() return. Any thread. */
void gannet_connect_cancel(GannetConnect *connect);
void gannet_connect_unref(GannetConnect *connect);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetConnect, gannet_connect_unref)

/* --- a connection --------------------------------------------------------- */

typedef struct GannetChannel {
    QIOChannel *ioc; /* the socket, or TLS over it */
    QIOChannelSocket *socket;
    QemuMutex tls_lock; /* of a TLS session */
    uint8_t *record;    /* of the writer, with TLS */
    /*
     * An RDMA link that carries everything instead; NULL: there is none. The
     * socket's end is its end.
     */
    VerbsStream *stream;
    bool over;          /* atomic: the socket has ended */
} GannetChannel;

/* Takes a reference to @socket. */
bool gannet_channel_init(GannetChannel *channel, QIOChannelSocket *socket,
                         Error **errp);
/* Closes it, but for its stream. Nobody may use it any more. */
void gannet_channel_destroy(GannetChannel *channel);

/* Put TLS over it, as the client of @hostname, or (NULL) as the server. */
bool gannet_channel_start_tls(GannetChannel *channel, QCryptoTLSCreds *creds,
                              bool server, const char *hostname,
                              int64_t deadline, Error **errp);

/*
 * Bytes read or written, at least 1; or 0 when reading at the end; or -1 with
 * @errp; or QIO_CHANNEL_ERR_BLOCK: wait, and try again with the same bytes.
 */
ssize_t gannet_channel_readv(GannetChannel *channel, struct iovec *iov,
                             unsigned n, Error **errp);
ssize_t gannet_channel_writev(GannetChannel *channel, struct iovec *iov,
                              unsigned n, Error **errp);
/* Wait for POLLIN or POLLOUT; false: it is late. */
bool gannet_channel_wait(GannetChannel *channel, short events,
                         int64_t deadline);

/*
 * Let waits return: nothing more can be written, or read either. The other side
 * is told of the former by @deadline if it reads.
 */
void gannet_channel_end(GannetChannel *channel, int64_t deadline);
void gannet_channel_shutdown(GannetChannel *channel);

/* --- peer-rdma.c: a channel that has a stream ----------------------------- */

/* As those of the channel. */
ssize_t gannet_stream_read(GannetChannel *channel, struct iovec *iov,
                           Error **errp);
ssize_t gannet_stream_write(GannetChannel *channel, struct iovec *iov,
                            unsigned n, Error **errp);
/* Of @stream, whether it is the channel's or is about to be. */
bool gannet_stream_wait(GannetChannel *channel, VerbsStream *stream,
                        VerbsStreamFor what, int64_t deadline);
void gannet_stream_end(GannetChannel *channel, int64_t deadline);

#endif
