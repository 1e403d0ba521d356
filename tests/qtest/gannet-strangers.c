/*
 * Who connects to a replica of a disk, or listens for one, and is none
 *
 * The other side is a bare socket here, which the test moves by hand.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <poll.h>
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "io/channel-socket.h"
#include "gannet-side.h"

#define PATIENT 5000 /* ms: no timeout is meant to pass */
#define HASTY 1000

/* --- a bare socket -------------------------------------------------------- */

static int knock(Pair *pair)
{
    return socket_connect(pair->address, &error_abort);
}

static void wait_for(int fd, short events)
{
    struct pollfd pfd = { .fd = fd, .events = events };

    g_assert_cmpint(poll(&pfd, 1, SIDE_DEADLINE / 1000), ==, 1);
}

/* Fails where the other side has gone. */
static bool put(int fd, const void *data, size_t size)
{
    return send(fd, data, size, MSG_NOSIGNAL) == size;
}

static void put_message(int fd, const GannetMessage *message,
                        const void *payload)
{
    uint8_t header[GANNET_WIRE_HEADER];

    gannet_wire_encode(message, payload, header);
    g_assert_true(put(fd, header, sizeof(header)));
    g_assert_true(!message->payload || put(fd, payload, message->payload));
}

static void put_hello(int fd, GannetRole role, uint32_t timeout_ms)
{
    const GannetHello hello = {
        .version = GANNET_WIRE_VERSION,
        .speaks = { 1, 1 },
        .role = role,
        .disk = "disk0",
        .size = SIDE_DISK_SIZE,
        .timeout_ms = timeout_ms,
    };
    g_autoptr(GBytes) payload = gannet_hello_encode(&hello);
    const GannetMessage message = {
        .type = GANNET_HELLO,
        .payload = g_bytes_get_size(payload),
    };

    put_message(fd, &message, g_bytes_get_data(payload, NULL));
}

/* False at the end. */
static bool get(int fd, void *data, size_t size)
{
    for (size_t n = 0; n < size;) {
        ssize_t got;

        wait_for(fd, POLLIN);
        got = recv(fd, data + n, size - n, 0);
        if (got <= 0) {
            return false;
        }
        n += got;
    }
    return true;
}

static bool get_message(int fd, GannetMessage *message, char *payload)
{
    uint8_t header[GANNET_WIRE_HEADER];
    g_autoptr(GError) err = NULL;

    if (!get(fd, header, sizeof(header))) {
        return false;
    }
    gannet_wire_decode(header, SIDE_DISK_SIZE, message, &err);
    g_assert_no_error(err);
    g_assert_cmpuint(message->payload, <=, GANNET_WIRE_MAX_TEXT);
    g_assert_true(get(fd, payload, message->payload));
    payload[message->payload] = 0;
    return true;
}

static void expect(int fd, GannetMessageType type)
{
    char payload[GANNET_WIRE_MAX_TEXT + 1];
    GannetMessage message;

    g_assert_true(get_message(fd, &message, payload));
    g_assert_cmpint(message.type, ==, type);
}

/* REFUSE, maybe after signs of life, and the end; closes. */
static void expect_refusal(int fd, const char *pattern)
{
    char payload[GANNET_WIRE_MAX_TEXT + 1];
    GannetMessage message;

    do {
        g_assert_true(get_message(fd, &message, payload));
    } while (message.type == GANNET_PING || message.type == GANNET_PONG);
    g_assert_cmpint(message.type, ==, GANNET_REFUSE);
    if (!g_pattern_match_simple(pattern, payload)) {
        g_error("refused with '%s', not with '%s'", payload, pattern);
    }
    g_assert_false(get_message(fd, &message, payload));
    close(fd);
}

/* The end, whatever comes before it; closes. */
static void expect_end(int fd)
{
    char bytes[256];

    while (get(fd, bytes, 1)) {
        ;
    }
    close(fd);
}

/* --- strangers at a secondary --------------------------------------------- */

static Pair *listening(uint32_t timeout_ms)
{
    Pair *pair = pair_new(true, timeout_ms);

    pair_listen(pair);
    return pair;
}

