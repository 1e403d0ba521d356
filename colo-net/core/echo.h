/*
 * Echo, the secondary's side: tell what the guest says, and let nothing out
 *
 * An Echo digests what the secondary's guest says, on all NICs, into notes for
 * the leader's Compare (compare.h), sees to it that the guest hears nothing
 * that it would not understand, and keeps what the guest has said until it is
 * known that clients have it, to say it again if this replica takes over.
 *
 *   the guest speaks      echo_output()
 *   once in a round       while (echo_take(...)) tell
 *   the guest is to hear  echo_inbound()
 *   a sync was applied    flow_table_load(), echo_applied(epoch)
 *   takeover              echo_release()
 *
 * What is kept is bounded, the oldest goes first: it saves time after a
 * takeover, and nothing else. TCP sends again what is missing, datagrams have
 * no promise; those are kept for a moment only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_ECHO_H
#define COLO_NET_ECHO_H

#include "colo-net/core/flow.h"
#include "colo-net/core/hold.h"

typedef struct Echo Echo;

typedef enum EchoPass {
    ECHO_PASS, /* give it to the guest; it is translated */
    ECHO_WAIT, /* not yet: it is unchanged */
} EchoPass;

/* No note is longer. */
#define ECHO_NOTE_MAX (32 * 1024)
/* For how long a datagram is kept, in microseconds. */
#define ECHO_DATAGRAM_US 200000

/*
 * @netdev: a number that the leader knows, too, if there are several. @limit:
 * how many bytes of frames are kept. @table outlives the Echo.
 */
Echo *echo_new(FlowTable *table, uint64_t netdev, uint64_t limit);
void echo_free(Echo *echo);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Echo, echo_free)

/*
 * A sync was applied, or a session begins: what the guest says from now on
 * belongs to @epoch. Throws away what is kept and not told yet.
 */
void echo_applied(Echo *echo, uint64_t epoch);

/* The guest says this; @frame is the Echo's from now on. */
void echo_output(Echo *echo, HoldFrame *frame, size_t vnet_len, int64_t now);

/*
 * The next note, valid until the Echo is used again. False: nothing is to be
 * told.
 */
gboolean echo_take(Echo *echo, const uint8_t **note, size_t *size);

/*
 * The next frame of the inputs, about to be given to the guest. WAIT: it
 * acknowledges what the guest has not said yet, or is more than it has room
 * for. Ask again after each echo_output(), and for a bounded time.
 */
EchoPass echo_inbound(Echo *echo, uint8_t *frame, size_t size,
                      size_t vnet_len, int64_t now);

/*
 * WAIT was said for too long: have the leader told, once; the next sync cures
 * it.
 */
void echo_stuck(Echo *echo);

/*
 * This replica leads: move all that is kept and may still be missed to the end
 * of @leaving, translated. Nothing is held there.
 */
void echo_release(Echo *echo, HoldQueue *leaving, int64_t now);

/* Memory of what is kept. */
uint64_t echo_bytes(const Echo *echo);

typedef struct EchoStats {
    uint64_t reports;
    uint64_t waits; /* times that WAIT was said */
    uint64_t learned; /* connections whose offset was learned */
    uint64_t acknowledged; /* frames that clients have */
    uint64_t evicted; /* frames for which there was no room */
} EchoStats;

void echo_stats(const Echo *echo, EchoStats *stats);

#endif
