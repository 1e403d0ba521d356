/*
 * A bare TCP ping-pong between two processes: what a message and its answer
 * cost before anything is done with them
 *
 * Both sides wait with epoll and read and write without blocking, as servers
 * do. The answer is the message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "colo-net/apus/tools/bench/load.h"

#define PATIENCE G_GUINT64_CONSTANT(10000000000)

/* One side: a message is received, then sent, or the other way round. */
typedef struct {
    int epoll, fd;
    size_t size, received, sent;
    char *message;
    gboolean sending; /* not all could be sent */
    BenchLoad *load; /* of who measures */
    BenchSlot *slot;
    gboolean ended;
} Side;

static gboolean watch(Side *side, int operation)
{
    struct epoll_event event = {
        .events = EPOLLIN | (side->sending ? EPOLLOUT : 0),
    };

    return !epoll_ctl(side->epoll, operation, side->fd, &event);
}

static gboolean open_side(Side *side, int fd, size_t size)
{
    int on = 1;

    side->fd = fd;
    side->size = size;
    side->message = g_malloc0(size);
    side->epoll = epoll_create1(EPOLL_CLOEXEC);
    return side->epoll >= 0 &&
           !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) &&
           watch(side, EPOLL_CTL_ADD);
}

static gboolean again(ssize_t did)
{
    return did < 0 && (errno == EAGAIN || errno == EINTR);
}

static gboolean send_rest(Side *side)
{
    ssize_t did = send(side->fd, side->message + side->sent,
                       side->size - side->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    gboolean sending;

    if (did < 0 && !again(did)) {
        return FALSE;
    }
    side->sent += MAX(did, 0);
    sending = side->sent < side->size;
    if (sending != side->sending) {
        side->sending = sending;
        return watch(side, EPOLL_CTL_MOD);
    }
    return TRUE;
}

static gboolean send_message(Side *side)
{
    side->sent = 0;
    return send_rest(side);
}

static gboolean receive(Side *side)
{
    ssize_t did = recv(side->fd, side->message + side->received,
                       side->size - side->received, MSG_DONTWAIT);

    if (did <= 0) {
        return again(did);
    }
    side->received += did;
    if (side->received < side->size) {
        return TRUE;
    }
    side->received = 0;
    return side->load ? bench_load_done(side->slot) : send_message(side);
}

/* Until the connection ends, or all is measured. */
static void run(Side *side, uint64_t deadline)
{
    while (!side->ended && (!deadline || bench_now() < deadline)) {
        struct epoll_event event;
        int n = epoll_wait(side->epoll, &event, 1, deadline ? 1000 : -1);

        if (n == 1 && (event.events & EPOLLOUT) && !send_rest(side)) {
            return;
        }
        if (n == 1 && (event.events & ~EPOLLOUT) && !receive(side)) {
            return;
        }
    }
}

static gboolean begin(void *opaque, BenchSlot *slot)
{
    Side *side = opaque;

    side->slot = slot;
    return send_message(side);
}

static void ended(void *opaque)
{
    Side *side = opaque;

    side->ended = TRUE;
}

typedef struct {
    const BenchSettings *settings;
    int listener;
} Server;

static int serve(void *opaque, unsigned place)
{
    Server *server = opaque;
    Side side = { 0 };
    int fd = accept(server->listener, NULL, NULL);

    (void)place;
    if (fd < 0 || !open_side(&side, fd, server->settings->size)) {
        perror("tcp-pingpong: server");
        return 1;
    }
    run(&side, 0);
    return 0;
}

/* A socket that is connected with a server in another process, or -1. */
static int connect_server(BenchGroup *group, const BenchSettings *settings,
                          GError **errp)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof(address);
    Server server = {
        .settings = settings,
        .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (server.listener < 0 || fd < 0 ||
        bind(server.listener, (struct sockaddr *)&address, length) ||
        listen(server.listener, 1) ||
        getsockname(server.listener, (struct sockaddr *)&address, &length) ||
        connect(fd, (struct sockaddr *)&address, length)) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "a connection: %s", g_strerror(errno));
        return -1;
    }
    if (!bench_group_add_self(group, "client", errp) ||
        !bench_group_add(group, "server", serve, &server, errp)) {
        return -1;
    }
    close(server.listener);
    return fd;
}

static gboolean measure(const BenchSettings *settings, BenchGroup *group,
                        GError **errp)
{
    const BenchLoadOps ops = { .begin = begin, .ended = ended };
    Side side = { 0 };
    g_autoptr(BenchLoad) load = bench_load_new(settings, group, &ops, &side);
    int fd = connect_server(group, settings, errp);

    if (fd < 0) {
        return FALSE;
    }
    side.load = load;
    if (open_side(&side, fd, settings->size) && bench_load_start(load)) {
        run(&side, bench_now() + bench_load_deadline(settings, PATIENCE));
    }
    if (!side.ended) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "the server does not answer");
        return FALSE;
    }
    for (unsigned i = 0; i < bench_load_results(load); i++) {
        bench_result_print(bench_load_result(load, i), "tcp-pingpong",
                           settings, group);
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    BenchSettings settings;
    BenchGroup group = { 0 };
    gboolean good;

    good = bench_settings_parse(&settings, "A TCP ping-pong on loopback.",
                                NULL, argc, argv, &error);
    for (unsigned i = 0; good && i < settings.inflight.count; i++) {
        if (settings.inflight.value[i] != 1) {
            good = FALSE;
            g_set_error(&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--inflight: must be 1");
        }
    }
    good = good && bench_group_init(&group, &settings, FALSE, &error) &&
           measure(&settings, &group, &error);
    bench_group_end(&group);
    bench_settings_clear(&settings);
    if (!good) {
        g_printerr("tcp-pingpong: %s\n", error->message);
    }
    return good ? 0 : 1;
}
