/*
 * The TCP transport: who is not who he should be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <sys/resource.h>

#include "tests/unit/tcp-raw.h"

#define KEY "0123456789abcdef"
#define OTHER_KEY "0123456789abcdeF"

typedef Nodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

static void set_key(Node *node, const char *key)
{
    node->config.key = (const uint8_t *)key;
    node->config.key_size = strlen(key);
}

/* Node 2 is alone, and member 1 is to call it. */
static void start_called(Fixture *f)
{
    node_start(f, 2, 20);
    nodes_add(f, 1, f->deaf_address);
    nodes_introduce(f);
}

static uint64_t strangers(const Fixture *f, ApusId id)
{
    return node_counters(&f->node[id]).strangers;
}

/* --- bytes ---------------------------------------------------------------- */

static void garbage_is_refused_and_counted(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw;

    start_called(f);
    raw_call(&raw, f, 2);
    raw_write(&raw, "GET / HTTP/1.1\r\n\r\n", 18);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_cmpuint(strangers(f, 2), ==, 1);
    g_assert_true(node_complains(&f->node[2], "a stranger at 127.0.0.1:"));
}

static void complaints_do_not_flood(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    start_called(f);
    for (unsigned i = 0; i < 50; i++) {
        Raw raw;

        raw_call(&raw, f, 2);
        raw_write(&raw, "x", 1);
        raw_wait_for_end(&raw);
        raw_close(&raw);
    }
    g_assert_cmpuint(strangers(f, 2), ==, 50);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 1);
}

static void a_handshake_that_is_cut_off_is_counted(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t bytes[APUS_HELLO_SIZE];
    Raw raw;

    start_called(f);
    for (unsigned size = 1; size < APUS_HELLO_SIZE; size += 6) {
        uint64_t before = strangers(f, 2);

        raw_call(&raw, f, 2);
        raw_prepare(&raw, 1, 2, 10);
        apus_hello_encode(bytes, &raw.mine);
        raw_write(&raw, bytes, size);
        raw_close(&raw);
        nodes_until(f, strangers(f, 2) == before + 1);
    }
}

static void a_look_without_a_byte_is_no_stranger(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw;

    start_called(f);
    for (unsigned i = 0; i < 5; i++) {
        raw_call(&raw, f, 2);
        raw_close(&raw);
    }
    /* It is done with those when it has come to one behind them. */
    raw_call(&raw, f, 2);
    raw_write(&raw, "x", 1);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_cmpuint(strangers(f, 2), ==, 1);
}

static void who_says_nothing_is_thrown_out(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw;

    f->node[2].config.connect_timeout = 20000000;
    start_called(f);
    raw_call(&raw, f, 2);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_cmpuint(strangers(f, 2), ==, 1);
    g_assert_true(node_complains(&f->node[2], "takes too long"));
}

static void a_flood_of_handshakes_is_bounded(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    enum { FLOOD = 200, BOUND = 64 };
    Raw raw[FLOOD], member;

    f->node[2].config.connect_timeout = UINT64_C(3600000000000);
    start_called(f);
    for (unsigned i = 0; i < FLOOD; i++) {
        raw_call(&raw[i], f, 2);
        nodes_round(f);
    }
    nodes_until(f, strangers(f, 2) == FLOOD - BOUND);
    raw_call(&member, f, 2);
    raw_prepare(&member, 1, 2, 10);
    g_assert_cmpint(raw_greet(&member, NULL), ==, APUS_ANSWER_WELCOME);
    g_assert_cmpuint(strangers(f, 2), ==, FLOOD - BOUND + 1);
    raw_wait_for_end(&raw[0]);
    for (unsigned i = 0; i < FLOOD; i++) {
        raw_close(&raw[i]);
    }
    raw_close(&member);
}

static void descriptors_may_run_out(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    struct rlimit before, less;
    Raw raw;

    start_called(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    getrlimit(RLIMIT_NOFILE, &before);
    less = before;
    less.rlim_cur = raw.fd + 1;
    setrlimit(RLIMIT_NOFILE, &less);
    nodes_until(f, node_complains(&f->node[2], "cannot accept"));
    setrlimit(RLIMIT_NOFILE, &before);
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    raw_close(&raw);
}

static void another_version_is_answered(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t bytes[APUS_ANSWER_SIZE];
    ApusAnswer answer;
    Raw raw;

    start_called(f);
    raw_call(&raw, f, 2);
    raw_write(&raw, "APUS\7\0\1\0 and whatever it has", 28);
    raw_read(&raw, bytes, sizeof(bytes));
    g_assert_true(apus_answer_decode(&answer, bytes, NULL));
    g_assert_cmpint(answer, ==, APUS_ANSWER_VERSION);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    /* Whoever speaks a newer one can call again in the one that is told. */
    g_assert_cmpuint(apus_handshake_version(bytes), ==, 1);
    g_assert_false(node_complains(&f->node[2], "version 7"));
}

static void a_message_out_of_turn_ends_a_handshake(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE] = { 0 };
    Raw raw;

    start_called(f);
    raw_call(&raw, f, 2);
    apus_proof_encode(proof, 1, mac);
    raw_write(&raw, proof, sizeof(proof));
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_true(node_complains(&f->node[2], "out of turn"));
}

/* --- who ------------------------------------------------------------------ */

