/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client that tells every latency.
 *
 *   load ADDRESS PORT KIND CONNECTIONS RATE PIPELINE SIZE KEYS WARMUP SECONDS
 *
 * KIND is what is asked for:
 *
 *   set, get  a random one of KEYS keys of Redis (item:0, item:1, ...), values
 *             of SIZE bytes
 *   grow      a key that Redis does not have yet is set, to SIZE bytes
 *   http      GET of the file of SIZE bytes, whole KiB: /1k, /10k, ...
 *   rows      by turns, a row with SIZE bytes of text is added over HTTP, and
 *             one that is there is read (the guest's sqlhttp)
 *   sqlite    a row with SIZE bytes of text is inserted into the table "load"
 *   echo      a line of SIZE bytes, which is sent back with a time stamp
 *   pgbench   the transaction of "pgbench -N", statement by statement
 *
 * RATE is how many requests there are in a second, on all connections together.
 * A request is then sent when it is due, up to 64 on a connection before the
 * first of them is answered (one, if it has several steps), and latency counts
 * from when it was due, even if it could not be sent then. 0: each connection
 * sends PIPELINE requests at once, up to 64, and the next ones when these have
 * all been answered. The first WARMUP seconds are not measured. On standard
 * output:
 *
 *   start               when measuring begins
 *   end REQUESTS NS     when it is over: how many requests were answered, and
 *                       the time from the start to the end
 *   last NS             the time from the start to the last answer
 *   mark REQUESTS WHEN  of each SIGUSR1, up to 16: how many were answered by
 *                       then, and when that was: since 1970, in ns
 *   gap NS WHEN ...     after the first of them: each time of a millisecond or
 *                       more in which nothing was answered on any connection,
 *                       and when it began, likewise
 *   LATENCY ...         of each answered request, in microseconds
 *
 * SIGTERM ends it early, with the same output: a server that no longer
 * answers is something to measure.
 */

#define _GNU_SOURCE
#include "kinds.h"

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
#define DEPTH 64
#define MIN_GAP 1000000ull      /* ns */
#define MAX_GAPS 10000
#define MAX_MARKS 16

typedef struct Connection {
    int fd;
    uint64_t due;               /* when the next request is to be sent */
    uint64_t sent[DEPTH];       /* when those under way were due, a ring */
    unsigned first;
    unsigned under_way;
    unsigned step;              /* of the only one under way */
    uint64_t dice;              /* its */
    size_t want;                /* size of the answer, 0 until known */
    size_t have;
    char *answer;
} Connection;

static struct {
    Connection *all;
    size_t connections;
    const Kind *kind;
    uint64_t period;            /* between requests of a connection, ns */
    unsigned depth;             /* requests under way on a connection */
    char *request;
    size_t answer_max;
} load;

/* Times without an answer, once they are asked for. */
static struct {
    struct {
        uint64_t begin, length;
    } all[MAX_GAPS];
    size_t count;
} gaps;

static uint32_t *latencies;
static size_t answered, room;
static volatile sig_atomic_t ending;
static volatile sig_atomic_t marked; /* how often */

static struct {
    struct {
        uint64_t when;
        size_t answered;
    } all[MAX_MARKS];
    int count;
} marks;

static void on_signal(int number)
{
    if (number == SIGTERM) {
        ending = 1;
    } else {
        marked++;
    }
}

_Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static uint64_t number(const char *name, const char *text)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > INT32_MAX) {
        fprintf(stderr, "load: %s is '%s', must be a whole number\n",
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
        fprintf(stderr, "load: %s is '%s', must be seconds\n", name,
                text);
        exit(2);
    }
    return value;
}

/* What is under way is small: the socket takes it, or something is wrong. */
static void send_bytes(Connection *c, size_t size)
{
    if (send(c->fd, load.request, size, MSG_NOSIGNAL) != (ssize_t)size) {
        die("cannot send", strerror(errno));
    }
}

/* The next step of the request under way. */
static size_t ask_step(Connection *c, char *to)
{
    Ask ask = { .to = to, .step = c->step, .dice = c->dice };

    return load.kind->ask(&ask);
}

