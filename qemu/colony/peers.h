/*
 * What the other nodes' supervisors report
 *
 * Asked again and again while somebody wants to know it, and seldom otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_PEERS_H
#define COLONY_PEERS_H

#include <json-glib/json-glib.h>
#include "config.h"

typedef struct ColonyPeer {
    const ColonyNode *node;
    JsonObject *report; /* NULL: it does not answer */
    char *error; /* why not; NULL: it does, or was not asked yet */
    gint64 time; /* of the answer or the error, monotonic; 0: none yet */
} ColonyPeer;

typedef struct ColonyPeers ColonyPeers;
/* Every node has been asked since the last call, and has answered or not. */
typedef void ColonyPeersNews(void *opaque);

ColonyPeers *colony_peers_new(const ColonyConfig *config,
                              const ColonyNode *self, ColonyPeersNews *news,
                              void *opaque);
void colony_peers_free(ColonyPeers *peers);

/* From now on, in ms between the end of a round and the next one. */
void colony_peers_set_interval(ColonyPeers *peers, unsigned interval);
/* Now. */
void colony_peers_ask(ColonyPeers *peers);

/* @node: not oneself */
const ColonyPeer *colony_peers_get(const ColonyPeers *peers,
                                   const ColonyNode *node);

#endif
