/*
 * Members of different releases: this one speaks versions 2 to 3
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>

#include "colo-net/core/versions.h"
#include "tests/unit/tcp-raw.h"

/* In place of that of the build. */
const ColonyVersions colony_speaks[COLONY_PROTOCOLS] = {
    [COLONY_PROTOCOL_GROUP] = { .oldest = 2, .newest = 3 },
    [COLONY_PROTOCOL_SYNC] = { .oldest = 1, .newest = 1 },
    [COLONY_PROTOCOL_DISK] = { .oldest = 1, .newest = 1 },
    [COLONY_PROTOCOL_CONTROL] = { .oldest = 1, .newest = 1 },
};

typedef Nodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

/* Node 1 calls member 2, which is us. */
static int start_caller(Fixture *f)
{
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);

    node_start(f, 1, 10);
    nodes_add(f, 2, address);
    nodes_introduce(f);
    return listener;
}

static unsigned called_in(Raw *raw, Fixture *f, int listener)
{
    raw_accept(raw, f, listener);
    raw_read(raw, raw->theirs_bytes, APUS_HELLO_SIZE);
    return apus_handshake_version(raw->theirs_bytes);
}

static void refuse(Raw *raw, unsigned newest)
{
    uint8_t answer[APUS_ANSWER_SIZE];

    apus_answer_encode(answer, newest, APUS_ANSWER_VERSION);
    raw_write(raw, answer, sizeof(answer));
    raw_wait_for_end(raw);
    raw_close(raw);
}

static void who_calls_says_its_newest_first(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    int listener = start_caller(f);
    Raw raw;

    g_assert_cmpuint(called_in(&raw, f, listener), ==, 3);
    raw_close(&raw);
    close(listener);
}

/* It takes no longer than the next round, and nobody is bothered. */
static void an_older_one_is_called_in_its_version(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    int listener = start_caller(f);
    Raw raw;

    called_in(&raw, f, listener);
    refuse(&raw, 2);
    raw_accept(&raw, f, listener);
    raw_prepare(&raw, 2, 1, 20);
    raw.mine.version = 2;
    raw_welcome(&raw);
    g_assert_cmpuint(raw.theirs.version, ==, 2);
    nodes_until(f, f->node[1].connected[2]);
    g_assert_cmpuint(f->node[1].complaints->len, ==, 0);

    /* The next process there may be a newer one. */
    raw_close(&raw);
    g_assert_cmpuint(called_in(&raw, f, listener), ==, 3);
    raw_close(&raw);
    close(listener);
}

static void too_old_a_one_is_complained_about(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    int listener = start_caller(f);
    Raw raw;

    called_in(&raw, f, listener);
    refuse(&raw, 1);
    nodes_until(f, node_complains(&f->node[1], "refuses us: this side speaks "
                                  "versions 2 to 3 of the group protocol, the "
                                  "other side version 1; upgrade the other"));
    g_assert_cmpuint(called_in(&raw, f, listener), ==, 3);
    raw_close(&raw);
    close(listener);
}

static void too_new_a_one_is_complained_about(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    int listener = start_caller(f);
    Raw raw;

    called_in(&raw, f, listener);
    refuse(&raw, 9);
    nodes_until(f, node_complains(&f->node[1], "the other side version 9; "
                                  "upgrade this side"));
    close(listener);
}

static void who_is_called_answers_in_the_same(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw;

    node_start(f, 2, 20);
    nodes_add(f, 1, f->deaf_address);
    nodes_introduce(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    raw.mine.version = 2;
    g_assert_cmpint(raw_greet(&raw, NULL), ==, APUS_ANSWER_WELCOME);
    g_assert_cmpuint(raw.theirs.version, ==, 2);
    nodes_until(f, f->node[2].connected[1]);
    raw_close(&raw);
}

static void a_caller_that_is_too_old_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t answer[APUS_ANSWER_SIZE];
    ApusAnswer why;
    Raw raw;

    node_start(f, 2, 20);
    nodes_add(f, 1, f->deaf_address);
    nodes_introduce(f);
    raw_call(&raw, f, 2);
    raw_prepare(&raw, 1, 2, 10);
    raw.mine.version = 1;
    apus_hello_encode(raw.mine_bytes, &raw.mine);
    raw_write(&raw, raw.mine_bytes, APUS_HELLO_SIZE);
    raw_read(&raw, answer, sizeof(answer));
    g_assert_true(apus_answer_decode(&why, answer, NULL));
    g_assert_cmpint(why, ==, APUS_ANSWER_VERSION);
    g_assert_cmpuint(apus_handshake_version(answer), ==, 3);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_true(node_complains(&f->node[2], "the other side version 1; "
                                 "upgrade the other side"));
}

#define ADD(NAME) \
    g_test_add("/apus-versions/" #NAME, Fixture, NULL, set_up, NAME, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(who_calls_says_its_newest_first);
    ADD(an_older_one_is_called_in_its_version);
    ADD(too_old_a_one_is_complained_about);
    ADD(too_new_a_one_is_complained_about);
    ADD(who_is_called_answers_in_the_same);
    ADD(a_caller_that_is_too_old_is_refused);
    return g_test_run();
}
