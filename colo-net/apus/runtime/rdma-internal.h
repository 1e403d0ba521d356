/*
 * The RDMA transport from inside: one concern per file
 *
 *   rdma.c             put together; its place in the loop
 *   rdma-connection.c  a link as a connection: calls, handshake, end
 *   rdma-lane.c        frames out and in, through the two lanes of a link
 *   rdma-grant.c       who may write into our log lane
 *   rdma-look.c        does the host of a peer say that nobody listens?
 *
 * What it shares with TCP is in mesh.h; links are colo-net/verbs/verbs.h's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_RDMA_INTERNAL_H
#define APUS_RDMA_INTERNAL_H

#include "../../verbs/verbs.h"
#include "../core/grant.h"
#include "mesh.h"

/* Memory is registered for each of them as soon as it is accepted. */
#define RDMA_MAX_STRANGERS 8

/* The lanes of a link. */
enum {
    RDMA_MAIL, /* everything but what follows */
    RDMA_LOG, /* entries, of the leader to whom it is granted */
};

/* Frames go through a lane as a stream of bytes, in records of any length. */
typedef struct {
    MeshBuffer out; /* until the round ends, or there is room */
    gboolean full; /* the ring did not take all of @out */
    MeshBuffer in; /* the beginning of a frame */
    size_t need; /* bytes that it has in all; 0: unknown */
} RdmaLane;

typedef struct {
    MeshConnection mesh;
    VerbsLink *link; /* NULL: it has ended, or was not made */
    gboolean stands; /* it was accepted, by either side */
    uint8_t first[VERBS_ANSWER_DATA]; /* what is said before it stands */
    size_t first_size;
    RdmaLane lane[VERBS_LANES];
    gboolean spoke; /* since the last look at whether the other one lives */

    uint64_t term; /* in which we led last, as this one heard; 0: never */
    uint64_t granted; /* the other's log lane is ours for this term; 0: no */
    uint64_t grants; /* our log lane is the other's for this term; 0: no */
} RdmaConnection;

typedef struct {
    MeshPeer mesh;
    VerbsLink *look; /* NULL: none is under way */
    ApusTimer *look_again;
    unsigned tries; /* that are left */
} RdmaPeer;

typedef struct {
    Mesh mesh;
    VerbsHost *host;
    ApusWatch *watch;
    ApusTimer *deadline; /* of the host */
    ApusTimer *alive; /* whoever was told nothing is told something */
    ApusGrant grant;
    uint64_t fenced; /* grants that were taken back */
} Rdma;

static inline Rdma *rdma_of(Mesh *mesh)
{
    return (Rdma *)mesh;
}

static inline RdmaConnection *rdma_connection_of(MeshConnection *connection)
{
    return (RdmaConnection *)connection;
}

static inline RdmaConnection *rdma_open(const Rdma *rdma, unsigned i)
{
    MeshPeer *peer = g_ptr_array_index(rdma->mesh.peers, i);

    return peer->open ? rdma_connection_of(peer->open) : NULL;
}

/* --- rdma-connection.c ---------------------------------------------------- */

MeshConnection *rdma_connection_call(MeshPeer *peer, int *error);
void rdma_connection_say(MeshConnection *connection, const uint8_t *data,
                         size_t size);
void rdma_connection_opened(MeshConnection *connection);
gboolean rdma_connection_has_ended(const MeshConnection *connection);
void rdma_connection_end(MeshConnection *connection);
void rdma_connection_free(MeshConnection *connection);

/* For the host's handlers. */
void rdma_connection_called(Rdma *rdma, VerbsLink *link, const uint8_t *data,
                            size_t size);
void rdma_connection_stands(RdmaConnection *connection, const uint8_t *data,
                            size_t size);
void rdma_connection_received(RdmaConnection *connection, unsigned lane,
                              const uint8_t *data, size_t size);
void rdma_connection_closed(RdmaConnection *connection, VerbsEnd end,
                            const char *text, const uint8_t *data,
                            size_t size);
/* What nobody has put into private data begins with this. */
gboolean rdma_is_silence(const uint8_t *data, size_t size);

/* --- rdma-lane.c ---------------------------------------------------------- */

/* FALSE: more than @limit bytes would wait. */
gboolean rdma_lane_send(RdmaConnection *connection, unsigned lane,
                        const MeshFrame *frame, size_t limit);
/* What waits goes out, if it may; @anyway: also if there was no room. */
void rdma_lane_flush(RdmaConnection *connection, unsigned lane,
                     gboolean anyway);
/* Frames that came. */
void rdma_lane_take(RdmaConnection *connection, unsigned lane,
                    const uint8_t *data, size_t size);
/* What waits was of another term. Its memory stays: it may be in use. */
static inline void rdma_lane_forget(MeshBuffer *buffer)
{
    buffer->start = buffer->end = 0;
}
void rdma_lane_clear(RdmaLane *lane);
/* Nothing was said for long: say nothing, so that it is seen who is gone. */
void rdma_lane_nudge(RdmaConnection *connection);

/* --- rdma-grant.c --------------------------------------------------------- */

gboolean rdma_connection_send(MeshConnection *connection,
                              const ApusMessage *message, size_t limit);
gboolean rdma_connection_ready(const MeshConnection *connection);
/* The other side has granted us its log lane for @term, or has not (0). */
void rdma_granted(RdmaConnection *connection, uint64_t term);
/* Only a leader says such a thing. */
static inline gboolean rdma_is_of_leader(const ApusMessage *message)
{
    return message->type == APUS_MESSAGE_APPEND ||
           message->type == APUS_MESSAGE_SNAPSHOT;
}

/* May @message come in @lane? FALSE: the connection was closed. */
gboolean rdma_admits(RdmaConnection *connection, unsigned lane,
                     const ApusMessage *message);
/* The other side leads @term, and may write, unless that is of the past. */
void rdma_grant_ask(RdmaConnection *connection, uint64_t term);
/* The link is about to end. */
void rdma_grant_lost(RdmaConnection *connection);
void rdma_fence(Mesh *mesh, uint64_t term);

/* --- rdma-look.c ---------------------------------------------------------- */

void rdma_look_init(MeshPeer *peer);
void rdma_look_clear(MeshPeer *peer);
void rdma_look(MeshPeer *peer);
void rdma_look_stop(MeshPeer *peer);
/* Is @link a look? Then it is over. */
void rdma_look_open(Rdma *rdma, VerbsLink *link);
void rdma_look_closed(Rdma *rdma, VerbsLink *link, VerbsEnd end,
                      gboolean silent);

#endif
