/*
 * Frames out and in, through the two lanes of a link
 *
 * What a round of the loop has put together for one lane goes out in one
 * record, so that an ACK and some notes are one write. What is long goes
 * straight from where the caller has it into records, behind what was gathered;
 * only what there is no room for is copied. A lane is a stream of bytes: where
 * a record ends says nothing about frames.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "rdma-internal.h"

/* No more than this is copied to be gathered, at once and in all. */
#define GATHER_ONE (16u << 10)
#define GATHER_ALL (64u << 10)

#define PIECES 4 /* what was gathered, and a frame */

void rdma_lane_clear(RdmaLane *lane)
{
    mesh_buffer_clear(&lane->out);
    mesh_buffer_clear(&lane->in);
}

/* --- out ------------------------------------------------------------------ */

/* The part of @all from @offset on, @size bytes; returns in how many pieces. */
static unsigned cut(VerbsPiece part[PIECES], const struct iovec *all,
                    unsigned n, size_t offset, size_t size)
{
    unsigned pieces = 0;

    for (unsigned i = 0; i < n && size > 0; i++) {
        size_t skipped = MIN(offset, all[i].iov_len);
        size_t used = MIN(all[i].iov_len - skipped, size);

        offset -= skipped;
        size -= used;
        if (used > 0) {
            part[pieces++] = (VerbsPiece) {
                .data = (const uint8_t *)all[i].iov_base + skipped,
                .size = used,
            };
        }
    }
    return pieces;
}

/* How many of the @size bytes of @all went out. */
static size_t write_records(RdmaConnection *connection, unsigned lane,
                            const struct iovec *all, unsigned n, size_t size)
{
    size_t longest = verbs_lane_longest(connection->link, lane);
    size_t sent = 0;

    while (sent < size) {
        VerbsPiece part[PIECES];
        size_t some = MIN(size - sent, longest);
        unsigned pieces = cut(part, all, n, sent, some);

        switch (verbs_send(connection->link, lane, part, pieces)) {
        case VERBS_SENT:
            connection->spoke = TRUE;
            connection->mesh.mesh->counters.bytes_sent += some;
            sent += some;
            break;
        case VERBS_NO_ROOM:
            connection->lane[lane].full = TRUE;
            return sent;
        case VERBS_NOT_GRANTED:
            /* Taken back, and granted() is about to say so. */
            return size;
        case VERBS_GONE:
            connection->mesh.mute = TRUE;
            return size;
        }
    }
    return sent;
}

/* What was gathered, and then @pieces. */
static void write_all(RdmaConnection *connection, unsigned i,
                      const struct iovec *pieces, unsigned n)
{
    RdmaLane *lane = &connection->lane[i];
    struct iovec all[PIECES] = {
        { mesh_buffer_data(&lane->out), mesh_buffer_size(&lane->out) },
    };
    size_t before = all[0].iov_len, size = before, sent;

    g_assert(n < PIECES);
    for (unsigned k = 0; k < n; k++) {
        all[1 + k] = pieces[k];
        size += pieces[k].iov_len;
    }
    sent = write_records(connection, i, all, 1 + n, size);
    mesh_buffer_use(&lane->out, MIN(sent, before));
    mesh_buffer_append_rest(&lane->out, pieces, n, sent - MIN(sent, before));
}

void rdma_lane_flush(RdmaConnection *connection, unsigned i, gboolean anyway)
{
    RdmaLane *lane = &connection->lane[i];

    if (!connection->link || (lane->full && !anyway)) {
        return;
    }
    lane->full = FALSE;
    if (mesh_buffer_size(&lane->out) > 0) {
        write_all(connection, i, NULL, 0);
    }
}

/* May @size bytes more wait for the end of the round? */
static gboolean gathers(const RdmaConnection *connection, const RdmaLane *lane,
                        size_t size)
{
    return size <= GATHER_ONE &&
           mesh_buffer_size(&lane->out) + size <= GATHER_ALL &&
           apus_loop_in_round(connection->mesh.mesh->loop);
}

/*
 * What was said in the other lane goes first, if it can: a leader that resigns
 * is not to be heard before its last entries.
 */
static void keep_order(RdmaConnection *connection, unsigned i)
{
    for (unsigned other = 0; other < VERBS_LANES; other++) {
        if (other != i) {
            rdma_lane_flush(connection, other, FALSE);
        }
    }
}

gboolean rdma_lane_send(RdmaConnection *connection, unsigned i,
                        const MeshFrame *frame, size_t limit)
{
    RdmaLane *lane = &connection->lane[i];
    size_t kept = mesh_buffer_size(&lane->out);

    /* One frame is always taken, however long, when it is the only one. */
    if (!connection->link || (kept > 0 && kept + frame->size > limit)) {
        return FALSE;
    }
    keep_order(connection, i);
    if (lane->full || gathers(connection, lane, frame->size)) {
        mesh_buffer_append_rest(&lane->out, frame->pieces, frame->n, 0);
    } else {
        write_all(connection, i, frame->pieces, frame->n);
    }
    return TRUE;
}

void rdma_lane_nudge(RdmaConnection *connection)
{
    if (connection->link && !connection->spoke) {
        verbs_send(connection->link, RDMA_MAIL, NULL, 0);
    }
    connection->spoke = FALSE;
}

/* --- in ------------------------------------------------------------------- */

/* It may go on: nothing that was said has ended it. */
static gboolean goes_on(const RdmaConnection *connection, unsigned lane)
{
    return connection->mesh.stage == MESH_OPEN &&
           !connection->mesh.peer->leaving &&
           (lane == RDMA_MAIL || connection->grants);
}

/*
 * Returns how many of the @size bytes were whole frames, or all of them if
 * nothing more of this lane is to be taken.
 */
static size_t take_frames(RdmaConnection *connection, unsigned lane,
                          const uint8_t *data, size_t size)
{
    MeshConnection *mesh = &connection->mesh;
    size_t *need = &connection->lane[lane].need;
    size_t taken = 0;

    while (taken < size) {
        g_autoptr(GError) error = NULL;
        ApusMessage message;
        gssize n = apus_wire_decode(&message, data + taken, size - taken, need,
                                    &error);

        if (n < 0) {
            mesh_connection_refuse(mesh, MESH_REASON_GARBAGE, "%s",
                                   error->message);
            return size;
        }
        if (n == 0) {
            return taken;
        }
        taken += n;
        *need = 0;
        if (!rdma_admits(connection, lane, &message) ||
            !mesh_connection_take(mesh, &message) ||
            !goes_on(connection, lane)) {
            return size;
        }
        if (lane == RDMA_MAIL && rdma_is_of_leader(&message)) {
            rdma_grant_ask(connection, message.term);
        }
    }
    return taken;
}

void rdma_lane_take(RdmaConnection *connection, unsigned i,
                    const uint8_t *data, size_t size)
{
    RdmaLane *lane = &connection->lane[i];
    MeshBuffer *in = &lane->in;
    size_t taken;

    if (!goes_on(connection, i)) {
        return;
    }
    if (mesh_buffer_size(in) == 0) {
        taken = take_frames(connection, i, data, size);
        if (taken < size) {
            mesh_buffer_append(in, data + taken, size - taken);
        }
        return;
    }
    mesh_buffer_append(in, data, size);
    size = mesh_buffer_size(in);
    if (size >= lane->need) {
        taken = take_frames(connection, i, mesh_buffer_data(in), size);
        /* Less if it was forgotten meanwhile. */
        mesh_buffer_use(in, MIN(taken, mesh_buffer_size(in)));
    }
}
