/*
 * Members that are connected with each other: what TCP and RDMA share
 *
 * Who calls whom and when again, who may be connected, what a closed
 * connection means, what the operator is told: all of it is here, once. What
 * carries bytes, a carrier, is told to call and to send, and tells when a
 * connection stands, what came, and that it has ended.
 *
 *   mesh.c             what the interface promises, put together
 *   mesh-peer.c        whom to be connected with: dial, try again
 *   mesh-handshake.c   who is it?
 *   mesh-connection.c  a connection, from its beginning to its end
 *   mesh-buffer.c      bytes that wait
 *   mesh-complain.c    what the operator is told, and how often
 *
 * A connection that is closed stays in memory until the loop comes round
 * (mesh_sweep()), so who is in the middle of its frames can go on and see that
 * it is closed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_MESH_H
#define APUS_MESH_H

#include <string.h>
#include <sys/uio.h>

#include "../../core/versions.h"
#include "../core/hello.h"
#include "../core/wire.h"
#include "address.h"
#include "transport.h"

#define MESH_MILLISECOND UINT64_C(1000000)

/* Who has the key but is not among the peers. */
#define MESH_MAX_GUESTS 2

typedef struct Mesh Mesh;
typedef struct MeshPeer MeshPeer;
typedef struct MeshConnection MeshConnection;

/* Bytes from @start to @end; what is before was used. */
typedef struct {
    uint8_t *data;
    size_t start, end, capacity;
} MeshBuffer;

typedef enum {
    MESH_CONNECTING, /* and whatever the carrier has to settle first */
    MESH_HELLO, /* the other's HELLO is waited for */
    MESH_PROOF, /* its PROOF */
    MESH_ANSWER, /* we called: its ANSWER */
    MESH_OPEN,
    MESH_CLOSED,
} MeshStage;

/* The first member of what a carrier has for each connection. */
struct MeshConnection {
    Mesh *mesh;
    MeshPeer *peer; /* NULL: the caller has not said who it is */
    gboolean called; /* by us */
    gboolean looks; /* called only to see who is there */
    MeshStage stage;
    ApusTimer *deadline; /* until it is open */
    uint64_t since; /* when it became open */
    ApusAddress address; /* the other's */

    MeshBuffer in; /* of the handshake; TCP: of frames, too */
    gboolean mute; /* writing failed: only what is there is still read */
    gboolean heard; /* the other side has said something */
    gboolean refused; /* and that it refuses us */
    gboolean replaced; /* by another one with the same peer */

    ApusHello mine, theirs;
    uint8_t mine_bytes[APUS_HELLO_SIZE], theirs_bytes[APUS_HELLO_SIZE];
};

/* The first member of what a carrier has for each peer. */
struct MeshPeer {
    Mesh *mesh;
    ApusId id;
    gboolean guest; /* was not given: it has come by itself */
    gboolean usable; /* its address can be parsed */
    gboolean leaving; /* no member any more: goes in the next round */
    char text[APUS_MAX_ADDRESS];
    ApusAddress address;
    char *complaint; /* to be said in the next round */

    MeshConnection *open;
    MeshConnection *call; /* the one that we are about to make */
    unsigned version; /* of the protocol, in which it is called */
    ApusTimer *retry;
    uint64_t delay; /* before the next try */

    uint64_t life; /* of the process that the last open one was with */
    gboolean reached; /* that process listens at @address */
    unsigned doubt; /* tries after which refused() may still be said */
};

/* A message as a frame. */
typedef struct {
    uint8_t head[APUS_WIRE_MAX_HEAD];
    struct iovec pieces[3];
    int n;
    size_t size; /* of all */
} MeshFrame;

