/*
 * TLS 1.3 with a pre-shared key, over bytes that the caller carries
 *
 * There is no socket here. What comes from the other side is put in by a
 * function that the caller gives, what goes there is appended by another; so
 * the caller decides when and how much is read and written at once.
 *
 * The key is the cluster's, and its identity the cluster's name. There are no
 * certificates, no resumption and no other version of TLS.
 *
 * Not thread-safe; ApusTlsKeys may be used by several sessions of a thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_TLS_H
#define APUS_TLS_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct ApusTlsKeys ApusTlsKeys;
typedef struct ApusTls ApusTls;

ApusTlsKeys *apus_tls_keys_new(const char *cluster, const uint8_t *key,
                               size_t key_size, GError **errp);
void apus_tls_keys_free(ApusTlsKeys *keys);

typedef struct {
    /*
     * Up to @size bytes into @data: how many; 0 at the end; -1 with errno,
     * EAGAIN when there are none yet.
     */
    ssize_t (*pull)(void *opaque, void *data, size_t size);
    /* Take all of it. */
    void (*push)(void *opaque, const void *data, size_t size);
} ApusTlsCarrier;

ApusTls *apus_tls_new(ApusTlsKeys *keys, gboolean client,
                      const ApusTlsCarrier *carrier, void *opaque,
                      GError **errp);
void apus_tls_free(ApusTls *tls);

/* 1: done; 0: to be called again when more has come; -1: failed. */
int apus_tls_handshake(ApusTls *tls, GError **errp);

/* How many bytes came; 0 at the end; -1 for none yet; -2 when it failed. */
ssize_t apus_tls_read(ApusTls *tls, void *data, size_t size, GError **errp);

/* Encrypt all of it, in few records. */
gboolean apus_tls_write(ApusTls *tls, const struct iovec *pieces, int n,
                        GError **errp);

#endif
