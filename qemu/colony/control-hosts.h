/*
 * Which addresses are those of the config's nodes
 *
 * Without TLS only these may ask a supervisor. Hosts that are names are looked
 * up at the start, and again when somebody comes who is not known.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONTROL_HOSTS_H
#define COLONY_CONTROL_HOSTS_H

#include <gio/gio.h>
#include "config.h"

typedef struct ColonyHosts ColonyHosts;

/* Lookups begin, in the thread-default main context. */
ColonyHosts *colony_hosts_new(const ColonyConfig *config);
/* All checks that are under way fail, G_IO_ERROR_CANCELLED. */
void colony_hosts_free(ColonyHosts *hosts);

/* Whether @address is a node's; takes no more than some seconds. */
void colony_hosts_check_async(ColonyHosts *hosts, GInetAddress *address,
                              GAsyncReadyCallback ready, void *opaque);
gboolean colony_hosts_check_finish(GAsyncResult *result, GError **error);

/* All addresses of a host; waits for them, some seconds at most. */
GList *colony_resolve(const char *host, GError **error);

#endif
