/*
 * The TCP transport from inside: one concern per file
 *
 *   tcp.c             put together
 *   tcp-probe.c       does the listening socket of a peer refuse?
 *   tcp-listen.c      who connects with us
 *   tcp-connection.c  a socket, from its first byte to its end
 *   tcp-stream.c      bytes out and in, with and without TLS
 *
 * What it shares with RDMA is in mesh.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_TCP_INTERNAL_H
#define APUS_TCP_INTERNAL_H

#include "mesh.h"
#include "tls.h"

#define TCP_MAX_STRANGERS 64

typedef struct {
    MeshConnection mesh;
    int fd;
    ApusWatch *watch;
    ApusTls *tls; /* NULL: none */
    MeshBuffer out; /* as it goes out */
    gboolean full; /* the socket did not take all of @out */
    size_t need; /* bytes of the frame at the start of mesh.in; 0: unknown */
    gboolean greets; /* TLS's handshake goes on */
    MeshBuffer cipher; /* with TLS: as it came in */
    gboolean may_read; /* with TLS: nothing was read in this round yet */
} TcpConnection;

/* A look at whether a peer still listens. */
typedef struct {
    int fd; /* -1: none */
    ApusWatch *watch;
    ApusTimer *timer;
    unsigned tries; /* that are left */
    gboolean accepted;
} TcpProbe;

typedef struct {
    MeshPeer mesh;
    TcpProbe probe;
} TcpPeer;

typedef struct {
    Mesh mesh;
    ApusTlsKeys *tls_keys; /* NULL: no TLS */
    int listener; /* -1: closed */
    ApusWatch *listener_watch;
    ApusTimer *listener_pause; /* no descriptors left: a moment of patience */
} Tcp;

static inline Tcp *tcp_of(Mesh *mesh)
{
    return (Tcp *)mesh;
}

static inline TcpConnection *tcp_connection_of(MeshConnection *connection)
{
    return (TcpConnection *)connection;
}

/* --- tcp.c ---------------------------------------------------------------- */

int tcp_socket(const ApusAddress *address);

/* --- tcp-probe.c ---------------------------------------------------------- */

void tcp_probe_init(MeshPeer *peer);
void tcp_probe_clear(MeshPeer *peer);
void tcp_probe_start(MeshPeer *peer);
void tcp_probe_stop(MeshPeer *peer);

/* --- tcp-listen.c --------------------------------------------------------- */

gboolean tcp_listen(Tcp *tcp, const char *text, GError **errp);
void tcp_listen_stop(Mesh *mesh);

/* --- tcp-connection.c ----------------------------------------------------- */

/* With @called, or from a stranger. */
TcpConnection *tcp_connection_new(Tcp *tcp, int fd, const ApusAddress *address,
                                  MeshPeer *called);
MeshConnection *tcp_connection_call(MeshPeer *peer, int *error);
void tcp_connection_say(MeshConnection *connection, const uint8_t *data,
                        size_t size);
void tcp_connection_opened(MeshConnection *connection);
gboolean tcp_connection_send(MeshConnection *connection,
                             const ApusMessage *message, size_t limit);
gboolean tcp_connection_ready(const MeshConnection *connection);
void tcp_connection_flush(MeshConnection *connection, gboolean anyway);
gboolean tcp_connection_has_ended(const MeshConnection *connection);
void tcp_connection_end(MeshConnection *connection);
void tcp_connection_free(MeshConnection *connection);
/* The loop's watch asks for what is of interest now. */
void tcp_connection_watch(TcpConnection *connection);

/* --- tcp-stream.c --------------------------------------------------------- */

typedef enum {
    TCP_GOT_SOME,
    TCP_GOT_NOTHING, /* for now */
    TCP_GOT_END, /* errno is 0, or says why; @errp is set if TLS says why */
} TcpGot;

/* A round begins in which @connection may be read once. */
void tcp_stream_round(TcpConnection *connection);
/*
 * Read what has come, behind what is in @in. Without TLS that is the one time
 * in a round; with it the caller goes on until there is nothing, for what was
 * read at once comes out in several records.
 */
TcpGot tcp_stream_read(TcpConnection *connection, GError **errp);
extern const ApusTlsCarrier tcp_stream_carrier;
/*
 * Send @size bytes in @n pieces, three at most: at the end of the round with
 * all else if they are few, or at once. What the socket does not take is
 * copied.
 */
void tcp_stream_write(TcpConnection *connection, const struct iovec *pieces,
                      int n, size_t size);
/* Send what is kept, as far as that is possible. */
void tcp_stream_flush(TcpConnection *connection);
/* Likewise, but if the socket is full it says itself when to go on. */
void tcp_stream_end_round(TcpConnection *connection);

#endif
