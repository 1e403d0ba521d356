/*
 * HOST:PORT as a socket address, and back
 *
 * HOST is numeric, or "localhost", which is 127.0.0.1. Other names are refused:
 * to look one up may take seconds, may give different members different
 * answers, and may stop to work just when a host has died. An IPv6 address
 * stands in brackets; one of a link names its interface ([fe80::1%eth0]:4711).
 * [::] listens for IPv4 as well.
 *
 * Any thread may call.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_ADDRESS_H
#define APUS_ADDRESS_H

#include <glib.h>
#include <sys/socket.h>

typedef struct {
    struct sockaddr_storage storage;
    socklen_t size;
} ApusAddress;

/* APUS_ERROR_CONFIG if @text is none. Port 0 is refused unless @any_port. */
gboolean apus_address_parse(ApusAddress *address, const char *text,
                            gboolean any_port, GError **errp);

/* As it would be parsed; an IPv4 address that was mapped to IPv6 as IPv4. */
char *apus_address_text(const ApusAddress *address);

#endif
