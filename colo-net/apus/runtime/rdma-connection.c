/*
 * A link as a connection: calls, handshake, end
 *
 * Until the link stands, the messages of the handshake travel in the private
 * data of the connection manager: the caller's HELLO in its call, the other's
 * HELLO and PROOF in the acceptance, or an ANSWER in the rejection. The
 * caller's PROOF, and the ANSWER to that, are the first records. The handshake
 * itself notices nothing of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "rdma-internal.h"

/* What is waited for in private data, which has zeros behind it. */
#define ACCEPTANCE (APUS_HELLO_SIZE + APUS_PROOF_SIZE)

G_STATIC_ASSERT(APUS_HELLO_SIZE <= VERBS_CALL_DATA);
G_STATIC_ASSERT(ACCEPTANCE <= VERBS_ANSWER_DATA);

gboolean rdma_is_silence(const uint8_t *data, size_t size)
{
    return size == 0 || data[0] == 0;
}

static void feed(RdmaConnection *connection, const uint8_t *data, size_t size)
{
    connection->mesh.heard = TRUE;
    mesh_buffer_append(&connection->mesh.in, data, size);
    mesh_handshake_go_on(&connection->mesh);
}

/* --- beginning ------------------------------------------------------------ */

static RdmaConnection *connection_new(Rdma *rdma, const ApusAddress *address,
                                      MeshPeer *called)
{
    RdmaConnection *connection = g_new0(RdmaConnection, 1);

    mesh_connection_init(&connection->mesh, &rdma->mesh, address, called);
    /* There is no time at which it only stands: the HELLO is in the call. */
    mesh_connection_stands(&connection->mesh);
    return connection;
}

MeshConnection *rdma_connection_call(MeshPeer *peer, int *error)
{
    Rdma *rdma = rdma_of(peer->mesh);
    RdmaConnection *connection = connection_new(rdma, &peer->address, peer);
    g_autoptr(GError) failure = NULL;

    mesh_handshake_begin(&connection->mesh);
    connection->link = verbs_call(rdma->host,
                                  (struct sockaddr *)&peer->address.storage,
                                  connection->first, connection->first_size,
                                  &failure);
    if (!connection->link) {
        g_debug("call of member %u: %s", peer->id, failure->message);
        mesh_connection_free(&connection->mesh);
        *error = ENETUNREACH;
        return NULL;
    }
    verbs_link_set_opaque(connection->link, connection);
    return &connection->mesh;
}

/* Who looks whether anybody listens is answered, and is nobody. */
static void answer_look(VerbsLink *link)
{
    uint8_t answer[APUS_ANSWER_SIZE];

    apus_answer_encode(answer, colony_speaks[COLONY_PROTOCOL_GROUP].newest,
                       APUS_ANSWER_WELCOME);
    verbs_link_reject(link, answer, sizeof(answer));
}

void rdma_connection_called(Rdma *rdma, VerbsLink *link, const uint8_t *data,
                            size_t size)
{
    RdmaConnection *connection;
    ApusAddress address = { 0 };

    if (rdma->mesh.closing) {
        verbs_link_reject(link, NULL, 0);
        return;
    }
    if (rdma_is_silence(data, size)) {
        answer_look(link);
        return;
    }
    /* For messages only; what it cannot be is "an unknown address". */
    apus_address_parse(&address, verbs_link_name(link), TRUE, NULL);
    mesh_make_room(&rdma->mesh);
    connection = connection_new(rdma, &address, NULL);
    connection->link = link;
    verbs_link_set_opaque(link, connection);
    mesh_handshake_begin(&connection->mesh);
    feed(connection, data, size);
    if (connection->mesh.stage != MESH_CLOSED) {
        connection->stands = TRUE;
        verbs_link_accept(link, connection->first, connection->first_size);
    }
}

