/*
 * Where a supervisor listens: its UNIX socket, and the node's control port
 *
 * A socket at which nobody listens is a dead supervisor's, and is replaced. Two
 * that start at once are for the caller to prevent.
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

/* In the thread-default main context. */
ColonyListener *colony_listener_new(const ColonyNode *node,
                                    ColonyArrived *arrived, void *opaque,
                                    GError **error);
/* Removes the UNIX socket. */
void colony_listener_free(ColonyListener *listener);

#endif