/* @count more requests, in one go. */
static void send_requests(Connection *c, unsigned count)
{
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        c->sent[(c->first + c->under_way++) % DEPTH] = c->due;
        c->dice = next_random();
        size += ask_step(c, load.request + size);
    }
    send_bytes(c, size);
}

/* More of the answers. */
static void receive(Connection *c)
{
    ssize_t size = recv(c->fd, c->answer + c->have,
                        load.answer_max - c->have, 0);

    if (size == 0) {
        die("cannot receive", "the server closed the connection");
    }
    if (size < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return;
        }
        die("cannot receive", strerror(errno));
    }
    c->have += size;
    c->answer[c->have] = '\0';
}

/* Takes the next answer away, if all of it is there. */
static bool take_answer(Connection *c)
{
    if (!c->want && c->have) {
        c->want = load.kind->parse(c->answer, c->have);
    }
    if (!c->want || c->have < c->want) {
        return false;
    }
    if (!c->under_way) {
        die("the server answered", "something that was not asked");
    }
    c->have -= c->want;
    memmove(c->answer, c->answer + c->want, c->have + 1);
    c->want = 0;
    return true;
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
    int buffer = DEPTH * (value_size + REQUEST_MORE);

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        die("socket", strerror(errno));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    if (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
        errno != EINPROGRESS) {
        die("connect", strerror(errno));
    }
    c->answer = malloc(load.answer_max + 1);
    if (!c->answer) {
        die("answers", "out of memory");
    }
}

static bool wait_for(Connection *c, short what)
{
    struct pollfd poll_fd = { .fd = c->fd, .events = what };
    bool there = poll(&poll_fd, 1, PATIENCE_MS) == 1;

    if (ending) {
        exit(0);
    }
    return there;
}

static void wait_connected(Connection *c)
{
    int error = ETIMEDOUT;
    socklen_t size = sizeof(error);

    if (wait_for(c, POLLOUT)) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error) {
        die("connect", strerror(error));
    }
}

/* Says what is to be said first, if anything, and waits for the answer. */
static void introduce(Connection *c)
{
    if (!load.kind->hello) {
        return;
    }
    send_bytes(c, load.kind->hello(load.request));
    c->under_way = 1;
    while (!take_answer(c)) {
        if (!wait_for(c, POLLIN)) {
            die("connect", "no answer");
        }
        receive(c);
    }
    c->under_way = 0;
}

/* Sends what is due; when the next request will be. */
static uint64_t send_due(uint64_t now, uint64_t end)
{
    unsigned most = load.period ? load.depth : 1;
    uint64_t next = end;

    for (size_t i = 0; i < load.connections; i++) {
        Connection *c = &load.all[i];

        while (c->under_way < most && c->due <= now) {
            send_requests(c, load.period ? 1 : load.depth);
            c->due += load.period;
        }
        if (c->under_way < most && c->due < next) {
            next = c->due;
        }
    }
    return next;
}

/*
 * An answer came @now, to the oldest request under way. Whether that request
 * is done with; then *@due is when it was due.
 */
static bool answer(Connection *c, uint64_t now, uint64_t *due)
{
    if (++c->step < load.kind->steps) {
        send_bytes(c, ask_step(c, load.request));
        return false;
    }
    c->step = 0;
    *due = c->sent[c->first];
    c->first = (c->first + 1) % DEPTH;
    c->under_way--;
    if (!load.period && !c->under_way) {
        c->due = now;
        send_requests(c, load.depth);
    }
    return true;
}

static void note_marks(void)
{
    while (marks.count < marked && marks.count < MAX_MARKS) {
        marks.all[marks.count].when = now_ns();
        marks.all[marks.count++].answered = answered;
    }
}

static void note_gap(uint64_t begin, uint64_t end)
{
    if (marked && end - begin >= MIN_GAP && gaps.count < MAX_GAPS) {
        gaps.all[gaps.count].begin = begin;
        gaps.all[gaps.count++].length = end - begin;
    }
}