/* Nothing that was done has kept a primary out. */
static void check_open(Pair *pair)
{
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);
    side_send_mark(pair->primary, 1);
    side_wait_received(pair->secondary, 1);
    pair_free(pair);
}

static void garbage_is_refused(void)
{
    Pair *pair = listening(PATIENT);
    int fd = knock(pair);
    uint8_t bytes[1000];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = g_test_rand_int_range(0, 256);
    }
    bytes[0] = 'X';
    put(fd, bytes, sizeof(bytes));
    expect_refusal(fd, "the primary at tcp:* sent what cannot be: no message "
                   "of gannet: it begins with 58 *");
    pair_wait_refused(pair, 1);
    check_open(pair);
}

static void who_leaves_at_once_is_counted(void)
{
    Pair *pair = listening(PATIENT);

    close(knock(pair));
    pair_wait_refused(pair, 1);
    check_open(pair);
}

static void half_a_header_has_a_deadline(void)
{
    Pair *pair = listening(HASTY);
    int fd = knock(pair);

    put(fd, "GNNT", 4);
    expect_end(fd);
    pair_wait_refused(pair, 1);
    check_open(pair);
}

static void a_slow_hello_has_a_deadline(void)
{
    Pair *pair = listening(HASTY);
    uint8_t header[GANNET_WIRE_HEADER];
    GannetMessage message = { .type = GANNET_HELLO, .payload = 4096 };
    uint8_t payload[4096] = { 0 };
    int64_t start = g_get_monotonic_time();
    struct pollfd pfd = { .fd = knock(pair), .events = POLLRDHUP };

    gannet_wire_encode(&message, payload, header);
    for (size_t i = 0; i < sizeof(payload); i++) {
        put(pfd.fd, i < sizeof(header) ? &header[i] : &payload[i], 1);
        if (poll(&pfd, 1, 10)) {
            break;
        }
    }
    g_assert_cmpint(g_get_monotonic_time() - start, <, SIDE_DEADLINE);
    close(pfd.fd);
    pair_wait_refused(pair, 1);
    check_open(pair);
}

static void long_payloads_are_not_waited_for(void)
{
    Pair *pair = listening(PATIENT);
    uint8_t header[GANNET_WIRE_HEADER];
    GannetMessage message = { .type = GANNET_HELLO };
    int fd = knock(pair);

    gannet_wire_encode(&message, NULL, header);
    memset(header + 8, 0xff, 4);
    put(fd, header, sizeof(header));
    expect_refusal(fd, "*: HELLO: a payload of 4294967295 bytes *");
    pair_wait_refused(pair, 1);
    check_open(pair);
}

static void hello_comes_first(void)
{
    Pair *pair = listening(PATIENT);
    const GannetMessage message = {
        .type = GANNET_INTENTS,
        .payload = GANNET_WIRE_MAX_INTENTS,
    };
    g_autofree uint8_t *payload = g_malloc0(message.payload);
    uint8_t header[GANNET_WIRE_HEADER];
    int fd = knock(pair);

    gannet_wire_encode(&message, payload, header);
    put(fd, header, sizeof(header));
    expect_refusal(fd, "* sent INTENTS instead of HELLO");
    check_open(pair);
}

static void another_version_is_refused(void)
{
    Pair *pair = listening(PATIENT);
    const GannetMessage message = { .type = GANNET_HELLO, .payload = 4 };
    int fd = knock(pair);

    put_message(fd, &message, "\0\0\0\x63");
    expect_refusal(fd, "* version 99, the other's of version 1: *");
    check_open(pair);
}

static void a_secondary_is_no_primary(void)
{
    Pair *pair = listening(PATIENT);
    int fd = knock(pair);

    put_hello(fd, GANNET_SECONDARY, PATIENT);
    expect_refusal(fd, "* is a secondary itself: *");
    check_open(pair);
}

