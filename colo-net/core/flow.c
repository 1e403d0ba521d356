/*
 * The table of connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <string.h>

#include "colo-net/core/flow-internal.h"

/* How long a closed connection is remembered, in microseconds. */
#define LINGER_US (60 * G_USEC_PER_SEC)
/* How many are asked whether they can be forgotten. */
#define TRIES 16

GQuark flow_error_quark(void)
{
    return g_quark_from_static_string("flow-error");
}

/* --- lists ----------------------------------------------------------------*/

static FlowList *flow_list(FlowTable *table, const Flow *flow)
{
    return flow->flags & FLOW_CLOSED ? &table->closed : &table->live;
}

static void list_append(FlowList *list, Flow *flow)
{
    flow->list = list;
    flow->older = list->newest;
    flow->newer = NULL;
    *(list->newest ? &list->newest->newer : &list->oldest) = flow;
    list->newest = flow;
    list->n++;
}

static void list_remove(Flow *flow)
{
    FlowList *list = flow->list;

    *(flow->older ? &flow->older->newer : &list->oldest) = flow->newer;
    *(flow->newer ? &flow->newer->older : &list->newest) = flow->older;
    list->n--;
}

void flow_touch(FlowTable *table, Flow *flow)
{
    FlowList *list = flow_list(table, flow);

    flow->used = table->now;
    if (list != flow->list || list->newest != flow) {
        list_remove(flow);
        list_append(list, flow);
    }
}

void flow_count_shifted(FlowTable *table, Flow *flow)
{
    gboolean shifted = !(flow->flags & FLOW_LEARNED) || flow->offset ||
                       flow->stamp_offset;

    if (shifted != flow->shifted) {
        flow->shifted = shifted;
        table->shifted += shifted ? 1 : -1;
    }
}

gboolean flow_table_translates(const FlowTable *table)
{
    return table->shifted > 0;
}

/* --- those that have moved -------------------------------------------------*/

void flow_move(FlowTable *table, Flow *flow)
{
    if (!flow->moved) {
        g_ptr_array_add(table->moved, flow);
        flow->moved = table->moved->len;
    }
}

static void rest(FlowTable *table, Flow *flow)
{
    guint at = flow->moved;

    if (at) {
        g_ptr_array_remove_index_fast(table->moved, at - 1);
        if (at <= table->moved->len) {
            ((Flow *)table->moved->pdata[at - 1])->moved = at;
        }
        flow->moved = 0;
    }
}

/* --- finding --------------------------------------------------------------*/

static uint64_t key_hash(const FlowTable *table, const PacketKey *key)
{
    return XXH3_64bits_withSeed(key, sizeof(*key), table->seed);
}

static Flow *find(const FlowTable *table, const PacketKey *key, uint64_t hash)
{
    Flow *flow = table->by_key[hash & table->mask];

    while (flow && (flow->hash != hash ||
                    memcmp(&flow->key, key, sizeof(*key)) != 0)) {
        flow = flow->key_next;
    }
    return flow;
}

Flow *flow_by_key(const FlowTable *table, const PacketKey *key)
{
    return find(table, key, key_hash(table, key));
}

Flow *flow_by_id(const FlowTable *table, uint64_t id)
{
    Flow *flow = table->by_id[id & table->mask];

    while (flow && flow->id != id) {
        flow = flow->id_next;
    }
    return flow;
}

/* --- coming and going -----------------------------------------------------*/

static void flow_free(Flow *flow)
{
    g_assert(!flow->held.first && !flow->part_at);
    g_free(flow->pending);
    g_free(flow);
}

void flow_pin(Flow *flow)
{
    flow->pins++;
}

void flow_unpin(Flow *flow)
{
    g_assert(flow->pins);
    flow->pins--;
    if (!flow->pins && (flow->flags & FLOW_GONE)) {
        flow_free(flow);
    }
}

static void bucket_remove(Flow **at, Flow *flow, gboolean by_key)
{
    while (*at != flow) {
        at = by_key ? &(*at)->key_next : &(*at)->id_next;
    }
    *at = by_key ? flow->key_next : flow->id_next;
}

void flow_remove(FlowTable *table, Flow *flow)
{
    list_remove(flow);
    bucket_remove(&table->by_key[flow->hash & table->mask], flow, TRUE);
    bucket_remove(&table->by_id[flow->id & table->mask], flow, FALSE);
    rest(table, flow);
    if (flow->shifted) {
        table->shifted--;
    }
    flow->flags |= FLOW_GONE;
    if (!flow->pins) {
        flow_free(flow);
    }
}

