/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Redis client that tells every latency.
 *
 *   redis-load ADDRESS PORT set|get CONNECTIONS RATE SIZE KEYS WARMUP SECONDS
 *
 * Each connection has at most one request under way, for a random one of KEYS
 * keys (key:0, key:1, ...; values of SIZE bytes). RATE is how many requests
 * there are in a second, on all connections together; 0: each answer is
 * followed by the next request at once. With a rate, latency counts from when
 * the request was due, even if the connection was not free then. The first
 * WARMUP seconds are not measured. On standard output:
 *
 *   start               when measuring begins
 *   end REQUESTS NS     when it is over: how many requests were answered, and
 *                       the time from the start to the end
 *   last NS             the time from the start to the last answer
 *   LATENCY ...         of each answered request, in microseconds
 *
 * SIGTERM ends it early, with the same output: a server that no longer
 * answers is something to measure.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define PATIENCE_MS 30000

typedef struct Connection {
    int fd;
    bool busy;
    uint64_t due;               /* when the request is or was to be sent */
    size_t want;                /* size of the answer, 0 until known */
    size_t have;
    char *answer;
} Connection;

static struct {
    Connection *all;
    size_t connections;
    bool set;
    size_t size;
    uint64_t keys;
    uint64_t period;            /* between requests of a connection, ns */
    char *request;
    size_t answer_max;
} load;

static uint32_t *latencies;
static size_t answered, room;
static volatile sig_atomic_t ending;

static void on_term(int number)
{
    (void)number;
    ending = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "redis-load: %s: %s\n", what, why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* xorshift64: the same keys in every run */
static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t number(const char *name, const char *text)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > INT32_MAX) {
        fprintf(stderr, "redis-load: %s is '%s', must be a whole number\n",
                name, text);
        exit(2);
    }
    return value;
}

static double seconds(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= 0 && value <= 1e6)) {
        fprintf(stderr, "redis-load: %s is '%s', must be seconds\n", name,
                text);
        exit(2);
    }
    return value;
}

/* One request is small: the socket takes it whole, or something is wrong. */
static void send_request(Connection *c)
{
    char key[32];
    int key_size = snprintf(key, sizeof(key), "key:%llu",
                            (unsigned long long)(next_random() % load.keys));
    int head = sprintf(load.request, "*%d\r\n$3\r\n%s\r\n$%d\r\n%s\r\n",
                       load.set ? 3 : 2, load.set ? "SET" : "GET", key_size,
                       key);
    size_t size = head;

    if (load.set) {
        size += sprintf(load.request + head, "$%zu\r\n", load.size);
        for (size_t i = 0; i < load.size; i += 8) {
            uint64_t word = next_random() | 0x0101010101010101ull;
            size_t left = load.size - i;

            memcpy(load.request + size + i, &word, left < 8 ? left : 8);
        }
        size += load.size;
        memcpy(load.request + size, "\r\n", 2);
        size += 2;
    }

    c->busy = true;
    c->want = 0;
    c->have = 0;
    if (send(c->fd, load.request, size, MSG_NOSIGNAL) != (ssize_t)size) {
        die("cannot send", strerror(errno));
    }
}

/* Sets c->want when the first line of the answer is there. */
static void parse(Connection *c)
{
    char *end = memchr(c->answer, '\n', c->have);

    if (!end) {
        return;
    }
    *end = '\0';
    c->want = end + 1 - c->answer;
    if (c->answer[0] == '$') {
        long size = strtol(c->answer + 1, NULL, 10);

        if (size != (long)load.size) {
            die("a value of the wrong size", c->answer);
        }
        c->want += size + 2;
    } else if (c->answer[0] != '+') {
        die("the server answered", c->answer);
    }
}

/* True when the answer is complete. */
static bool receive(Connection *c)
{
    ssize_t size = recv(c->fd, c->answer + c->have,
                        load.answer_max - c->have, 0);

    if (size == 0) {
        die("cannot receive", "the server closed the connection");
    }
    if (size < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return false;
        }
        die("cannot receive", strerror(errno));
    }
    c->have += size;
    if (!c->want) {
        parse(c);
    }
    return c->want && c->have >= c->want;
}

static void note(uint64_t latency_ns)
{
    if (answered == room) {
        room = room ? 2 * room : 1 << 16;
        latencies = realloc(latencies, room * sizeof(*latencies));
        if (!latencies) {
            die("latencies", "out of memory");
        }
    }
    latencies[answered++] = latency_ns / 1000;
}