static void a_caller_with_another_key_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t bytes[APUS_HELLO_SIZE + APUS_PROOF_SIZE], mac[APUS_MAC_SIZE];
    Raw raw;

    set_key(&f->node[2], KEY);
    start_called(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    raw.mine.keyed = TRUE;
    apus_hello_encode(raw.mine_bytes, &raw.mine);
    raw_write(&raw, raw.mine_bytes, APUS_HELLO_SIZE);
    raw_read(&raw, bytes, sizeof(bytes));
    memcpy(raw.theirs_bytes, bytes, APUS_HELLO_SIZE);
    raw_mac(&raw, OTHER_KEY, TRUE, FALSE, mac);
    apus_proof_encode(bytes, 1, mac);
    raw_write(&raw, bytes, APUS_PROOF_SIZE);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_cmpuint(strangers(f, 2), ==, 1);
    g_assert_true(node_complains(&f->node[2], "another key"));
    g_assert_cmpuint(f->node[2].connects, ==, 0);
}

static void say_hello_from(Fixture *f, ApusId id)
{
    Raw raw;

    start_called(f);
    nodes_add(f, 3, f->deaf_address);
    nodes_introduce(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, id, 2, 30);
    apus_hello_encode(raw.mine_bytes, &raw.mine);
    raw_write(&raw, raw.mine_bytes, APUS_HELLO_SIZE);
    raw_wait_for_end(&raw);
    raw_close(&raw);
}

static void ones_own_id_is_a_duplicate(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    say_hello_from(f, 2);
    g_assert_true(node_complains(&f->node[2], "another process with that id"));
}

/* The loop comes to the new connection before it sees the old one's end. */
static void a_new_process_need_not_wait_for_the_loop(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw first, second;

    start_called(f);
    raw_call(&first, f, 2);
    raw_prepare(&first, 1, 2, 10);
    g_assert_cmpint(raw_greet(&first, NULL), ==, APUS_ANSWER_WELCOME);
    raw_call(&second, f, 2);
    raw_prepare(&second, 1, 2, 11);
    raw_say_hello(&second, NULL);
    raw_prove(&second, NULL);
    raw_close(&first);
    g_assert_cmpint(raw_answer(&second), ==, APUS_ANSWER_WELCOME);
    g_assert_cmpuint(f->node[2].life[1], ==, 11);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 0);
    raw_close(&second);
}

static void the_same_process_may_connect_anew(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw first, second;

    start_called(f);
    raw_call(&first, f, 2);
    raw_prepare(&first, 1, 2, 10);
    g_assert_cmpint(raw_greet(&first, NULL), ==, APUS_ANSWER_WELCOME);
    raw_call(&second, f, 2);
    raw_prepare(&second, 1, 2, 10);
    g_assert_cmpint(raw_greet(&second, NULL), ==, APUS_ANSWER_WELCOME);
    raw_wait_for_end(&first);
    g_assert_cmpuint(f->node[2].connects, ==, 2);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_true(f->node[2].connected[1]);
    raw_close(&first);
    raw_close(&second);
}

/* --- once it is connected ------------------------------------------------- */

static void send_frame(Fixture *f, ApusId from, ApusId to, unsigned damage)
{
    g_autoptr(GByteArray) frame = NULL;
    Raw raw;

    start_called(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    raw.mine.from = from;
    raw.mine.to = to;
    frame = raw_frame(&raw, NULL);
    frame->data[damage % frame->len] ^= damage ? 1 : 0;
    raw_write(&raw, frame->data, frame->len);
    nodes_until(f, f->node[2].messages || f->node[2].disconnects);
    raw_close(&raw);
}

static void a_members_frame_is_taken(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    send_frame(f, 1, 2, 0);
    g_assert_cmpuint(f->node[2].messages, ==, 1);
}

static void a_frame_in_anothers_name_ends_the_connection(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    send_frame(f, 3, 2, 0);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_true(node_complains(&f->node[2], "a message from 3 to 2"));
}

static void a_frame_for_another_ends_the_connection(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    send_frame(f, 1, 3, 0);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_true(node_complains(&f->node[2], "a message from 1 to 3"));
}

static void a_damaged_frame_ends_the_connection(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    send_frame(f, 1, 2, 25);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_cmpuint(f->node[2].messages, ==, 0);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 1);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-strangers/" #test, Fixture, NULL, set_up, test, \
               tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(garbage_is_refused_and_counted);
    ADD(complaints_do_not_flood);
    ADD(a_handshake_that_is_cut_off_is_counted);
    ADD(a_look_without_a_byte_is_no_stranger);
    ADD(who_says_nothing_is_thrown_out);
    ADD(a_flood_of_handshakes_is_bounded);
    ADD(descriptors_may_run_out);
    ADD(another_version_is_answered);
    ADD(a_message_out_of_turn_ends_a_handshake);
    ADD(a_caller_with_another_key_is_refused);
    ADD(ones_own_id_is_a_duplicate);
    ADD(a_new_process_need_not_wait_for_the_loop);
    ADD(the_same_process_may_connect_anew);
    ADD(a_members_frame_is_taken);
    ADD(a_frame_in_anothers_name_ends_the_connection);
    ADD(a_frame_for_another_ends_the_connection);
    ADD(a_damaged_frame_ends_the_connection);
    return g_test_run();
}
