/*
 * Which way a session's messages go, and what ends it when they go by RDMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake-verbs.h"
#include "tests/unit/replicas.h"
#include "tests/unit/sync-scenes.h"

/* So much of it went over the connection, one way. */
static size_t on_the_wire(Replicas *replicas, FakeSide side)
{
    return fake_wire_sent(replicas->wire, side)->len;
}

static Replicas *meet(const Setup *setup)
{
    g_autoptr(GError) error = NULL;
    Replicas *replicas;

    replicas = replicas_new(setup);
    replicas_meet(replicas, &error);
    g_assert_no_error(error);
    g_assert_true(replicas->greeted);
    return replicas;
}

static void sync_some(Replicas *replicas)
{
    for (int i = 0; i < 5; i++) {
        replicas_compute(replicas, 60);
        replicas_must_sync(replicas, NULL);
    }
}

static void check_why(PloverRdma *rdma, const char *pattern)
{
    const char *why = plover_rdma_why_not(rdma);

    if (!why || !g_pattern_match_simple(pattern, why)) {
        g_error("'%s' is not '%s'", why, pattern);
    }
}

static void syncs_go_over_the_link_alone(void)
{
    Replicas *replicas;
    size_t before[2];

    fake_verbs_begin();
    replicas = meet(&(Setup) { .rdma = TRUE });
    g_assert_cmpstr(plover_rdma_why_not(replicas->rdma[FAKE_LEADER]), ==, NULL);
    g_assert_cmpstr(plover_rdma_why_not(replicas->rdma[FAKE_SECONDARY]), ==,
                    NULL);
    before[FAKE_LEADER] = on_the_wire(replicas, FAKE_LEADER);
    before[FAKE_SECONDARY] = on_the_wire(replicas, FAKE_SECONDARY);
    sync_some(replicas);
    g_assert_cmpuint(on_the_wire(replicas, FAKE_LEADER), ==,
                     before[FAKE_LEADER]);
    g_assert_cmpuint(on_the_wire(replicas, FAKE_SECONDARY), ==,
                     before[FAKE_SECONDARY]);
    replicas_free(replicas);
    fake_verbs_end();
}

/* And than a record. */
static void messages_may_be_longer_than_the_ring(void)
{
    Replicas *replicas;

    fake_verbs_begin();
    replicas = meet(&(Setup) {
        .rdma = TRUE,
        .pages = { 4, 1, 1 },
        .page_size = PLOVER_PAGE_SIZE_MAX,
        .copy = PLOVER_COPY_FULL,
    });
    replicas_compute(replicas, 60);
    replicas_must_sync(replicas, NULL);
    replicas_free(replicas);
    fake_verbs_end();
}

/* --- there is none -------------------------------------------------------- */

static void check_fallback(const char *leader, const char *secondary,
                           const char *why_leader, const char *why_secondary)
{
    Replicas *replicas = meet(&(Setup) {
        .rdma = TRUE, .rdma_address = { leader, secondary },
    });
    size_t before = on_the_wire(replicas, FAKE_LEADER);

    if (why_leader) {
        check_why(replicas->rdma[FAKE_LEADER], why_leader);
    }
    if (why_secondary) {
        check_why(replicas->rdma[FAKE_SECONDARY], why_secondary);
    }
    sync_some(replicas);
    g_assert_cmpuint(on_the_wire(replicas, FAKE_LEADER), >, before);
    replicas_free(replicas);
}

static void without_one_on_either_side_syncs_go_over_the_connection(void)
{
    fake_verbs_begin();
    check_fallback("", NULL, NULL, "the leader has no rdma=*");
    check_fallback(NULL, "", "the secondary offers none*", NULL);
    /* No device has that address. */
    check_fallback(NULL, "192.0.2.1", "the secondary offers none*",
                   "*192.0.2.1*");
    fake_verbs_end();
}

/* Of the calls that make a link any may fail, on either side. */
static void a_call_that_fails_is_told_and_syncs_go_on(void)
{
    static const char *const calls[] = {
        "create_event_channel", "create_id", "bind_addr", "listen",
        "resolve_addr", "resolve_route", "connect", "accept", "init_qp_attr",
        "open_device", "alloc_pd", "create_comp_channel", "create_cq",
        "reg_mr", "post_recv",
    };

    fake_verbs_begin();
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(calls); i++) {
        Replicas *replicas;

        fake_verbs_fail_call(calls[i / 2], i % 2, EIO);
        replicas = meet(&(Setup) { .rdma = TRUE });
        g_assert_true(!plover_rdma_why_not(replicas->rdma[FAKE_LEADER]) ==
                      !plover_rdma_why_not(replicas->rdma[FAKE_SECONDARY]));
        g_test_message("%s %u: %s", calls[i / 2], i % 2,
                       plover_rdma_why_not(replicas->rdma[FAKE_LEADER]));
        fake_verbs_fail_call("none", 0, 0);
        sync_some(replicas);
        replicas_free(replicas);
    }
    fake_verbs_end();
}

/* As where another's wrong routes lead. */
static void no_link_in_time_is_told(void)
{
    Replicas *replicas;

    fake_verbs_begin();
    fake_verbs_cut(TRUE);
    replicas = meet(&(Setup) { .rdma = TRUE });
    check_why(replicas->rdma[FAKE_LEADER], "*");
    check_why(replicas->rdma[FAKE_SECONDARY], "*");
    sync_some(replicas);
    replicas_free(replicas);
    fake_verbs_cut(FALSE);
    fake_verbs_end();
}

