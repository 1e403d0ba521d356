/*
 * A group of three members for tests
 *
 * Members 1 and 2 can run the VM, and 1 leads first; 3 is a witness, a QEMU of
 * its own that the trio starts. What waits does so without a limit: call
 * test_deadline() first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_APUS_TRIO_H
#define COLONY_APUS_TRIO_H

#include "libqtest.h"

typedef struct ApusTrio {
    char *options[2]; /* for the command lines of 1 and 2: object "apus" */
    QTestState *witness;
    char *dir;
    char *witness_options;
} ApusTrio;

ApusTrio *apus_trio_new(void);
/* Start the witness: without it, and without member 2, nobody leads. */
void apus_trio_start(ApusTrio *trio);
/* For the command line of a member that joins, from 4 on; to be freed. */
char *apus_trio_joins(ApusTrio *trio, unsigned member);
char *apus_trio_address(unsigned member);
/* Members 1 and 2, and who has joined, have ended. */
void apus_trio_free(ApusTrio *trio);

/* Wait until @qts is leader, secondary, witness or deposed. */
void apus_wait_part(QTestState *qts, const char *part);
/* Wait until @qts leads and takes inputs. */
void apus_wait_leads(QTestState *qts);
/* Wait until the secondary could take over, as the leader @qts knows. */
void apus_wait_protected(QTestState *qts);

#endif
