/*
 * Who is it? The handshake of core/hello.h, on a connection that stands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <sys/random.h>

#include "mesh.h"

/*
 * A call takes no longer than three connect_timeouts. Who calls had no
 * connection when it began to; so one that is older than this is gone there.
 */
#define PATIENCE 4

static void say(MeshConnection *connection, const uint8_t *data, size_t size)
{
    connection->mesh->carrier->say(connection, data, size);
}

static void say_hello(MeshConnection *connection, ApusId to, unsigned version)
{
    ApusHello *mine = &connection->mine;

    *mine = connection->mesh->hello;
    mine->version = version;
    mine->to = to;
    /* Never blocks, nor is it cut short, once the system is up. */
    while (getrandom(mine->nonce, sizeof(mine->nonce), 0) !=
           sizeof(mine->nonce)) {
        g_assert(errno == EINTR);
    }
    apus_hello_encode(connection->mine_bytes, mine);
    say(connection, connection->mine_bytes, APUS_HELLO_SIZE);
}

static void mac(const MeshConnection *connection, gboolean caller,
                uint8_t out[APUS_MAC_SIZE])
{
    const Mesh *mesh = connection->mesh;

    apus_hello_mac(out, mesh->key, mesh->key_size, mesh->cluster, caller,
                   connection->called ? connection->mine_bytes :
                   connection->theirs_bytes,
                   connection->called ? connection->theirs_bytes :
                   connection->mine_bytes);
}

static void say_proof(MeshConnection *connection)
{
    uint8_t proof[APUS_PROOF_SIZE], sum[APUS_MAC_SIZE];

    mac(connection, connection->called, sum);
    apus_proof_encode(proof, connection->mine.version, sum);
    say(connection, proof, sizeof(proof));
}

static gboolean proves(MeshConnection *connection, const uint8_t *data)
{
    uint8_t sum[APUS_MAC_SIZE];

    mac(connection, !connection->called, sum);
    if (!apus_proof_check(data, sum)) {
        mesh_connection_refuse(connection, APUS_ANSWER_KEY, "%s",
                               apus_answer_text(APUS_ANSWER_KEY));
        return FALSE;
    }
    return TRUE;
}

/* --- the messages --------------------------------------------------------- */

/* Called: may who says @theirs call us? */
static ApusAnswer may_call(const Mesh *mesh, const ApusHello *theirs)
{
    ApusHello mine = mesh->hello;
    ApusAnswer answer;

    mine.version = theirs->version;
    answer = apus_hello_match(&mine, theirs);
    if (answer != APUS_ANSWER_WELCOME) {
        return answer;
    }
    if (theirs->from == mesh->hello.from) {
        return APUS_ANSWER_DUPLICATE;
    }
    /* Who can prove that he has the key may be a guest. */
    return mesh->key_size || mesh_find(mesh, theirs->from) ?
        APUS_ANSWER_WELCOME : APUS_ANSWER_UNKNOWN;
}

static void take_hello(MeshConnection *connection, const uint8_t *data)
{
    g_autoptr(GError) error = NULL;
    Mesh *mesh = connection->mesh;
    ApusAnswer answer;

    if (!apus_hello_decode(&connection->theirs, data, &error)) {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE, "%s",
                               error->message);
        return;
    }
    memcpy(connection->theirs_bytes, data, APUS_HELLO_SIZE);
    answer = connection->called ?
        apus_hello_match(&connection->mine, &connection->theirs) :
        may_call(mesh, &connection->theirs);
    if (answer != APUS_ANSWER_WELCOME) {
        mesh_connection_refuse(connection, answer, "%s",
                               apus_answer_text(answer));
        return;
    }
    connection->stage = MESH_PROOF;
    if (!connection->called) {
        say_hello(connection, connection->theirs.from,
                  connection->theirs.version);
        say_proof(connection);
    }
}

static gboolean has_ended(const MeshConnection *connection)
{
    return connection->mesh->carrier->has_ended(connection);
}

/* The same process has called again, for the older one is broken there. */
static gboolean is_anew(const MeshConnection *connection,
                        const MeshConnection *other)
{
    const Mesh *mesh = connection->mesh;
    uint64_t age = apus_loop_now(mesh->loop) - other->since;

    return connection->called == other->called ||
        age > PATIENCE * mesh->connect_timeout;
}

/* Is it the only one with that id? */
static gboolean may_open(MeshConnection *connection)
{
    MeshPeer *peer = connection->peer;
    MeshConnection *other = peer->open;
    gboolean same;

    if (!other) {
        return TRUE;
    }
    same = other->theirs.life == connection->theirs.life;
    if (same && !is_anew(connection, other)) {
        /*
         * Both have called each other at once, and both keep the one of who
         * is the first to call.
         */
        if (connection->called == mesh_peer_is_called(peer)) {
            return TRUE;
        }
        if (!has_ended(other)) {
            connection->replaced = TRUE;
            mesh_connection_close(connection, 0, "");
            return FALSE;
        }
    } else if (!same && !has_ended(other)) {
        mesh_connection_refuse(connection, APUS_ANSWER_DUPLICATE, "%s",
                               apus_answer_text(APUS_ANSWER_DUPLICATE));
        return FALSE;
    }
    /* There is no need to see whether it is dead. */
    other->replaced = TRUE;
    mesh_connection_close(other, ECONNRESET, "it has connected again");
    if (peer->leaving) {
        connection->replaced = TRUE;
        mesh_connection_close(connection, 0, "");
    }
    return connection->stage != MESH_CLOSED;
}

