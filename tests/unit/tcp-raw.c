/*
 * The other end of a TCP transport's connection, byte by byte
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "colo-net/apus/runtime/address.h"
#include "tests/unit/tcp-raw.h"

void raw_call(Raw *raw, Nodes *nodes, ApusId to)
{
    g_autoptr(GError) error = NULL;
    ApusAddress address;

    memset(raw, 0, sizeof(*raw));
    raw->nodes = nodes;
    apus_address_parse(&address, nodes->node[to].address, FALSE, &error);
    g_assert_no_error(error);
    raw->fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(raw->fd, (void *)&address.storage, address.size),
                    ==, 0);
}

int raw_listen(char **text)
{
    g_autoptr(GError) error = NULL;
    ApusAddress address;
    int fd;

    apus_address_parse(&address, "127.0.0.1:0", TRUE, &error);
    g_assert_no_error(error);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (void *)&address.storage, address.size), ==, 0);
    g_assert_cmpint(listen(fd, 16), ==, 0);
    getsockname(fd, (void *)&address.storage, &address.size);
    *text = apus_address_text(&address);
    return fd;
}

gboolean raw_can_accept(int listener)
{
    struct pollfd ask = { .fd = listener, .events = POLLIN };

    return poll(&ask, 1, 0) > 0;
}

void raw_accept(Raw *raw, Nodes *nodes, int listener)
{
    memset(raw, 0, sizeof(*raw));
    raw->nodes = nodes;
    nodes_until(nodes, raw_can_accept(listener));
    raw->fd = accept(listener, NULL, NULL);
    g_assert_cmpint(raw->fd, >=, 0);
}

void raw_close(Raw *raw)
{
    close(raw->fd);
    raw->fd = -1;
}

void raw_write(Raw *raw, const void *data, size_t size)
{
    const uint8_t *from = data;

    while (size > 0) {
        ssize_t n = send(raw->fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            nodes_round(raw->nodes);
            continue;
        }
        from += n;
        size -= n;
    }
}

gssize raw_try(Raw *raw, void *data, size_t size)
{
    ssize_t n = recv(raw->fd, data, size, MSG_DONTWAIT);

    if (n > 0) {
        return n;
    }
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

void raw_read(Raw *raw, void *data, size_t size)
{
    uint8_t *to = data;
    gssize n;

    while (size > 0) {
        nodes_until(raw->nodes, (n = raw_try(raw, to, size)) != 0);
        g_assert_cmpint(n, >, 0);
        to += n;
        size -= n;
    }
}

void raw_wait_for_end(Raw *raw)
{
    uint8_t bytes[4096];
    gssize n;

    do {
        nodes_until(raw->nodes,
                    (n = raw_try(raw, bytes, sizeof(bytes))) != 0);
    } while (n > 0);
}

void raw_prepare(Raw *raw, ApusId from, ApusId to, uint64_t life)
{
    raw->mine = (ApusHello) {
        .from = from,
        .to = to,
        .version = 1,
        .cluster = apus_hello_cluster(NODES_CLUSTER),
        .life = life,
        .incarnation = life + 1000,
        .ring_size = NODES_RING,
        .nonce = { 1, 2, 3 },
    };
}

void raw_mac(Raw *raw, const char *key, gboolean caller, gboolean called,
             uint8_t mac[APUS_MAC_SIZE])
{
    apus_hello_mac(mac, (const uint8_t *)key, key ? strlen(key) : 0,
                   NODES_CLUSTER, caller,
                   called ? raw->theirs_bytes : raw->mine_bytes,
                   called ? raw->mine_bytes : raw->theirs_bytes);
}

static void read_theirs(Raw *raw)
{
    g_autoptr(GError) error = NULL;

    raw_read(raw, raw->theirs_bytes, APUS_HELLO_SIZE);
    apus_hello_decode(&raw->theirs, raw->theirs_bytes, &error);
    g_assert_no_error(error);
}

static void say_mine(Raw *raw)
{
    apus_hello_encode(raw->mine_bytes, &raw->mine);
    raw_write(raw, raw->mine_bytes, APUS_HELLO_SIZE);
}

static void prove(Raw *raw, const char *key, gboolean called)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE];

    raw_mac(raw, key, !called, called, mac);
    apus_proof_encode(proof, raw->mine.version, mac);
    raw_write(raw, proof, sizeof(proof));
}

void raw_say_hello(Raw *raw, const char *key)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE];

    raw->mine.keyed = key != NULL;
    say_mine(raw);
    read_theirs(raw);
    raw_read(raw, proof, sizeof(proof));
    raw_mac(raw, key, FALSE, FALSE, mac);
    g_assert_true(apus_proof_check(proof, mac));
}

void raw_prove(Raw *raw, const char *key)
{
    prove(raw, key, FALSE);
}

ApusAnswer raw_answer(Raw *raw)
{
    uint8_t answer[APUS_ANSWER_SIZE];
    g_autoptr(GError) error = NULL;
    ApusAnswer result;

    raw_read(raw, answer, sizeof(answer));
    apus_answer_decode(&result, answer, &error);
    g_assert_no_error(error);
    return result;
}

ApusAnswer raw_greet(Raw *raw, const char *key)
{
    raw_say_hello(raw, key);
    raw_prove(raw, key);
    return raw_answer(raw);
}

void raw_welcome(Raw *raw)
{
    uint8_t proof[APUS_PROOF_SIZE], answer[APUS_ANSWER_SIZE];

    read_theirs(raw);
    say_mine(raw);
    prove(raw, NULL, TRUE);
    raw_read(raw, proof, sizeof(proof));
    apus_answer_encode(answer, raw->mine.version, APUS_ANSWER_WELCOME);
    raw_write(raw, answer, sizeof(answer));
}

void raw_be_looked_at(const Raw *raw, int listener)
{
    Raw look;

    raw_accept(&look, raw->nodes, listener);
    look.mine = raw->mine;
    read_theirs(&look);
    say_mine(&look);
    prove(&look, NULL, TRUE);
    raw_wait_for_end(&look);
    raw_close(&look);
}

GByteArray *raw_frame(Raw *raw, const GByteArray *records)
{
    GByteArray *frame = g_byte_array_new();
    uint8_t head[APUS_WIRE_MAX_HEAD];
    ApusMessage message = {
        .type = APUS_MESSAGE_ENTRIES,
        .from = raw->mine.from,
        .to = raw->mine.to,
        .from_life = raw->mine.life,
        .to_life = raw->theirs.life,
        .generation = 1,
        .term = 1,
    };

    if (records) {
        message.entries.records.data[0] = records->data;
        message.entries.records.size[0] = records->len;
    }
    g_byte_array_append(frame, head, apus_wire_head(head, &message));
    if (records) {
        g_byte_array_append(frame, records->data, records->len);
    }
    return frame;
}
