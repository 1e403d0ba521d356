/*
 * An offer: where a link can be had, and the secret for it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "colo-net/verbs/offer.h"
#include "colo-net/verbs/verbs.h"

#define VERSION 1

/* Where the fields stand. */
enum {
    AT_VERSION = 0,
    AT_FAMILY = 1,
    AT_PORT = 2,
    AT_ADDRESS = 4,
    AT_SECRET = 20,

    MAGIC_SIZE = 8,
    HALF = VERBS_SECRET_SIZE / 2,
};

G_STATIC_ASSERT(AT_SECRET + VERBS_SECRET_SIZE == VERBS_OFFER_SIZE);
G_STATIC_ASSERT(MAGIC_SIZE + HALF == VERBS_TOKEN_SIZE);

static const uint8_t magic[MAGIC_SIZE] = {
    'C', 'L', 'N', 'Y', 'L', 'I', 'N', 'K',
};

/* --- addresses ------------------------------------------------------------ */

static gboolean refuse(const char *text, const char *why, GError **errp)
{
    g_autofree char *valid = g_utf8_make_valid(text, strnlen(text, 80));

    g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                "'%s' is no address for RDMA: %s", valid, why);
    return FALSE;
}

/* HOST of HOST[:PORT], without brackets; *@port is NULL if there is none. */
static char *split(const char *text, const char **port)
{
    const char *end;

    *port = NULL;
    if (text[0] == '[') {
        end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':')) {
            return NULL;
        }
        *port = end[1] ? end + 2 : NULL;
        return g_strndup(text + 1, end - text - 1);
    }
    end = strchr(text, ':');
    *port = end ? end + 1 : NULL;
    return end ? g_strndup(text, end - text) : g_strdup(text);
}

static gboolean is_any(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;

    return address->ss_family == AF_INET
           ? in->sin_addr.s_addr == htonl(INADDR_ANY)
           : IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

gboolean verbs_address_parse(struct sockaddr_storage *address,
                             const char *text, GError **errp)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
        .ai_socktype = SOCK_STREAM,
    };
    g_autofree char *host = NULL;
    struct addrinfo *found;
    const char *port;
    guint64 number;

    host = split(text, &port);
    if (!host || !*host) {
        return refuse(text, "expected HOST[:PORT] or [IPv6][:PORT]", errp);
    }
    if (port && !g_ascii_string_to_unsigned(port, 10, 0, 65535, &number,
                                            NULL)) {
        return refuse(text, "the port is 0 to 65535, and an IPv6 address "
                      "stands in brackets", errp);
    }
    if (getaddrinfo(host, port ? port : "0", &hints, &found) != 0) {
        return refuse(text, "the host has to be given as a number (an IPv4 or "
                      "IPv6 address)", errp);
    }
    g_assert(found->ai_addrlen <= sizeof(*address));
    memset(address, 0, sizeof(*address));
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (is_any(address)) {
        return refuse(text, "it has to be the one of the interface with RDMA",
                      errp);
    }
    return TRUE;
}

char *verbs_address_text(const struct sockaddr_storage *address)
{
    gboolean in6 = address->ss_family == AF_INET6;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getnameinfo((const void *)address, in6 ? sizeof(struct sockaddr_in6) :
                    sizeof(struct sockaddr_in), host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV)) {
        return g_strdup("an unknown address");
    }
    return g_strdup_printf(in6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* --- offers --------------------------------------------------------------- */

void verbs_offer_encode(const VerbsOffer *offer,
                        uint8_t data[VERBS_OFFER_SIZE])
{
    const struct sockaddr_in *in = (const void *)&offer->address;
    const struct sockaddr_in6 *in6 = (const void *)&offer->address;

    memset(data, 0, VERBS_OFFER_SIZE);
    data[AT_VERSION] = VERSION;
    if (offer->address.ss_family == AF_INET) {
        g_assert(in->sin_port);
        data[AT_FAMILY] = 4;
        memcpy(data + AT_PORT, &in->sin_port, 2);
        memcpy(data + AT_ADDRESS, &in->sin_addr, 4);
    } else {
        g_assert(offer->address.ss_family == AF_INET6 && in6->sin6_port);
        data[AT_FAMILY] = 6;
        memcpy(data + AT_PORT, &in6->sin6_port, 2);
        memcpy(data + AT_ADDRESS, &in6->sin6_addr, 16);
    }
    memcpy(data + AT_SECRET, offer->secret, VERBS_SECRET_SIZE);
}

static gboolean corrupt(const char *why, GError **errp)
{
    g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                "an offer of RDMA that is none: %s", why);
    return FALSE;
}

static gboolean decode_address(struct sockaddr_storage *address,
                               const uint8_t *data, GError **errp)
{
    static const uint8_t zero[12];
    struct sockaddr_in *in = (void *)address;
    struct sockaddr_in6 *in6 = (void *)address;

    memset(address, 0, sizeof(*address));
    if (data[AT_FAMILY] == 4) {
        in->sin_family = AF_INET;
        memcpy(&in->sin_port, data + AT_PORT, 2);
        memcpy(&in->sin_addr, data + AT_ADDRESS, 4);
        if (memcmp(data + AT_ADDRESS + 4, zero, sizeof(zero)) != 0) {
            return corrupt("its IPv4 address has more than 4 bytes", errp);
        }
    } else if (data[AT_FAMILY] == 6) {
        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_port, data + AT_PORT, 2);
        memcpy(&in6->sin6_addr, data + AT_ADDRESS, 16);
    } else {
        return corrupt("its address is neither IPv4 nor IPv6", errp);
    }
    if (!data[AT_PORT] && !data[AT_PORT + 1]) {
        return corrupt("its port is 0", errp);
    }
    return !is_any(address) || corrupt("its address is none", errp);
}

gboolean verbs_offer_decode(VerbsOffer *offer, const uint8_t *data,
                            size_t size, GError **errp)
{
    if (size != VERBS_OFFER_SIZE) {
        return corrupt("it has another size", errp);
    }
    if (data[AT_VERSION] != VERSION) {
        return corrupt("it is of another version", errp);
    }
    memcpy(offer->secret, data + AT_SECRET, VERBS_SECRET_SIZE);
    return decode_address(&offer->address, data, errp);
}

/* --- who has the secret --------------------------------------------------- */

void verbs_token_make(const VerbsOffer *offer, gboolean caller,
                      uint8_t token[VERBS_TOKEN_SIZE])
{
    memcpy(token, magic, MAGIC_SIZE);
    memcpy(token + MAGIC_SIZE, offer->secret + (caller ? 0 : HALF), HALF);
}

gboolean verbs_token_check(const VerbsOffer *offer, gboolean caller,
                           const uint8_t *data, size_t size)
{
    uint8_t token[VERBS_TOKEN_SIZE];
    uint8_t differs = 0;

    if (size < VERBS_TOKEN_SIZE) {
        return FALSE;
    }
    verbs_token_make(offer, caller, token);
    for (unsigned i = 0; i < VERBS_TOKEN_SIZE; i++) {
        differs |= token[i] ^ data[i];
    }
    return !differs;
}
