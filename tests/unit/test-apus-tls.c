/*
 * TLS over bytes that the caller carries
 *
 * Its source is part of this program, so that keys can be renewed here at any
 * time; GnuTLS does so by itself after 2^24 records.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/runtime/tls.c"

#define KEY ((const uint8_t *)"0123456789abcdef")

typedef struct {
    GByteArray *in, *out;
} End;

typedef struct {
    ApusTlsKeys *keys;
    GByteArray *there, *back; /* from the client, and to it */
    End client_end, server_end;
    ApusTls *client, *server;
} Fixture;

static ssize_t take(void *opaque, void *data, size_t size)
{
    End *end = opaque;

    if (end->in->len == 0) {
        errno = EAGAIN;
        return -1;
    }
    size = MIN(size, end->in->len);
    memcpy(data, end->in->data, size);
    g_byte_array_remove_range(end->in, 0, size);
    return size;
}

static void give(void *opaque, const void *data, size_t size)
{
    End *end = opaque;

    g_byte_array_append(end->out, data, size);
}

static const ApusTlsCarrier carrier = { .pull = take, .push = give };

static void connect_both(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    int client = 0, server = 0;

    f->keys = apus_tls_keys_new("cluster", KEY, 16, &error);
    g_assert_no_error(error);
    f->there = g_byte_array_new();
    f->back = g_byte_array_new();
    f->client_end = (End) { f->back, f->there };
    f->server_end = (End) { f->there, f->back };
    f->client = apus_tls_new(f->keys, TRUE, &carrier, &f->client_end, &error);
    g_assert_no_error(error);
    f->server = apus_tls_new(f->keys, FALSE, &carrier, &f->server_end, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < 10 && (client < 1 || server < 1); i++) {
        if (client == 0) {
            client = apus_tls_handshake(f->client, &error);
        }
        if (server == 0) {
            server = apus_tls_handshake(f->server, &error);
        }
        g_assert_no_error(error);
    }
    g_assert_cmpint(client, ==, 1);
    g_assert_cmpint(server, ==, 1);
}

static void free_both(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    apus_tls_free(f->client);
    apus_tls_free(f->server);
    apus_tls_keys_free(f->keys);
    g_byte_array_unref(f->there);
    g_byte_array_unref(f->back);
}

static void must_send(ApusTls *tls, const char *text)
{
    struct iovec pieces[] = {
        { (void *)text, 1 }, { (void *)(text + 1), strlen(text) - 1 },
    };
    g_autoptr(GError) error = NULL;

    apus_tls_write(tls, pieces, 2, &error);
    g_assert_no_error(error);
}

static void must_read(ApusTls *tls, const char *text)
{
    g_autoptr(GError) error = NULL;
    char data[100];
    ssize_t n = apus_tls_read(tls, data, sizeof(data), &error);

    g_assert_no_error(error);
    g_assert_cmpint(n, >=, 0);
    g_assert_cmpmem(data, n, text, strlen(text));
}

static void must_have_nothing(ApusTls *tls)
{
    char data[100];

    g_assert_cmpint(apus_tls_read(tls, data, sizeof(data), NULL), ==, -1);
}

static void pieces_travel_in_one_record(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    must_send(f->client, "question");
    must_read(f->server, "question");
    must_have_nothing(f->server);
    must_send(f->server, "answer");
    must_read(f->client, "answer");
}

static void what_follows_new_keys_is_read_at_once(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    must_send(f->client, "before");
    g_assert_cmpint(gnutls_session_key_update(f->client->session, 0), ==, 0);
    must_send(f->client, "behind");
    must_read(f->server, "before");
    must_read(f->server, "behind");
    must_have_nothing(f->server);
}

static void new_keys_can_be_asked_for(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_assert_cmpint(gnutls_session_key_update(f->client->session,
                                              GNUTLS_KU_PEER), ==, 0);
    must_send(f->client, "question");
    must_read(f->server, "question");
    must_send(f->server, "answer");
    must_read(f->client, "answer");
}

static void a_changed_byte_is_an_error(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    char data[100];

    must_send(f->client, "question");
    f->there->data[f->there->len - 1] ^= 1;
    g_assert_cmpint(apus_tls_read(f->server, data, sizeof(data), &error), ==,
                    -2);
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IO);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tls/" #test, Fixture, NULL, connect_both, test, \
               free_both)

    g_test_init(&argc, &argv, NULL);
    ADD(pieces_travel_in_one_record);
    ADD(what_follows_new_keys_is_read_at_once);
    ADD(new_keys_can_be_asked_for);
    ADD(a_changed_byte_is_an_error);
    return g_test_run();
}
