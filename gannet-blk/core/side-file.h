/*
 * Side file: what must be known of a disk after a crash
 *
 * A small file beside the image, of GANNET_SIDE_FILE_BYTES at most. It says
 *
 * - with which peer state the disk is in step (@pair) and up to which epoch a
 *   secondary's disk has it all (@term, @epoch);
 * - whether the disk is partial: write-back or resync was under way, so that
 *   it has some of a state and not all. Such a disk never starts a VM;
 * - the write-intent log: coarse regions that may differ from the peer's. A
 *   region is marked, durably, before the first local write to it, and
 *   unmarked only after both disks have what was written, flushed.
 *
 * This is the format and the logic. Who uses it reads the file as a whole, and
 * afterwards writes the pages that gannet_side_file_next() hands out, each with
 * a single durable write (write and flush). The header has two pages that
 * take turns, so that one is always whole; a page of the log that turns out
 * torn counts as marked everywhere. docs/internals/gannet-side-file.rst has
 * each byte. [R21]
 *
 * Not thread-safe.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_SIDE_FILE_H
#define GANNET_SIDE_FILE_H

#include "gannet-blk/core/regions.h"
#include "gannet-blk/core/types.h"

#define GANNET_SIDE_FILE_PAGE 4096
#define GANNET_SIDE_FILE_BYTES (64u << 10)

typedef struct GannetSideFile GannetSideFile;

typedef enum {
    GANNET_SIDE_FILE_ERROR_FOREIGN, /* something else, or too short for one */
    GANNET_SIDE_FILE_ERROR_VERSION, /* written by a Colony of another version */
    GANNET_SIDE_FILE_ERROR_SIZE,    /* of a disk of another size */
    GANNET_SIDE_FILE_ERROR_DAMAGED,
} GannetSideFileError;

#define GANNET_SIDE_FILE_ERROR (gannet_side_file_error_quark())
GQuark gannet_side_file_error_quark(void);

typedef struct GannetSideState {
    uint64_t pair;       /* 0: in step with none */
    uint64_t generation;
    uint64_t term;       /* of the last epoch that the disk has, or 0 */
    uint64_t epoch;
    gboolean partial;
} GannetSideState;

/*
 * Take in the whole content of the file, @bytes long and at least
 * GANNET_SIDE_FILE_BYTES. All zeroes: a new one, in step with none. Fails with
 * a clear error when it is foreign, of a newer version, of a disk of another
 * size, or when both pages of the header are damaged. @image_size is that of
 * the disk.
 */
GannetSideFile *gannet_side_file_new(const void *content, size_t bytes,
                                     uint64_t image_size, GError **errp);
void gannet_side_file_free(GannetSideFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetSideFile, gannet_side_file_free)

/* --- state ---------------------------------------------------------------- */

/* What the last call of gannet_side_file_set() said; not yet durable, maybe. */
const GannetSideState *gannet_side_file_state(const GannetSideFile *file);
void gannet_side_file_set(GannetSideFile *file, const GannetSideState *state);

/* --- the write-intent log ------------------------------------------------- */

/* A region's size: a power of two, 4 MiB, or more for big disks. */
uint64_t gannet_side_file_granularity(const GannetSideFile *file);

/*
 * Whether the whole range is marked, durably: it may be written, and counts as
 * written from then on.
 */
gboolean gannet_side_file_marked(GannetSideFile *file, uint64_t offset,
                                 uint64_t bytes);
/* Mark it; durable when the pages have been written. */
void gannet_side_file_mark(GannetSideFile *file, uint64_t offset,
                           uint64_t bytes);
/*
 * Everything outside of @pending is the same on both disks, flushed: those
 * regions may be unmarked. Local writes under way are pending, too. Those
 * marked or written since the call before stay marked: so busy regions are not
 * marked again and again, and what was written while the caller flushed is not
 * missed. One such caller at a time.
 */
void gannet_side_file_settle(GannetSideFile *file,
                             const GannetRegions *pending);
/* Unmark everything. */
void gannet_side_file_settle_all(GannetSideFile *file);

/* What is marked, durably or about to be. */
void gannet_side_file_marks(const GannetSideFile *file,
                            GannetRegions *regions);

/* --- writing it ----------------------------------------------------------- */

typedef struct GannetSidePage {
    uint64_t offset; /* in the file */
    uint8_t data[GANNET_SIDE_FILE_PAGE];
} GannetSidePage;

/*
 * The next page that has to be written, if any; pages that only unmark come
 * last, and not at all with @urgent. One page at a time: the next is handed
 * out after gannet_side_file_done() was told how the last one ended. After a
 * failure the page is handed out again; nothing is taken for durable that is
 * not.
 */
gboolean gannet_side_file_next(GannetSideFile *file, gboolean urgent,
                               GannetSidePage *page);
void gannet_side_file_done(GannetSideFile *file, gboolean written);

/*
 * A state that the file says comes with all that was marked before it was set.
 *
 * For waiting: the number of the change that the last set() or mark() made, and
 * that of the last one that is durable with all before it.
 */
uint64_t gannet_side_file_change(const GannetSideFile *file);
uint64_t gannet_side_file_durable(const GannetSideFile *file);

#endif
