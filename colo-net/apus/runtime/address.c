/*
 * HOST:PORT as a socket address, and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "../core/types.h"
#include "address.h"

static gboolean refuse(const char *text, const char *why, GError **errp)
{
    g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                "'%.*s' is no address: %s", APUS_MAX_ADDRESS, text, why);
    return FALSE;
}

static gboolean parse_port(const char *text, gboolean any_port)
{
    guint64 port;

    return g_ascii_string_to_unsigned(text, 10, any_port ? 0 : 1, 65535,
                                      &port, NULL);
}

gboolean apus_address_parse(ApusAddress *address, const char *text,
                            gboolean any_port, GError **errp)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
        .ai_socktype = SOCK_STREAM,
    };
    const char *colon = strrchr(text, ':');
    g_autofree char *host = NULL;
    struct addrinfo *found;
    int rc;

    if (strlen(text) >= APUS_MAX_ADDRESS) {
        return refuse(text, "it has at most 127 characters", errp);
    }
    if (!colon || colon == text) {
        return refuse(text, "expected HOST:PORT or [IPv6]:PORT", errp);
    }
    if (!parse_port(colon + 1, any_port)) {
        return refuse(text, any_port ? "the port is 0 to 65535" :
                      "the port is 1 to 65535", errp);
    }
    if (text[0] == '[' && colon[-1] == ']') {
        host = g_strndup(text + 1, colon - text - 2);
    } else {
        host = g_strndup(text, colon - text);
        if (strchr(host, ':')) {
            return refuse(text, "an IPv6 address stands in brackets", errp);
        }
        if (strcmp(host, "localhost") == 0) {
            g_free(host);
            host = g_strdup("127.0.0.1");
        }
    }

    rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        return refuse(text, "the host has to be given as a number"
                      " (an IPv4 or IPv6 address) or as localhost", errp);
    }
    g_assert(found->ai_addrlen <= sizeof(address->storage));
    memset(address, 0, sizeof(*address));
    memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
    address->size = found->ai_addrlen;
    freeaddrinfo(found);
    return TRUE;
}

/* A socket for both families shows IPv4 addresses mapped to IPv6. */
static void unmap(ApusAddress *address)
{
    const struct sockaddr_in6 *in6 = (void *)&address->storage;
    struct sockaddr_in in = { .sin_family = AF_INET };

    if (address->storage.ss_family == AF_INET6 &&
        IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        in.sin_port = in6->sin6_port;
        memcpy(&in.sin_addr, in6->sin6_addr.s6_addr + 12, 4);
        memcpy(&address->storage, &in, sizeof(in));
        address->size = sizeof(in);
    }
}

char *apus_address_text(const ApusAddress *address)
{
    ApusAddress plain = *address;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    unmap(&plain);
    if (getnameinfo((void *)&plain.storage, plain.size, host, sizeof(host),
                    port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV)) {
        return g_strdup("an unknown address");
    }
    return g_strdup_printf(plain.storage.ss_family == AF_INET6 ? "[%s]:%s" :
                           "%s:%s", host, port);
}
