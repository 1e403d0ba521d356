/*
 * Whom to be connected with: dial, try again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "mesh.h"

/*
 * A process that dies closes its sockets one after another. A call may come
 * in between and be accepted, just to be closed without a word; so a call that
 * ends like that has said nothing, and the next one, which is made without
 * delay, counts.
 */
#define DOUBT 8

#define LOOK_AGAIN (5000 * MESH_MILLISECOND)

static void call(MeshPeer *peer);

static void retry(void *opaque)
{
    call(opaque);
}

MeshPeer *mesh_peer_new(Mesh *mesh, ApusId id)
{
    MeshPeer *peer = g_malloc0(mesh->carrier->peer_size);

    peer->mesh = mesh;
    peer->id = id;
    peer->delay = mesh->retry_min;
    peer->version = colony_speaks[COLONY_PROTOCOL_GROUP].newest;
    peer->retry = apus_loop_timer(mesh->loop, retry, peer);
    mesh->carrier->peer_init(peer);
    return peer;
}

void mesh_peer_free(MeshPeer *peer)
{
    if (peer->open) {
        mesh_connection_free(peer->open);
    }
    if (peer->call) {
        mesh_connection_free(peer->call);
    }
    apus_timer_free(peer->retry);
    peer->mesh->carrier->peer_clear(peer);
    g_free(peer->complaint);
    g_free(peer);
}

gboolean mesh_peer_is_called(const MeshPeer *peer)
{
    return peer->mesh->hello.from < peer->id;
}

static gboolean may_call(const MeshPeer *peer)
{
    return peer->usable && !peer->leaving && !peer->open && !peer->call &&
        !peer->mesh->closing;
}

/*
 * To be refused where the list of members says that a peer is means that its
 * process is dead only if that process ever was there: the list may be wrong,
 * or the address have moved. Who calls knows it from its call. Who was called
 * makes a call of its own, which ends as soon as it is known who answers.
 */
static gboolean may_look(const MeshPeer *peer)
{
    return peer->usable && !peer->leaving && peer->open && !peer->reached &&
        !peer->call && !peer->mesh->closing;
}

static void call(MeshPeer *peer)
{
    gboolean looks = may_look(peer);
    int error = 0;

    if (!looks && !may_call(peer)) {
        return;
    }
    apus_timer_set(peer->retry, 0);
    /* If it stands already, the loop says so in its next round. */
    peer->call = peer->mesh->carrier->call(peer, &error);
    if (peer->call) {
        peer->call->looks = looks;
    } else {
        mesh_peer_call_failed(peer, error, FALSE);
    }
}

static void look_soon(MeshPeer *peer)
{
    if (may_look(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->mesh->loop));
    }
}

void mesh_peer_found(MeshPeer *peer, uint64_t life)
{
    if (peer->open && peer->life == life) {
        peer->reached = TRUE;
    }
}

/*
 * The other one calls, unless it has not heard of us; so it gets some time.
 */
static void wait_for_call(MeshPeer *peer)
{
    apus_timer_set(peer->retry, apus_clock() + peer->mesh->connect_timeout);
}

static void call_soon(MeshPeer *peer)
{
    if (!may_call(peer)) {
        return;
    }
    if (mesh_peer_is_called(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->mesh->loop));
    } else {
        wait_for_call(peer);
    }
}

void mesh_peer_set_address(MeshPeer *peer, const char *text)
{
    g_autoptr(GError) error = NULL;

    peer->guest = FALSE;
    if (peer->usable && strcmp(peer->text, text) == 0) {
        return;
    }
    g_strlcpy(peer->text, text, sizeof(peer->text));
    peer->usable = apus_address_parse(&peer->address, text, FALSE, &error);
    peer->doubt = 0;
    peer->reached = FALSE;
    peer->mesh->carrier->look_stop(peer);
    call_soon(peer);
    look_soon(peer);
    if (!peer->usable) {
        g_free(peer->complaint);
        peer->complaint = g_strdup(error->message);
        mesh_sweep_soon(peer->mesh);
    }
}

/* Errors that are a part of life: a peer is not there, or not yet. */
static gboolean is_usual(int error)
{
    return error == ECONNREFUSED || error == ECONNRESET ||
        error == ETIMEDOUT || error == EPROTO;
}

