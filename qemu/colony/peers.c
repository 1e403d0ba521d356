/*
 * What the other nodes' supervisors report
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "control.h"
#include "peers.h"

#define ANSWER_MS 2000

struct ColonyPeers {
    const ColonyConfig *config;
    ColonyPeersNews *news;
    void *opaque;
    ColonyPeer *peers; /* as many as nodes; ->node is NULL for oneself */
    unsigned interval, left;
    guint timer;
    gboolean again, gone;
};

/* One question. */
typedef struct Asked {
    ColonyPeers *peers;
    ColonyPeer *peer;
} Asked;

static void clear_peer(ColonyPeer *peer)
{
    g_clear_pointer(&peer->report, json_object_unref);
    g_clear_pointer(&peer->error, g_free);
}

static void clear(void *opaque)
{
    ColonyPeers *peers = opaque;

    for (guint i = 0; i < peers->config->nodes->len; i++) {
        clear_peer(&peers->peers[i]);
    }
    g_free(peers->peers);
}

static gboolean on_timer(void *opaque)
{
    ColonyPeers *peers = opaque;

    peers->timer = 0;
    colony_peers_ask(peers);
    return G_SOURCE_REMOVE;
}

static void set_timer(ColonyPeers *peers)
{
    g_clear_handle_id(&peers->timer, g_source_remove);
    peers->timer = g_timeout_add(peers->again ? 0 : peers->interval, on_timer,
                                 peers);
    peers->again = FALSE;
}

static void on_report(void *opaque, JsonObject *result, const GError *error)
{
    g_autofree Asked *asked = opaque;
    ColonyPeers *peers = asked->peers;
    ColonyPeer *peer = asked->peer;

    clear_peer(peer);
    peer->report = result ? json_object_ref(result) : NULL;
    peer->error = result ? NULL : g_strdup(error->message);
    peer->time = g_get_monotonic_time();
    if (--peers->left == 0 && !peers->gone) {
        set_timer(peers);
        peers->news(peers->opaque);
    }
    g_rc_box_release_full(peers, clear);
}

void colony_peers_ask(ColonyPeers *peers)
{
    if (peers->left) {
        peers->again = TRUE;
        return;
    }
    g_clear_handle_id(&peers->timer, g_source_remove);
    peers->left = peers->config->nodes->len - 1;
    for (guint i = 0; i < peers->config->nodes->len; i++) {
        ColonyPeer *peer = &peers->peers[i];
        Asked *asked;

        if (peer->node) {
            asked = g_new(Asked, 1);
            *asked = (Asked) { g_rc_box_acquire(peers), peer };
            colony_call_async(peers->config, peer->node, FALSE, "report", NULL,
                              ANSWER_MS, on_report, asked);
        }
    }
}

void colony_peers_set_interval(ColonyPeers *peers, unsigned interval)
{
    gboolean sooner = interval < peers->interval;

    peers->interval = interval;
    if (sooner && peers->timer) {
        set_timer(peers);
    }
}

const ColonyPeer *colony_peers_get(const ColonyPeers *peers,
                                   const ColonyNode *node)
{
    for (guint i = 0; i < peers->config->nodes->len; i++) {
        if (peers->peers[i].node == node) {
            return &peers->peers[i];
        }
    }
    g_assert_not_reached();
}

ColonyPeers *colony_peers_new(const ColonyConfig *config,
                              const ColonyNode *self, ColonyPeersNews *news,
                              void *opaque)
{
    ColonyPeers *peers = g_rc_box_new0(ColonyPeers);

    peers->config = config;
    peers->news = news;
    peers->opaque = opaque;
    peers->interval = G_MAXUINT;
    peers->peers = g_new0(ColonyPeer, config->nodes->len);
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        peers->peers[i].node = node == self ? NULL : node;
    }
    return peers;
}

void colony_peers_free(ColonyPeers *peers)
{
    if (peers) {
        g_clear_handle_id(&peers->timer, g_source_remove);
        peers->gone = TRUE;
        g_rc_box_release_full(peers, clear);
    }
}
