/*
 * The TCP transport: how connections end, and what follows (R8)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/tcp-raw.h"

typedef Nodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

/* Raw is member 3, which node 2 calls; or member 1, which calls node 2. */
static int connect_raw(Fixture *f, Raw *raw, ApusId id)
{
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);

    node_start(f, 2, 20);
    nodes_add(f, id, address);
    nodes_introduce(f);
    if (id < 2) {
        raw_call(raw, f, 2);
        raw_prepare(raw, id, 2, 10 * id);
        g_assert_cmpint(raw_greet(raw, NULL), ==, APUS_ANSWER_WELCOME);
        raw_be_looked_at(raw, listener);
    } else {
        raw_accept(raw, f, listener);
        raw_prepare(raw, id, 2, 10 * id);
        raw_welcome(raw);
    }
    nodes_until(f, node_is_sure(&f->node[2], id));
    return listener;
}

static void a_caller_that_is_accepted_again_is_not_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw first, second;
    int listener = connect_raw(f, &first, 3);

    raw_close(&first);
    raw_accept(&second, f, listener);
    raw_prepare(&second, 3, 2, 30);
    raw_welcome(&second);
    nodes_until(f, f->node[2].connects == 2);
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
    raw_close(&second);
    close(listener);
    nodes_until(f, f->node[2].refusals == 1);
}

static void the_called_one_looks_whether_the_caller_listens(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw, look;
    int listener = connect_raw(f, &raw, 1);

    raw_close(&raw);
    raw_accept(&look, f, listener);
    raw_wait_for_end(&look);
    raw_close(&look);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
    close(listener);
}

static void a_closed_listener_is_a_refusal(Fixture *f, gconstpointer id)
{
    ApusId raw_id = GPOINTER_TO_UINT(id);
    Raw raw;

    close(connect_raw(f, &raw, raw_id));
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
    raw_close(&raw);
    nodes_until(f, f->node[2].refusals == 1);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
    g_assert_cmpuint(f->node[2].refused_life[raw_id], ==, 10 * raw_id);
}

/* Its connection was closed before its listening socket. */
static void who_accepts_while_it_dies_is_refused_next(Fixture *f,
    gconstpointer id)
{
    ApusId raw_id = GPOINTER_TO_UINT(id);
    Raw raw;
    int listener = connect_raw(f, &raw, raw_id);

    raw_close(&raw);
    for (unsigned i = 0; i < 3; i++) {
        raw_accept(&raw, f, listener);
        raw_close(&raw);
    }
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
    close(listener);
    nodes_until(f, f->node[2].refusals == 1);
    g_assert_cmpuint(f->node[2].refused_life[raw_id], ==, 10 * raw_id);
}

static void a_refusal_is_said_once(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    gint64 end;
    Raw raw;

    f->node[2].config.retry_max = 5000000;
    close(connect_raw(f, &raw, 3));
    raw_close(&raw);
    nodes_until(f, f->node[2].refusals == 1);
    end = g_get_monotonic_time() + 100 * G_TIME_SPAN_MILLISECOND;
    nodes_until(f, g_get_monotonic_time() > end);
    g_assert_cmpuint(f->node[2].refusals, ==, 1);
}

static void calls_become_rarer(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    gint64 end = g_get_monotonic_time() + 300 * G_TIME_SPAN_MILLISECOND;
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);
    unsigned calls = 0;

    node_start(f, 2, 20);
    nodes_add(f, 3, address);
    nodes_introduce(f);
    while (g_get_monotonic_time() < end) {
        if (raw_can_accept(listener)) {
            Raw raw;

            raw_accept(&raw, f, listener);
            raw_close(&raw);
            calls++;
        }
        nodes_round(f);
    }
    /* After 0, 1, 3, 7, ... ms. */
    g_assert_cmpuint(calls, >=, 3);
    g_assert_cmpuint(calls, <=, 10);
    close(listener);
}

static void must_not_be_refused(Fixture *f, unsigned disconnects)
{
    gint64 end = g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND;

    nodes_until(f, g_get_monotonic_time() > end);
    g_assert_cmpuint(f->node[2].disconnects, ==, disconnects);
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
}

/* Member 1 is connected, but the list has it where nobody listens. */
static void a_wrong_address_is_no_proof_of_death(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *address = NULL;
    Raw raw;

    close(raw_listen(&address));
    node_start(f, 2, 20);
    nodes_add(f, 1, address);
    nodes_introduce(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    nodes_until(f, node_complains(&f->node[2], "nobody listens at"));
    g_assert_true(node_complains(&f->node[2], address));
    raw_close(&raw);
    must_not_be_refused(f, 1);
}

/* Another process listens where the list has member 1. */
static void another_process_at_an_address_is_no_proof_of_death(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);
    Raw raw, other;

    node_start(f, 2, 20);
    nodes_add(f, 1, address);
    nodes_introduce(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    other = raw;
    other.mine.life = 11;
    raw_be_looked_at(&other, listener);
    close(listener);
    raw_close(&raw);
    must_not_be_refused(f, 1);
}

static void an_address_that_has_changed_is_no_proof_of_death(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *address = NULL;
    int listener;
    Raw raw;

    listener = connect_raw(f, &raw, 3);
    close(raw_listen(&address));
    nodes_add(f, 3, address);
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[2], "nobody listens at"));
    raw_close(&raw);
    must_not_be_refused(f, 1);
    close(listener);
}

