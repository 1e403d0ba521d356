/*
 * Syncs between two fake VMs, recorded, for fuzzing one side with what the
 * other one said
 *
 * The input of these targets is a byte of DialogueOption, and then the bytes
 * of a connection.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef DIALOGUE_H
#define DIALOGUE_H

#include "tests/unit/replicas.h"

/* Syncs in a recording; the last one verifies. */
#define DIALOGUE_SYNCS 4

typedef enum DialogueOption {
    DIALOGUE_FULL = 1 << 0, /* copy=full */
    DIALOGUE_NO_COPY = 1 << 1, /* the leader resumes late */
    DIALOGUE_ALL = (1 << 2) - 1,
} DialogueOption;

Setup dialogue_setup(unsigned options);

/* What the guest does before the sync of this number; always the same. */
void dialogue_work(FakeVm *vm, FakeSide side, unsigned sync);

/*
 * Make checksums right, and whatever tells a size: a message ends where the
 * next one begins, so that inputs can grow and shrink anywhere.
 */
void dialogue_sign(GByteArray *bytes);

/* An input: all that @side says. */
GByteArray *dialogue_record(unsigned options, FakeSide side);

#endif
