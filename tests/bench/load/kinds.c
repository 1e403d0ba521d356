/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "kinds.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define PGBENCH_ACCOUNTS 100000
#define PGBENCH_TELLERS 10

size_t value_size;
uint64_t key_count;

/* xorshift64: the same keys in every run */
uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Letters: neither quotes nor line ends. */
static size_t random_text(char *to)
{
    for (size_t i = 0; i < value_size; i++) {
        to[i] = 'a' + next_random() % 26;
    }
    return value_size;
}

static size_t random_bytes(char *to)
{
    for (size_t i = 0; i < value_size; i += 8) {
        uint64_t word = next_random() | 0x0101010101010101ull;
        size_t left = value_size - i;

        memcpy(to + i, &word, left < 8 ? left : 8);
    }
    return value_size;
}

static void expect(const char *answer, size_t have, const char *begin)
{
    if (have < strlen(begin) || strncmp(answer, begin, strlen(begin)) != 0) {
        die("the server answered", answer);
    }
}

/* --- Redis --------------------------------------------------------------- */

static size_t ask_set(char *to, const char *key)
{
    size_t size = sprintf(to, "*3\r\n$3\r\nset\r\n$%zu\r\n%s\r\n$%zu\r\n",
                          strlen(key), key, value_size);

    size += random_bytes(to + size);
    memcpy(to + size, "\r\n", 2);
    return size + 2;
}

static const char *random_key(const Ask *ask)
{
    static char key[32];

    snprintf(key, sizeof(key), "item:%llu",
             (unsigned long long)(ask->dice % key_count));
    return key;
}

static size_t set_ask(const Ask *ask)
{
    return ask_set(ask->to, random_key(ask));
}

static size_t get_ask(const Ask *ask)
{
    const char *key = random_key(ask);

    return sprintf(ask->to, "*2\r\n$3\r\nget\r\n$%zu\r\n%s\r\n",
                   strlen(key), key);
}

static size_t grow_ask(const Ask *ask)
{
    static uint64_t run, count;
    char key[64];

    if (!run) {
        run = now_ns();         /* other runs had other keys */
    }
    snprintf(key, sizeof(key), "new:%llu:%llu", (unsigned long long)run,
             (unsigned long long)count++);
    return ask_set(ask->to, key);
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

        if (sscanf(answer + 1, "%zu", &size) != 1 || size != value_size) {
            die("a value of the wrong size", answer);
        }
        want += size + 2;
    } else if (answer[0] != '+') {
        die("the server answered", answer);
    }
    return want;
}

/* --- HTTP ---------------------------------------------------------------- */

/* The size of an answer of @body bytes, or more than none if that is 0. */
static size_t parse_http(const char *answer, size_t have, size_t body)
{
    static const char length[] = "\r\nContent-Length: ";
    const char *end = memmem(answer, have, "\r\n\r\n", 4);
    const char *found;
    size_t size;

    if (!end) {
        return 0;
    }
    expect(answer, have, "HTTP/1.1 200 ");
    found = memmem(answer, end - answer, length, strlen(length));
    if (!found || sscanf(found + strlen(length), "%zu", &size) != 1 ||
        (body ? size != body : size > value_size + 64)) {
        die("the server answered", answer);
    }
    return end + 4 - answer + size;
}

static size_t http_ask(const Ask *ask)
{
    return sprintf(ask->to, "GET /%zuk HTTP/1.1\r\nHost: guest\r\n\r\n",
                   value_size / 1024);
}

static size_t http_parse(const char *answer, size_t have)
{
    return parse_http(answer, have, value_size);
}

/* --- SQLite over HTTP: a row is added, a row that is there is read -------- */

static uint64_t rows;           /* how many there are at least */

static size_t rows_ask(const Ask *ask)
{
    static uint64_t count;
    size_t size;

    if (rows && count++ % 2) {
        return sprintf(ask->to,
                       "GET /rows/%llu HTTP/1.1\r\nHost: guest\r\n\r\n",
                       (unsigned long long)(ask->dice % rows + 1));
    }
    size = sprintf(ask->to, "POST /rows?text=");
    size += random_text(ask->to + size);
    return size + sprintf(ask->to + size, " HTTP/1.1\r\nHost: guest\r\n\r\n");
}