/* Forget one that is old and has no frames; those that have are passed by. */
static gboolean evict(FlowTable *table, FlowList *list)
{
    for (unsigned i = 0; list->oldest && i < TRIES; i++) {
        Flow *flow = list->oldest;

        if (!flow->pins) {
            flow_remove(table, flow);
            return TRUE;
        }
        list_remove(flow);
        list_append(list, flow);
    }
    return FALSE;
}

static void make_room(FlowTable *table)
{
    while (table->closed.oldest && !table->closed.oldest->pins &&
           table->now - table->closed.oldest->used > LINGER_US) {
        flow_remove(table, table->closed.oldest);
    }
    while (flow_table_size(table) >= table->limit) {
        if (!evict(table, &table->closed) && !evict(table, &table->live)) {
            break; /* held frames are bounded, so these are */
        }
    }
}

Flow *flow_add(FlowTable *table, const PacketKey *key, uint32_t life,
               uint32_t flags)
{
    Flow *flow = g_new0(Flow, 1);
    Flow **bucket;

    make_room(table);
    flow->key = *key;
    flow->hash = key_hash(table, key);
    flow->life = life;
    flow->id = flow->hash ^ XXH3_64bits_withSeed(&life, sizeof(life),
                                                 table->seed);
    flow->flags = flags | (key->version == 6 ? FLOW_IPV6 : 0);
    flow->scale = PACKET_NO_SCALE;
    flow->used = table->now;
    flow_digest_reset(table, flow);

    bucket = &table->by_key[flow->hash & table->mask];
    flow->key_next = *bucket;
    *bucket = flow;
    bucket = &table->by_id[flow->id & table->mask];
    flow->id_next = *bucket;
    *bucket = flow;
    list_append(flow_list(table, flow), flow);
    flow_move(table, flow);
    flow_count_shifted(table, flow);
    return flow;
}

FlowTable *flow_table_new(size_t limit, uint64_t seed)
{
    FlowTable *table = g_new0(FlowTable, 1);
    uint32_t buckets = 64;

    g_assert(limit > 0 && limit <= FLOW_LIMIT_MAX);
    while (buckets < limit) {
        buckets *= 2;
    }
    table->limit = limit;
    table->seed = seed;
    table->mask = buckets - 1;
    table->by_key = g_new0(Flow *, buckets);
    table->by_id = g_new0(Flow *, buckets);
    table->moved = g_ptr_array_new();
    return table;
}

void flow_table_clear(FlowTable *table)
{
    while (table->live.oldest) {
        flow_remove(table, table->live.oldest);
    }
    while (table->closed.oldest) {
        flow_remove(table, table->closed.oldest);
    }
}

void flow_table_free(FlowTable *table)
{
    if (table) {
        flow_table_clear(table);
        g_free(table->by_key);
        g_free(table->by_id);
        g_ptr_array_free(table->moved, TRUE);
        g_free(table);
    }
}

size_t flow_table_size(const FlowTable *table)
{
    return table->live.n + table->closed.n;
}

char *flow_name(const Flow *flow)
{
    int family = flow->key.version == 6 ? AF_INET6 : AF_INET;
    char guest[INET6_ADDRSTRLEN], peer[INET6_ADDRSTRLEN];

    inet_ntop(family, flow->key.guest, guest, sizeof(guest));
    inet_ntop(family, flow->key.peer, peer, sizeof(peer));
    return g_strdup_printf("%s:%u > %s:%u", guest, flow->key.guest_port,
                           peer, flow->key.peer_port);
}

/* --- digests --------------------------------------------------------------*/

void flow_digest_reset(const FlowTable *table, Flow *flow)
{
    XXH64_reset(&flow->digest, table->seed ^ flow->id);
    flow->hashed = 0;
}

void flow_digest_syn(Flow *flow, const Packet *packet)
{
    uint8_t mark[] = {
        'S', packet->scale, packet->mss >> 8, packet->mss & 0xff,
        !!packet->sack_permitted, packet->stamp != 0,
    };

    XXH64_update(&flow->digest, mark, sizeof(mark));
    flow->hashed++;
}

void flow_digest_bytes(Flow *flow, const uint8_t *bytes, uint32_t n)
{
    XXH64_update(&flow->digest, bytes, n);
    flow->hashed += n;
}

void flow_digest_fin(Flow *flow)
{
    XXH64_update(&flow->digest, "FIN", 3);
    flow->hashed++;
}

void flow_anchor(FlowTable *table, Flow *flow)
{
    flow->position -= flow->sealed_at;
    flow->sealed_at = 0;
    flow->limit_at = 0;
    flow->out = 0;
    flow->flags &= ~FLOW_BROKEN;
    flow->flags |= FLOW_ANCHORED | FLOW_SEALED;
    flow_digest_reset(table, flow);
    if (!flow->position) {
        rest(table, flow);
    }
}
