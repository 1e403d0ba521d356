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
#define MOMENT (20 * TCP_MILLISECOND)

static void hang_up(TcpProbe *probe)
{
    if (probe->fd >= 0) {
        apus_watch_free(probe->watch);
        probe->watch = NULL;
        close(probe->fd);
        probe->fd = -1;
    }
}

void tcp_probe_stop(TcpPeer *peer)
{
    hang_up(&peer->probe);
    if (peer->probe.timer) {
        apus_timer_set(peer->probe.timer, 0);
    }
}

static void set_timer(TcpPeer *peer, uint64_t delay)
{
    apus_timer_set(peer->probe.timer, apus_clock() + delay);
}

static void settle(TcpPeer *peer, int error)
{
    TcpProbe *probe = &peer->probe;

    if (error == ECONNREFUSED) {
        tcp_probe_stop(peer);
        tcp_peer_refused(peer);
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
    TcpPeer *peer = opaque;
    TcpProbe *probe = &peer->probe;
    int error = 0;
    socklen_t size = sizeof(error);

    if (!probe->accepted) {
        getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        settle(peer, error);
    } else if (probe->tries > 0) {
        hang_up(probe);
        set_timer(peer, tcp_peer_dying_delay(peer,
                                             TRIES - 1 - probe->tries));
    } else {
        tcp_probe_stop(peer);
    }
}

static void try_once(TcpPeer *peer)
{
    TcpProbe *probe = &peer->probe;

    probe->tries--;
    probe->accepted = FALSE;
    probe->fd = tcp_socket(&peer->address);
    if (probe->fd < 0) {
        return;
    }
    probe->watch = apus_loop_watch(peer->tcp->loop, probe->fd, 0, ready, peer);
    if (connect(probe->fd, (struct sockaddr *)&peer->address.storage,
                peer->address.size) < 0 && errno != EINPROGRESS) {
        settle(peer, errno);
        return;
    }
    apus_watch_change(probe->watch, EPOLLOUT);
    set_timer(peer, peer->tcp->connect_timeout);
}

static void expired(void *opaque)
{
    TcpPeer *peer = opaque;

    if (peer->probe.fd < 0) {
        try_once(peer);
    } else {
        tcp_probe_stop(peer);
    }
}

void tcp_probe_init(TcpPeer *peer)
{
    peer->probe.fd = -1;
    peer->probe.timer = apus_loop_timer(peer->tcp->loop, expired, peer);
}

void tcp_probe_clear(TcpPeer *peer)
{
    hang_up(&peer->probe);
    apus_timer_free(peer->probe.timer);
    peer->probe.timer = NULL;
}

void tcp_probe_start(TcpPeer *peer)
{
    tcp_probe_stop(peer);
    peer->probe.tries = TRIES;
    try_once(peer);
}
