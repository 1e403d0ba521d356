/*
 * The connection between two replicas of a disk
 *
 * No QEMU is started: the program has both sides in it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "qapi/qapi-commands-yank.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/yank.h"
#include "crypto/init.h"
#include "crypto/tlscredspsk.h"
#include "qom/object_interfaces.h"
#ifdef CONFIG_RDMA
#include "tests/unit/fake-verbs.h"
#endif
#include "gannet-side.h"

#define PATIENT 5000 /* ms: no timeout is meant to pass */
#define HASTY 1000

/* --- beginning ------------------------------------------------------------ */

static void both_sides_learn_who_the_other_is(void)
{
    g_autoptr(GBytes) intents = g_bytes_new_static("\x05\x80", 2);
    Pair *pair = pair_new(false, PATIENT);

    pair->primary->hello.pair = 42;
    pair->secondary->hello.partial = TRUE;
    pair->secondary->hello.granularity = SIDE_DISK_SIZE / 16;
    pair->secondary->intents = g_bytes_ref(intents);
    pair_listen(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);

    g_assert_cmpuint(pair->secondary->theirs.pair, ==, 42);
    g_assert_cmpuint(pair->secondary->theirs.timeout_ms, ==, PATIENT);
    g_assert_cmpint(pair->secondary->theirs.role, ==, GANNET_PRIMARY);
    g_assert_cmpint(pair->primary->theirs.role, ==, GANNET_SECONDARY);
    g_assert_true(pair->primary->theirs.partial);
    g_assert_cmpstr(pair->primary->theirs.disk, ==, "disk0");
    g_assert_true(g_bytes_equal(pair->primary->their_intents, intents));
    pair_free(pair);
}

static void intents_may_be_a_mebibyte(void)
{
    Pair *pair = pair_new(false, PATIENT);
    char *bytes = g_malloc0(GANNET_WIRE_MAX_INTENTS);

    memset(bytes, 0x5a, GANNET_WIRE_MAX_INTENTS);
    pair->secondary->intents = g_bytes_new_take(bytes, GANNET_WIRE_MAX_INTENTS);
    pair->secondary->hello.granularity = GANNET_SECTOR;
    pair_listen(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);
    g_assert_true(g_bytes_equal(pair->primary->their_intents,
                                pair->secondary->intents));
    pair_free(pair);
}

static void a_secondary_that_refuses_is_quoted(void)
{
    Pair *pair = pair_new(false, PATIENT);

    pair->secondary->refuse = "the disks have different sizes";
    pair_listen(pair);
    pair_connect(pair);
    side_wait_closed(pair->primary, "refused by the secondary at unix:*: the "
                     "disks have different sizes");
    pair_wait_refused(pair, 1);
    g_assert_cmpuint(pair->secondary->closes, ==, 0);
    pair_free(pair);
}

static void a_primary_that_refuses_is_quoted(void)
{
    Pair *pair = pair_new(false, PATIENT);

    pair->primary->refuse = "too little memory over there";
    pair_listen(pair);
    pair_connect(pair);
    side_wait_closed(pair->primary, "too little memory over there");
    side_wait_closed(pair->secondary, "refused by the primary: too little "
                     "memory over there");
    pair_free(pair);
}

static void what_receive_objects_to_is_quoted(void)
{
    Pair *pair = pair_up(false, PATIENT);

    pair->secondary->object = "no epoch has begun";
    side_send_mark(pair->primary, 1);
    side_wait_closed(pair->secondary, "no epoch has begun");
    side_wait_closed(pair->primary, "refused by the secondary at unix:*: no "
                     "epoch has begun");
    g_assert_cmpuint(pair->secondary->received->len, ==, 1);
    pair_free(pair);
}

static void nobody_there_is_an_error_at_once(void)
{
    Pair *pair = pair_new(false, PATIENT);

    pair_connect(pair);
    side_wait_closed(pair->primary, "the secondary at unix:*/listen cannot be "
                     "reached: *: No such file or directory");
    g_assert_cmpuint(pair->primary->hellos, ==, 0);
    pair_free(pair);
}

/* A socket that nobody accepts on, with its backlog full. */
static int deaf_socket(const char *path, int *knocking, unsigned n)
{
    g_autofree char *name = g_strdup_printf("unix:%s", path);
    g_autoptr(SocketAddress) address = socket_parse(name, &error_abort);
    int fd = socket_listen(address, 1, &error_abort);

    for (unsigned i = 0; i < n; i++) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };

        pstrcpy(un.sun_path, sizeof(un.sun_path), path);
        knocking[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(knocking[i], (struct sockaddr *)&un, sizeof(un)) < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
        }
    }
    return fd;
}

