/*
 * TLS 1.3 with a pre-shared key, over bytes that the caller carries
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "../core/types.h"
#include "tls.h"

/*
 * ECDHE besides the key: who learns the key later cannot read what was said
 * before.
 */
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:" \
    "-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM"

#define RECORD 16384 /* the longest that TLS has */

struct ApusTlsKeys {
    char *cluster;
    gnutls_datum_t key; /* memory of ours */
    gnutls_priority_t priority;
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
};

struct ApusTls {
    gnutls_session_t session;
    const ApusTlsCarrier *carrier;
    void *opaque;
    gboolean starved; /* pull() had nothing, since this was FALSE */
    uint8_t record[RECORD]; /* what goes into the next record */
};

static gboolean fail(int rc, GError **errp)
{
    g_set_error(errp, APUS_ERROR, APUS_ERROR_IO, "TLS: %s",
                gnutls_strerror(rc));
    return FALSE;
}

/* --- keys ----------------------------------------------------------------- */

static int find_key(gnutls_session_t session, const gnutls_datum_t *name,
                    gnutls_datum_t *key)
{
    ApusTlsKeys *keys = gnutls_session_get_ptr(session);

    if (name->size != strlen(keys->cluster) ||
        memcmp(name->data, keys->cluster, name->size) != 0) {
        return -1;
    }
    key->data = gnutls_malloc(keys->key.size);
    if (!key->data) {
        return -1;
    }
    memcpy(key->data, keys->key.data, keys->key.size);
    key->size = keys->key.size;
    return 0;
}

static int prepare(ApusTlsKeys *keys)
{
    gnutls_datum_t name = {
        .data = (unsigned char *)keys->cluster,
        .size = strlen(keys->cluster),
    };
    int rc = gnutls_priority_init(&keys->priority, PRIORITY, NULL);

    if (rc >= 0) {
        rc = gnutls_psk_allocate_client_credentials(&keys->client);
    }
    if (rc >= 0) {
        rc = gnutls_psk_set_client_credentials2(keys->client, &name,
                                                &keys->key,
                                                GNUTLS_PSK_KEY_RAW);
    }
    if (rc >= 0) {
        rc = gnutls_psk_allocate_server_credentials(&keys->server);
    }
    if (rc >= 0) {
        gnutls_psk_set_server_credentials_function2(keys->server, find_key);
    }
    return rc;
}

ApusTlsKeys *apus_tls_keys_new(const char *cluster, const uint8_t *key,
                               size_t key_size, GError **errp)
{
    ApusTlsKeys *keys = g_new0(ApusTlsKeys, 1);
    int rc;

    keys->cluster = g_strdup(cluster);
    keys->key.data = g_memdup2(key, key_size);
    keys->key.size = key_size;
    rc = prepare(keys);
    if (rc < 0) {
        fail(rc, errp);
        apus_tls_keys_free(keys);
        return NULL;
    }
    return keys;
}

void apus_tls_keys_free(ApusTlsKeys *keys)
{
    if (!keys) {
        return;
    }
    if (keys->client) {
        gnutls_psk_free_client_credentials(keys->client);
    }
    if (keys->server) {
        gnutls_psk_free_server_credentials(keys->server);
    }
    if (keys->priority) {
        gnutls_priority_deinit(keys->priority);
    }
    explicit_bzero(keys->key.data, keys->key.size);
    g_free(keys->key.data);
    g_free(keys->cluster);
    g_free(keys);
}

/* --- sessions ------------------------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *data, size_t size)
{
    ApusTls *tls = opaque;
    ssize_t n = tls->carrier->pull(tls->opaque, data, size);

    if (n < 0) {
        tls->starved = TRUE;
        gnutls_transport_set_errno(tls->session, errno);
    }
    return n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const giovec_t *pieces,
                    int n)
{
    ApusTls *tls = opaque;
    ssize_t sum = 0;

    for (int i = 0; i < n; i++) {
        tls->carrier->push(tls->opaque, pieces[i].iov_base,
                           pieces[i].iov_len);
        sum += pieces[i].iov_len;
    }
    return sum;
}

static int has_input(gnutls_transport_ptr_t opaque G_GNUC_UNUSED,
                     unsigned milliseconds G_GNUC_UNUSED)
{
    return 1; /* pull() says whether it is so, and never waits */
}