static size_t rows_parse(const char *answer, size_t have)
{
    static const char mark[] = "{\"id\":";
    size_t size = parse_http(answer, have, 0);
    unsigned long long row;
    const char *body;

    if (!size || have < size) {
        return 0;
    }
    body = memmem(answer, size, mark, strlen(mark));
    if (!body || sscanf(body + strlen(mark), "%llu", &row) != 1) {
        die("the server answered", answer);
    }
    if (row > rows) {
        rows = row;
    }
    return size;
}

/* --- lines --------------------------------------------------------------- */

static size_t sqlite_ask(const Ask *ask)
{
    size_t size = sprintf(ask->to, "INSERT INTO load VALUES('");

    size += random_text(ask->to + size);
    return size + sprintf(ask->to + size, "'); SELECT 1;\n");
}

static size_t sqlite_parse(const char *answer, size_t have)
{
    if (!memchr(answer, '\n', have)) {
        return 0;
    }
    expect(answer, have, "1\n");
    return 2;
}

static size_t echo_ask(const Ask *ask)
{
    size_t size = random_text(ask->to);

    ask->to[size] = '\n';
    return size + 1;
}

static size_t echo_parse(const char *answer, size_t have)
{
    const char *end = memchr(answer, '\n', have);

    return end ? end + 1 - answer : 0;
}

/* --- PostgreSQL: what "pgbench -N" does, with its tables of scale 1 ------- */

static size_t pgbench_hello(char *to)
{
    static const char words[] = "user\0postgres\0database\0postgres\0";
    uint32_t size = 8 + sizeof(words);
    uint32_t head[2] = { htonl(size), htonl(3 << 16) };

    memcpy(to, head, 8);
    memcpy(to + 8, words, sizeof(words));
    return size;
}

static size_t pgbench_ask(const Ask *ask)
{
    static const char *const plain[] = { [0] = "BEGIN;", [4] = "END;" };
    unsigned account = ask->dice % PGBENCH_ACCOUNTS + 1;
    unsigned teller = ask->dice / 7 % PGBENCH_TELLERS + 1;
    int delta = ask->dice / 11 % 10001 - 5000;
    char *text = ask->to + 5;
    uint32_t size;

    switch (ask->step) {
    case 1:
        size = sprintf(text, "UPDATE pgbench_accounts SET abalance = "
                       "abalance + %d WHERE aid = %u;", delta, account);
        break;
    case 2:
        size = sprintf(text, "SELECT abalance FROM pgbench_accounts WHERE "
                       "aid = %u;", account);
        break;
    case 3:
        size = sprintf(text, "INSERT INTO pgbench_history (tid, bid, aid, "
                       "delta, mtime) VALUES (%u, 1, %u, %d, "
                       "CURRENT_TIMESTAMP);", teller, account, delta);
        break;
    default:
        size = sprintf(text, "%s", plain[ask->step]);
    }
    ask->to[0] = 'Q';
    size = htonl(size + 5);
    memcpy(ask->to + 1, &size, 4);
    return ntohl(size) + 1;
}

/* An error has fields: a letter and a string. "M" is the message. */
static _Noreturn void die_of_error(const char *field, const char *end)
{
    while (field < end && *field && *field != 'M') {
        field += strlen(field) + 1;
    }
    die("the server answered", field < end ? field : "an error");
}

/* Messages up to the one that says that the next may come. */
static size_t pgbench_parse(const char *answer, size_t have)
{
    size_t place = 0;

    while (have - place >= 5) {
        uint32_t size;

        memcpy(&size, answer + place + 1, 4);
        if (answer[place] == 'E') {
            die_of_error(answer + place + 5, answer + have);
        }
        if (answer[place] == 'Z') {
            return place + 1 + ntohl(size);
        }
        place += 1 + ntohl(size);
        if (place > have) {
            break;
        }
    }
    return 0;
}

static const Kind kinds[] = {
    { "set", 1, NULL, set_ask, redis_parse },
    { "get", 1, NULL, get_ask, redis_parse },
    { "grow", 1, NULL, grow_ask, redis_parse },
    { "http", 1, NULL, http_ask, http_parse },
    { "sqlite", 1, NULL, sqlite_ask, sqlite_parse },
    { "rows", 1, NULL, rows_ask, rows_parse },
    { "echo", 1, NULL, echo_ask, echo_parse },
    { "pgbench", 5, pgbench_hello, pgbench_ask, pgbench_parse },
};

const Kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    die(name, "no such kind of load");
}
