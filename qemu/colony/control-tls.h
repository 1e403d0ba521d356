/*
 * TLS with certificates on both sides, under the lines of control.h
 *
 * The files are read anew for each connection, so renewed certificates need no
 * restart. Whoever has a certificate that ca-cert.pem vouches for may ask; who
 * answers must have one for the host by which the config names it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONTROL_TLS_H
#define COLONY_CONTROL_TLS_H

#include <gio/gio.h>
#include "config.h"

/* Whether the files of config->tls_directory are there and can be used. */
gboolean colony_tls_check(const ColonyConfig *config, GError **error);

/*
 * Shake hands over @base, as the one that asks @server, or, if that is NULL, as
 * the one that answers. Ends when @cancel is cancelled.
 */
void colony_tls_start_async(const ColonyConfig *config, GIOStream *base,
                            const ColonyNode *server, GCancellable *cancel,
                            GAsyncReadyCallback ready, void *opaque);
/* The stream to use, the caller's. */
GIOStream *colony_tls_start_finish(GAsyncResult *result, GError **error);

#endif
