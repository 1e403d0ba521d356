/*
 * Where a supervisor listens: its UNIX socket, and the node's control port
 *
 * Only one supervisor of a node can: it holds a lock, the socket's path with
 * .lock behind it, so whatever socket is there besides is a dead one's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONTROL_LISTEN_H
#define COLONY_CONTROL_LISTEN_H

#include <gio/gio.h>
#include "config.h"

typedef struct ColonyListener ColonyListener;

/* @address: whence; NULL: by the UNIX socket */
typedef void ColonyArrived(void *opaque, GIOStream *stream,
                           GInetAddress *address);

/*
 * In the thread-default main context. Looks up the node's own host, which may
 * take some seconds. Errors: COLONY_CONTROL_ERROR_*.
 */
ColonyListener *colony_listener_new(const ColonyNode *node,
                                    ColonyArrived *arrived, void *opaque,
                                    GError **error);
/* Removes the UNIX socket. */
void colony_listener_free(ColonyListener *listener);

#endif
