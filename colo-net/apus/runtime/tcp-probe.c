/*
 * Does the listening socket of a peer refuse?
 *
 * The member with the higher id does not call, but wants to know as soon as
 * the other whether a peer whose connection has closed is dead. It connects
 * with where the peer listens, and closes again without a byte.
 *
 * A success says that a process listens there, or that one is just dying whose
 * listening socket is not closed yet. Then what was accepted is closed within
 * microseconds, so the probe looks at it for a moment, and tries again if that
 * happens.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tcp-internal.h"

#define TRIES 8
#define MOMENT (20 * MESH_MILLISECOND)

static TcpProbe *probe_of(MeshPeer *peer)
{
    return &((TcpPeer *)peer)->probe;
}

static void hang_up(TcpProbe *probe)
{
    if (probe->fd >= 0) {
        apus_watch_free(probe->watch);
        probe->watch = NULL;
        close(probe->fd);
        probe->fd = -1;
    }
}

void tcp_probe_stop(MeshPeer *peer)
{
    hang_up(probe_of(peer));
    if (probe_of(peer)->timer) {
        apus_timer_set(probe_of(peer)->timer, 0);
    }
}

static void set_timer(MeshPeer *peer, uint64_t delay)
{
    apus_timer_set(probe_of(peer)->timer, apus_clock() + delay);
}

static void settle(MeshPeer *peer, int error)
{
    TcpProbe *probe = probe_of(peer);

    if (error == ECONNREFUSED) {
        tcp_probe_stop(peer);
        mesh_peer_refused(peer);
    } else if (error != 0) {
        tcp_probe_stop(peer);
    } else {
        probe->accepted = TRUE;
        apus_watch_change(probe->watch, EPOLLIN | EPOLLRDHUP);
        set_timer(peer, MOMENT);
    }
}

static void ready(void *opaque, uint32_t events G_GNUC_UNUSED)
{
    MeshPeer *peer = opaque;
    TcpProbe *probe = probe_of(peer);
    int error = 0;
    socklen_t size = sizeof(error);

    if (!probe->accepted) {
        getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        settle(peer, error);
    } else if (probe->tries > 0) {
        hang_up(probe);
        set_timer(peer, mesh_peer_dying_delay(peer,
                                              TRIES - 1 - probe->tries));
    } else {
        tcp_probe_stop(peer);
    }
}

static void try_once(MeshPeer *peer)
{
    TcpProbe *probe = probe_of(peer);

    probe->tries--;
    probe->accepted = FALSE;
    probe->fd = tcp_socket(&peer->address);
    if (probe->fd < 0) {
        return;
    }
    probe->watch = apus_loop_watch(peer->mesh->loop, probe->fd, 0, ready, peer);
    if (connect(probe->fd, (struct sockaddr *)&peer->address.storage,
                peer->address.size) < 0 && errno != EINPROGRESS) {
        settle(peer, errno);
        return;
    }
    apus_watch_change(probe->watch, EPOLLOUT);
    set_timer(peer, peer->mesh->connect_timeout);
}

static void expired(void *opaque)
{
    MeshPeer *peer = opaque;

    if (probe_of(peer)->fd < 0) {
        try_once(peer);
    } else {
        tcp_probe_stop(peer);
    }
}

void tcp_probe_init(MeshPeer *peer)
{
    probe_of(peer)->fd = -1;
    probe_of(peer)->timer = apus_loop_timer(peer->mesh->loop, expired, peer);
}

void tcp_probe_clear(MeshPeer *peer)
{
    hang_up(probe_of(peer));
    apus_timer_free(probe_of(peer)->timer);
    probe_of(peer)->timer = NULL;
}

void tcp_probe_start(MeshPeer *peer)
{
    tcp_probe_stop(peer);
    probe_of(peer)->tries = TRIES;
    try_once(peer);
}
