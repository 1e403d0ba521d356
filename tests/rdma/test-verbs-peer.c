/*
 * A link to another process over a real device, which is killed or stopped, or
 * writes while it is deposed
 *
 * Called with --peer the program is that process: it listens on PEER, says on
 * which port, and does what its first record asks for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "colo-net/verbs/internal.h"
#include "tests/unit/verbs-pair.h"

#define HERE "10.0.0.1"
#define PEER "10.0.0.2"
#define LONGEST (256 * 1024)
#define MS 1000000ull

static VerbsConfig big_config(void)
{
    return (VerbsConfig) {
        .lanes = { { 4 * LONGEST, FALSE }, { 4 * LONGEST, TRUE } },
    };
}

/* --- the other process ---------------------------------------------------- */

static void round_of(VerbsSide *side)
{
    struct pollfd fd = { verbs_host_fd(side->host), POLLIN, 0 };

    if (!verbs_host_work(side->host, TRUE) && verbs_host_arm(side->host)) {
        poll(&fd, 1, 5);
    }
}

/* Everything that comes goes back. */
static void echo(VerbsSide *side)
{
    while (side->closed == 0) {
        VerbsGot *got = g_queue_peek_head(&side->got);

        if (got && verbs_side_send(side, 0, got->data) == VERBS_SENT) {
            g_bytes_unref(got->data);
            g_free(g_queue_pop_head(&side->got));
        } else {
            round_of(side);
        }
    }
}

/*
 * As much as there is room for, into a lane that is granted, and never looks
 * whether it still is.
 */
static void fire(VerbsSide *side)
{
    g_autoptr(GBytes) data = verbs_record_make(1, LONGEST);

    while (side->closed == 0) {
        if (side->granted && side->link) {
            while (verbs_side_send(side, 1, data) == VERBS_SENT) {
                continue;
            }
        }
        round_of(side);
    }
}

static void G_NORETURN be_peer(void)
{
    VerbsConfig config = big_config();
    struct sockaddr_storage bound;
    VerbsSide side;

    verbs_side_start(&side, &config);
    verbs_side_listen(&side, PEER, &bound);
    printf("%u\n", ntohs(((struct sockaddr_in *)&bound)->sin_port));
    fflush(stdout);
    for (;;) {
        VerbsGot *first;
        gboolean echoes;

        side.closed = side.opened = 0;
        side.granted = FALSE;
        while (g_queue_is_empty(&side.got)) {
            side.closed = 0;
            round_of(&side);
        }
        first = g_queue_pop_head(&side.got);
        echoes = g_bytes_get_size(first->data) == strlen("echo");
        if (echoes) {
            echo(&side);
        } else {
            fire(&side);
        }
        g_queue_clear(&side.got);
    }
}

/* --- this one ------------------------------------------------------------- */

typedef struct {
    VerbsPair pair; /* of which only b is here */
    GPid pid;
    int out;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    char *argv[] = { (char *)"/proc/self/exe", (char *)"--peer", NULL };
    struct sockaddr_in *address = (void *)&f->pair.address;
    VerbsConfig config = big_config();
    struct sockaddr_storage unused_address;
    g_autoptr(GError) error = NULL;
    char port[8] = "";

    verbs_side_start(&f->pair.b, &config);
    verbs_side_listen(&f->pair.b, HERE, &unused_address);
    g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                             NULL, &f->pid, NULL, &f->out, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(read(f->out, port, sizeof(port) - 1), >, 0);
    address->sin_family = AF_INET;
    address->sin_port = htons(atoi(port));
    g_assert_cmpint(inet_pton(AF_INET, PEER, &address->sin_addr), ==, 1);
}

