/*
 * The TCP transport from inside: one concern per file
 *
 *   tcp.c             what the interface promises, put together
 *   tcp-peer.c        whom to be connected with: dial, try again
 *   tcp-probe.c       does the listening socket of a peer refuse?
 *   tcp-listen.c      who connects with us
 *   tcp-handshake.c   who is it?
 *   tcp-connection.c  a connection, from its first byte to its end
 *   tcp-stream.c      bytes out and in, with and without TLS
 *   tcp-complain.c    what the operator is told, and how often
 *
 * A connection that is closed stays in memory until the loop comes round
 * (tcp_sweep()), so who is in the middle of its frames can go on and see that
 * it is closed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_TCP_INTERNAL_H
#define APUS_TCP_INTERNAL_H

#include <sys/uio.h>

#include "../../core/versions.h"
#include "../core/hello.h"
#include "../core/wire.h"
#include "address.h"
#include "tls.h"
#include "transport.h"

#define TCP_MILLISECOND UINT64_C(1000000)

/*
 * Connections that have not said yet who they are; one more, and the oldest
 * goes.
 */
#define TCP_MAX_STRANGERS 64

/* Who has the key but is not among the peers. */
#define TCP_MAX_GUESTS 2

typedef struct Tcp Tcp;
typedef struct TcpPeer TcpPeer;
typedef struct TcpConnection TcpConnection;

/* Bytes from @start to @end; what is before was used. */
typedef struct {
    uint8_t *data;
    size_t start, end, capacity;
} TcpBuffer;

typedef enum {
    TCP_CONNECTING,
    TCP_TLS, /* TLS's handshake */
    TCP_HELLO, /* the other's HELLO is waited for */
    TCP_PROOF, /* its PROOF */
    TCP_ANSWER, /* we called: its ANSWER */
    TCP_OPEN,
    TCP_CLOSED,
} TcpStage;

struct TcpConnection {
    Tcp *tcp;
    TcpPeer *peer; /* NULL: the caller has not said who it is */
    gboolean called; /* by us */
    gboolean looks; /* called only to see who is there */
    TcpStage stage;
    int fd;
    ApusWatch *watch;
    ApusTimer *deadline; /* until it is open */
    uint64_t since; /* when it became open */
    ApusAddress address; /* the other's */

    ApusTls *tls; /* NULL: none */
    TcpBuffer in; /* in clear */
    TcpBuffer out; /* as it goes out */
    gboolean full; /* the socket did not take all of @out */
    size_t need; /* bytes that the frame at the start of @in has; 0: unknown */
    gboolean mute; /* writing failed: only what is there is still read */
    gboolean heard; /* the other side has said something */
    gboolean refused; /* and that it refuses us */
    gboolean replaced; /* by another one with the same peer */
    TcpBuffer cipher; /* with TLS: as it came in */
    gboolean may_read; /* with TLS: nothing was read in this round yet */

    ApusHello mine, theirs;
    uint8_t mine_bytes[APUS_HELLO_SIZE], theirs_bytes[APUS_HELLO_SIZE];
};

/* A look at whether a peer still listens. */
typedef struct {
    int fd; /* -1: none */
    ApusWatch *watch;
    ApusTimer *timer;
    unsigned tries; /* that are left */
    gboolean accepted;
} TcpProbe;

struct TcpPeer {
    Tcp *tcp;
    ApusId id;
    gboolean guest; /* was not given: it has come by itself */
    gboolean usable; /* its address can be parsed */
    gboolean leaving; /* no member any more: goes in the next round */
    char text[APUS_MAX_ADDRESS];
    ApusAddress address;
    char *complaint; /* to be said in the next round */

    TcpConnection *open;
    TcpConnection *call; /* the one that we are about to make */
    unsigned version; /* of the protocol, in which it is called */
    ApusTimer *retry;
    uint64_t delay; /* before the next try */

    uint64_t life; /* of the process that the last open one was with */
    gboolean reached; /* that process listens at @address */
    unsigned doubt; /* tries after which refused() may still be said */
    TcpProbe probe;
};

/* For each reason, and for each peer, complaints are counted alone. */
#define TCP_REASONS 16

typedef struct {
    uint64_t last; /* when it was said; 0: never */
    unsigned unsaid; /* since then */
} TcpComplaint;

struct Tcp {
    ApusTransport transport;
    ApusLoop *loop;
    const ApusTransportHandlers *handlers;
    void *opaque;

    char *cluster;
    uint8_t key[APUS_KEY_MAX];
    size_t key_size;
    gboolean use_tls;
    ApusTlsKeys *tls_keys; /* NULL: no TLS */
    ApusHello hello; /* of this life, to nobody yet */
    size_t send_limit;
    uint64_t connect_timeout, retry_min, retry_max;

    int listener; /* -1: closed */
    ApusWatch *listener_watch;
    ApusTimer *listener_pause; /* no descriptors left: a moment of patience */
    char *address;

    GPtrArray *peers; /* of TcpPeer */
    GQueue strangers; /* of TcpConnection, not open yet; the oldest first */
    GPtrArray *closed; /* of TcpConnection, in memory until tcp_sweep() */
    ApusTimer *sweep;