/* --- it breaks ------------------------------------------------------------ */

/* The n-th verb from now on fails; whatever it is for, memory stays sound. */
static void check_break(const char *call, unsigned after)
{
    Replicas *replicas = meet(&(Setup) { .rdma = TRUE });
    g_autoptr(GError) error = NULL;
    unsigned syncs = 0;

    fake_verbs_fail_call(call, after, EIO);
    do {
        replicas_compute(replicas, 40);
    } while (replicas_sync(replicas, &error) && ++syncs < 100);
    g_assert_nonnull(error);
    g_assert_false(g_error_matches(error, PLOVER_LEADER_ERROR,
                                   PLOVER_LEADER_ERROR_REFUSED));
    /* The secondary's thread ends. */
    replicas_free(replicas);
}

static void a_write_that_fails_ends_the_session(void)
{
    fake_verbs_begin();
    for (unsigned after = 0; after < 16; after++) {
        check_break("post_send", after);
    }
    fake_verbs_end();
}

/* The connection ends, the link stands: so ends the session. */
static void the_end_of_the_connection_is_the_end(void)
{
    Replicas *replicas;
    g_autoptr(GError) error = NULL;

    fake_verbs_begin();
    replicas = meet(&(Setup) { .rdma = TRUE });
    sync_some(replicas);
    fake_wire_close(replicas->wire);
    /* Who never has to wait may get some through. */
    while (replicas_sync(replicas, &error)) {
        replicas_compute(replicas, 60);
    }
    /* The secondary's thread ends. */
    replicas_free(replicas);
    fake_verbs_end();
}

static int64_t real_now(void *opaque G_GNUC_UNUSED)
{
    return g_get_monotonic_time();
}

static gboolean socket_lives(void *opaque, GError **errp)
{
    char byte;

    if (recv(*(int *)opaque, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
        return TRUE;
    }
    g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO, "closed");
    return FALSE;
}

static void *accept_link(void *opaque)
{
    g_autoptr(GError) error = NULL;

    plover_rdma_accept(opaque, &error);
    g_assert_no_error(error);
    return NULL;
}

/* A failover does not wait for a leader that is deposed, and sends on. */
static void a_shut_down_does_not_wait_for_who_sends_on(void)
{
    static const PloverIo io = { .now = real_now };
    static const char bytes[1000];
    const PloverPiece piece = { bytes, sizeof(bytes) };
    g_autoptr(GError) error = NULL;
    struct sockaddr_storage address;
    PloverRdma *rdma[2];
    VerbsOffer offer;
    GThread *thread;
    int fds[2];
    char byte;

    fake_verbs_begin();
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_true(verbs_address_parse(&address, "127.0.0.1", NULL));
    for (int i = 0; i < 2; i++) {
        const PloverLife life = { .fd = fds[i], .check = socket_lives };

        rdma[i] = plover_rdma_new(&address, REPLICAS_TIMEOUT, &io, &life,
                                  &fds[i]);
    }
    g_assert_true(plover_rdma_offer(rdma[1], &offer, NULL));
    thread = g_thread_new("secondary", accept_link, rdma[1]);
    plover_rdma_call(rdma[0], &offer, &error);
    g_assert_no_error(error);
    g_thread_join(thread);

    for (int i = 0; i < 100; i++) {
        g_assert_true(plover_rdma_io.send(rdma[0], &piece, 1,
                                          PLOVER_NO_DEADLINE, NULL));
    }
    g_assert_cmpint(plover_rdma_io.receive(rdma[1], &byte, 1,
                                           PLOVER_NO_DEADLINE, NULL), ==, 1);
    shutdown(fds[1], SHUT_RDWR);
    g_usleep(2000);
    g_assert_cmpint(plover_rdma_io.receive(rdma[1], &byte, 1,
                                           PLOVER_NO_DEADLINE, &error),
                    ==, -1);
    g_assert_nonnull(error);
    for (int i = 0; i < 2; i++) {
        plover_rdma_free(rdma[i]);
        close(fds[i]);
    }
    fake_verbs_end();
}

static void play_over_a_link(gconstpointer data)
{
    const SyncScene *scene = data;

    fake_verbs_begin();
    replicas_over_rdma(TRUE);
    scene->play();
    replicas_over_rdma(FALSE);
    fake_verbs_end();
}

#define TEST(name) g_test_add_func("/plover/rdma/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(syncs_go_over_the_link_alone);
    TEST(messages_may_be_longer_than_the_ring);
    TEST(without_one_on_either_side_syncs_go_over_the_connection);
    TEST(a_call_that_fails_is_told_and_syncs_go_on);
    TEST(no_link_in_time_is_told);
    TEST(a_write_that_fails_ends_the_session);
    TEST(the_end_of_the_connection_is_the_end);
    TEST(a_shut_down_does_not_wait_for_who_sends_on);
    for (const SyncScene *scene = sync_scenes; scene->name; scene++) {
        g_autofree char *path = g_strdup_printf("/plover/sync-rdma/%s",
                                                scene->name);

        if (scene->timeless) {
            g_test_add_data_func(path, scene, play_over_a_link);
        }
    }
    return g_test_run();
}
