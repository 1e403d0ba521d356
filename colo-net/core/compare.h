/*
 * Compare, the leader's side: a frame leaves when the secondary has said it
 *
 * A Compare holds what the leader's guest says, on all NICs, until it is known
 * that it cannot be taken back: because the secondary's guest has said the
 * same, as the notes of its Echo tell (echo.h), or because the sync after it
 * is complete. Then it is moved to a queue of frames that may leave, from
 * which the user sends them.
 *
 *   session begins      compare_begin()      all waits for the first commit
 *   the guest speaks    compare_output()
 *   a note has come     compare_told()
 *   VM stopped          compare_seal(e), flow_table_save()
 *   STAGED e            compare_commit(e)    what came before the seal leaves;
 *                                            compared from the seal on
 *   it has failed       compare_revert()     as if it had not been sealed
 *   session ends        compare_end()
 *
 * What needs no partner: acknowledgements without data and what was let out
 * before and is sent again, both at once, and resets, behind what their
 * connection has to say before. An acknowledgement that overtakes carries the
 * sequence number that the client expects next.
 *
 * Order. What a connection says leaves in the order in which it was said. Held
 * frames of other connections are overtaken; but a commit lets all that came
 * before the seal leave in the order in which it came.
 *
 * Epochs. A note counts if it is of the epoch that was committed last. Between
 * a seal and its commit, what is said may turn out to belong to either epoch:
 * notes still let out what came before the seal, and nothing that came after.
 *
 * "Behind" is not "diverged". compare_diverged() tells that both have said
 * different things; when the secondary says nothing, compare_oldest() tells
 * for how long, and the user decides when that is too long. Either is cured by
 * a sync.
 *
 * Memory: compare_bytes() is what frames take, and the user bounds it. What is
 * kept of notes that are ahead of the leader is bounded here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_COMPARE_H
#define COLO_NET_COMPARE_H

#include "colo-net/core/flow.h"
#include "colo-net/core/hold.h"

typedef struct Compare Compare;

/* @table outlives it. */
Compare *compare_new(FlowTable *table);
/* Frees all frames. */
void compare_free(Compare *compare);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Compare, compare_free)

/*
 * What may leave, in order: hold_queue_next() and hold_queue_pop(). The queue
 * never holds anything. It is the user's business whether this replica may
 * speak.
 */
HoldQueue *compare_leaving(Compare *compare);

/*
 * A session begins. @epoch is the one before its first. Nothing is compared
 * before the first commit. What was held before goes with that.
 */
void compare_begin(Compare *compare, uint64_t epoch);

/*
 * The session is over. @release: let everything leave, and what comes from now
 * on, at once. Else hold on to everything until the next begin or end.
 */
void compare_end(Compare *compare, gboolean release);

/*
 * The guest says this. @frame is the Compare's from now on; it may have moved
 * to the queue of those that leave when this returns. It is translated.
 * Without a session it leaves at once.
 */
void compare_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                    int64_t now);

/*
 * A note of the secondary's Echo. One of another epoch is ignored. An error
 * means that it is no note; what could be read of it counts nevertheless.
 */
gboolean compare_told(Compare *compare, const uint8_t *note, size_t size,
                      int64_t now, GError **error);

/*
 * The VM stands; what it has said belongs to @epoch, or to an earlier one.
 * Epochs rise. A seal before it that was neither committed nor reverted stays
 * open: what was said since waits for the commit of a later one.
 */
void compare_seal(Compare *compare, uint64_t epoch);
/*
 * @epoch, sealed last, is complete on the secondary. Does nothing if that is
 * not so.
 */
void compare_commit(Compare *compare, uint64_t epoch, int64_t now);
/*
 * The secondary itself has said that it will not be, and goes on as it was.
 * Not if that is only guessed. Does nothing without a seal that is open.
 */
void compare_revert(Compare *compare, int64_t now);

/*
 * Let out the parts of segments that the secondary has said, if it has said no
 * more since @before: a guest may wait for the client to acknowledge just that
 * before it goes on. To be called now and then (a millisecond, the same as
 * @before is ago) while compare_parts() says so.
 */
gboolean compare_parts(const Compare *compare);
void compare_cut(Compare *compare, int64_t before);

typedef enum CompareWhy {
    COMPARE_EQUAL, /* as far as is known */
    COMPARE_BYTES, /* a stream has other bytes */
    COMPARE_CLOSED, /* a stream has ended that goes on at the other side */
    COMPARE_STRANGE, /* a connection without anchor speaks */
    COMPARE_STUCK, /* the secondary's guest cannot be given an input */
} CompareWhy;

/* Until a commit: whether a sync is needed, and why. Text for traces. */
CompareWhy compare_diverged(const Compare *compare);
const char *compare_why(CompareWhy why);
/* The connection, for traces: "10.0.0.1:80 > 10.0.0.9:4711". NULL: equal. */
char *compare_diverged_flow(const Compare *compare);

/*
 * Since when the oldest frame waits for a partner, not counting the time until
 * the last commit; -1: none does.
 */
int64_t compare_oldest(const Compare *compare);

/* Memory: of frames that are held, and of those that may leave. */
uint64_t compare_bytes(const Compare *compare);
uint64_t compare_held_frames(const Compare *compare);

typedef struct CompareStats {
    uint64_t alone; /* frames that needed no partner */
    uint64_t equal; /* frames let out because both had said the same */
    uint64_t staged; /* frames let out by a commit */
    uint64_t cut; /* segments let out in parts */
    uint64_t reports; /* that counted */
    uint64_t stale; /* notes of other epochs */
    uint64_t forgotten; /* reports for which there was no room */
    uint64_t diverged; /* times that compare_diverged() has become so */
} CompareStats;

void compare_stats(const Compare *compare, CompareStats *stats);

#endif
