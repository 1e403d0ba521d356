/*
 * The TCP connections of a VM, as filter-guard knows them
 *
 * For each connection this says how far the guest's outbound stream has come
 * since the anchor, and how the guest's sequence numbers become those on the
 * wire. There is one table for all NICs: what comes in by one may be answered
 * by another; it outlives sessions and roles.
 *
 * Positions. The guest numbers what it says with sequence numbers; SYN and FIN
 * count. Two guests number a connection that began after the last sync point
 * differently, so what is compared are positions: 64 bits, counted from the
 * anchor. That is where the stream stood at the last sync point (position 0 is
 * the first byte after it), or the SYN of a connection that is younger (the
 * SYN has position 0).
 *
 * Wire. Clients know the numbers of whoever was leader when the connection
 * began. wire = guest + offset; a leader's own connections have offset 0. A
 * secondary learns it from the first segment in the inputs that acknowledges
 * the SYN: what was sent to the client is one more than the leader's SYN.
 * Timestamps have an offset likewise. Translation goes on for these
 * connections when this replica leads.
 *
 * State. What a table holds at a sync point travels with the devices' state
 * (docs/internals/compare.rst): what the secondary loads is what the leader
 * has, and saving it again gives the same bytes.
 *
 * A connection whose beginning was not seen, and that no state told of, is
 * there, but has no anchor: what it says waits for the next sync point, and
 * nothing is reported of it.
 *
 * The table is bounded: beyond its limit the connection that is closed, else
 * the one that was silent, for the longest time is forgotten. So is a closed
 * one after a minute. Frames that are held never go with it.
 *
 * A table, and whatever works on it (compare.h, echo.h), belongs to one thread
 * at a time. Times are in microseconds, of a clock that does not go backwards.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_FLOW_H
#define COLO_NET_FLOW_H

#include "colo-net/core/packet.h"

#define FLOW_ERROR flow_error_quark()
GQuark flow_error_quark(void);

typedef enum FlowError {
    FLOW_ERROR_CORRUPT, /* not a state, or not a note; damaged */
    FLOW_ERROR_VERSION, /* of another version */
} FlowError;

/* Connections in a table, if nothing else is said; and at most. */
#define FLOW_LIMIT 65536
#define FLOW_LIMIT_MAX (1u << 20)

typedef struct Flow Flow;
typedef struct FlowTable FlowTable;

/*
 * @seed: random; what is compared is hashed with it. The secondary's is
 * replaced by the leader's in flow_table_load().
 */
FlowTable *flow_table_new(size_t limit, uint64_t seed);
/* After the Compare and the Echo that use it. */
void flow_table_free(FlowTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FlowTable, flow_table_free)

/* How many connections it knows. */
size_t flow_table_size(const FlowTable *table);
/* Forget all. Not while frames are held. */
void flow_table_clear(FlowTable *table);

/*
 * State at a sync point: the VM stands. Append it to @out; nothing changes.
 * What is held is not part of it.
 */
void flow_table_save(const FlowTable *table, GByteArray *out);
/*
 * Replace everything by the state at @data; an error leaves all as it was.
 * An Echo has to be told with echo_applied(). Not while a Compare holds
 * frames.
 */
gboolean flow_table_load(FlowTable *table, const uint8_t *data, size_t size,
                         GError **error);

/*
 * --- without a session -----------------------------------------------------
 * What passes a guard that holds nothing is looked at and translated as well.
 */

/*
 * Whether frames may have to be changed at all. False: flow_outbound() and
 * flow_inbound() only read them.
 */
gboolean flow_table_translates(const FlowTable *table);

/*
 * The guest of a replica that leads says this, and it leaves at once: learn
 * from it and translate it.
 */
void flow_outbound(FlowTable *table, uint8_t *frame, size_t size,
                   size_t vnet_len, int64_t now);

/*
 * The guest of a replica that leads, with or without a session, is about to
 * be given this: learn from it and translate it. For a secondary there is
 * echo_inbound().
 */
void flow_inbound(FlowTable *table, uint8_t *frame, size_t size,
                  size_t vnet_len, int64_t now);

/*
 * Leader, before an input is submitted: whether it acknowledges what the guest
 * never said. It is to be dropped: the secondary's guest would be waited for
 * in vain, sync after sync. Changes nothing.
 */
gboolean flow_noise(const FlowTable *table, const uint8_t *frame, size_t size,
                    size_t vnet_len);

#endif
