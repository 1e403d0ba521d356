/*
 * Whom to be connected with: dial, try again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tcp-internal.h"

/*
 * A process that dies closes its sockets one after another. A call may come
 * in between and be accepted, just to be closed without a word; so a call that
 * ends like that has said nothing, and the next one counts.
 */
#define DOUBT 8

TcpPeer *tcp_peer_new(Tcp *tcp, ApusId id)
{
    TcpPeer *peer = g_new0(TcpPeer, 1);

    peer->tcp = tcp;
    peer->id = id;
    peer->delay = tcp->retry_min;
    tcp_probe_init(peer);
    return peer;
}

void tcp_peer_free(TcpPeer *peer)
{
    if (peer->open) {
        tcp_connection_free(peer->open);
    }
    if (peer->call) {
        tcp_connection_free(peer->call);
    }
    apus_timer_free(peer->retry);
    tcp_probe_clear(peer);
    g_free(peer->complaint);
    g_free(peer);
}

gboolean tcp_peer_is_called(const TcpPeer *peer)
{
    return peer->tcp->hello.from < peer->id;
}

static gboolean may_call(const TcpPeer *peer)
{
    return tcp_peer_is_called(peer) && peer->usable && !peer->leaving &&
        !peer->open && !peer->call && !peer->tcp->closing;
}

static void call(TcpPeer *peer)
{
    Tcp *tcp = peer->tcp;
    int fd;

    if (!may_call(peer)) {
        return;
    }
    apus_timer_set(peer->retry, 0);
    fd = tcp_socket(&peer->address);
    if (fd < 0) {
        tcp_peer_call_failed(peer, errno, FALSE);
        return;
    }
    if (connect(fd, (struct sockaddr *)&peer->address.storage,
                peer->address.size) < 0 && errno != EINPROGRESS) {
        int error = errno;

        close(fd);
        tcp_peer_call_failed(peer, error, FALSE);
        return;
    }
    /* If it stands already, the loop says so in its next round. */
    peer->call = tcp_connection_new(tcp, fd, &peer->address, peer);
}

static void retry(void *opaque)
{
    call(opaque);
}

static void call_at(TcpPeer *peer, uint64_t when)
{
    if (!peer->retry) {
        peer->retry = apus_loop_timer(peer->tcp->loop, retry, peer);
    }
    apus_timer_set(peer->retry, when);
}

void tcp_peer_call_soon(TcpPeer *peer)
{
    if (may_call(peer)) {
        call_at(peer, apus_loop_now(peer->tcp->loop));
    }
}

void tcp_peer_set_address(TcpPeer *peer, const char *text)
{
    g_autoptr(GError) error = NULL;

    if (peer->usable && strcmp(peer->text, text) == 0) {
        return;
    }
    g_strlcpy(peer->text, text, sizeof(peer->text));
    peer->usable = apus_address_parse(&peer->address, text, FALSE, &error);
    peer->doubt = 0;
    tcp_probe_stop(peer);
    if (!peer->usable) {
        g_free(peer->complaint);
        peer->complaint = g_strdup(error->message);
        tcp_sweep_soon(peer->tcp);
    }
}

/* Errors that are a part of life: a peer is not there, or not yet. */
static gboolean is_usual(int error)
{
    return error == ECONNREFUSED || error == ECONNRESET ||
        error == ETIMEDOUT || error == EPROTO;
}

static void call_later(TcpPeer *peer)
{
    call_at(peer, apus_clock() + peer->delay);
    peer->delay = MIN(2 * peer->delay, peer->tcp->retry_max);
}

void tcp_peer_refused(TcpPeer *peer)
{
    Tcp *tcp = peer->tcp;

    tcp->counters.refusals++;
    tcp->handlers->refused(tcp->opaque, peer->id, peer->lost_life);
}

void tcp_peer_call_failed(TcpPeer *peer, int error, gboolean heard)
{
    gboolean refused = peer->doubt > 0 && error == ECONNREFUSED;
    Tcp *tcp = peer->tcp;

    if (tcp->closing || peer->leaving) {
        return;
    }
    if (!is_usual(error)) {
        tcp_complain(tcp, TCP_REASON_SYSTEM, peer,
                     "cannot connect with member %u at %s: %s", peer->id,
                     peer->text, g_strerror(error));
    }
    if (peer->doubt > 0) {
        peer->doubt = error == ECONNRESET && !heard ? peer->doubt - 1 : 0;
    }
    call_later(peer);
    if (refused) {
        tcp_peer_refused(peer);
    }
}

void tcp_peer_opened(TcpPeer *peer, TcpConnection *connection)
{
    peer->open = connection;
    peer->call = NULL;
    peer->lost_life = connection->theirs.life;
    if (peer->retry) {
        apus_timer_set(peer->retry, 0);
    }
    tcp_probe_stop(peer);
}

void tcp_peer_lost(TcpPeer *peer, uint64_t lived)
{
    if (peer->tcp->closing || peer->leaving || !peer->usable || peer->open) {
        return;
    }
    peer->doubt = DOUBT;
    if (!tcp_peer_is_called(peer)) {
        tcp_probe_start(peer);
    } else if (lived >= peer->delay) {
        peer->delay = peer->tcp->retry_min;
        call(peer);
    } else {
        /* Whoever is thrown out again and again does not hurry. */
        call_later(peer);
    }
}
