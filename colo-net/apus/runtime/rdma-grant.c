/*
 * Who may write into our log lane
 *
 * Entries travel in the log lane of their receiver, which is granted to one
 * link at a time, and for one term. A leader that has no grant for its term
 * sends its beat instead, without entries, as mail. The core has that to
 * answer, with a newer term if there is one; and it shows that its sender
 * leads, as does a SNAPSHOT, which is mail in any case; so who does not lead a
 * term of the past is granted the lane. fence() takes it away before a vote is
 * given. Whatever an older leader writes after that is kept out by the adapter,
 * and its link ends. What it wrote before, but was not taken out of the lane by
 * then, is never taken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "rdma-internal.h"

/* --- ours to write into --------------------------------------------------- */

gboolean rdma_connection_send(MeshConnection *mesh, const ApusMessage *message,
                              size_t limit)
{
    RdmaConnection *connection = rdma_connection_of(mesh);
    unsigned lane = RDMA_MAIL;
    ApusMessage sent = *message;
    MeshFrame frame;

    if (rdma_is_of_leader(message) && connection->term != message->term) {
        /* What waits is of a term in which we do not lead any more. */
        connection->term = message->term;
        rdma_lane_forget(&connection->lane[RDMA_LOG].out);
        connection->lane[RDMA_LOG].full = FALSE;
    }
    if (message->type == APUS_MESSAGE_APPEND) {
        if (connection->granted == message->term) {
            lane = RDMA_LOG;
        } else {
            sent.append.records = (ApusRecords) { 0 };
        }
    }
    mesh_frame(&frame, &sent);
    return rdma_lane_send(connection, lane, &frame, limit);
}

gboolean rdma_connection_ready(const MeshConnection *mesh)
{
    const RdmaConnection *connection = (const RdmaConnection *)mesh;

    return !connection->lane[RDMA_MAIL].full &&
           !connection->lane[RDMA_LOG].full &&
           connection->granted == connection->term;
}

void rdma_granted(RdmaConnection *connection, uint64_t term)
{
    Mesh *mesh = connection->mesh.mesh;

    connection->granted = term;
    rdma_lane_forget(&connection->lane[RDMA_LOG].out);
    connection->lane[RDMA_LOG].full = FALSE;
    if (connection->mesh.stage == MESH_OPEN &&
        rdma_connection_ready(&connection->mesh)) {
        mesh->handlers->writable(mesh->opaque);
    }
}

/* --- ours to give --------------------------------------------------------- */

static void take_back(Rdma *rdma, ApusId holder)
{
    MeshPeer *peer = mesh_find(&rdma->mesh, holder);
    RdmaConnection *open = peer && peer->open ? rdma_connection_of(peer->open)
                                              : NULL;

    if (open && open->grants) {
        open->grants = 0;
        rdma->fenced++;
        rdma_lane_forget(&open->lane[RDMA_LOG].in);
        open->lane[RDMA_LOG].need = 0;
        if (open->link) {
            verbs_revoke(open->link, RDMA_LOG);
        }
    }
}

void rdma_fence(Mesh *mesh, uint64_t term)
{
    Rdma *rdma = rdma_of(mesh);

    take_back(rdma, apus_grant_fence(&rdma->grant, term));
}

void rdma_grant_lost(RdmaConnection *connection)
{
    Rdma *rdma = rdma_of(connection->mesh.mesh);

    if (connection->grants) {
        connection->grants = 0;
        apus_grant_lost(&rdma->grant, connection->mesh.peer->id);
    }
}

void rdma_grant_ask(RdmaConnection *connection, uint64_t term)
{
    Rdma *rdma = rdma_of(connection->mesh.mesh);
    ApusId asks = connection->mesh.peer->id, loses;
    g_autoptr(GError) error = NULL;

    if (connection->grants == term ||
        apus_grant_ask(&rdma->grant, asks, term, &loses) ==
        APUS_GRANT_REFUSED) {
        return;
    }
    take_back(rdma, loses);
    /* What it has for an older term is not for this one. */
    take_back(rdma, asks);
    if (!verbs_grant(connection->link, RDMA_LOG, term, &error)) {
        apus_grant_lost(&rdma->grant, asks);
        mesh_connection_refuse(&connection->mesh, MESH_REASON_SYSTEM, "%s",
                               error->message);
        return;
    }
    connection->grants = term;
}

gboolean rdma_admits(RdmaConnection *connection, unsigned lane,
                     const ApusMessage *message)
{
    gboolean append = message->type == APUS_MESSAGE_APPEND;

    if (lane == RDMA_LOG ? append && message->term == connection->grants
                         : !append || message->append.records.size[0] == 0) {
        return TRUE;
    }
    mesh_connection_refuse(&connection->mesh, MESH_REASON_GARBAGE,
                           "a message in the wrong lane");
    return FALSE;
}