static void connecting(bool give_up)
{
    Pair *pair = pair_new(false, give_up ? 60000 : HASTY);
    int knocking[4];
    int fd = deaf_socket(pair->address->u.q_unix.path, knocking,
                         ARRAY_SIZE(knocking));
    int64_t start = g_get_monotonic_time();

    pair_connect(pair);
    if (give_up) {
        gannet_peer_shutdown(pair->peer, "changed my mind");
        side_wait_closed(pair->primary, "changed my mind");
    } else {
        side_wait_closed(pair->primary, "* cannot be reached: no connection "
                         "in time");
        g_assert_cmpint(g_get_monotonic_time() - start, >=, HASTY * 1000);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(knocking); i++) {
        close(knocking[i]);
    }
    close(fd);
    g_unlink(pair->address->u.q_unix.path);
    pair_free(pair);
}

static void connecting_has_a_deadline(void)
{
    connecting(false);
}

static void connecting_can_be_given_up(void)
{
    connecting(true);
}

/* --- messages ------------------------------------------------------------- */

static void compare_received(Side *to, GQueue *sent)
{
    guint n = 0;

    for (GList *l = sent->head; l; l = l->next, n++) {
        GannetMessage *message = l->data;
        Received *received = g_ptr_array_index(to->received, n);
        const uint64_t *words;
        gsize size;

        g_assert_cmpint(received->message.type, ==, message->type);
        g_assert_cmpuint(received->message.offset, ==, message->offset);
        g_assert_cmpuint(received->message.mark, ==, message->mark);
        g_assert_cmpuint(received->message.payload, ==, message->payload);
        if (!message->payload) {
            continue;
        }
        words = g_bytes_get_data(received->payload, &size);
        for (unsigned i = 0; i < size / sizeof(*words); i++) {
            g_assert_cmphex(words[i], ==,
                            message->offset * 0x9e3779b97f4a7c15 + i);
        }
    }
}

static GannetMessage *random_message(unsigned i)
{
    uint64_t most = g_test_rand_int_range(0, 8) ? 128 << 10 : GANNET_MAX_WRITE;
    uint64_t bytes = GANNET_SECTOR *
                     g_test_rand_int_range(1, most / GANNET_SECTOR + 1);
    GannetMessage message = {
        .offset = GANNET_SECTOR *
                  g_test_rand_int_range(0, (SIDE_DISK_SIZE - bytes) /
                                        GANNET_SECTOR),
        .bytes = bytes,
    };

    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        message = (GannetMessage) { .type = GANNET_MARK, .mark = i + 1 };
        break;
    case 1:
        message.type = GANNET_ZERO;
        break;
    default:
        message.type = GANNET_WRITE;
        message.payload = bytes;
        break;
    }
    return g_memdup2(&message, sizeof(message));
}

static void check_stream(Pair *pair, unsigned n)
{
    GQueue sent = G_QUEUE_INIT;

    for (unsigned i = 0; i < n; i++) {
        GannetMessage *message = random_message(i);

        side_send(pair->primary, message);
        side_send_mark(pair->secondary, i + 1);
        g_queue_push_tail(&sent, message);
    }
    side_wait_received(pair->secondary, n);
    side_wait_received(pair->primary, n);
    compare_received(pair->secondary, &sent);
    for (unsigned i = 0; i < n; i++) {
        Received *received = g_ptr_array_index(pair->primary->received, i);

        g_assert_cmpint(received->message.type, ==, GANNET_DURABLE);
        g_assert_cmpuint(received->message.mark, ==, i + 1);
    }
    g_queue_clear_full(&sent, g_free);
}

static void messages_arrive_whole_and_in_order(gconstpointer tcp)
{
    Pair *pair = pair_up(!!tcp, PATIENT);

    check_stream(pair, 400);
    pair_free(pair);
}

static void a_stream_held_back_is_no_sign_of_death(void)
{
    Pair *pair = pair_up(false, HASTY);
    int64_t end;

    pair->secondary->hold = true;
    for (unsigned i = 0; i < 16; i++) {
        side_send_write(pair->primary, 0, GANNET_MAX_WRITE);
    }
    side_wait_holding(pair->secondary);

    end = g_get_monotonic_time() + 5 * HASTY * 1000 / 2;
    WITH_QEMU_LOCK_GUARD(&pair->primary->lock) {
        while (g_get_monotonic_time() < end) {
            g_assert_cmpuint(pair->primary->closes, ==, 0);
            qemu_cond_timedwait(&pair->primary->changed, &pair->primary->lock,
                                HASTY / 2);
        }
    }

    side_release(pair->secondary);
    side_wait_received(pair->secondary, 16);
    g_assert_false(side_is_closed(pair->secondary));
    pair_free(pair);
}

