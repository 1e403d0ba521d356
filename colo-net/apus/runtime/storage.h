/*
 * A member's state directory: hard state in two slots, and the log
 *
 *   lock      held (fcntl OFD lock) while a process uses the directory
 *   state     two alternating, checksummed slots of 4 KiB
 *   log-*     with durability disk: segments of checksummed records
 *
 * docs/internals/apus-storage.rst has every byte, and says what is recognised
 * after a crash, a torn or short write, a full disk, a flipped bit, and what
 * follows. Orders are carried out one after another, several in one go (group
 * commit), away from the loop's thread; completions come in that thread.
 *
 * What is found wrong when a directory is opened is never repaired silently:
 * the log's last records, if they were being written when the power went, are
 * dropped; whatever else is damaged makes the member amnesiac, which costs it
 * its vote until a leader has brought it up to date; a directory of another
 * group, member or format is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_STORAGE_H
#define APUS_STORAGE_H

#include "../core/types.h"
#include "../core/message.h"
#include "loop.h"

/*
 * The calls of the system, so that tests can make them fail; NULL in place of
 * the structure stands for the real ones.
 */
typedef struct ApusFileOps ApusFileOps; /* files.h */

typedef struct {
    const char *directory;
    const char *cluster; /* 1 to 63 printable characters */
    ApusId id;
    ApusDurability durability;
    size_t segment_size; /* bytes, 0: 8 MiB */
    const ApusFileOps *files;
} ApusStorageConfig;

/*
 * Make @config's directory (its parent must exist) the state of a new member:
 * it begins with @state. Refused with APUS_ERROR_IN_USE where one is already.
 */
gboolean apus_storage_found(const ApusStorageConfig *config,
                            const ApusHardState *state, GError **errp);

typedef struct {
    void (*stored)(void *opaque, uint64_t ticket);
    /* Nothing more will be stored. */
    void (*failed)(void *opaque, const GError *error);
    /* The disk is full, tried again every second; or, NULL, no more. */
    void (*stalled)(void *opaque, const char *why);
} ApusStorageHandlers;

typedef struct ApusStorage ApusStorage;

/*
 * Open what was founded, and take the lock. @state is what the member goes on
 * from. With durability memory, @state is amnesiac if anything was ever
 * acknowledged (its term is not 0), for the log is gone; with disk, if the log
 * does not hold what it should. What was noticed is said in @notes, one line
 * each, to be shown to the operator.
 *
 * Errors: APUS_ERROR_MISSING, _FOREIGN, _VERSION, _CORRUPT (both slots),
 * _IN_USE, _IO.
 */
ApusStorage *apus_storage_open(const ApusStorageConfig *config,
                               ApusHardState *state, GPtrArray *notes,
                               GError **errp);

/* Give every entry of the log, in order, to @entry; stops at FALSE. */
gboolean apus_storage_replay(ApusStorage *storage,
                             gboolean (*entry)(void *opaque,
                                               const ApusEntry *entry,
                                               GError **errp),
                             void *opaque, GError **errp);

/* Begin: @handlers are called in @loop's thread from now on. */
gboolean apus_storage_start(ApusStorage *storage, ApusLoop *loop,
                            const ApusStorageHandlers *handlers, void *opaque,
                            GError **errp);

/* The orders, as core.h has them. What is passed is copied. None blocks. */
void apus_storage_save(ApusStorage *storage, uint64_t ticket,
                       const ApusHardState *state);
void apus_storage_append(ApusStorage *storage, uint64_t ticket, uint64_t first,
                         const ApusRecords *records);
void apus_storage_trim(ApusStorage *storage, uint64_t index);

/* Bytes that were ordered and are not safe yet. */
size_t apus_storage_backlog(const ApusStorage *storage);

/*
 * Carries out what was ordered, not longer than @timeout nanoseconds, and
 * gives back the lock.
 */
void apus_storage_close(ApusStorage *storage, uint64_t timeout);

#endif