static void another_life_at_an_address_is_no_proof_of_death(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw, look;
    int listener = connect_raw(f, &raw, 1);

    raw_close(&raw);
    raw_accept(&look, f, listener);
    raw_wait_for_end(&look);
    raw_close(&look);
    close(listener);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 11);
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    nodes_until(f, node_complains(&f->node[2], "nobody listens at"));
    raw_close(&raw);
    must_not_be_refused(f, 2);
}

static G_GNUC_NORETURN void be_node(ApusId id, int pipe)
{
    char address[APUS_MAX_ADDRESS];
    Nodes nodes;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    nodes_set_up(&nodes);
    node_start(&nodes, id, 10 * id);
    g_strlcpy(address, nodes.node[id].address, sizeof(address));
    if (write(pipe, address, sizeof(address)) < 0) {
        _exit(1);
    }
    if (read(pipe, &nodes.members, sizeof(nodes.members)) < 0) {
        _exit(1);
    }
    nodes_introduce(&nodes);
    for (;;) {
        nodes_round(&nodes);
    }
}

static void a_killed_process_is_refused(Fixture *f, gconstpointer id)
{
    ApusId dies = GPOINTER_TO_UINT(id), stays = 3 - dies;
    char address[APUS_MAX_ADDRESS];
    pid_t child;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    child = fork();
    if (child == 0) {
        be_node(dies, pair[1]);
    }
    g_assert_cmpint(recv(pair[0], address, sizeof(address), MSG_WAITALL), ==,
                    sizeof(address));
    nodes_add(f, dies, address);
    node_start(f, stays, 10 * stays);
    g_assert_cmpint(write(pair[0], &f->members, sizeof(f->members)), ==,
                    sizeof(f->members));
    nodes_introduce(f);
    nodes_until(f, node_is_sure(&f->node[stays], dies));
    kill(child, SIGKILL);
    nodes_until(f, f->node[stays].refusals == 1);
    g_assert_cmpuint(f->node[stays].refused_life[dies], ==, 10 * dies);
    waitpid(child, NULL, 0);
    close(pair[0]);
    close(pair[1]);
}

/* --- addresses ------------------------------------------------------------ */

static void ipv6_works(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    for (ApusId id = 1; id <= 3; id++) {
        f->node[id].config.listen = "[::1]:0";
    }
    nodes_connect(f, 3);
    g_assert_true(g_str_has_prefix(f->node[1].address, "[::1]:"));
}

static void all_addresses_are_both_families(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[2].config.listen = "[::]:0";
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    for (unsigned i = 0; i < 2; i++) {
        const char *port = strrchr(f->node[2].address, ':');
        g_autofree char *address = g_strconcat(i ? "[::1]" : "127.0.0.1",
                                               port, NULL);

        nodes_add(f, 2, address);
        nodes_introduce(f);
        nodes_until(f, f->node[1].connected[2] && f->node[2].connected[1]);
        node_stop(f, 1);
        nodes_until(f, !f->node[2].connected[1]);
        node_start(f, 1, 11);
    }
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-end/" #test, Fixture, NULL, set_up, test, tear_down)
#define ADD_BOTH(test, caller, called) \
    do { \
        g_test_add("/apus-tcp-end/" #test "/caller", Fixture, \
                   GUINT_TO_POINTER(caller), set_up, test, tear_down); \
        g_test_add("/apus-tcp-end/" #test "/called", Fixture, \
                   GUINT_TO_POINTER(called), set_up, test, tear_down); \
    } while (0)

    g_test_init(&argc, &argv, NULL);
    ADD(a_caller_that_is_accepted_again_is_not_refused);
    ADD(the_called_one_looks_whether_the_caller_listens);
    ADD_BOTH(a_closed_listener_is_a_refusal, 1, 3);
    ADD_BOTH(who_accepts_while_it_dies_is_refused_next, 1, 3);
    ADD(a_refusal_is_said_once);
    ADD(calls_become_rarer);
    ADD(a_wrong_address_is_no_proof_of_death);
    ADD(another_process_at_an_address_is_no_proof_of_death);
    ADD(an_address_that_has_changed_is_no_proof_of_death);
    ADD(another_life_at_an_address_is_no_proof_of_death);
    ADD_BOTH(a_killed_process_is_refused, 1, 2);
    ADD(ipv6_works);
    ADD(all_addresses_are_both_families);
    return g_test_run();
}
