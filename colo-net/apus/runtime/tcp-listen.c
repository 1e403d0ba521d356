/*
 * Who connects with us
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tcp-internal.h"

#define BACKLOG 128
#define AT_ONCE 16 /* accepted in a round of the loop */
#define PATIENCE (100 * MESH_MILLISECOND)

/* Where the listening socket is: this much below the limit. */
#define HIGHEST 4096
#define SPARE 64

/* A connection stays in the backlog, or is gone with who wanted it. */
static void cannot_accept(Tcp *tcp, int error)
{
    mesh_complain(&tcp->mesh, MESH_REASON_SYSTEM, NULL,
                  "cannot accept connections at %s: %s", tcp->mesh.address,
                  g_strerror(error));
    apus_watch_change(tcp->listener_watch, 0);
    apus_timer_set(tcp->listener_pause, apus_clock() + PATIENCE);
    mesh_drop_oldest(&tcp->mesh, "no descriptors left");
}

static void accept_again(void *opaque)
{
    Tcp *tcp = opaque;

    apus_watch_change(tcp->listener_watch, EPOLLIN);
}

static gboolean accept_one(Tcp *tcp)
{
    ApusAddress address = { .size = sizeof(address.storage) };
    int fd = accept4(tcp->listener, (struct sockaddr *)&address.storage,
                     &address.size, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        mesh_make_room(&tcp->mesh);
        tcp_connection_new(tcp, fd, &address, NULL);
        return TRUE;
    }
    switch (errno) {
    case EAGAIN:
        return FALSE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        cannot_accept(tcp, errno);
        return FALSE;
    default: /* of the connection that was to be accepted */
        return TRUE;
    }
}

static void ready(void *opaque, uint32_t events G_GNUC_UNUSED)
{
    Tcp *tcp = opaque;

    /* A handler may close the transport. */
    for (unsigned i = 0; i < AT_ONCE && tcp->listener >= 0; i++) {
        if (!accept_one(tcp)) {
            break;
        }
    }
}

static gboolean bind_and_listen(int fd, const ApusAddress *address)
{
    int on = 1, off = 0;

    /*
     * A member that starts anew does not wait for its old connections to be
     * forgotten; it still cannot listen where another process does.
     */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) {
        return FALSE;
    }
    /* [::] is for IPv4 too, whatever the system's default. */
    if (address->storage.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) {
        return FALSE;
    }
    return bind(fd, (struct sockaddr *)&address->storage,
                address->size) == 0 && listen(fd, BACKLOG) == 0;
}

/*
 * Linux closes the descriptors of a process that dies from the highest down.
 * With the listening socket above all connections, the first thing that a peer
 * finds, when its connection has closed, is that it is refused; that saves a
 * second look, and nothing depends on it.
 */
static int move_up(int fd)
{
    struct rlimit limit;
    int high = -1;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 2 * SPARE) {
        high = fcntl(fd, F_DUPFD_CLOEXEC,
                     (int)MIN(limit.rlim_cur, HIGHEST) - SPARE);
    }
    if (high < 0) {
        return fd;
    }
    close(fd);
    return high;
}

gboolean tcp_listen(Tcp *tcp, const char *text, GError **errp)
{
    ApusAddress address;

    if (!apus_address_parse(&address, text, TRUE, errp)) {
        return FALSE;
    }
    tcp->listener = tcp_socket(&address);
    if (tcp->listener < 0 ||
        !bind_and_listen(tcp->listener, &address) ||
        getsockname(tcp->listener, (struct sockaddr *)&address.storage,
                    &address.size) < 0) {
        g_set_error(errp, APUS_ERROR, errno == EADDRINUSE ?
                    APUS_ERROR_IN_USE : APUS_ERROR_IO,
                    "cannot listen at %s: %s", text, g_strerror(errno));
        return FALSE;
    }
    tcp->listener = move_up(tcp->listener);
    tcp->mesh.address = apus_address_text(&address);
    tcp->listener_watch = apus_loop_watch(tcp->mesh.loop, tcp->listener,
                                          EPOLLIN, ready, tcp);
    tcp->listener_pause = apus_loop_timer(tcp->mesh.loop, accept_again, tcp);
    return TRUE;
}

void tcp_listen_stop(Mesh *mesh)
{
    Tcp *tcp = tcp_of(mesh);

    apus_timer_free(tcp->listener_pause);
    tcp->listener_pause = NULL;
    apus_watch_free(tcp->listener_watch);
    tcp->listener_watch = NULL;
    if (tcp->listener >= 0) {
        close(tcp->listener);
        tcp->listener = -1;
    }
}
