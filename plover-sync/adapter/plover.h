/*
 * What COLO calls when capability x-plover is on
 *
 * One session at a time: it begins when both sides have entered COLO, and ends
 * with it. Errors that end a session are reported to the caller, who ends
 * COLO; everything else is dealt with here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_PLOVER_H
#define PLOVER_ADAPTER_PLOVER_H

#include "migration/qemu-file-types.h"

/*
 * The primary. Whether its VM can be kept equal at all, before migration
 * begins; with the BQL.
 */
bool plover_leader_check(Error **errp);

/*
 * Most of RAM was sent. Whether that is all that migration has to do: the VM
 * runs on, and the first checkpoint brings the rest, which is not more than
 * others bring, and the devices. Else the VM is to be stopped and copied whole.
 * With the BQL.
 */
bool plover_leader_copies_running(void);

/* In the COLO thread, without the BQL. */

/* Whether that is how it was copied. */
bool plover_leader_was_running(void);
/* The secondary is ready, and the VM stands, if it was not copied running. */
bool plover_leader_begin(QEMUFile *file, Error **errp);
/*
 * Take a checkpoint. One that the secondary refuses is no error, until there
 * were too many in a row.
 */
bool plover_leader_checkpoint(Error **errp);
/* COLO is over, because failover was carried out. */
void plover_leader_end(void);

/* colo-compare asks for a checkpoint; in any thread. */
void plover_note_divergence(void);

/* The secondary. */

/* Before RAM is received; with the BQL. Negative on error, reported. */
int plover_incoming_prepare(void);
/*
 * Both sides are in COLO; in its thread, without the BQL. Starts the VM, if it
 * is to run.
 */
bool plover_secondary_begin(QEMUFile *file, Error **errp);
/* Wait for a checkpoint and take it; likewise. */
bool plover_secondary_checkpoint(Error **errp);
/* This side goes on alone; with the BQL. */
void plover_secondary_takeover(void);
/* COLO is over, and its thread has ended; with the BQL. */
void plover_secondary_end(void);

#endif
