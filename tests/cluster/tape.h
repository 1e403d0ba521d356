/*
 * A tape: records that can be read after their writer was killed
 *
 * A file that is mapped shared, so what was written is in the kernel's hands
 * at once, without a call. It begins with a header of 64 bytes:
 *
 *   offset  size
 *        0     8  "APUSTAPE"
 *        8     8  size of a record
 *       16     8  how many records there are
 *       24     8  a counter for the writer's own use
 *
 * followed by the records, as the structures below, in this machine's byte
 * order. One thread at a time writes a tape.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_TAPE_H
#define CLUSTER_TAPE_H

#include <glib.h>
#include <stdint.h>

#include "colo-net/apus/core/record.h"

typedef struct Tape Tape;

/* "entries": what was delivered, in that order. */
typedef struct {
    uint64_t index, term;
    uint64_t hash; /* of the payload */
    uint64_t chain; /* of all entries so far: the state; 0: unknown */
    uint64_t time;
    uint32_t kind; /* an ApusEntryKind, or one of these */
    uint32_t length;
} TapeEntry;

enum {
    TAPE_TAKEN = 100, /* a state from elsewhere, as of @index */
    TAPE_SKIPPED = 101, /* told that all up to @index will not come */
};

/* "fates": what became of submissions; the counter says how many there were. */
typedef struct {
    uint64_t index; /* 0: unknown */
    uint64_t hash; /* of the payload; 0: of a ROLE */
    uint64_t time;
    uint32_t kind;
    uint32_t committed;
} TapeFate;

/* "voices": one record for each term in which outputs could leave. */
typedef struct {
    uint64_t term;
    uint64_t first; /* when the first look that said yes was over */
    uint64_t last; /* when the last look that said yes began */
    uint64_t looks;
} TapeVoice;

/* Room for @limit records of @size bytes; the file is new. */
Tape *tape_new(const char *path, size_t size, size_t limit, GError **errp);
void tape_free(Tape *tape);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tape, tape_free)

/*
 * The records of a tape that another process has written, which stay mapped
 * until this one ends; NULL where there is none.
 */
const void *tape_open(const char *path, size_t size, size_t *records);

/* A full tape ends the process: the test would know too little. */
void tape_add(Tape *tape, const void *record);
/* The newest record, to be changed in place; NULL if there is none. */
void *tape_newest(Tape *tape);
/* Any thread. */
void tape_count(Tape *tape, int64_t more);

#endif