static void many_strangers_keep_nobody_out(void)
{
    Pair *pair = listening(PATIENT);
    int fds[200];

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = knock(pair);
    }
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        int fd = knock(pair);

        put(fd, "GNNT", 4);
        side_send_mark(pair->primary, i + 1);
        side_wait_received(pair->secondary, i + 1);
        close(fds[i]);
        close(fd);
    }
    pair_wait_refused(pair, 2 * ARRAY_SIZE(fds));
    g_assert_cmpuint(pair->primary->closes, ==, 0);
    pair_free(pair);
}

static void who_leaves_before_being_let_in_holds_up_nobody(void)
{
    const struct linger linger = { .l_onoff = 1 };
    Pair *pair = listening(PATIENT);

    for (unsigned i = 0; i < 300; i++) {
        int fd = knock(pair);

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fd);
    }
    check_open(pair);
}

/* --- a primary that is none ----------------------------------------------- */

static int primary_by_hand(Pair *pair, uint32_t timeout_ms)
{
    int fd = knock(pair);

    put_hello(fd, GANNET_PRIMARY, timeout_ms);
    expect(fd, GANNET_HELLO);
    return fd;
}

static void a_primary_hears_that_the_other_lives(void)
{
    Pair *pair = listening(PATIENT);
    int fd = primary_by_hand(pair, 30);

    for (unsigned i = 0; i < 3; i++) {
        expect(fd, GANNET_PONG);
    }
    close(fd);
    side_wait_closed(pair->secondary, "the primary at tcp:* closed the "
                     "connection");
    pair_free(pair);
}

static void a_question_is_answered_at_once(void)
{
    Pair *pair = listening(60000);
    int fd = primary_by_hand(pair, 60000);
    const GannetMessage ping = { .type = GANNET_PING };

    put_message(fd, &ping, NULL);
    expect(fd, GANNET_PONG);
    close(fd);
    pair_free(pair);
}

static void a_silent_primary_is_given_up(void)
{
    Pair *pair = listening(HASTY);
    int fd = primary_by_hand(pair, PATIENT);

    side_wait_closed(pair->secondary, "no answer from the primary at tcp:* for "
                     "1000 ms");
    close(fd);
    pair_free(pair);
}

static void a_primary_that_does_not_read_is_given_up(void)
{
    Pair *pair = listening(HASTY);
    int fd = primary_by_hand(pair, PATIENT);
    const GannetMessage ping = { .type = GANNET_PING };

    for (unsigned i = 1; i < 200000; i++) {
        side_send_mark(pair->secondary, i);
    }
    while (!side_is_closed(pair->secondary)) {
        struct pollfd pfd = { .fd = fd, .events = POLLERR };
        uint8_t header[GANNET_WIRE_HEADER];

        gannet_wire_encode(&ping, NULL, header);
        send(fd, header, sizeof(header), MSG_NOSIGNAL | MSG_DONTWAIT);
        poll(&pfd, 1, HASTY / 10);
    }
    side_wait_closed(pair->secondary, "the primary at tcp:* took nothing for "
                     "1000 ms");
    g_assert_cmpuint(pair->secondary->broken, ==, 1);
    close(fd);
    pair_free(pair);
}

static void a_reset_ends_it_at_once(void)
{
    const struct linger linger = { .l_onoff = 1 };
    Pair *pair = listening(60000);
    int fd = primary_by_hand(pair, 60000);

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
    side_wait_closed(pair->secondary, "the connection to the primary at tcp:* "
                     "was lost: *");
    pair_free(pair);
}

static void damage_is_noticed(void)
{
    Pair *pair = listening(PATIENT);
    int fd = primary_by_hand(pair, PATIENT);
    uint8_t bytes[GANNET_WIRE_HEADER + GANNET_SECTOR] = { 0 };
    const GannetMessage message = {
        .type = GANNET_WRITE,
        .bytes = GANNET_SECTOR,
        .payload = GANNET_SECTOR,
    };

    gannet_wire_encode(&message, bytes + GANNET_WIRE_HEADER, bytes);
    bytes[GANNET_WIRE_HEADER + 100] ^= 0x10;
    put(fd, bytes, sizeof(bytes));
    expect_refusal(fd, "*: WRITE: wrong checksum: *");
    side_wait_closed(pair->secondary, "*: WRITE: wrong checksum: *");
    g_assert_cmpuint(pair->secondary->received->len, ==, 0);
    pair_free(pair);
}