typedef struct {
    size_t peer_size; /* of its own MeshPeer */
    /*
     * Connections that have not said yet who they are; one more, and the
     * oldest goes.
     */
    unsigned max_strangers;

    void (*peer_init)(MeshPeer *peer);
    void (*peer_clear)(MeshPeer *peer);
    /* Call @peer->address; NULL: @error is an errno. */
    MeshConnection *(*call)(MeshPeer *peer, int *error);
    /*
     * Look whether anybody listens there: mesh_peer_refused() if its host says
     * that nobody does, else nothing.
     */
    void (*look)(MeshPeer *peer);
    void (*look_stop)(MeshPeer *peer);

    /* A message of the handshake. */
    void (*say)(MeshConnection *connection, const uint8_t *data, size_t size);
    /* The handshake is done. */
    void (*opened)(MeshConnection *connection);
    /* FALSE: it has no room, and more than @limit bytes would wait. */
    gboolean (*send)(MeshConnection *connection, const ApusMessage *message,
                     size_t limit);
    /* May more be sent? */
    gboolean (*ready)(const MeshConnection *connection);
    /* What waits goes out, if there is room; @anyway: try again. */
    void (*flush)(MeshConnection *connection, gboolean anyway);
    /* It has ended already, but the loop has not come to it yet. */
    gboolean (*has_ended)(const MeshConnection *connection);
    /* Give back all but the memory. */
    void (*end)(MeshConnection *connection);
    void (*free)(MeshConnection *connection);

    void (*fence)(Mesh *mesh, uint64_t term);
    void (*counters)(Mesh *mesh);
    void (*stop_listening)(Mesh *mesh);
    void (*free_mesh)(Mesh *mesh); /* all but mesh_clear() */
} MeshCarrier;

/* For each reason, and for each peer, complaints are counted alone. */
#define MESH_REASONS 16

typedef struct {
    uint64_t last; /* when it was said; 0: never */
    unsigned unsaid; /* since then */
} MeshComplaint;

/* The first member of a carrier's transport. */
struct Mesh {
    ApusTransport transport;
    const MeshCarrier *carrier;
    ApusLoop *loop;
    const ApusTransportHandlers *handlers;
    void *opaque;

    char *cluster;
    uint8_t key[APUS_KEY_MAX];
    size_t key_size;
    ApusHello hello; /* of this life, to nobody yet */
    size_t send_limit;
    uint64_t connect_timeout, retry_min, retry_max;
    char *address; /* that is listened on */

    GPtrArray *peers; /* of MeshPeer */
    GQueue strangers; /* of MeshConnection, not open yet; the oldest first */
    GPtrArray *closed; /* of MeshConnection, in memory until mesh_sweep() */
    ApusTimer *sweep;

    MeshComplaint complaints[MESH_REASONS][APUS_MAX_MEMBERS + 1];
    ApusTransportCounters counters;
    gboolean closing; /* no new connections */
};

/* --- mesh.c --------------------------------------------------------------- */

gboolean mesh_config_check(const ApusTransportConfig *config, GError **errp);
void mesh_init(Mesh *mesh, const MeshCarrier *carrier,
               const ApusTransportConfig *config, ApusLoop *loop,
               const ApusTransportHandlers *handlers, void *opaque);
/* Closes everything, and frees @mesh by its carrier. */
void mesh_free(Mesh *mesh);
void mesh_clear(Mesh *mesh);

/* NULL: no peer has that id. */
MeshPeer *mesh_find(const Mesh *mesh, ApusId id);
/*
 * Free what is closed, let go who is no peer any more. Not from within a
 * connection that is closed.
 */
void mesh_sweep(Mesh *mesh);
void mesh_sweep_soon(Mesh *mesh);
/* @message's records have to stay where they are as long as @frame. */
void mesh_frame(MeshFrame *frame, const ApusMessage *message);

/* --- mesh-peer.c ---------------------------------------------------------- */

MeshPeer *mesh_peer_new(Mesh *mesh, ApusId id);
void mesh_peer_free(MeshPeer *peer);
/* @peer is one of those who were given, and is called if it has to be. */
void mesh_peer_set_address(MeshPeer *peer, const char *text);
/* Of the two members the one with the lower id is the first to call. */
gboolean mesh_peer_is_called(const MeshPeer *peer);
/* Who has proved to be @id: a peer, or a guest. NULL: one too many. */
MeshPeer *mesh_peer_admit(Mesh *mesh, ApusId id);
/*
 * The connection that was being made was not; @error is an errno. @heard: the
 * other side has said something.
 */
