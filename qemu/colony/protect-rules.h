/*
 * How a leader comes to be protected: which situation leads to which step
 *
 * Pure: protect.c finds out how things are and does what is decided here.
 *
 *   IDLE -> PREPARE -> RESYNC -> MIGRATE -> IDLE, protected
 *
 * with any failure leading to WAIT, for ever longer. RESYNC is left out
 * without disks, and by those that are in step.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_PROTECT_RULES_H
#define COLONY_PROTECT_RULES_H

#include <glib.h>

typedef enum ColonyStage {
    COLONY_STAGE_IDLE,
    COLONY_STAGE_PREPARE, /* another node gets ready to take the VM */
    COLONY_STAGE_RESYNC, /* its disks are brought up to date */
    COLONY_STAGE_MIGRATE, /* memory is copied, and the first sync made */
    COLONY_STAGE_WAIT, /* for the next try */
} ColonyStage;

typedef struct ColonyProgress {
    ColonyStage stage;
    gboolean known; /* its QEMU answers; else one waits, with a deadline */
    gboolean leads; /* this node does */
    gboolean protected;
    gboolean wanted; /* by the policy, or by an operator */
    gboolean moving; /* a migration is under way, whoever has begun it */
    gboolean candidate; /* there is a node that could take the VM */
    gboolean due; /* the time to wait is over */
    gboolean failed; /* what the stage was to do */
    gboolean done;
    gboolean disks; /* some are not in step */
} ColonyProgress;

typedef enum ColonyStep {
    COLONY_STEP_NONE,
    COLONY_STEP_PREPARE,
    COLONY_STEP_RESYNC,
    COLONY_STEP_MIGRATE,
    COLONY_STEP_FOLLOW, /* wait for a migration that was begun before */
    COLONY_STEP_FAIL, /* clean up, and try again later */
    COLONY_STEP_REST, /* there is nothing (more) to do */
} ColonyStep;

ColonyStep colony_protect_decide(const ColonyProgress *progress);

/* How long to wait after so many failures in a row, in ms. */
unsigned colony_protect_delay(unsigned failures);

#endif
