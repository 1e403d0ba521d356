/*
 * What stands in ROLE, MEMBER and SYNC entries, and how snapshots are written
 *
 * Byte by byte in docs/internals/apus-wire.rst. Numbers are little-endian. A
 * payload has one encoding: what decodes gives the same bytes again. Decoders
 * accept exactly the bytes that encoders make and check what can be checked
 * alone (apus_members_check()); anything else is APUS_ERROR_CORRUPT.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_PAYLOAD_H
#define APUS_PAYLOAD_H

#include "types.h"

/* No encoded snapshot is longer, so it fits a slot with all else. */
#define APUS_SNAPSHOT_MAX 1280

void apus_role_append(GByteArray *out, const ApusRole *role);
gboolean apus_role_decode(ApusRole *role, const uint8_t *data, size_t size,
                          GError **errp);

void apus_members_append(GByteArray *out, const ApusMembers *members);
gboolean apus_members_decode(ApusMembers *members, const uint8_t *data,
                             size_t size, GError **errp);

/* A SYNC's payload may go on behind the sync point: that is the syncvm's. */
void apus_sync_append(GByteArray *out, const ApusSync *sync);
gboolean apus_sync_decode(ApusSync *sync, const uint8_t *data, size_t size,
                          GError **errp);

/*
 * A snapshot says itself how long it is, because two of them stand in a slot.
 * Returns how many bytes it has, or -1 with @errp set.
 */
void apus_snapshot_append(GByteArray *out, const ApusSnapshot *snapshot);
gssize apus_snapshot_decode(ApusSnapshot *snapshot, const uint8_t *data,
                            size_t size, GError **errp);

#endif