static void welcome(MeshConnection *connection)
{
    uint8_t answer[APUS_ANSWER_SIZE];

    /* Those with whom there is no connection any more are no guests. */
    mesh_sweep(connection->mesh);
    if (connection->stage == MESH_CLOSED) {
        return;
    }
    connection->peer = mesh_peer_admit(connection->mesh,
                                       connection->theirs.from);
    if (!connection->peer) {
        mesh_connection_refuse(connection, APUS_ANSWER_UNKNOWN,
                               "no member, and one guest too many");
    } else if (may_open(connection)) {
        apus_answer_encode(answer, connection->mine.version,
                           APUS_ANSWER_WELCOME);
        say(connection, answer, sizeof(answer));
        mesh_connection_open(connection);
    }
}

static void take_proof(MeshConnection *connection, const uint8_t *data)
{
    if (!proves(connection, data)) {
        return;
    }
    if (!connection->called) {
        welcome(connection);
        return;
    }
    mesh_peer_found(connection->peer, connection->theirs.life);
    if (connection->looks) {
        connection->replaced = connection->peer->reached;
        mesh_connection_close(connection, ECONNABORTED, "");
        return;
    }
    say_proof(connection);
    connection->stage = MESH_ANSWER;
}

/*
 * The other side does not speak the version of our call, but this one. It is
 * tried at once if it is an older one, so that this comes to an end.
 */
static void take_version(MeshConnection *connection, unsigned version)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_GROUP];
    const ColonyVersions theirs = { version, version };
    MeshPeer *peer = connection->peer;
    g_autofree char *text = NULL;

    if (version >= mine->oldest && version < peer->version) {
        peer->version = version;
        connection->replaced = TRUE;
        mesh_connection_close(connection, 0, "");
        mesh_peer_call_again(peer);
        return;
    }
    peer->version = mine->newest;
    connection->refused = TRUE;
    text = colony_versions_differ(COLONY_PROTOCOL_GROUP, "this side", mine,
                                  "the other side", &theirs);
    mesh_connection_refuse(connection, APUS_ANSWER_VERSION, "refuses us: %s",
                           text);
}

static void take_answer(MeshConnection *connection, const uint8_t *data)
{
    unsigned version = apus_handshake_version(data);
    g_autoptr(GError) error = NULL;
    ApusAnswer answer;

    if (!apus_answer_decode(&answer, data, &error)) {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE, "%s",
                               error->message);
    } else if (answer == APUS_ANSWER_VERSION && connection->called) {
        take_version(connection, MIN(version, UINT8_MAX));
    } else if (answer != APUS_ANSWER_WELCOME) {
        connection->refused = TRUE;
        mesh_connection_refuse(connection, answer, "refuses us: %s",
                               apus_answer_text(answer));
    } else if (connection->stage != MESH_ANSWER ||
               version != connection->mine.version) {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE,
                               "a welcome out of turn");
    } else if (may_open(connection)) {
        mesh_connection_open(connection);
    }
}

/* --- their order ---------------------------------------------------------- */

static gboolean is_expected(const MeshConnection *connection,
                            ApusHandshakeKind kind)
{
    switch (kind) {
    case APUS_HANDSHAKE_HELLO:
        return connection->stage == MESH_HELLO;
    case APUS_HANDSHAKE_PROOF:
        return connection->stage == MESH_PROOF;
    case APUS_HANDSHAKE_ANSWER:
        return connection->called || connection->stage == MESH_PROOF;
    }
    return FALSE;
}

static void take_one(MeshConnection *connection, ApusHandshakeKind kind,
                     const uint8_t *data)
{
    if (!is_expected(connection, kind)) {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE,
                               "a message of the handshake out of turn");
        return;
    }
    switch (kind) {
    case APUS_HANDSHAKE_HELLO:
        take_hello(connection, data);
        break;
    case APUS_HANDSHAKE_PROOF:
        take_proof(connection, data);
        break;
    case APUS_HANDSHAKE_ANSWER:
        take_answer(connection, data);
        break;
    }
}

void mesh_handshake_begin(MeshConnection *connection)
{
    connection->stage = MESH_HELLO;
    if (connection->called) {
        say_hello(connection, connection->peer->id,
                  connection->peer->version);
    }
}

/* A caller that speaks newer versions calls again in the one that we say. */
static void refuse_version(MeshConnection *connection, unsigned version,
                           const char *why)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_GROUP];
    uint8_t answer[APUS_ANSWER_SIZE];

    if (version > mine->newest && !connection->called) {
        apus_answer_encode(answer, mine->newest, APUS_ANSWER_VERSION);
        say(connection, answer, sizeof(answer));
        mesh_connection_close(connection, EPROTO, why);
    } else {
        mesh_connection_refuse(connection, APUS_ANSWER_VERSION, "%s", why);
    }
}

/* What does not even look like a handshake. */
static void refuse_garbage(MeshConnection *connection, const GError *error)
{
    if (g_error_matches(error, APUS_ERROR, APUS_ERROR_VERSION)) {
        refuse_version(connection,
                       apus_handshake_version(
                           mesh_buffer_data(&connection->in)),
                       error->message);
    } else {
        mesh_connection_refuse(connection, MESH_REASON_GARBAGE, "%s",
                               error->message);
    }
}

void mesh_handshake_go_on(MeshConnection *connection)
{
    MeshBuffer *in = &connection->in;

    if (connection->called && connection->peer->leaving) {
        return;
    }
    while (connection->stage < MESH_OPEN) {
        g_autoptr(GError) error = NULL;
        ApusHandshakeKind kind;
        gssize size = apus_handshake_peek(in->data + in->start,
                                          mesh_buffer_size(in), &kind, &error);

        if (size < 0) {
            refuse_garbage(connection, error);
            return;
        }
        if (size == 0 || (size_t)size > mesh_buffer_size(in)) {
            return;
        }
        in->start += size;
        take_one(connection, kind, in->data + in->start - size);
    }
}
