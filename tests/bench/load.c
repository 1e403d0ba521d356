/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client that tells every latency.
 *
 *   load ADDRESS PORT KIND CONNECTIONS RATE SIZE KEYS WARMUP SECONDS
 *
 * KIND is what is asked for:
 *
 *   set, get  a random one of KEYS keys of Redis (key:0, key:1, ...), values of
 *             SIZE bytes
 *   grow      a key that Redis does not have yet is set, to SIZE bytes
 *   http      GET of the file of SIZE bytes, whole KiB: /1k, /10k, ...
 *   sqlite    a row with SIZE bytes of text is inserted into the table "load"
 *
 * RATE is how many requests there are in a second, on all connections together.
 * A request is then sent when it is due, up to 64 on a connection before the
 * first of them is answered, and latency counts from when it was due, even if
 * it could not be sent then. 0: each answer is followed by the next request at
 * once. The first WARMUP seconds are not measured. On standard output:
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
#define DEPTH 64

typedef struct Connection {
    int fd;
    uint64_t due;               /* when the next request is to be sent */
    uint64_t sent[DEPTH];       /* when those under way were due, a ring */
    unsigned first;
    unsigned under_way;
    size_t want;                /* size of the answer, 0 until known */
    size_t have;
    char *answer;
} Connection;

/* How a kind of request is asked for and answered. */
typedef struct Kind {
    const char *name;
    /* Writes a request to load.request; its size. */
    size_t (*ask)(void);
    /* The size of the answer, once that can be told; 0 before. */
    size_t (*parse)(const char *answer, size_t have);
} Kind;

static struct {
    Connection *all;
    size_t connections;
    const Kind *kind;
    size_t size;
    uint64_t keys;
    uint64_t period;            /* between requests of a connection, ns */
    unsigned depth;             /* requests under way on a connection */
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

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
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

/* Text of load.size bytes, without quotes or line ends. */
static size_t random_text(char *to)
{
    for (size_t i = 0; i < load.size; i++) {
        to[i] = 'a' + next_random() % 26;
    }
    return load.size;
}

static size_t random_bytes(char *to)
{
    for (size_t i = 0; i < load.size; i += 8) {
        uint64_t word = next_random() | 0x0101010101010101ull;
        size_t left = load.size - i;

        memcpy(to + i, &word, left < 8 ? left : 8);
    }
    return load.size;
}

static size_t ask_set(const char *key)
{
    size_t size = sprintf(load.request,
                          "*3\r\n$3\r\nset\r\n$%zu\r\n%s\r\n$%zu\r\n",
                          strlen(key), key, load.size);

    size += random_bytes(load.request + size);
    memcpy(load.request + size, "\r\n", 2);
    return size + 2;
}

static const char *random_key(void)
{
    static char key[32];

    snprintf(key, sizeof(key), "key:%llu",
             (unsigned long long)(next_random() % load.keys));
    return key;
}

static size_t set_ask(void)
{
    return ask_set(random_key());
}

static size_t get_ask(void)
{
    const char *key = random_key();

    return sprintf(load.request, "*2\r\n$3\r\nget\r\n$%zu\r\n%s\r\n",
                   strlen(key), key);
}

static size_t grow_ask(void)
{
    static uint64_t run, count;
    char key[64];

    if (!run) {
        run = now_ns();         /* other runs had other keys */
    }
    snprintf(key, sizeof(key), "new:%llu:%llu", (unsigned long long)run,
             (unsigned long long)count++);
    return ask_set(key);
}

static size_t redis_parse(const char *answer, size_t have)
{
    const char *end = memchr(answer, '\n', have);
    size_t want;

    if (!end) {
        return 0;
    }
    want = end + 1 - answer;
    if (answer[0] == '$') {
        size_t size;

        if (sscanf(answer + 1, "%zu", &size) != 1 || size != load.size) {
            die("a value of the wrong size", answer);
        }
        want += size + 2;
    } else if (answer[0] != '+') {
        die("the server answered", answer);
    }
    return want;
}

static size_t http_ask(void)
{
    return sprintf(load.request, "GET /%zuk HTTP/1.1\r\nHost: guest\r\n\r\n",
                   load.size / 1024);
}

static size_t http_parse(const char *answer, size_t have)
{
    static const char length[] = "\r\nContent-Length: ";
    const char *end = memmem(answer, have, "\r\n\r\n", 4);
    const char *found;
    size_t size;

    if (!end) {
        return 0;
    }
    found = memmem(answer, end - answer, length, strlen(length));
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !found ||
        sscanf(found + strlen(length), "%zu", &size) != 1 ||
        size != load.size) {
        die("the server answered", answer);
    }
    return end + 4 - answer + size;
}

static size_t sqlite_ask(void)
{
    size_t size = sprintf(load.request, "INSERT INTO load VALUES('");

    size += random_text(load.request + size);
    return size + sprintf(load.request + size, "'); SELECT 1;\n");
}

static size_t sqlite_parse(const char *answer, size_t have)
{
    if (!memchr(answer, '\n', have)) {
        return 0;
    }
    if (strncmp(answer, "1\n", 2) != 0) {
        die("the server answered", answer);
    }
    return 2;
}

static const Kind kinds[] = {
    { "set", set_ask, redis_parse },
    { "get", get_ask, redis_parse },
    { "grow", grow_ask, redis_parse },
    { "http", http_ask, http_parse },
    { "sqlite", sqlite_ask, sqlite_parse },
};

static const Kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    die(name, "must be set, get, grow, http or sqlite");
}

/* What is under way is small: the socket takes it, or something is wrong. */
static void send_request(Connection *c)
{
    size_t size = load.kind->ask();

    c->sent[(c->first + c->under_way++) % DEPTH] = c->due;
    if (send(c->fd, load.request, size, MSG_NOSIGNAL) != (ssize_t)size) {
        die("cannot send", strerror(errno));
    }
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
    int buffer = DEPTH * (load.size + 256);

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

        while (c->under_way < load.depth && c->due <= now) {
            send_request(c);
            c->due += load.period;
        }
        if (c->under_way < load.depth && c->due < next) {
            next = c->due;
        }
    }
    return next;
}

/* An answer came @now, to the oldest request under way; when that was due. */
static uint64_t answer(Connection *c, uint64_t now)
{
    uint64_t due = c->sent[c->first];

    c->first = (c->first + 1) % DEPTH;
    c->under_way--;
    if (!load.period) {
        c->due = now;
        send_request(c);
    }
    return due;
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

            receive(c);
            while (take_answer(c)) {
                uint64_t due;

                last = now_ns();
                due = answer(c, last);
                if (measure && last < end) {
                    note(last - due);
                }
            }
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
        fprintf(stderr, "usage: load ADDRESS PORT KIND CONNECTIONS RATE SIZE "
                "KEYS WARMUP SECONDS\n");
        return 2;
    }
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        die(argv[1], "not an IPv4 address");
    }
    to.sin_port = htons(number("PORT", argv[2]));
    load.kind = find_kind(argv[3]);
    load.connections = number("CONNECTIONS", argv[4]);
    rate = number("RATE", argv[5]);
    load.size = number("SIZE", argv[6]);
    load.keys = number("KEYS", argv[7]);
    warmup = seconds("WARMUP", argv[8]);
    measured = seconds("SECONDS", argv[9]);
    if (!load.connections || !load.size || !load.keys) {
        die("CONNECTIONS, SIZE and KEYS", "must be at least 1");
    }
    load.request = malloc(load.size + 256);
    load.answer_max = DEPTH * (load.size + 512);
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
    load.depth = rate ? DEPTH : 1;
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