    TcpComplaint complaints[TCP_REASONS][APUS_MAX_MEMBERS + 1];
    ApusTransportCounters counters;
    gboolean closing; /* no new connections */
};

/* --- tcp.c ---------------------------------------------------------------- */

/* NULL: no peer has that id. */
TcpPeer *tcp_find(const Tcp *tcp, ApusId id);
/*
 * Free what is closed, let go who is no peer any more. Not from within a
 * connection that is closed.
 */
void tcp_sweep(Tcp *tcp);
void tcp_sweep_soon(Tcp *tcp);
int tcp_socket(const ApusAddress *address);

/* --- tcp-peer.c ----------------------------------------------------------- */

TcpPeer *tcp_peer_new(Tcp *tcp, ApusId id);
void tcp_peer_free(TcpPeer *peer);
/* @peer is one of those who were given, and is called if it has to be. */
void tcp_peer_set_address(TcpPeer *peer, const char *text);
/* Of the two members the one with the lower id is the first to call. */
gboolean tcp_peer_is_called(const TcpPeer *peer);
/* Who has proved to be @id: a peer, or a guest. NULL: one too many. */
TcpPeer *tcp_peer_admit(Tcp *tcp, ApusId id);
/*
 * The connection that was being made was not; @error is an errno. @heard: the
 * other side has said something.
 */
void tcp_peer_call_failed(TcpPeer *peer, int error, gboolean heard);
/* There is none any more, and is to be another at once. */
void tcp_peer_call_again(TcpPeer *peer);
/*
 * @connection is open: it is the one to use. FALSE: it only takes the place of
 * another one with the same process.
 */
gboolean tcp_peer_opened(TcpPeer *peer, TcpConnection *connection);
/* It was open for @lived ns, and is closed. */
void tcp_peer_lost(TcpPeer *peer, uint64_t lived);
void tcp_peer_refused(TcpPeer *peer);
/* Our call has found who is there: process @life. */
void tcp_peer_found(TcpPeer *peer, uint64_t life);
/*
 * Before the next look at whether @peer listens, after @n more that were
 * accepted and closed without a word.
 */
uint64_t tcp_peer_dying_delay(const TcpPeer *peer, unsigned n);

/* --- tcp-probe.c ---------------------------------------------------------- */

void tcp_probe_init(TcpPeer *peer);
void tcp_probe_clear(TcpPeer *peer);
void tcp_probe_start(TcpPeer *peer);
void tcp_probe_stop(TcpPeer *peer);

/* --- tcp-listen.c --------------------------------------------------------- */

gboolean tcp_listen(Tcp *tcp, const char *text, GError **errp);
void tcp_listen_stop(Tcp *tcp);

/* --- tcp-handshake.c ------------------------------------------------------ */

/* The connection stands; whoever calls speaks first. */
void tcp_handshake_begin(TcpConnection *connection);
/* There is more in @in. */
void tcp_handshake_go_on(TcpConnection *connection);

/* --- tcp-connection.c ----------------------------------------------------- */

TcpConnection *tcp_connection_new(Tcp *tcp, int fd, const ApusAddress *address,
                                  TcpPeer *called);
void tcp_connection_free(TcpConnection *connection);
/* Its handshake is done. */
void tcp_connection_open(TcpConnection *connection);
/* @error is an errno, 0 when there is none to name. */
void tcp_connection_close(TcpConnection *connection, int error,
                          const char *why);
/* It ends here, and the operator shall know why: see tcp_complain(). */
void tcp_connection_refuse(TcpConnection *connection, unsigned reason,
                           const char *format, ...) G_GNUC_PRINTF(3, 4);
/* What the handshake says; FALSE: it was closed. */
void tcp_connection_say(TcpConnection *connection, const uint8_t *data,
                        size_t size);
/* A whole frame, or nothing; FALSE if more than @limit bytes would wait. */
gboolean tcp_connection_send(TcpConnection *connection,
                             const struct iovec *pieces, int n, size_t size,
                             size_t limit);
/* The loop's watch asks for what is of interest now. */
void tcp_connection_watch(TcpConnection *connection);

/* --- tcp-stream.c --------------------------------------------------------- */

void tcp_buffer_clear(TcpBuffer *buffer);
void tcp_buffer_reserve(TcpBuffer *buffer, size_t bytes);
void tcp_buffer_append(TcpBuffer *buffer, const void *data, size_t size);
static inline size_t tcp_buffer_size(const TcpBuffer *buffer)
{
    return buffer->end - buffer->start;
}

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

/* --- tcp-complain.c ------------------------------------------------------- */

/* @reason is an ApusAnswer, or one of these. */
enum {
    TCP_REASON_GARBAGE = APUS_ANSWERS,
    TCP_REASON_SILENT,
    TCP_REASON_TLS,
    TCP_REASON_FLOOD,
    TCP_REASON_SYSTEM,
    TCP_REASON_ADDRESS,
};
G_STATIC_ASSERT(TCP_REASON_ADDRESS < TCP_REASONS);

/* @peer: whom it concerns, as far as known; may be NULL. */
void tcp_complain(Tcp *tcp, unsigned reason, const TcpPeer *peer,
                  const char *format, ...) G_GNUC_PRINTF(4, 5);

#endif
