/*
 * Store: the layers of memory over a secondary's disk
 *
 * From the top:
 *
 *     svm        what the secondary's guest wrote in this epoch
 *     pvm        what the primary wrote in this epoch: the open layer, and the
 *                sealed ones, which belong to a checkpoint that has not been
 *                applied
 *     committed  what both agreed on and the disk does not have yet: a queue
 *                of layers, newest first
 *     the disk   not here
 *
 * The secondary's guest sees svm, committed, disk. What the primary's guest
 * sees is pvm, committed, disk. A checkpoint makes the sealed layers the
 * newest committed ones and drops svm; taking over drops pvm, sealed or not,
 * and makes svm the newest committed layer. Both move pointers: their cost does
 * not depend on what the layers hold. [GANNET §IV]
 *
 * Memory comes from one pool of blocks that is reserved at the beginning and
 * never grows past the limit, records included; a write for which there is no
 * room is refused and changes nothing. Blocks that were dropped are given back
 * bit by bit by gannet_store_tend(), which costs time, so that dropping does
 * not. Zeroes of whole blocks take no memory but a few records, however long
 * the range; those of a part of a block take the block.
 *
 * Not thread-safe. No call blocks, none fails but for lack of room.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_STORE_H
#define GANNET_STORE_H

#include "gannet-blk/core/types.h"

#include <sys/uio.h>

typedef struct GannetStore GannetStore;

typedef struct GannetStoreConfig {
    uint64_t size;       /* of the disk, a multiple of GANNET_SECTOR */
    uint64_t limit;      /* bytes for everything: 16 blocks to 256 GiB */
    uint32_t block_size; /* a power of two, GANNET_SECTOR to 1 MiB */
} GannetStoreConfig;

/* The smallest @limit that makes sense. */
#define GANNET_STORE_MIN_LIMIT (4u << 20)

/* Fails when an option is out of bounds or the pool cannot be reserved. */
GannetStore *gannet_store_new(const GannetStoreConfig *config, GError **errp);
void gannet_store_free(GannetStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetStore, gannet_store_free)

/* --- writing and reading -------------------------------------------------- */

typedef enum GannetLayer {
    GANNET_SVM,       /* write: svm; read: svm, committed */
    GANNET_PVM,       /* write: the open pvm; read: pvm, committed */
    GANNET_COMMITTED, /* write: the newest committed; read: committed */
} GannetLayer;

/*
 * Write @bytes from @iov, which is at least as long, to the layer. Returns
 * FALSE, and changes nothing, when fewer than @spare bytes of memory would
 * remain free.
 */
gboolean gannet_store_write(GannetStore *store, GannetLayer layer,
                            uint64_t offset, uint64_t bytes,
                            const struct iovec *iov, int n_iov,
                            uint64_t spare);

/*
 * Likewise zeroes; @bytes may be as long as the disk. Room that it makes, by
 * freeing data that it replaces, is not counted on.
 */
gboolean gannet_store_write_zeroes(GannetStore *store, GannetLayer layer,
                                   uint64_t offset, uint64_t bytes,
                                   uint64_t spare);

/*
 * Copy to @iov what the layers have of the range, as seen from @layer, and
 * append to @holes, an array of GannetRange in ascending order, what only the
 * disk has. The bytes of @iov that belong to holes are not touched. What was
 * copied is one state: no part of a write without the rest.
 */
void gannet_store_read(GannetStore *store, GannetLayer layer, uint64_t offset,
                       uint64_t bytes, const struct iovec *iov, int n_iov,
                       GArray *holes);

/*
 * The range has been written to the disk by the caller, who saw to it that no
 * write-back of it was under way: committed data there is out of date. For the
 * replica that took over. Returns FALSE, and changes nothing, when a range of
 * zeroes has to be cut and there is no memory for that: write back, tend, and
 * try again; reads of the range are wrong until then.
 */
gboolean gannet_store_forget(GannetStore *store, uint64_t offset,
                             uint64_t bytes);