static void what_does_not_belong_here_is_refused(void)
{
    Pair *pair = listening(PATIENT);
    int fd = primary_by_hand(pair, PATIENT);

    put_hello(fd, GANNET_PRIMARY, PATIENT);
    expect_refusal(fd, "*sent HELLO, which does not belong here");
    side_wait_closed(pair->secondary, "*sent HELLO, which does not belong *");
    pair_free(pair);
}

/* --- a secondary that is none --------------------------------------------- */

/* A primary connects to it; returns that socket. */
static int secondary_by_hand(Pair *pair)
{
    int listening = socket_listen(pair->address, 1, &error_abort);
    int fd;

    pair_connect(pair);
    wait_for(listening, POLLIN);
    fd = accept(listening, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(listening);
    expect(fd, GANNET_HELLO);
    return fd;
}

static void a_secondary_hears_that_the_other_lives(void)
{
    Pair *pair = pair_new(true, PATIENT);
    int fd = secondary_by_hand(pair);

    put_hello(fd, GANNET_SECONDARY, 30);
    for (unsigned i = 0; i < 3; i++) {
        expect(fd, GANNET_PING);
    }
    close(fd);
    side_wait_closed(pair->primary, "the secondary at tcp:* closed the "
                     "connection");
    pair_free(pair);
}

static void a_silent_secondary_is_given_up(void)
{
    Pair *pair = pair_new(true, HASTY);
    int fd = secondary_by_hand(pair);

    put_hello(fd, GANNET_SECONDARY, PATIENT);
    side_wait_closed(pair->primary, "no answer from the secondary at tcp:* for "
                     "1000 ms");
    close(fd);
    pair_free(pair);
}

static void a_secondary_that_takes_no_data_and_is_silent_is_given_up(void)
{
    Pair *pair = pair_new(true, HASTY);
    int fd;

    for (unsigned i = 0; i < 16; i++) {
        side_send_write(pair->primary, 0, GANNET_MAX_WRITE);
    }
    fd = secondary_by_hand(pair);
    put_hello(fd, GANNET_SECONDARY, PATIENT);
    side_wait_closed(pair->primary, "no answer from the secondary at tcp:* for "
                     "1000 ms");
    close(fd);
    pair_free(pair);
}

static void a_secondary_without_an_answer_is_given_up(void)
{
    Pair *pair = pair_new(true, HASTY);
    int fd = secondary_by_hand(pair);

    side_wait_closed(pair->primary, "no answer from the secondary at tcp:* for "
                     "1000 ms");
    g_assert_cmpuint(pair->primary->connects, ==, 0);
    close(fd);
    pair_free(pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

#define TEST(function) g_test_add_func("/gannet-strangers/" #function, function)
    TEST(garbage_is_refused);
    TEST(who_leaves_at_once_is_counted);
    TEST(half_a_header_has_a_deadline);
    TEST(a_slow_hello_has_a_deadline);
    TEST(long_payloads_are_not_waited_for);
    TEST(hello_comes_first);
    TEST(another_version_is_refused);
    TEST(a_secondary_is_no_primary);
    TEST(many_strangers_keep_nobody_out);
    TEST(who_leaves_before_being_let_in_holds_up_nobody);
    TEST(a_primary_hears_that_the_other_lives);
    TEST(a_question_is_answered_at_once);
    TEST(a_silent_primary_is_given_up);
    TEST(a_primary_that_does_not_read_is_given_up);
    TEST(a_reset_ends_it_at_once);
    TEST(damage_is_noticed);
    TEST(what_does_not_belong_here_is_refused);
    TEST(a_secondary_hears_that_the_other_lives);
    TEST(a_silent_secondary_is_given_up);
    TEST(a_secondary_that_takes_no_data_and_is_silent_is_given_up);
    TEST(a_secondary_without_an_answer_is_given_up);
    return g_test_run();
}
