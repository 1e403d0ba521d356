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
 * ends like that has said nothing, and the next one, which is made without
 * delay, counts.
 */
#define DOUBT 8

#define LOOK_AGAIN (5000 * TCP_MILLISECOND)

static void call(TcpPeer *peer);

static void retry(void *opaque)
{
    call(opaque);
}

TcpPeer *tcp_peer_new(Tcp *tcp, ApusId id)
{
    TcpPeer *peer = g_new0(TcpPeer, 1);

    peer->tcp = tcp;
    peer->id = id;
    peer->delay = tcp->retry_min;
    peer->version = colony_speaks[COLONY_PROTOCOL_GROUP].newest;
    peer->retry = apus_loop_timer(tcp->loop, retry, peer);
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
    return peer->usable && !peer->leaving && !peer->open && !peer->call &&
        !peer->tcp->closing;
}

/*
 * To be refused where the list of members says that a peer is means that its
 * process is dead only if that process ever was there: the list may be wrong,
 * or the address have moved. Who calls knows it from its call. Who was called
 * makes a call of its own, which ends as soon as it is known who answers.
 */
static gboolean may_look(const TcpPeer *peer)
{
    return peer->usable && !peer->leaving && peer->open && !peer->reached &&
        !peer->call && !peer->tcp->closing;
}

static void call(TcpPeer *peer)
{
    gboolean looks = may_look(peer);
    Tcp *tcp = peer->tcp;
    int fd;

    if (!looks && !may_call(peer)) {
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
    peer->call->looks = looks;
}

static void look_soon(TcpPeer *peer)
{
    if (may_look(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->tcp->loop));
    }
}

void tcp_peer_found(TcpPeer *peer, uint64_t life)
{
    if (peer->open && peer->life == life) {
        peer->reached = TRUE;
    }
}

/*
 * The other one calls, unless it has not heard of us; so it gets some time.
 */
static void wait_for_call(TcpPeer *peer)
{
    apus_timer_set(peer->retry, apus_clock() + peer->tcp->connect_timeout);
}

static void call_soon(TcpPeer *peer)
{
    if (!may_call(peer)) {
        return;
    }
    if (tcp_peer_is_called(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->tcp->loop));
    } else {
        wait_for_call(peer);
    }
}

void tcp_peer_set_address(TcpPeer *peer, const char *text)
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
    tcp_probe_stop(peer);
    call_soon(peer);
    look_soon(peer);
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
    if (!tcp_peer_is_called(peer)) {
        peer->delay = peer->tcp->retry_max;
    }
    apus_timer_set(peer->retry, apus_clock() + peer->delay);
    peer->delay = MIN(2 * peer->delay, peer->tcp->retry_max);
}

uint64_t tcp_peer_dying_delay(const TcpPeer *peer, unsigned n)
{
    return n ? peer->tcp->retry_min / 4 << (n - 1) : 0;
}

void tcp_peer_refused(TcpPeer *peer)
{
    Tcp *tcp = peer->tcp;

    tcp->counters.refusals++;
    tcp->handlers->refused(tcp->opaque, peer->id, peer->life);
}

/* There is a connection, and our look at the peer's address was in vain. */
static void look_failed(TcpPeer *peer, int error)
{
    if (error == ECONNREFUSED) {
        tcp_complain(peer->tcp, TCP_REASON_ADDRESS, peer,
                     "member %u is connected, but nobody listens at %s, where"
                     " the list of members has it", peer->id, peer->text);
    }
    apus_timer_set(peer->retry, apus_clock() + LOOK_AGAIN);
}

void tcp_peer_call_failed(TcpPeer *peer, int error, gboolean heard)
{
    gboolean refused = peer->doubt > 0 && error == ECONNREFUSED;
    Tcp *tcp = peer->tcp;

    if (tcp->closing || peer->leaving) {
        return;
    }
    if (peer->open) {
        look_failed(peer, error);
        return;
    }
    if (!is_usual(error)) {
        tcp_complain(tcp, TCP_REASON_SYSTEM, peer,
                     "cannot connect with member %u at %s: %s", peer->id,
                     peer->text, g_strerror(error));
    }
    if (peer->doubt > 0 && error == ECONNRESET && !heard) {
        apus_timer_set(peer->retry, apus_clock() +
                tcp_peer_dying_delay(peer, DOUBT - peer->doubt));
        peer->doubt--;
        return;
    }
    peer->doubt = 0;
    call_later(peer);
    if (refused) {
        tcp_peer_refused(peer);
    }
}

void tcp_peer_call_again(TcpPeer *peer)
{
    if (may_call(peer) || may_look(peer)) {
        apus_timer_set(peer->retry, apus_loop_now(peer->tcp->loop));
    }
}

gboolean tcp_peer_opened(TcpPeer *peer, TcpConnection *connection)
{
    TcpConnection *other = peer->open;

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
    tcp_probe_stop(peer);
    if (other) {
        tcp_connection_close(other, 0, "");
    }
    look_soon(peer);
    return !other;
}

void tcp_peer_lost(TcpPeer *peer, uint64_t lived)
{
    /* The next process there may be of another release. */
    peer->version = colony_speaks[COLONY_PROTOCOL_GROUP].newest;
    if (peer->guest) {
        peer->leaving = TRUE;
        tcp_sweep_soon(peer->tcp);
    }
    if (peer->call && peer->call->looks) {
        peer->call->replaced = TRUE;
        tcp_connection_close(peer->call, 0, "");
    }
    if (!may_call(peer)) {
        return;
    }
    peer->doubt = peer->reached && tcp_peer_is_called(peer) ? DOUBT : 0;
    if (!tcp_peer_is_called(peer)) {
        wait_for_call(peer);
        if (peer->reached) {
            tcp_probe_start(peer);
        }
    } else if (lived >= peer->delay) {
        peer->delay = peer->tcp->retry_min;
        call(peer);
    } else {
        /* Whoever is thrown out again and again does not hurry. */
        call_later(peer);
    }
}

TcpPeer *tcp_peer_admit(Tcp *tcp, ApusId id)
{
    TcpPeer *peer = tcp_find(tcp, id);
    unsigned guests = 0;

    if (peer) {
        return peer;
    }
    for (unsigned i = 0; i < tcp->peers->len; i++) {
        peer = g_ptr_array_index(tcp->peers, i);
        guests += peer->guest && !peer->leaving;
    }
    if (guests >= TCP_MAX_GUESTS) {
        return NULL;
    }
    peer = tcp_peer_new(tcp, id);
    peer->guest = TRUE;
    g_ptr_array_add(tcp->peers, peer);
    return peer;
}