/*
 * Keeps the connections busy until @end, or SIGTERM; when it got the last
 * answer, or @since. Latencies and gaps are noted if @measure.
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

        note_marks();
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;

            receive(c);
            while (take_answer(c)) {
                uint64_t due;

                now = now_ns();
                if (measure) {
                    note_gap(last, now);
                }
                last = now;
                if (answer(c, now, &due) && measure && now < end) {
                    note(now - due);
                }
            }
        }
    }
    return last;
}

static void print_moments(void)
{
    struct timespec real;
    uint64_t offset;

    clock_gettime(CLOCK_REALTIME, &real);
    offset = real.tv_sec * SECOND + real.tv_nsec - now_ns();
    for (int i = 0; i < marks.count; i++) {
        printf("mark %zu %llu\n", marks.all[i].answered,
               (unsigned long long)(marks.all[i].when + offset));
    }
    for (size_t i = 0; i < gaps.count; i++) {
        printf("gap %llu %llu\n", (unsigned long long)gaps.all[i].length,
               (unsigned long long)(gaps.all[i].begin + offset));
    }
}

static void print_results(uint64_t start, uint64_t last, uint64_t end)
{
    note_gap(last, end);
    printf("end %zu %llu\nlast %llu\n", answered,
           (unsigned long long)(end - start),
           (unsigned long long)(last - start));
    print_moments();
    fflush(stdout);
    for (size_t i = 0; i < answered; i++) {
        printf("%u\n", latencies[i]);
    }
}

/* Connections, all of which are answered. */
static int connect_all(const struct sockaddr_in *to)
{
    int epoll = epoll_create1(0);

    if (epoll < 0) {
        die("epoll_create1", strerror(errno));
    }
    for (size_t i = 0; i < load.connections; i++) {
        open_connection(&load.all[i], to);
    }
    for (size_t i = 0; i < load.connections; i++) {
        struct epoll_event event = {
            .events = EPOLLIN, .data.ptr = &load.all[i]
        };

        wait_connected(&load.all[i]);
        introduce(&load.all[i]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, load.all[i].fd, &event) < 0) {
            die("epoll_ctl", strerror(errno));
        }
    }
    return epoll;
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct sigaction handler = { .sa_handler = on_signal };
    uint64_t rate, start, last;
    double warmup, measured;
    int epoll;

    if (argc != 11) {
        fprintf(stderr, "usage: load ADDRESS PORT KIND CONNECTIONS RATE "
                "PIPELINE SIZE KEYS WARMUP SECONDS\n");
        return 2;
    }
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        die(argv[1], "not an IPv4 address");
    }
    to.sin_port = htons(number("PORT", argv[2]));
    load.kind = find_kind(argv[3]);
    load.connections = number("CONNECTIONS", argv[4]);
    rate = number("RATE", argv[5]);
    load.depth = number("PIPELINE", argv[6]);
    value_size = number("SIZE", argv[7]);
    key_count = number("KEYS", argv[8]);
    warmup = seconds("WARMUP", argv[9]);
    measured = seconds("SECONDS", argv[10]);
    if (!load.connections || !value_size || !key_count) {
        die("CONNECTIONS, SIZE and KEYS", "must be at least 1");
    }
    if (load.depth < 1 || load.depth > DEPTH) {
        die("PIPELINE", "must be from 1 to 64");
    }
    if (rate) {
        load.period = load.connections * SECOND / rate;
        load.depth = DEPTH;
    }
    if (load.kind->steps > 1) {
        load.depth = 1;
    }
    load.request = malloc(DEPTH * (value_size + REQUEST_MORE));
    load.answer_max = DEPTH * (value_size + ANSWER_MORE);
    load.all = calloc(load.connections, sizeof(*load.all));
    if (!load.request || !load.all) {
        die("cannot start", "out of memory");
    }
    sigaction(SIGTERM, &handler, NULL);
    sigaction(SIGUSR1, &handler, NULL);
    epoll = connect_all(&to);

    start = now_ns();
    for (size_t i = 0; i < load.connections; i++) {
        load.all[i].due = start + (rate ? i * SECOND / rate : 0);
    }
    run(epoll, start, start + warmup * SECOND, false);
    printf("start\n");
    fflush(stdout);
    start = now_ns();
    last = run(epoll, start, start + measured * SECOND, true);
    print_results(start, last, now_ns());
    return 0;
}
