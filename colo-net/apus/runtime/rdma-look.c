/*
 * Does the host of a peer say that nobody listens?
 *
 * As with TCP (tcp-probe.c), but a call without private data: whoever lives
 * rejects it with a word, an ANSWER. Without a word it is rejected by the
 * kernel, for a process that is just dying; then it is tried again. That
 * nobody listens is said by the other host's connection manager.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "rdma-internal.h"

#define TRIES 8

static RdmaPeer *peer_of(MeshPeer *peer)
{
    return (RdmaPeer *)peer;
}

void rdma_look_stop(MeshPeer *mesh)
{
    RdmaPeer *peer = peer_of(mesh);

    if (peer->look) {
        verbs_link_close(peer->look);
        peer->look = NULL;
    }
    if (peer->look_again) {
        apus_timer_set(peer->look_again, 0);
    }
}

static void try_once(void *opaque)
{
    RdmaPeer *peer = opaque;
    Rdma *rdma = rdma_of(peer->mesh.mesh);

    peer->tries--;
    peer->look = verbs_call(rdma->host,
                            (struct sockaddr *)&peer->mesh.address.storage,
                            NULL, 0, NULL);
}

void rdma_look_init(MeshPeer *peer)
{
    peer_of(peer)->look_again = apus_loop_timer(peer->mesh->loop, try_once,
                                                peer);
}

void rdma_look_clear(MeshPeer *peer)
{
    rdma_look_stop(peer);
    apus_timer_free(peer_of(peer)->look_again);
    peer_of(peer)->look_again = NULL;
}

void rdma_look(MeshPeer *peer)
{
    rdma_look_stop(peer);
    peer_of(peer)->tries = TRIES;
    try_once(peer);
}

static RdmaPeer *find(Rdma *rdma, const VerbsLink *link)
{
    for (guint i = 0; i < rdma->mesh.peers->len; i++) {
        RdmaPeer *peer = g_ptr_array_index(rdma->mesh.peers, i);

        if (peer->look == link) {
            return peer;
        }
    }
    return NULL;
}

void rdma_look_open(Rdma *rdma, VerbsLink *link)
{
    RdmaPeer *peer = find(rdma, link);

    /* Whoever accepts that is none of ours. */
    if (peer) {
        rdma_look_stop(&peer->mesh);
    }
}

void rdma_look_closed(Rdma *rdma, VerbsLink *link, VerbsEnd end,
                      gboolean silent)
{
    RdmaPeer *peer = find(rdma, link);

    if (!peer) {
        return;
    }
    peer->look = NULL;
    if (end == VERBS_END_REFUSED) {
        mesh_peer_refused(&peer->mesh);
    } else if (end == VERBS_END_REJECTED && silent && peer->tries > 0) {
        uint64_t delay = mesh_peer_dying_delay(&peer->mesh,
                                               TRIES - 1 - peer->tries);

        apus_timer_set(peer->look_again, apus_clock() + delay);
    }
}
