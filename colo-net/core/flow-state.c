/*
 * The state of a table at a sync point: docs/internals/compare.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/core/flow-internal.h"

#define MAGIC "CFLO"
#define VERSION 1

enum {
    HEADER = 24,
    RECORD = 44, /* and two addresses */
};

static size_t address_size(uint32_t flags)
{
    return flags & FLOW_IPV6 ? 16 : 4;
}

/* Nobody needs one that is over, is not translated and is not counted. */
static gboolean is_saved(const Flow *flow)
{
    return !(flow->flags & FLOW_CLOSED) || flow->shifted ||
           !(flow->flags & FLOW_ANSWERED);
}

/* --- saving ---------------------------------------------------------------*/

static void save_flow(const Flow *flow, GByteArray *out)
{
    size_t size = address_size(flow->flags);
    uint8_t record[RECORD + 32] = {
        flow->flags & FLOW_STATE, flow->scale,
    };

    apus_put16(record + 2, flow->key.guest_port);
    apus_put16(record + 4, flow->key.peer_port);
    apus_put16(record + 6, flow->key.vlan[0]);
    apus_put16(record + 8, flow->key.vlan[1]);
    apus_put32(record + 12, flow->life);
    apus_put32(record + 16, flow->snd);
    apus_put32(record + 20, flow->isn);
    apus_put32(record + 24, flow->peer);
    apus_put32(record + 28, flow->stamp);
    apus_put32(record + 32, flow->offset);
    apus_put32(record + 36, flow->stamp_offset);
    apus_put32(record + 40, flow->edge);
    memcpy(record + RECORD, flow->key.guest, size);
    memcpy(record + RECORD + size, flow->key.peer, size);
    g_byte_array_append(out, record, RECORD + 2 * size);
}

static uint32_t save_list(const FlowList *list, GByteArray *out)
{
    uint32_t n = 0;

    for (const Flow *flow = list->oldest; flow; flow = flow->newer) {
        if (is_saved(flow)) {
            save_flow(flow, out);
            n++;
        }
    }
    return n;
}

void flow_table_save(const FlowTable *table, GByteArray *out)
{
    uint8_t header[HEADER] = MAGIC;
    size_t at = out->len;
    uint32_t n;

    apus_put16(header + 4, VERSION);
    apus_put64(header + 8, table->seed);
    g_byte_array_append(out, header, HEADER);
    n = save_list(&table->closed, out);
    n += save_list(&table->live, out);
    apus_put32(out->data + at + 16, n);
}

/* --- loading --------------------------------------------------------------*/

static gboolean corrupt(GError **error, const char *what)
{
    g_set_error(error, FLOW_ERROR, FLOW_ERROR_CORRUPT,
                "state of connections: %s", what);
    return FALSE;
}

static gboolean read_header(const uint8_t *data, size_t size, uint64_t *seed,
                            uint32_t *n, GError **error)
{
    if (size < HEADER || memcmp(data, MAGIC, 4) != 0) {
        return corrupt(error, "no header");
    }
    if (apus_get16(data + 4) != VERSION) {
        g_set_error(error, FLOW_ERROR, FLOW_ERROR_VERSION,
                    "state of connections: version %u, and not %u",
                    apus_get16(data + 4), VERSION);
        return FALSE;
    }
    *seed = apus_get64(data + 8);
    *n = apus_get32(data + 16);
    if (apus_get16(data + 6) || apus_get32(data + 20) || *n > FLOW_LIMIT_MAX) {
        return corrupt(error, "a header that cannot be");
    }
    return TRUE;
}

static gboolean vlan_fits(const uint16_t vlan[2])
{
    for (unsigned i = 0; i < 2; i++) {
        if (vlan[i] && vlan[i] >> 12 != 1) {
            return FALSE;
        }
    }
    return vlan[0] || !vlan[1];
}