void mesh_peer_call_failed(MeshPeer *peer, int error, gboolean heard);
/* There is none any more, and is to be another at once. */
void mesh_peer_call_again(MeshPeer *peer);
/*
 * @connection is open: it is the one to use. FALSE: it only takes the place of
 * another one with the same process.
 */
gboolean mesh_peer_opened(MeshPeer *peer, MeshConnection *connection);
/* It was open for @lived ns, and is closed. */
void mesh_peer_lost(MeshPeer *peer, uint64_t lived);
void mesh_peer_refused(MeshPeer *peer);
/* Our call has found who is there: process @life. */
void mesh_peer_found(MeshPeer *peer, uint64_t life);
/*
 * Before the next look at whether @peer listens, after @n more that were
 * accepted and closed without a word.
 */
uint64_t mesh_peer_dying_delay(const MeshPeer *peer, unsigned n);

/* --- mesh-handshake.c ----------------------------------------------------- */

/* The connection stands; whoever calls speaks first. */
void mesh_handshake_begin(MeshConnection *connection);
/* There is more in @in. */
void mesh_handshake_go_on(MeshConnection *connection);

/* --- mesh-connection.c ---------------------------------------------------- */

/* @called: whom we call; NULL: a stranger calls. */
void mesh_connection_init(MeshConnection *connection, Mesh *mesh,
                          const ApusAddress *address, MeshPeer *called);
/* A stranger is to come: room for it, if need be. */
void mesh_make_room(Mesh *mesh);
void mesh_drop_oldest(Mesh *mesh, const char *why);
/* It stands: the handshake has two connect_timeouts from now. */
void mesh_connection_stands(MeshConnection *connection);
void mesh_connection_free(MeshConnection *connection);
/* Its handshake is done. */
void mesh_connection_open(MeshConnection *connection);
/* @error is an errno, 0 when there is none to name. */
void mesh_connection_close(MeshConnection *connection, int error,
                           const char *why);
/* It ends here, and the operator shall know why: see mesh_complain(). */
void mesh_connection_refuse(MeshConnection *connection, unsigned reason,
                            const char *format, ...) G_GNUC_PRINTF(3, 4);
/* @message came: FALSE if it is not from the peer to us; then it is closed. */
gboolean mesh_connection_take(MeshConnection *connection,
                              const ApusMessage *message);

/* --- mesh-buffer.c -------------------------------------------------------- */

void mesh_buffer_clear(MeshBuffer *buffer);
void mesh_buffer_reserve(MeshBuffer *buffer, size_t bytes);
void mesh_buffer_append(MeshBuffer *buffer, const void *data, size_t size);
/* What is behind the first @sent bytes of @pieces. */
void mesh_buffer_append_rest(MeshBuffer *buffer, const struct iovec *pieces,
                             int n, size_t sent);
/* The first @size bytes were used. */
void mesh_buffer_use(MeshBuffer *buffer, size_t size);
static inline size_t mesh_buffer_size(const MeshBuffer *buffer)
{
    return buffer->end - buffer->start;
}
static inline uint8_t *mesh_buffer_data(const MeshBuffer *buffer)
{
    return buffer->data + buffer->start;
}

/* --- mesh-complain.c ------------------------------------------------------ */

/* @reason is an ApusAnswer, or one of these. */
enum {
    MESH_REASON_GARBAGE = APUS_ANSWERS,
    MESH_REASON_SILENT,
    MESH_REASON_TLS,
    MESH_REASON_FLOOD,
    MESH_REASON_SYSTEM,
    MESH_REASON_ADDRESS,
};
G_STATIC_ASSERT(MESH_REASON_ADDRESS < MESH_REASONS);

/* @peer: whom it concerns, as far as known; may be NULL. */
void mesh_complain(Mesh *mesh, unsigned reason, const MeshPeer *peer,
                   const char *format, ...) G_GNUC_PRINTF(4, 5);

#endif