/* --- checkpoints ---------------------------------------------------------- */

/*
 * The open pvm is sealed: what is written to GANNET_PVM from now on belongs to
 * the next epoch. Layers sealed before and not applied stay below it. @mark
 * names the place in the stream, see gannet_store_written().
 */
void gannet_store_seal(GannetStore *store, uint64_t mark);

/*
 * The checkpoint happens: sealed layers are committed, svm is dropped. An open
 * pvm stays as it is. Constant time.
 */
void gannet_store_apply(GannetStore *store);

/* Taking over: pvm is dropped, svm is committed. Constant time. */
void gannet_store_take_over(GannetStore *store);

/* Drop pvm and svm; what is committed stays. Constant time. */
void gannet_store_reset(GannetStore *store);

/*
 * Everything that was written to GANNET_COMMITTED so far comes before @mark;
 * for a stream that is followed without epochs.
 */
void gannet_store_close(GannetStore *store, uint64_t mark);

/*
 * Early commit: blocks of which svm and the open pvm hold the same bytes are
 * moved to committed, which frees one of the two copies at once. Compares at
 * most @blocks blocks, exactly; blocks that differed are not compared again
 * before they are written again. Does nothing while a sealed layer waits to be
 * applied, or when there is no room for records. Returns how many blocks it
 * looked at: 0 means that nothing is left to compare. [GANNET §V]
 */
uint64_t gannet_store_early(GannetStore *store, uint64_t blocks);

/* --- write-back ----------------------------------------------------------- */

/* A piece of committed data on its way to the disk. */
typedef struct GannetWriteBack {
    uint64_t offset;
    uint64_t bytes;
    struct iovec *iov; /* NULL: zeroes */
    int n_iov;
} GannetWriteBack;

/*
 * The next piece of the oldest committed layer, in ascending order of offset
 * and at most @max_bytes long but for zeroes; NULL when there is none, or when
 * what is left of that layer is under way already. Several may be under way;
 * they do not overlap. The data stays readable, and unchanged, until
 * gannet_store_written_back() is told how it ended and frees the piece: TRUE,
 * the disk has it; FALSE, it will be handed out again.
 */
GannetWriteBack *gannet_store_write_back(GannetStore *store,
                                         uint64_t max_bytes);
void gannet_store_written_back(GannetStore *store, GannetWriteBack *piece,
                               gboolean written);

/*
 * The greatest mark of gannet_store_seal() (applied) or gannet_store_close()
 * up to which everything has been written to the disk, not necessarily
 * flushed; 0 when there is none. Never decreases.
 */
uint64_t gannet_store_written(const GannetStore *store);

/* Whether nothing committed is left, under way included. */
gboolean gannet_store_is_clean(const GannetStore *store);

/*
 * Free dropped blocks and join committed layers, at most about @blocks of
 * them. Returns how much there was to do: 0 means that all is done. Call it
 * whenever there is time, and when there is no room.
 */
uint64_t gannet_store_tend(GannetStore *store, uint64_t blocks);

/* --- figures -------------------------------------------------------------- */

typedef struct GannetStoreStats {
    uint64_t limit;
    uint64_t used;      /* everything that counts against the limit */
    uint64_t svm;       /* data, in bytes, of each layer */
    uint64_t pvm;
    uint64_t sealed;
    uint64_t committed;
    uint64_t garbage;   /* dropped, not freed yet */
    uint64_t layers;    /* committed layers */
    uint64_t early;     /* blocks that were committed early, ever */
    uint64_t compared;  /* blocks that were compared, ever */
    uint64_t written;   /* bytes that were written back, ever */
} GannetStoreStats;

void gannet_store_stats(const GannetStore *store, GannetStoreStats *stats);

/* Memory in bytes that is free; what @spare of a write is compared with. */
uint64_t gannet_store_room(const GannetStore *store);

/* Add to @ranges, an array of GannetRange, what a layer holds, unsorted. */
void gannet_store_list(const GannetStore *store, GannetLayer layer,
                       GArray *ranges);

#endif