/* --- ending --------------------------------------------------------------- */

static void finishing_sends_what_there_is(void)
{
    Pair *pair = pair_up(false, PATIENT);

    for (unsigned i = 0; i < 50; i++) {
        side_send_write(pair->primary, i * GANNET_SECTOR, 64 << 10);
    }
    gannet_peer_finish(pair->peer, "that was all");
    side_wait_closed(pair->secondary, "the primary closed the connection");
    side_wait_closed(pair->primary, "that was all");
    g_assert_cmpuint(pair->secondary->received->len, ==, 50);
    pair_free(pair);
}

static void finishing_has_a_deadline(void)
{
    Pair *pair = pair_up(false, HASTY);

    pair->secondary->hold = true;
    for (unsigned i = 0; i < 16; i++) {
        side_send_write(pair->primary, 0, GANNET_MAX_WRITE);
    }
    side_wait_holding(pair->secondary);
    gannet_peer_finish(pair->peer, "that was all");
    side_wait_closed(pair->primary, "that was all");
    pair_free(pair);
}

static void shutting_down_waits_for_nobody(void)
{
    Pair *pair = pair_up(false, 60000);

    pair->secondary->hold = true;
    for (unsigned i = 0; i < 16; i++) {
        side_send_write(pair->primary, 0, GANNET_MAX_WRITE);
    }
    side_wait_holding(pair->secondary);
    gannet_peer_shutdown(pair->peer, "now");
    side_wait_closed(pair->primary, "now");
    side_release(pair->secondary);
    side_wait_closed(pair->secondary, "the *");
    pair_free(pair);
}

static void a_primary_that_comes_back_at_once_is_served(void)
{
    Pair *pair = pair_up(false, PATIENT);

    for (unsigned i = 2; i < 20; i++) {
        pair_disconnect(pair);
        pair_connect(pair);
        side_wait(pair->primary, &pair->primary->connects, i);
    }
    pair_free(pair);
}

static void a_second_primary_is_refused(void)
{
    Pair *pair = pair_up(false, HASTY);
    Pair other = *pair;

    other.primary = side_new(GANNET_PRIMARY);
    pair_connect(&other);
    side_wait_closed(other.primary, "refused by the secondary at unix:*: a "
                     "primary is already connected");
    pair_disconnect(&other);
    side_free(other.primary);

    side_send_mark(pair->primary, 1);
    side_wait_received(pair->secondary, 1);
    pair_free(pair);
}

static void a_listener_that_goes_ends_the_connection(void)
{
    Pair *pair = pair_up(true, PATIENT);

    gannet_listener_free(g_steal_pointer(&pair->listener));
    side_wait_closed(pair->primary, "the secondary at tcp:127.0.0.1:* closed "
                     "the connection");
    pair_free(pair);
}

static void a_listener_that_goes_ends_waits(void)
{
    Pair *pair = pair_up(false, 60000);

    pair->secondary->hold = true;
    side_send_mark(pair->primary, 1);
    side_wait_holding(pair->secondary);
    gannet_listener_free(g_steal_pointer(&pair->listener));
    g_assert_cmpuint(pair->secondary->broken, ==, 1);
    pair_free(pair);
}

static void yank_ends_it(void)
{
    Pair *pair = pair_new(false, PATIENT);
    YankInstance instance = {
        .type = YANK_INSTANCE_TYPE_BLOCK_NODE,
        .u.block_node.node_name = (char *)"disk0",
    };
    YankInstanceList instances = { .value = &instance };

    yank_register_instance(&instance, &error_abort);
    pair->node_name = instance.u.block_node.node_name;
    pair_listen(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);
    qmp_yank(&instances, &error_abort);
    side_wait_closed(pair->primary, "ended by command yank");
    pair_free(pair);
    yank_unregister_instance(&instance);
}

/* --- TLS ------------------------------------------------------------------ */

