/*
 * Members, snapshots and messages to try formats with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_SAMPLES_H
#define APUS_SAMPLES_H

#include "colo-net/apus/core/message.h"

/* Members 1 to @count, of which the first two can run the VM. */
void sample_members(ApusMembers *members, unsigned count);

/* Likewise, as many as possible with addresses as long as possible. */
void sample_members_longest(ApusMembers *members);

/* Every field has a value of its own. */
void sample_snapshot(ApusSnapshot *snapshot, unsigned members);
void sample_message(ApusMessage *message, ApusMessageType type);

#endif
