/*
 * A storage with its loop, and a model of what it should hold
 *
 * Orders are given through the box, which notes each. When the directory is
 * opened again, what is found has to be what the orders up to some point say:
 * not before the last one that was said to be safe.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef STORAGE_BOX_H
#define STORAGE_BOX_H

#include "colo-net/apus/runtime/storage.h"
#include "colo-net/apus/runtime/files.h"

/* No segment is smaller. */
#define BOX_SEGMENT ((1u << 20) + 8192)

typedef struct {
    ApusStorageConfig config;
    ApusLoop *loop;
    ApusTimer *deadline;
    ApusStorage *storage;
    ApusHardState state; /* as it was saved last, or as it was found */
    GPtrArray *notes;
    GError *error; /* that opening or the storage has ended with */
    uint64_t ticket, stored; /* given, and said to be safe */
    uint64_t last; /* index of the newest entry */
    unsigned stalls, resumptions;
    gboolean stalled, timed_out;

    GArray *orders; /* BoxOrder, those since the founding */

    void (*on_stored)(void *opaque);
    void *opaque;
} StorageBox;

/* @files NULL: the system's. @directory is copied. */
StorageBox *box_new(const char *directory, const ApusFileOps *files);
void box_free(StorageBox *box);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StorageBox, box_free)

/* The state of a new member. */
void box_first_state(ApusHardState *state);

/* These fill in box->error when they return FALSE. */
gboolean box_found(StorageBox *box);
gboolean box_open(StorageBox *box);
/* Begin, with what box_open() has found. */
void box_start(StorageBox *box);
/* Found, open and start. */
void box_begin(StorageBox *box);
void box_close(StorageBox *box);

/* Orders. */
void box_save(StorageBox *box); /* box->state */
/* @count entries from @first on, each with @length bytes. */
void box_append(StorageBox *box, uint64_t first, unsigned count,
                uint32_t length);
/* The base is at @index, which the log has; saved and trimmed. */
void box_trim(StorageBox *box, uint64_t index);
/* The log begins anew behind @index. */
void box_install(StorageBox *box, uint64_t index);

/* Let the loop turn until all is safe, or the storage has failed; FALSE. */
gboolean box_settle(StorageBox *box);
/* Let it turn for so many nanoseconds. */
void box_run_for(StorageBox *box, uint64_t nanoseconds);
/* Until it says that the disk is full; and until it is not any more. */
void box_wait_for_stall(StorageBox *box, gboolean stalled);

/*
 * To be called once after box_open(), before box_start().
 * Does what box_open() has found follow from the orders up to some point not
 * before the last one that was safe? The box goes on from there.
 */
gboolean box_matches(StorageBox *box);

#endif