/* A server looks into the file at each handshake. */
static QCryptoTLSCreds *psk(Pair *pair, const char *endpoint, const char *key)
{
    g_autofree char *folder = g_build_filename(pair->folder, endpoint, NULL);
    g_autofree char *file = g_build_filename(folder, "keys.psk", NULL);
    g_autofree char *line = g_strdup_printf("qemu:%s\n", key);
    Object *creds;

    g_mkdir(folder, 0700);
    g_assert_true(g_file_set_contents(file, line, -1, NULL));
    creds = object_new_with_props(TYPE_QCRYPTO_TLS_CREDS_PSK,
                                  object_get_objects_root(), endpoint,
                                  &error_abort, "endpoint", endpoint,
                                  "dir", folder, NULL);
    object_ref(creds);
    object_unparent(creds);
    return QCRYPTO_TLS_CREDS(creds);
}

static void psk_remove(Pair *pair, const char *endpoint)
{
    g_autofree char *folder = g_build_filename(pair->folder, endpoint, NULL);
    g_autofree char *file = g_build_filename(folder, "keys.psk", NULL);

    g_unlink(file);
    g_rmdir(folder);
}

#define KEY "009d5638c40fde0c"
#define OTHER_KEY "10ffa6a2c42f0388"

static void tls_carries_the_stream(void)
{
    Pair *pair = pair_new(false, PATIENT);

    pair->tls_server = psk(pair, "server", KEY);
    pair->tls_client = psk(pair, "client", KEY);
    pair_listen(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 1);
    check_stream(pair, 200);
    gannet_peer_finish(pair->peer, "that was all");
    side_wait_closed(pair->secondary, "the primary closed the connection");
    side_wait_closed(pair->primary, "that was all");
    psk_remove(pair, "server");
    psk_remove(pair, "client");
    pair_free(pair);
}

static void tls_keeps_others_out(void)
{
    Pair *pair = pair_new(false, PATIENT);

    pair->tls_server = psk(pair, "server", KEY);
    pair->tls_client = psk(pair, "client", OTHER_KEY);
    pair_listen(pair);
    pair_connect(pair);
    side_wait_closed(pair->primary, "no TLS with the secondary at unix:*: *");
    pair_wait_refused(pair, 1);
    g_assert_cmpuint(pair->secondary->hellos, ==, 0);
    psk_remove(pair, "server");
    psk_remove(pair, "client");
    pair_free(pair);
}

static void without_tls_there_is_no_way_in(void)
{
    Pair *pair = pair_new(false, HASTY);

    pair->tls_server = psk(pair, "server", KEY);
    pair_listen(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->closes, 1);
    pair_wait_refused(pair, 1);
    g_assert_cmpuint(pair->secondary->hellos, ==, 0);
    psk_remove(pair, "server");
    pair_free(pair);
}

/* --- RDMA, over a fabric that is only memory ------------------------------ */

#ifdef CONFIG_RDMA

/* What a connection does, a link that carries it does. */
static const struct {
    const char *name;
    void (*run)(void);
} over_rdma[] = {
    { "both_sides_learn", both_sides_learn_who_the_other_is },
    { "intents", intents_may_be_a_mebibyte },
    { "secondary_refuses", a_secondary_that_refuses_is_quoted },
    { "primary_refuses", a_primary_that_refuses_is_quoted },
    { "receive_objects", what_receive_objects_to_is_quoted },
    { "held_back", a_stream_held_back_is_no_sign_of_death },
    { "finishing", finishing_sends_what_there_is },
    { "finishing_late", finishing_has_a_deadline },
    { "shutting_down", shutting_down_waits_for_nobody },
    { "comes_back", a_primary_that_comes_back_at_once_is_served },
    { "second_primary", a_second_primary_is_refused },
    { "listener_goes", a_listener_that_goes_ends_the_connection },
    { "listener_goes_in_wait", a_listener_that_goes_ends_waits },
    { "yank", yank_ends_it },
    { "tls", tls_carries_the_stream },
};

static void begin_rdma(const char *primary, const char *secondary)
{
    fake_verbs_begin();
    pair_over_rdma(primary, secondary);
}

static void end_rdma(void)
{
    pair_over_rdma(NULL, NULL);
    fake_verbs_end();
}

static void run_over_rdma(gconstpointer data)
{
    begin_rdma("127.0.0.1", "127.0.0.2");
    over_rdma[GPOINTER_TO_UINT(data)].run();
    end_rdma();
}

static void check_rdma(GannetPeer *peer, const char *pattern)
{
    g_autofree char *why = NULL;

    g_assert_true(gannet_peer_rdma(peer, &why) == !pattern);
    if (!pattern) {
        g_assert_null(why);
    } else if (!why || !g_pattern_match_simple(pattern, why)) {
        g_error("'%s' is not '%s'", why, pattern);
    }
}

