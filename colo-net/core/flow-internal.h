/*
 * A connection, and its table, for those who work on it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_FLOW_INTERNAL_H
#define COLO_NET_FLOW_INTERNAL_H

/* The state that is kept for a stream is that of the inline functions. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "colo-net/core/flow.h"

typedef struct HeldItem HeldItem;

/* Some that wait, in order */
typedef struct HeldChain {
    HeldItem *first;
    HeldItem *last;
} HeldChain;

/* A report of what the guest has not come to yet */
typedef struct Pending {
    int64_t position;
    uint64_t digest;
} Pending;

#define PENDING_MAX 16

typedef enum FlowFlags {
    FLOW_IPV6 = 1 << 0,
    FLOW_LEARNED = 1 << 1, /* offset is known */
    FLOW_BORN = 1 << 2, /* isn is known: its SYN was seen */
    FLOW_ANSWERED = 1 << 3, /* that was an answer: the peer began; peer */
    FLOW_EDGE = 1 << 4, /* edge is known */
    FLOW_FIN = 1 << 5, /* the guest has said its FIN */
    FLOW_PEER_FIN = 1 << 6, /* so has the peer */
    FLOW_CLOSED = 1 << 7,
    FLOW_STATE = 0xff, /* these are part of the state */

    FLOW_ANCHORED = 1 << 8,
    /* What is held and heard does not fit together: till the next anchor */
    FLOW_BROKEN = 1 << 9,
    FLOW_SEALED = 1 << 10, /* it was there at the last seal: sealed_at */
    FLOW_RESET = 1 << 11, /* by the peer */
    FLOW_GONE = 1 << 12, /* no longer in the table: pinned */
} FlowFlags;

struct Flow {
    Flow *key_next; /* of the same bucket */
    Flow *id_next;
    struct FlowList *list; /* of the live, or of the closed */
    Flow *older;
    Flow *newer;

    PacketKey key;
    uint64_t hash; /* of the key */
    uint64_t id; /* hash and life; both replicas have the same */
    uint32_t life; /* tells it from others with the same key */
    uint32_t flags;
    int64_t used; /* when something was heard of it last */

    /* Sequence numbers of the guest */
    uint32_t snd; /* behind the last byte it has said */
    uint32_t isn; /* of its SYN */
    uint32_t stamp; /* TSval of its SYN, 0: none */
    uint32_t offset; /* wire = guest + offset */
    uint32_t stamp_offset; /* likewise, of timestamps */
    /* Sequence numbers of the peer */
    uint32_t peer; /* behind its SYN */
    uint32_t edge; /* how far the guest lets it go */
    uint8_t scale; /* of the guest's window; PACKET_NO_SCALE: not known */

    unsigned pins; /* frames that refer to it */
    guint moved; /* where it is in the table's list, from 1 on; 0: nowhere */
    int64_t position; /* of snd */
    int64_t hashed; /* how much of the stream is in digest */
    int64_t out; /* Compare: how much of it was let out */
    int64_t sealed_at; /* position at the last seal */
    int64_t limit_at; /* at the first that is open; 0: it is younger */
    XXH64_state_t digest;

    HeldChain held; /* Compare's or Echo's */
    /* Compare: in order */
    Pending *pending; /* PENDING_MAX, or NULL */
    unsigned n_pending;
    gboolean shifted; /* it is counted in its table */
    /* Compare: in the list of those with a part that may leave */
    Flow *part_next;
    Flow **part_at;
    int64_t part_since;
};

typedef struct FlowList {
    Flow *oldest;
    Flow *newest;
    size_t n;
} FlowList;

struct FlowTable {
    size_t limit;
    uint64_t seed;
    uint32_t mask; /* of buckets */
    Flow **by_key;
    Flow **by_id;
    FlowList live;
    FlowList closed;
    /*
     * All that are not as flow_anchor() leaves a connection that has said
     * nothing since: the work of a sync is with these.
     */
    GPtrArray *moved;
    size_t shifted; /* connections that have to be translated, or may have */
    int64_t now;
};

/* What the guest has just said of a connection, in positions */
typedef struct FlowSaid {
    Flow *flow; /* NULL: nobody needs to know this connection */
    int64_t start;
    int64_t end;
} FlowSaid;

/*
 * The guest says this TCP segment: find its connection, or make one, and learn
 * from it. @leader: a connection that begins now has offset 0.
 */
FlowSaid flow_said(FlowTable *table, const Packet *packet,
                   const uint8_t *frame, gboolean leader, int64_t now);

/* The guest is to hear this: learn the offset, and when all is over. */
void flow_learn(FlowTable *table, Flow *flow, const Packet *packet,
                const uint8_t *frame);
void flow_heard(FlowTable *table, Flow *flow, const Packet *packet);

/* What the acknowledgement means to the guest */
static inline uint32_t flow_guest_ack(const Flow *flow, const Packet *packet)
{
    return packet->ack - flow->offset;
}

void flow_translate_out(const Flow *flow, Packet *packet, uint8_t *frame);
void flow_translate_in(const Flow *flow, Packet *packet, uint8_t *frame);
/* An ICMP error about what the guest has said; all else stays as it is. */
void flow_translate_error(const FlowTable *table, const Packet *packet,
                          uint8_t *frame);

Flow *flow_by_key(const FlowTable *table, const PacketKey *key);
Flow *flow_by_id(const FlowTable *table, uint64_t id);
/* It has been used, and belongs where its flags say. */
void flow_touch(FlowTable *table, Flow *flow);
/* Its offsets, or whether they are known, may have changed. */
void flow_count_shifted(FlowTable *table, Flow *flow);

/* It is no longer where its anchor is, or something was heard of it. */
void flow_move(FlowTable *table, Flow *flow);

/* Make room for one more, and add it as the newest; it is not there yet. */
Flow *flow_add(FlowTable *table, const PacketKey *key, uint32_t life,
               uint32_t flags);
void flow_remove(FlowTable *table, Flow *flow);
/* A reference keeps it in memory. */
void flow_pin(Flow *flow);
void flow_unpin(Flow *flow);

/* "10.0.0.1:80 > 10.0.0.9:4711" */
char *flow_name(const Flow *flow);

/* For all that there are, the live ones first. */
#define FLOW_FOREACH(flow, table)                                       \
    for (FlowList *list_ = &(table)->live; list_;                       \
         list_ = list_ == &(table)->live ? &(table)->closed : NULL)     \
        for (Flow *flow = list_->oldest; flow; flow = flow->newer)

/* For those that have moved; one that is anchored may leave them. */
#define FLOW_FOREACH_MOVED(flow, table)                                 \
    for (guint i_ = (table)->moved->len; i_; i_--)                      \
        for (Flow *flow = (table)->moved->pdata[i_ - 1]; flow; flow = NULL)

/* The position of a sequence number that is near. */
static inline int64_t flow_position(const Flow *flow, uint32_t seq)
{
    return flow->position + seq_diff(seq, flow->snd);
}

/*
 * --- the digest of a stream ------------------------------------------------
 * Of everything since the anchor. What is fed begins at hashed.
 */

void flow_digest_reset(const FlowTable *table, Flow *flow);
void flow_digest_syn(Flow *flow, const Packet *packet);
void flow_digest_bytes(Flow *flow, const uint8_t *bytes, uint32_t n);
void flow_digest_fin(Flow *flow);
static inline uint64_t flow_digest(const Flow *flow)
{
    return XXH64_digest(&flow->digest);
}

/*
 * The anchor is where the stream stood at the last seal. If it still stands
 * there this holds for the seals to come, too.
 */
void flow_anchor(FlowTable *table, Flow *flow);

#endif