/* What is not known is 0, and what is not needed is not there. */
static gboolean flow_fits(const Flow *flow)
{
    uint32_t flags = flow->flags;

    return ((flags & FLOW_LEARNED) ||
            (!flow->offset && !flow->stamp_offset && (flags & FLOW_BORN))) &&
           ((flags & FLOW_EDGE) || !flow->edge) &&
           ((flags & FLOW_BORN) ||
            (!flow->isn && !flow->stamp && !(flags & FLOW_ANSWERED))) &&
           ((flags & FLOW_ANSWERED) || !flow->peer) &&
           (flow->scale <= 14 || flow->scale == PACKET_NO_SCALE) &&
           is_saved(flow);
}

/* Returns the size of the record, 0 if there is none. */
static size_t load_flow(FlowTable *table, const uint8_t *data, size_t size)
{
    PacketKey key = { 0 };
    size_t address;
    Flow *flow;

    if (size < RECORD) {
        return 0;
    }
    address = address_size(data[0]);
    if (size < RECORD + 2 * address || apus_get16(data + 10)) {
        return 0;
    }
    key.version = data[0] & FLOW_IPV6 ? 6 : 4;
    key.guest_port = apus_get16(data + 2);
    key.peer_port = apus_get16(data + 4);
    key.vlan[0] = apus_get16(data + 6);
    key.vlan[1] = apus_get16(data + 8);
    memcpy(key.guest, data + RECORD, address);
    memcpy(key.peer, data + RECORD + address, address);
    if (!vlan_fits(key.vlan) || flow_by_key(table, &key) ||
        ((data[0] & FLOW_CLOSED) && table->live.n)) {
        return 0;
    }

    flow = flow_add(table, &key, apus_get32(data + 12),
                    data[0] | FLOW_ANCHORED);
    flow->scale = data[1];
    flow->snd = apus_get32(data + 16);
    flow->isn = apus_get32(data + 20);
    flow->peer = apus_get32(data + 24);
    flow->stamp = apus_get32(data + 28);
    flow->offset = apus_get32(data + 32);
    flow->stamp_offset = apus_get32(data + 36);
    flow->edge = apus_get32(data + 40);
    flow_count_shifted(table, flow);
    return flow_fits(flow) ? RECORD + 2 * address : 0;
}

static FlowTable *load_table(const uint8_t *data, size_t size, size_t limit,
                             int64_t now, GError **error)
{
    g_autoptr(FlowTable) table = NULL;
    uint64_t seed = 0;
    uint32_t n = 0;

    if (!read_header(data, size, &seed, &n, error)) {
        return NULL;
    }
    if (n > (size - HEADER) / RECORD) {
        corrupt(error, "it is cut off");
        return NULL;
    }
    table = flow_table_new(MAX(limit, n), seed);
    table->now = now;
    data += HEADER;
    size -= HEADER;
    for (uint32_t i = 0; i < n; i++) {
        size_t used = load_flow(table, data, size);

        if (!used) {
            corrupt(error, "a connection that cannot be");
            return NULL;
        }
        data += used;
        size -= used;
    }
    if (size) {
        corrupt(error, "more than it says");
        return NULL;
    }
    return g_steal_pointer(&table);
}

/* Put what @from has into @table, which is empty; @from is no more. */
static void take_over(FlowTable *table, FlowTable *from)
{
    g_free(table->by_key);
    g_free(table->by_id);
    g_ptr_array_free(table->moved, TRUE);
    *table = *from;
    g_free(from);
    FLOW_FOREACH(flow, table) {
        flow->list = list_;
    }
}

gboolean flow_table_load(FlowTable *table, const uint8_t *data, size_t size,
                         GError **error)
{
    FlowTable *loaded = load_table(data, size, table->limit, table->now,
                                   error);

    if (!loaded) {
        return FALSE;
    }
    flow_table_clear(table);
    take_over(table, loaded);
    return TRUE;
}