static void open_connection(Connection *c, const struct sockaddr_in *to)
{
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        die("socket", strerror(errno));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
        errno != EINPROGRESS) {
        die("connect", strerror(errno));
    }
    c->answer = malloc(load.answer_max);
    if (!c->answer) {
        die("answers", "out of memory");
    }
}

static void wait_connected(Connection *c)
{
    struct pollfd poll_fd = { .fd = c->fd, .events = POLLOUT };
    int error = ETIMEDOUT;
    socklen_t size = sizeof(error);

    if (poll(&poll_fd, 1, PATIENCE_MS) == 1) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (ending) {
        exit(0);
    }
    if (error) {
        die("connect", strerror(error));
    }
}

/* Sends what is due; when the next request will be. */
static uint64_t send_due(uint64_t now, uint64_t end)
{
    uint64_t next = end;

    for (size_t i = 0; i < load.connections; i++) {
        Connection *c = &load.all[i];

        if (!c->busy && c->due <= now) {
            send_request(c);
        } else if (!c->busy && c->due < next) {
            next = c->due;
        }
    }
    return next;
}

static void answer(Connection *c, uint64_t now)
{
    c->busy = false;
    if (load.period) {
        c->due += load.period;
    } else {
        c->due = now;
        send_request(c);
    }
}

/*
 * Keeps the connections busy until @end, or SIGTERM; when it got the last
 * answer, or @since. Latencies are noted if @measure.
 */
static uint64_t run(int epoll, uint64_t since, uint64_t end, bool measure)
{
    uint64_t last = since;
    uint64_t now;

    while (!ending && (now = now_ns()) < end) {
        uint64_t wait = send_due(now, end) - now;
        struct timespec timeout = { wait / SECOND, wait % SECOND };
        struct epoll_event events[64];
        int n = epoll_pwait2(epoll, events, 64, &timeout, NULL);

        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;

            if (!receive(c)) {
                continue;
            }
            last = now_ns();
            if (measure && last < end) {
                note(last - c->due);
            }
            answer(c, last);
        }
    }
    return last;
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct sigaction term = { .sa_handler = on_term };
    uint64_t rate, start, end, last;
    double warmup, measured;
    int epoll;

    if (argc != 10) {
        fprintf(stderr, "usage: redis-load ADDRESS PORT set|get CONNECTIONS "
                "RATE SIZE KEYS WARMUP SECONDS\n");
        return 2;
    }
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        die(argv[1], "not an IPv4 address");
    }
    to.sin_port = htons(number("PORT", argv[2]));
    load.set = strcmp(argv[3], "set") == 0;
    if (!load.set && strcmp(argv[3], "get") != 0) {
        die(argv[3], "must be set or get");
    }
    load.connections = number("CONNECTIONS", argv[4]);
    rate = number("RATE", argv[5]);
    load.size = number("SIZE", argv[6]);
    load.keys = number("KEYS", argv[7]);
    warmup = seconds("WARMUP", argv[8]);
    measured = seconds("SECONDS", argv[9]);
    if (!load.connections || !load.size || !load.keys) {
        die("CONNECTIONS, SIZE and KEYS", "must be at least 1");
    }
    load.request = malloc(load.size + 128);
    load.answer_max = load.size + 256;
    load.all = calloc(load.connections, sizeof(*load.all));
    epoll = epoll_create1(0);
    if (!load.request || !load.all || epoll < 0) {
        die("cannot start", strerror(errno));
    }
    sigaction(SIGTERM, &term, NULL);

    for (size_t i = 0; i < load.connections; i++) {
        open_connection(&load.all[i], &to);
    }
    for (size_t i = 0; i < load.connections; i++) {
        struct epoll_event event = {
            .events = EPOLLIN, .data.ptr = &load.all[i]
        };

        wait_connected(&load.all[i]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, load.all[i].fd, &event) < 0) {
            die("epoll_ctl", strerror(errno));
        }
    }

    start = now_ns();
    load.period = rate ? load.connections * SECOND / rate : 0;
    for (size_t i = 0; i < load.connections; i++) {
        load.all[i].due = start + (rate ? i * SECOND / rate : 0);
    }
    run(epoll, start, start + warmup * SECOND, false);
    printf("start\n");
    fflush(stdout);
    start = now_ns();
    last = run(epoll, start, start + measured * SECOND, true);
    end = now_ns();
    printf("end %zu %llu\nlast %llu\n", answered,
           (unsigned long long)(end - start),
           (unsigned long long)(last - start));
    fflush(stdout);
    for (size_t i = 0; i < answered; i++) {
        printf("%u\n", latencies[i]);
    }
    return 0;
}