static int set_up(ApusTls *tls, ApusTlsKeys *keys, gboolean client)
{
    int rc = gnutls_init(&tls->session, (client ? GNUTLS_CLIENT :
                                         GNUTLS_SERVER) |
                         GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
                         GNUTLS_NO_TICKETS);

    if (rc < 0) {
        return rc;
    }
    gnutls_session_set_ptr(tls->session, keys);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_pull_timeout_function(tls->session, has_input);
    gnutls_transport_set_vec_push_function(tls->session, push);
    gnutls_handshake_set_timeout(tls->session, GNUTLS_INDEFINITE_TIMEOUT);
    rc = gnutls_priority_set(tls->session, keys->priority);
    if (rc < 0) {
        return rc;
    }
    return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK,
                                  client ? (void *)keys->client :
                                  (void *)keys->server);
}

ApusTls *apus_tls_new(ApusTlsKeys *keys, gboolean client,
                      const ApusTlsCarrier *carrier, void *opaque,
                      GError **errp)
{
    ApusTls *tls = g_new0(ApusTls, 1);
    int rc;

    tls->carrier = carrier;
    tls->opaque = opaque;
    rc = set_up(tls, keys, client);
    if (rc < 0) {
        fail(rc, errp);
        apus_tls_free(tls);
        return NULL;
    }
    return tls;
}

void apus_tls_free(ApusTls *tls)
{
    if (tls) {
        if (tls->session) {
            gnutls_deinit(tls->session);
        }
        g_free(tls);
    }
}

int apus_tls_handshake(ApusTls *tls, GError **errp)
{
    int rc;

    /* A warning that is not fatal says nothing that matters here. */
    do {
        rc = gnutls_handshake(tls->session);
    } while (rc == GNUTLS_E_INTERRUPTED ||
             rc == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (rc == GNUTLS_E_AGAIN) {
        return 0;
    }
    if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO,
                    "TLS: the other side refuses: %s",
                    gnutls_alert_get_name(gnutls_alert_get(tls->session)));
        return -1;
    }
    if (rc < 0) {
        fail(rc, errp);
        gnutls_alert_send_appropriate(tls->session, rc);
        return -1;
    }
    return 1;
}

ssize_t apus_tls_read(ApusTls *tls, void *data, size_t size, GError **errp)
{
    ssize_t n;

    /*
     * After a message of its own, like that of new keys, GnuTLS wants to be
     * called again, although there may be more.
     */
    tls->starved = FALSE;
    do {
        n = gnutls_record_recv(tls->session, data, size);
    } while (n == GNUTLS_E_INTERRUPTED ||
             n == GNUTLS_E_WARNING_ALERT_RECEIVED ||
             (n == GNUTLS_E_AGAIN && !tls->starved));
    switch (n) {
    case GNUTLS_E_AGAIN:
        return -1;
    case GNUTLS_E_PREMATURE_TERMINATION: /* a process that is killed */
    case GNUTLS_E_PULL_ERROR: /* likewise: reset */
        return 0;
    default:
        if (n < 0) {
            fail(n, errp);
            return -2;
        }
        return n;
    }
}

static gboolean send_record(ApusTls *tls, size_t size, GError **errp)
{
    ssize_t n = gnutls_record_send(tls->session, tls->record, size);

    /* push() takes everything, so there is no in between. */
    return n == (ssize_t)size ? TRUE : fail(n, errp);
}

gboolean apus_tls_write(ApusTls *tls, const struct iovec *pieces, int n,
                        GError **errp)
{
    size_t filled = 0;

    for (int i = 0; i < n; i++) {
        const uint8_t *from = pieces[i].iov_base;
        size_t left = pieces[i].iov_len;

        while (left > 0) {
            size_t part = MIN(left, RECORD - filled);

            memcpy(tls->record + filled, from, part);
            filled += part;
            from += part;
            left -= part;
            if (filled == RECORD) {
                if (!send_record(tls, filled, errp)) {
                    return FALSE;
                }
                filled = 0;
            }
        }
    }
    return filled == 0 || send_record(tls, filled, errp);
}
