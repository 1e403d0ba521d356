/*
 * An offer: where a link can be had, and the secret for it
 *
 * It travels over a connection that was authenticated by other means
 * (docs/internals/rdma-streams.rst has its format). The caller shows the first
 * half of the secret, the called one the second.
 *
 * Nothing here keeps state. Any thread may call.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_OFFER_H
#define COLONY_VERBS_OFFER_H

#include <glib.h>
#include <stdint.h>
#include <sys/socket.h>

#define VERBS_OFFER_SIZE 52
#define VERBS_SECRET_SIZE 32
/* Private data of a call and of its acceptance. */
#define VERBS_TOKEN_SIZE 24

typedef struct {
    struct sockaddr_storage address; /* with a port; IPv4 or IPv6 */
    uint8_t secret[VERBS_SECRET_SIZE];
} VerbsOffer;

/*
 * The address HOST[:PORT] of this host that RDMA is to use. HOST is numeric,
 * IPv6 in brackets, and not the one that means any; without PORT it is 0.
 * VERBS_ERROR_ADDRESS if it is none.
 */
gboolean verbs_address_parse(struct sockaddr_storage *address,
                             const char *text, GError **errp);
/* HOST:PORT. */
char *verbs_address_text(const struct sockaddr_storage *address);

void verbs_offer_encode(const VerbsOffer *offer,
                        uint8_t data[VERBS_OFFER_SIZE]);
gboolean verbs_offer_decode(VerbsOffer *offer, const uint8_t *data,
                            size_t size, GError **errp);

/* What shows that one side, the caller or the called one, has the secret. */
void verbs_token_make(const VerbsOffer *offer, gboolean caller,
                      uint8_t token[VERBS_TOKEN_SIZE]);
/* In a time that says nothing of the secret. */
gboolean verbs_token_check(const VerbsOffer *offer, gboolean caller,
                           const uint8_t *data, size_t size);

#endif