static void the_stream_goes_by_rdma(void)
{
    Pair *pair;

    begin_rdma("127.0.0.1", "127.0.0.2");
    pair = pair_up(false, PATIENT);
    check_stream(pair, 400);
    check_rdma(pair->peer, NULL);
    check_rdma(pair->secondary->peer, NULL);
    pair_free(pair);
    end_rdma();
}

static void fall_back(const char *primary, const char *secondary,
                      const char *why)
{
    Pair *pair;

    begin_rdma(primary, secondary);
    pair = pair_up(false, PATIENT);
    check_stream(pair, 20);
    check_rdma(primary ? pair->peer : pair->secondary->peer, why);
    pair_free(pair);
    end_rdma();
}

static void without_rdma_on_one_side_it_goes_over_the_socket(void)
{
    fall_back(NULL, "127.0.0.1", "the primary has no rdma=*");
    fall_back("127.0.0.1", NULL, "the secondary offers none*");
    fall_back("127.0.0.1", "192.0.2.1", "the secondary offers none*");
}

static void a_link_that_cannot_be_made_is_told(void)
{
    static const char *const calls[] = {
        "create_id", "resolve_addr", "connect", "accept", "reg_mr",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
        Pair *pair;

        begin_rdma("127.0.0.1", "127.0.0.2");
        fake_verbs_fail_call(calls[i], 0, EIO);
        pair = pair_up(false, PATIENT);
        check_stream(pair, 20);
        check_rdma(pair->peer, "*");
        check_rdma(pair->secondary->peer, "*");
        pair_free(pair);
        end_rdma();
    }
}

static void a_link_that_breaks_ends_the_connection(void)
{
    Pair *pair;

    begin_rdma("127.0.0.1", "127.0.0.2");
    pair = pair_up(false, PATIENT);
    fake_verbs_fail_call("post_send", g_test_rand_int_range(0, 20), EIO);
    for (unsigned i = 0; i < 20; i++) {
        side_send_write(pair->primary, 0, 64 << 10);
        side_send_mark(pair->secondary, i + 1);
    }
    side_wait_closed(pair->primary, "*");
    side_wait_closed(pair->secondary, "*");
    /* And another one can be made. */
    pair_disconnect(pair);
    pair_connect(pair);
    side_wait(pair->primary, &pair->primary->connects, 2);
    check_rdma(pair->peer, NULL);
    pair_free(pair);
    end_rdma();
}

static void add_rdma(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(over_rdma); i++) {
        g_autofree char *path = g_strdup_printf("/gannet-peer/rdma/%s",
                                                over_rdma[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), run_over_rdma);
    }
    g_test_add_func("/gannet-peer/rdma/stream", the_stream_goes_by_rdma);
    g_test_add_func("/gannet-peer/rdma/fall-back",
                    without_rdma_on_one_side_it_goes_over_the_socket);
    g_test_add_func("/gannet-peer/rdma/cannot-be-made",
                    a_link_that_cannot_be_made_is_told);
    g_test_add_func("/gannet-peer/rdma/breaks",
                    a_link_that_breaks_ends_the_connection);
}

#else

static void add_rdma(void)
{
}

#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    qcrypto_init(&error_abort);

#define TEST(function) g_test_add_func("/gannet-peer/" #function, function)
    TEST(both_sides_learn_who_the_other_is);
    TEST(intents_may_be_a_mebibyte);
    TEST(a_secondary_that_refuses_is_quoted);
    TEST(a_primary_that_refuses_is_quoted);
    TEST(what_receive_objects_to_is_quoted);
    TEST(nobody_there_is_an_error_at_once);
    TEST(connecting_has_a_deadline);
    TEST(connecting_can_be_given_up);
    g_test_add_data_func("/gannet-peer/messages_arrive_whole/unix", NULL,
                         messages_arrive_whole_and_in_order);
    g_test_add_data_func("/gannet-peer/messages_arrive_whole/tcp", "tcp",
                         messages_arrive_whole_and_in_order);
    TEST(a_stream_held_back_is_no_sign_of_death);
    TEST(finishing_sends_what_there_is);
    TEST(finishing_has_a_deadline);
    TEST(shutting_down_waits_for_nobody);
    TEST(a_primary_that_comes_back_at_once_is_served);
    TEST(a_second_primary_is_refused);
    TEST(a_listener_that_goes_ends_the_connection);
    TEST(a_listener_that_goes_ends_waits);
    TEST(yank_ends_it);
    TEST(tls_carries_the_stream);
    TEST(tls_keeps_others_out);
    TEST(without_tls_there_is_no_way_in);
    add_rdma();
    return g_test_run();
}
