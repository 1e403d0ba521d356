/*
 * Transports of several members in one loop, on loopback
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NODES_H
#define NODES_H

#include "colo-net/apus/core/wire.h"
#include "colo-net/apus/runtime/transport.h"

#define MAX_NODES 4
#define NODES_RING ((size_t)16 << 20)
#define NODES_CLUSTER "cluster"
/*
 * Whatever a test waits for happens within this time, also on a busy machine
 * below a sanitizer.
 */
#define NODES_PATIENCE (20 * G_TIME_SPAN_SECOND)

typedef struct Nodes Nodes;

typedef struct {
    Nodes *nodes;
    ApusTransport *transport; /* NULL: not there */
    ApusTransportConfig config; /* to be changed before it is started */
    char *address;

    gboolean connected[MAX_NODES + 1]; /* by id */
    uint64_t life[MAX_NODES + 1], incarnation[MAX_NODES + 1];
    uint64_t refused_life[MAX_NODES + 1];
    unsigned connects, disconnects, refusals, writables;
    GPtrArray *complaints;

    unsigned messages;
    ApusMessage last; /* whose records are in: */
    GByteArray *records;
    /* NULL, or what is done with a message instead of copying its records. */
    void (*on_message)(void *opaque, const ApusMessage *message);
    void *opaque;
} Node;

struct Nodes {
    /* apus_tcp_new(), unless a test has another one. */
    ApusTransport *(*make)(const ApusTransportConfig *config, ApusLoop *loop,
                           const ApusTransportHandlers *handlers,
                           void *opaque, GError **errp);
    ApusLoop *loop;
    ApusTimer *tick;
    ApusMembers members;
    int deaf;
    char *deaf_address; /* somebody listens there, and never says a word */
    Node node[MAX_NODES + 1]; /* by id */
};

void nodes_set_up(Nodes *nodes);
void nodes_tear_down(Nodes *nodes);

/* Node @id listens, as process @life. It keeps its address. */
void node_start(Nodes *nodes, ApusId id, uint64_t life);
void node_stop(Nodes *nodes, ApusId id);
/* Nodes that were started, and who was added, are made known to each other. */
void nodes_introduce(Nodes *nodes);
/* Somebody else, at @address, who is to be a member. */
void nodes_add(Nodes *nodes, ApusId id, const char *address);

/* Go once round the loop. */
void nodes_round(Nodes *nodes);

/* Until @condition is true; the test fails when that takes too long. */
#define nodes_until(nodes, condition) \
    do { \
        gint64 nodes_end = g_get_monotonic_time() + NODES_PATIENCE; \
        while (!(condition)) { \
            if (g_get_monotonic_time() > nodes_end) { \
                g_error("%s:%d: %s: not in time", __FILE__, __LINE__, \
                        #condition); \
            } \
            nodes_round(nodes); \
        } \
    } while (0)

/* Start 1 to @count, wait until all are connected and sure of it. */
void nodes_connect(Nodes *nodes, unsigned count);

/* Has @node found out that its peer @id listens at its address? */
gboolean node_is_sure(const Node *node, ApusId id);

/* Has one of @node's complaints @text in it? */
gboolean node_complains(const Node *node, const char *text);

ApusTransportCounters node_counters(const Node *node);

/*
 * A message with @records, which may be NULL, from @from to @to. It is one that
 * anybody may send at any time.
 */
void node_send(Nodes *nodes, ApusId from, ApusId to,
               const ApusRecords *records);

#endif
