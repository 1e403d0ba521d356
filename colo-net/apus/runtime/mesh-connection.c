/*
 * A connection, from its beginning to its end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "mesh.h"

/* --- beginning ------------------------------------------------------------ */

static void too_late(void *opaque)
{
    MeshConnection *connection = opaque;

    if (connection->called) {
        mesh_connection_close(connection, ETIMEDOUT, g_strerror(ETIMEDOUT));
    } else {
        mesh_connection_refuse(connection, MESH_REASON_SILENT,
                               "its handshake takes too long");
    }
}

void mesh_connection_init(MeshConnection *connection, Mesh *mesh,
                          const ApusAddress *address, MeshPeer *called)
{
    connection->mesh = mesh;
    connection->address = *address;
    connection->peer = called;
    connection->called = called != NULL;
    connection->stage = MESH_CONNECTING;
    connection->deadline = apus_loop_timer(mesh->loop, too_late, connection);
    if (called) {
        apus_timer_set(connection->deadline,
                       apus_loop_now(mesh->loop) + mesh->connect_timeout);
    } else {
        g_queue_push_tail(&mesh->strangers, connection);
    }
}

void mesh_drop_oldest(Mesh *mesh, const char *why)
{
    MeshConnection *oldest = g_queue_peek_head(&mesh->strangers);

    if (oldest) {
        mesh_connection_refuse(oldest, MESH_REASON_FLOOD, "%s", why);
    }
}

void mesh_make_room(Mesh *mesh)
{
    if (g_queue_get_length(&mesh->strangers) >= mesh->carrier->max_strangers) {
        mesh_drop_oldest(mesh, "too many handshakes at once");
    }
}

void mesh_connection_stands(MeshConnection *connection)
{
    Mesh *mesh = connection->mesh;

    apus_timer_set(connection->deadline,
                   apus_loop_now(mesh->loop) + 2 * mesh->connect_timeout);
}

void mesh_connection_open(MeshConnection *connection)
{
    Mesh *mesh = connection->mesh;

    if (!connection->called) {
        g_queue_remove(&mesh->strangers, connection);
    }
    apus_timer_set(connection->deadline, 0);
    connection->stage = MESH_OPEN;
    connection->since = apus_loop_now(mesh->loop);
    mesh->carrier->opened(connection);
    if (mesh_peer_opened(connection->peer, connection)) {
        mesh->counters.connects++;
        mesh->handlers->connected(mesh->opaque, connection->peer->id,
                                  connection->theirs.life,
                                  connection->theirs.incarnation);
    } else {
        mesh->handlers->writable(mesh->opaque);
    }
}

/* --- in between ----------------------------------------------------------- */

gboolean mesh_connection_take(MeshConnection *connection,
                              const ApusMessage *message)
{
    Mesh *mesh = connection->mesh;

    if (message->from != connection->peer->id ||
        message->to != mesh->hello.from) {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE,
                               "a message from %u to %u", message->from,
                               message->to);
        return FALSE;
    }
    mesh->counters.frames_received++;
    mesh->handlers->message(mesh->opaque, message);
    return TRUE;
}

/* --- end ------------------------------------------------------------------ */

static void end(MeshConnection *connection)
{
    apus_timer_free(connection->deadline);
    connection->deadline = NULL;
    connection->mesh->carrier->end(connection);
    connection->stage = MESH_CLOSED;
}

void mesh_connection_free(MeshConnection *connection)
{
    if (connection->stage != MESH_CLOSED) {
        end(connection);
    }
    mesh_buffer_clear(&connection->in);
    connection->mesh->carrier->free(connection);
}

void mesh_connection_close(MeshConnection *connection, int error,
                           const char *why)
{
    MeshStage stage = connection->stage;
    MeshPeer *peer = connection->peer;
    Mesh *mesh = connection->mesh;

    if (stage == MESH_CLOSED) {
        return;
    }
    if (stage == MESH_OPEN && !connection->mute) {
        mesh->carrier->flush(connection, FALSE);
    }
    end(connection);
    g_ptr_array_add(mesh->closed, connection);
    mesh_sweep_soon(mesh);

    if (stage == MESH_OPEN && peer->open != connection) {
        /* There is another one: nothing has happened to the peer. */
    } else if (stage == MESH_OPEN) {
        peer->open = NULL;
        mesh->counters.disconnects++;
        mesh->handlers->disconnected(mesh->opaque, peer->id, why);
        if (!connection->replaced) {
            mesh_peer_lost(peer,
                           apus_loop_now(mesh->loop) - connection->since);
        }
    } else if (connection->called) {
        peer->call = NULL;
        if (!connection->replaced) {
            mesh_peer_call_failed(peer, error, connection->heard);
        }
    } else {
        g_queue_remove(&mesh->strangers, connection);
    }
}

/* Who it is, as far as it is known. */
static void complain(MeshConnection *connection, unsigned reason,
                     const char *text)
{
    g_autofree char *address = apus_address_text(&connection->address);
    Mesh *mesh = connection->mesh;
    MeshPeer *peer = connection->peer;

    if (peer) {
        mesh_complain(mesh, reason, peer, "member %u at %s: %s", peer->id,
                      address, text);
    } else if (connection->theirs.from) {
        mesh_complain(mesh, reason, NULL, "a stranger at %s that says it is"
                      " member %u: %s", address, connection->theirs.from,
                      text);
    } else {
        mesh_complain(mesh, reason, NULL, "a stranger at %s: %s", address,
                      text);
    }
}

void mesh_connection_refuse(MeshConnection *connection, unsigned reason,
                            const char *format, ...)
{
    Mesh *mesh = connection->mesh;
    g_autofree char *text = NULL;
    va_list arguments;

    if (connection->stage == MESH_CLOSED) {
        return;
    }
    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);

    if (connection->stage < MESH_OPEN) {
        if (!connection->called) {
            mesh->counters.strangers++;
        }
        if (reason < APUS_ANSWERS && !connection->refused) {
            uint8_t answer[APUS_ANSWER_SIZE];

            apus_answer_encode(answer,
                               colony_speaks[COLONY_PROTOCOL_GROUP].newest,
                               reason);
            mesh->carrier->say(connection, answer, sizeof(answer));
        }
    }
    complain(connection, reason, text);
    mesh_connection_close(connection, EPROTO, text);
}
