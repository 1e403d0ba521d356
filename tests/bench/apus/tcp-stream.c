/*
 * One or more bare TCP streams at once: how many bytes of a size go through a
 * connection while others do the same
 *
 * Each stream has a process that sends, SIZE bytes with each call, and one
 * that receives. What is printed is what one of the streams carries, the mean
 * of all; there are no latencies.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "colo-net/apus/tools/bench/load.h"

#define MAX_STREAMS (BENCH_MAX_PROCESSES / 2)
#define PATIENCE G_GUINT64_CONSTANT(10000000000)
#define READ_SIZE (256 * 1024)

/* In memory that all processes share. */
typedef struct {
    uint64_t bytes, nanoseconds; /* received while it was measured */
} Count;

typedef struct {
    const BenchSettings *settings;
    int pair[2]; /* sender, receiver */
    Count *count;
} Stream;

/* Sends until the receiver has gone. */
static int send_all(void *opaque, unsigned place)
{
    Stream *stream = opaque;
    g_autofree char *message = g_malloc0(stream->settings->size);
    size_t size = stream->settings->size, sent = 0;

    (void)place;
    close(stream->pair[1]);
    for (;;) {
        ssize_t did = send(stream->pair[0], message + sent, size - sent,
                           MSG_NOSIGNAL);

        if (did < 0 && errno != EINTR) {
            return errno == EPIPE || errno == ECONNRESET ? 0 : 1;
        }
        sent = (sent + MAX(did, 0)) % size;
    }
}

static int receive_all(void *opaque, unsigned place)
{
    Stream *stream = opaque;
    g_autofree char *buffer = g_malloc(READ_SIZE);
    uint64_t begin = bench_now() + stream->settings->warmup, since = 0, now;
    uint64_t bytes = 0;

    (void)place;
    close(stream->pair[0]);
    for (;;) {
        ssize_t did = recv(stream->pair[1], buffer, READ_SIZE, 0);

        if (did <= 0 && !(did < 0 && errno == EINTR)) {
            return 1;
        }
        now = bench_now();
        if (!since && now >= begin) {
            since = now;
            continue;
        }
        if (since) {
            bytes += MAX(did, 0);
            if (now - since >= stream->settings->duration) {
                *stream->count = (Count) { bytes, now - since };
                return 0;
            }
        }
    }
}

static gboolean accept_one(int listener, int *fd)
{
    *fd = accept(listener, NULL, NULL);
    return *fd >= 0;
}

/* Two connected TCP sockets. */
static gboolean connect_pair(int pair[2], GError **errp)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || pair[0] < 0 ||
        bind(listener, (struct sockaddr *)&address, length) ||
        listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &length) ||
        connect(pair[0], (struct sockaddr *)&address, length) ||
        setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
        !accept_one(listener, &pair[1])) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "a connection: %s", g_strerror(errno));
        return FALSE;
    }
    close(listener);
    return TRUE;
}

static gboolean start(Stream *stream, BenchGroup *group, GError **errp)
{
    gboolean good = connect_pair(stream->pair, errp) &&
                    bench_group_add(group, "sender", send_all, stream,
                                    errp) &&
                    bench_group_add(group, "receiver", receive_all, stream,
                                    errp);

    close(stream->pair[0]);
    close(stream->pair[1]);
    return good;
}

static void print(const Count *counts, unsigned streams,
                  const BenchSettings *settings)
{
    double speed = 0;

    for (unsigned i = 0; i < streams; i++) {
        speed += counts[i].bytes / (double)counts[i].nanoseconds / streams;
    }
    if (settings->json) {
        printf("{\"subject\": \"tcp-stream\", \"size\": %u, "
               "\"streams\": %u, \"bytes_per_s\": %.0f}\n", settings->size,
               streams, speed * 1e9);
    } else {
        printf("tcp-stream: %u bytes, one of %u: %.0f/s, %.1f MB/s\n",
               settings->size, streams, speed * 1e9 / settings->size,
               speed * 1e3);
    }
}

static gboolean measure(const BenchSettings *settings, BenchGroup *group,
                        unsigned streams, GError **errp)
{
    Count *counts = mmap(NULL, MAX_STREAMS * sizeof(*counts),
                         PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                         -1, 0);
    Stream stream = { .settings = settings };

    if (counts == MAP_FAILED) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_NOMEM, "no memory");
        return FALSE;
    }
    for (unsigned i = 0; i < streams; i++) {
        stream.count = &counts[i];
        if (!start(&stream, group, errp)) {
            return FALSE;
        }
    }
    if (!bench_group_wait(group, settings->warmup + settings->duration +
                          PATIENCE, errp)) {
        return FALSE;
    }
    print(counts, streams, settings);
    return TRUE;
}

int main(int argc, char **argv)
{
    int streams = 1;
    const GOptionEntry more[] = {
        { "streams", 0, 0, G_OPTION_ARG_INT, &streams, "at once (1)", "N" },
        { 0 }
    };
    g_autoptr(GError) error = NULL;
    BenchSettings settings;
    BenchGroup group = { 0 };
    gboolean good;

    good = bench_settings_parse(&settings, "TCP streams on loopback.", more,
                                argc, argv, &error);
    if (good && (streams < 1 || streams > MAX_STREAMS)) {
        good = FALSE;
        g_set_error(&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--streams is %d, must be 1 to %d", streams, MAX_STREAMS);
    }
    good = good && bench_group_init(&group, &settings, FALSE, &error) &&
           measure(&settings, &group, streams, &error);
    bench_group_end(&group);
    bench_settings_clear(&settings);
    if (!good) {
        g_printerr("tcp-stream: %s\n", error->message);
    }
    return good ? 0 : 1;
}