static void call_later(MeshPeer *peer)
{
    if (!mesh_peer_is_called(peer)) {
        peer->delay = peer->mesh->retry_max;
    }
    apus_timer_set(peer->retry, apus_clock() + peer->delay);
    peer->delay = MIN(2 * peer->delay, peer->mesh->retry_max);
}

uint64_t mesh_peer_dying_delay(const MeshPeer *peer, unsigned n)
{
    return n ? peer->mesh->retry_min / 4 << (n - 1) : 0;
}

void mesh_peer_refused(MeshPeer *peer)
{
    Mesh *mesh = peer->mesh;

    mesh->counters.refusals++;
    mesh->handlers->refused(mesh->opaque, peer->id, peer->life);
}

/* There is a connection, and our look at the peer's address was in vain. */
static void look_failed(MeshPeer *peer, int error)
{
    if (error == ECONNREFUSED) {
        mesh_complain(peer->mesh, MESH_REASON_ADDRESS, peer,
                      "member %u is connected, but nobody listens at %s, where"
                      " the list of members has it", peer->id, peer->text);
    }
    apus_timer_set(peer->retry, apus_clock() + LOOK_AGAIN);
}

void mesh_peer_call_failed(MeshPeer *peer, int error, gboolean heard)
{
    gboolean refused = peer->doubt > 0 && error == ECONNREFUSED;
    Mesh *mesh = peer->mesh;

    if (mesh->closing || peer->leaving) {
        return;
    }
    if (peer->open) {
        look_failed(peer, error);
        return;
    }
    if (!is_usual(error)) {
        mesh_complain(mesh, MESH_REASON_SYSTEM, peer,
                      "cannot connect with member %u at %s: %s", peer->id,
                      peer->text, g_strerror(error));
    }
    if (peer->doubt > 0 && error == ECONNRESET && !heard) {
        apus_timer_set(peer->retry, apus_clock() +
                mesh_peer_dying_delay(peer, DOUBT - peer->doubt));
        peer->doubt--;
        return;
    }
    peer->doubt = 0;
    call_later(peer);
    if (refused) {
        mesh_peer_refused(peer);
    }
}

void mesh_peer_call_again(MeshPeer *peer)
{
    if (may_call(peer) || may_look(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->mesh->loop));
    }
}

gboolean mesh_peer_opened(MeshPeer *peer, MeshConnection *connection)
{
    MeshConnection *other = peer->open;

    peer->open = connection;
    if (peer->life != connection->theirs.life) {
        peer->life = connection->theirs.life;
        peer->reached = FALSE;
    }
    if (peer->call == connection) {
        peer->call = NULL;
        peer->reached = TRUE;
    }
    apus_timer_set(peer->retry, 0);
    peer->mesh->carrier->look_stop(peer);
    if (other) {
        mesh_connection_close(other, 0, "");
    }
    look_soon(peer);
    return !other;
}

void mesh_peer_lost(MeshPeer *peer, uint64_t lived)
{
    /* The next process there may be of another release. */
    peer->version = colony_speaks[COLONY_PROTOCOL_GROUP].newest;
    if (peer->guest) {
        peer->leaving = TRUE;
        mesh_sweep_soon(peer->mesh);
    }
    if (peer->call && peer->call->looks) {
        peer->call->replaced = TRUE;
        mesh_connection_close(peer->call, 0, "");
    }
    if (!may_call(peer)) {
        return;
    }
    peer->doubt = peer->reached && mesh_peer_is_called(peer) ? DOUBT : 0;
    if (!mesh_peer_is_called(peer)) {
        wait_for_call(peer);
        if (peer->reached) {
            peer->mesh->carrier->look(peer);
        }
    } else if (lived >= peer->delay) {
        peer->delay = peer->mesh->retry_min;
        call(peer);
    } else {
        /* Whoever is thrown out again and again does not hurry. */
        call_later(peer);
    }
}

MeshPeer *mesh_peer_admit(Mesh *mesh, ApusId id)
{
    MeshPeer *peer = mesh_find(mesh, id);
    unsigned guests = 0;

    if (peer) {
        return peer;
    }
    for (unsigned i = 0; i < mesh->peers->len; i++) {
        peer = g_ptr_array_index(mesh->peers, i);
        guests += peer->guest && !peer->leaving;
    }
    if (guests >= MESH_MAX_GUESTS) {
        return NULL;
    }
    peer = mesh_peer_new(mesh, id);
    peer->guest = TRUE;
    g_ptr_array_add(mesh->peers, peer);
    return peer;
}