void rdma_connection_stands(RdmaConnection *connection, const uint8_t *data,
                            size_t size)
{
    if (connection->mesh.called) {
        connection->stands = TRUE;
        feed(connection, data, MIN(size, ACCEPTANCE));
    }
}

void rdma_connection_opened(MeshConnection *mesh)
{
    verbs_link_trust(rdma_connection_of(mesh)->link);
}

/* --- in between ----------------------------------------------------------- */

void rdma_connection_say(MeshConnection *mesh, const uint8_t *data,
                         size_t size)
{
    RdmaConnection *connection = rdma_connection_of(mesh);
    VerbsPiece piece = { .data = data, .size = size };

    if (!connection->stands) {
        g_assert(connection->first_size + size <= sizeof(connection->first));
        memcpy(connection->first + connection->first_size, data, size);
        connection->first_size += size;
    } else if (connection->link) {
        /* There is room: it is the first that is said, or the second. */
        verbs_send(connection->link, RDMA_MAIL, &piece, 1);
        mesh->mesh->counters.bytes_sent += size;
    }
}

void rdma_connection_received(RdmaConnection *connection, unsigned lane,
                              const uint8_t *data, size_t size)
{
    MeshConnection *mesh = &connection->mesh;

    mesh->mesh->counters.bytes_received += size;
    if (mesh->stage == MESH_OPEN) {
        rdma_lane_take(connection, lane, data, size);
    } else if (lane != RDMA_MAIL) {
        mesh_connection_refuse(mesh, MESH_REASON_GARBAGE,
                               "entries before its handshake");
    } else {
        feed(connection, data, size);
        if (mesh->stage == MESH_OPEN && mesh_buffer_size(&mesh->in) > 0) {
            rdma_lane_take(connection, lane, mesh_buffer_data(&mesh->in),
                           mesh_buffer_size(&mesh->in));
        }
    }
}

gboolean rdma_connection_has_ended(const MeshConnection *mesh)
{
    return mesh->mute;
}

/* --- end ------------------------------------------------------------------ */

/* As TCP would say it. */
static int error_of(VerbsEnd end)
{
    static const int errors[] = {
        [VERBS_END_REFUSED] = ECONNREFUSED,
        [VERBS_END_UNREACHABLE] = EHOSTUNREACH,
        [VERBS_END_LATE] = ETIMEDOUT,
        [VERBS_END_BROKEN] = ETIMEDOUT,
        [VERBS_END_DEVICE] = ENODEV,
        [VERBS_END_LOCAL] = EIO,
    };
    int error = (size_t)end < G_N_ELEMENTS(errors) ? errors[end] : 0;

    return error ? error : ECONNRESET;
}

void rdma_connection_closed(RdmaConnection *connection, VerbsEnd end,
                            const char *text, const uint8_t *data, size_t size)
{
    MeshConnection *mesh = &connection->mesh;

    connection->link = NULL;
    if (end == VERBS_END_REJECTED && !rdma_is_silence(data, size)) {
        feed(connection, data, MIN(size, APUS_ANSWER_SIZE));
    } else if (end == VERBS_END_GARBAGE) {
        mesh_connection_refuse(mesh, MESH_REASON_GARBAGE, "%s", text);
    }
    /* Unless that was the end. */
    mesh_connection_close(mesh, error_of(end), text);
}

void rdma_connection_end(MeshConnection *mesh)
{
    RdmaConnection *connection = rdma_connection_of(mesh);

    connection->granted = 0;
    rdma_grant_lost(connection);
    if (!connection->link) {
        return;
    }
    if (mesh->called || connection->stands) {
        verbs_link_close(connection->link);
    } else {
        verbs_link_reject(connection->link, connection->first,
                          connection->first_size);
    }
    connection->link = NULL;
}

void rdma_connection_free(MeshConnection *mesh)
{
    RdmaConnection *connection = rdma_connection_of(mesh);

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        rdma_lane_clear(&connection->lane[i]);
    }
    g_free(connection);
}
