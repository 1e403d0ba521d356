/*
 * What two replicas said to each other, to be said again to one of them
 *
 * A transcript is two syncs of two small VMs whose guests do always the same. A
 * lone replica hears what its peer said then, up to the last sync exactly, and
 * from there on what a test makes of it. It is alone in one thread, so that a
 * test can try every byte.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

#include "tests/unit/replicas.h"

typedef struct Transcript {
    Setup setup;
    gboolean verify; /* the last sync */
    GByteArray *said[2]; /* by FakeSide */
    size_t last[2]; /* where the last sync begins in it */
    FakeVm *vm[2]; /* as they were after it */
} Transcript;

#define TRANSCRIPT_EPOCH 2 /* of the last sync */

Transcript *transcript_new(PloverCopy copy, gboolean verify);
void transcript_free(Transcript *transcript);

/* What the guests of it do before the first sync, and before the last. */
void transcript_compute(FakeVm *vm[2], gboolean last);

typedef struct Message {
    PloverHeader header;
    size_t start;
    size_t end;
} Message;

/* The one that byte @at of what @side said belongs to. */
Message transcript_message(const Transcript *transcript, FakeSide side,
                           size_t at);
/* Where @side begins to say that @type of the last sync. */
size_t transcript_find(const Transcript *transcript, FakeSide side,
                       PloverType type);

typedef struct Lone {
    FakeSide side;
    gboolean verify;
    FakeVm *vm;
    FakePlayback playback;
    PloverLink *link;
    PloverLeader *leader; /* one of them */
    PloverSecondary *secondary;
    gboolean applied; /* the last sync, by the secondary */
    PloverSyncStats stats; /* of the leader */
} Lone;

/* It is @side, about to begin its last sync, of which it will hear this. */
Lone *lone_new(const Transcript *transcript, FakeSide side, const uint8_t *data,
               size_t size);
void lone_free(Lone *lone);
/* Its last sync. */
gboolean lone_sync(Lone *lone, GError **errp);
/* Whether all of a message of @type is among what it said in that sync. */
gboolean lone_said(const Lone *lone, PloverType type);

#endif
