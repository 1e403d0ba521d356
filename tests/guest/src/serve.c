/*
 * Line server shared by the guest's helper programs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A reply may repeat the line and add a few numbers to it. */
enum { REPLY_SIZE = SERVE_LINE + 256 };

typedef struct Connection {
    int fd;
    size_t in_len;
    size_t out_len;
    size_t out_size;
    char *out;
    char in[SERVE_LINE];
} Connection;

/* Stand-ins for "not a connection" in the events of the two listeners. */
static Connection tcp_listener = { .fd = -1 };
static Connection udp_socket = { .fd = -1 };

void die(const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

bool number_option(const char *arg, const char *name, unsigned long min,
                   unsigned long max, unsigned long *value)
{
    size_t len = strlen(name);
    char *end;

    if (strncmp(arg, name, len) || arg[len] != '=') {
        return false;
    }
    errno = 0;
    *value = strtoul(arg + len + 1, &end, 0);
    if (errno || *end || end == arg + len + 1 || arg[len + 1] == '-' ||
        *value < min || *value > max) {
        die("%s: want a number from %lu to %lu", arg, min, max);
    }
    return true;
}

static int bound_socket(int type, uint16_t port)
{
    struct sockaddr_in6 any = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(port),
        .sin6_addr = IN6ADDR_ANY_INIT,
    };
    struct sockaddr_in any4 = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_ANY),
    };
    int one = 1;
    int zero = 0;
    int fd;

    fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
        if (!bind(fd, (struct sockaddr *)&any, sizeof(any))) {
            return fd;
        }
        close(fd);
    }

    /* A kernel without IPv6 */
    fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        die("socket: %s", strerror(errno));
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&any4, sizeof(any4))) {
        die("port %u: %s", port, strerror(errno));
    }
    return fd;
}

static void watch(int epoll, Connection *c, int op, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = c };

    if (epoll_ctl(epoll, op, c->fd, &ev)) {
        die("epoll_ctl: %s", strerror(errno));
    }
}

static void accept_one(int epoll)
{
    int one = 1;
    int fd = accept4(tcp_listener.fd, NULL, NULL,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    Connection *c;

    if (fd < 0) {
        return;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->fd = fd;
    watch(epoll, c, EPOLL_CTL_ADD, EPOLLIN);
}

static bool append(Connection *c, const char *data, size_t len)
{
    if (c->out_len + len > SERVE_BACKLOG) {
        return false;
    }
    if (c->out_len + len > c->out_size) {
        size_t size = (c->out_len + len) * 2;
        char *grown = realloc(c->out, size);

        if (!grown) {
            return false;
        }
        c->out = grown;
        c->out_size = size;
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
    return true;
}

static bool answer_lines(Connection *c, ServeReply *reply)
{
    char text[REPLY_SIZE + 1];
    char *line = c->in;
    char *end;

    while ((end = memchr(line, '\n', c->in + c->in_len - line))) {
        char *stop = end > line && end[-1] == '\r' ? end - 1 : end;
        int len;

        *stop = '\0';
        len = reply(line, text, REPLY_SIZE);
        if (len >= 0) {
            text[len] = '\n';
            if (!append(c, text, len + 1)) {
                return false;
            }
        }
        line = end + 1;
    }
    c->in_len -= line - c->in;
    memmove(c->in, line, c->in_len);
    return c->in_len < sizeof(c->in);
}

static bool read_some(Connection *c, ServeReply *reply)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (!n) {
        return false;
    }
    c->in_len += n;
    return answer_lines(c, reply);
}

static bool write_some(Connection *c)
{
    ssize_t n;

    if (!c->out_len) {
        return true;
    }
    n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    c->out_len -= n;
    memmove(c->out, c->out + n, c->out_len);
    return true;
}

static void serve_connection(int epoll, Connection *c, uint32_t events,
                             ServeReply *reply)
{
    bool alive = !(events & EPOLLERR);

    if (alive && (events & (EPOLLIN | EPOLLHUP))) {
        alive = read_some(c, reply);
    }
    if (alive) {
        alive = write_some(c);
    }
    if (alive) {
        watch(epoll, c, EPOLL_CTL_MOD,
              EPOLLIN | (c->out_len ? EPOLLOUT : 0));
        return;
    }
    close(c->fd);
    free(c->out);
    free(c);
}

static void serve_datagram(ServeReply *reply)
{
    char line[SERVE_LINE + 1];
    char text[REPLY_SIZE + 1];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    ssize_t n;
    int len;

    n = recvfrom(udp_socket.fd, line, SERVE_LINE, 0,
                 (struct sockaddr *)&from, &from_len);
    if (n < 0) {
        return;
    }
    if (n && line[n - 1] == '\n') {
        n--;
    }
    line[n] = '\0';
    len = reply(line, text, REPLY_SIZE);
    if (len < 0) {
        return;
    }
    text[len] = '\n';
    /* A lost datagram is UDP's own business. */
    sendto(udp_socket.fd, text, len + 1, 0, (struct sockaddr *)&from,
           from_len);
}

void serve(uint16_t port, bool udp, ServeReply *reply)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll < 0) {
        die("epoll_create1: %s", strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN);
    if (udp) {
        udp_socket.fd = bound_socket(SOCK_DGRAM, port);
        watch(epoll, &udp_socket, EPOLL_CTL_ADD, EPOLLIN);
    }
    tcp_listener.fd = bound_socket(SOCK_STREAM, port);
    if (listen(tcp_listener.fd, 128)) {
        die("listen: %s", strerror(errno));
    }
    watch(epoll, &tcp_listener, EPOLL_CTL_ADD, EPOLLIN);

    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);

        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;

            if (c == &tcp_listener) {
                accept_one(epoll);
            } else if (c == &udp_socket) {
                serve_datagram(reply);
            } else {
                serve_connection(epoll, c, events[i].events, reply);
            }
        }
    }
}