static void end_peer(Fixture *f)
{
    if (f->pid > 0) {
        g_assert_cmpint(kill(f->pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(f->pid, NULL, 0), ==, f->pid);
        f->pid = 0;
    }
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    end_peer(f);
    close(f->out);
    verbs_side_stop(&f->pair.b);
}

static void connect_to(Fixture *f, const char *task)
{
    VerbsSide *b = &f->pair.b;

    b->opened = b->closed = 0;
    b->granted = FALSE;
    verbs_pair_call(&f->pair, "");
    verbs_pair_until(&f->pair, b->opened > 0 || b->closed > 0);
    g_assert_cmpuint(b->closed, ==, 0);
    g_assert_cmpint(verbs_side_say(b, 0, task), ==, VERBS_SENT);
}

static void expect_death(Fixture *f, uint64_t within)
{
    uint64_t begun = verbs_now();

    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    g_test_message("noticed after %.1f ms: %s, %s",
                   (verbs_now() - begun) / 1e6,
                   verbs_end_name(f->pair.b.end), f->pair.b.text);
    g_assert_true(f->pair.b.end == VERBS_END_CLOSED ||
                  f->pair.b.end == VERBS_END_BROKEN);
    g_assert_cmpuint(verbs_now() - begun, <, within);
}

static void a_killed_process_closes_its_links(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    connect_to(f, "echo");
    verbs_side_say(&f->pair.b, 0, "are you there?");
    verbs_pair_until(&f->pair, !g_queue_is_empty(&f->pair.b.got));
    verbs_side_expect_text(&f->pair.b, 0, "are you there?");
    end_peer(f);
    expect_death(f, 2000 * MS);

    /* And its kernel says at once that nobody listens any more. */
    f->pair.b.closed = 0;
    verbs_pair_call(&f->pair, "");
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    verbs_side_expect_end(&f->pair.b, VERBS_END_REFUSED);
}

static void a_process_is_killed_while_it_is_written_to(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GBytes) data = verbs_record_make(1, LONGEST);

    connect_to(f, "echo");
    while (verbs_side_send(&f->pair.b, 0, data) == VERBS_SENT) {
        continue;
    }
    end_peer(f);
    expect_death(f, 2000 * MS);
}

/*
 * Its memory takes what there is room for, and it finds that when it goes
 * on.
 */
static void a_stopped_process_does_not_end_its_links(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *b = &f->pair.b;
    unsigned sent = 0;
    uint64_t until;

    connect_to(f, "echo");
    g_assert_cmpint(kill(f->pid, SIGSTOP), ==, 0);
    while (verbs_side_say(b, 0, "are you there?") == VERBS_SENT) {
        sent++;
    }
    g_assert_cmpuint(sent, >, 100);
    for (until = verbs_now() + 500 * MS; verbs_now() < until;) {
        round_of(b);
    }
    g_assert_cmpuint(b->closed + b->rooms, ==, 0);
    g_assert_cmpint(kill(f->pid, SIGCONT), ==, 0);
    verbs_pair_until(&f->pair, g_queue_get_length(&b->got) == sent);
    while (sent-- > 0) {
        verbs_side_expect_text(b, 0, "are you there?");
    }
    g_assert_cmpuint(b->rooms, ==, 1);
}

/*
 * The other process writes as fast as it can, long records of many packets,
 * when the grant is taken back: nothing of the lane changes afterwards.
 */
static void revoke_under_fire(Fixture *f, gboolean kill_first)
{
    g_autofree uint8_t *before = NULL;
    g_autoptr(GError) error = NULL;
    VerbsSide *b = &f->pair.b;
    uint64_t begun, took, until;
    VerbsIn *in;

    connect_to(f, "fire!");
    verbs_grant(b->link, 1, 1, &error);
    g_assert_no_error(error);
    verbs_pair_until(&f->pair, b->bytes > (uint64_t)g_test_rand_int_range(
        0, 20) * LONGEST || b->closed > 0);
    g_assert_cmpuint(b->closed, ==, 0);
    in = &b->link->in[1];
    if (kill_first) {
        g_assert_cmpint(kill(f->pid, SIGKILL), ==, 0);
    }
    begun = verbs_now();
    verbs_revoke(b->link, 1);
    took = verbs_now() - begun;
    before = g_memdup2(in->memory, 4 * LONGEST);
    g_test_message("revoked in %.0f us", took / 1e3);
    g_assert_cmpuint(took, <, 500 * MS);
    in->kept = TRUE;
    for (until = verbs_now() + 50 * MS; verbs_now() < until;) {
        round_of(b);
    }
    g_assert_cmpmem(before, 4 * LONGEST, in->memory, 4 * LONGEST);
    in->kept = FALSE;
    if (b->closed == 0) {
        verbs_link_close(b->link);
        b->link = NULL;
    }
    verbs_side_forget(b);
    b->bytes = 0;
    verbs_pair_settle(&f->pair);
}

static void nothing_lands_after_a_revocation(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < 12; i++) {
        revoke_under_fire(f, FALSE);
    }
}

/* Half a record is on the way, and the rest never comes. */
static void a_writer_may_die_in_the_middle_of_a_record(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0) {
            tear_down(f, NULL);
            set_up(f, NULL);
        }
        revoke_under_fire(f, TRUE);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--peer") == 0) {
        be_peer();
    }
    g_test_init(&argc, &argv, NULL);
#define ADD(name) \
    g_test_add("/verbs/peer/" #name, Fixture, NULL, set_up, name, tear_down)
    ADD(a_killed_process_closes_its_links);
    ADD(a_process_is_killed_while_it_is_written_to);
    ADD(a_stopped_process_does_not_end_its_links);
    ADD(nothing_lands_after_a_revocation);
    ADD(a_writer_may_die_in_the_middle_of_a_record);
    return g_test_run();
}
