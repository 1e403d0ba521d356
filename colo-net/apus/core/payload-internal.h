/*
 * Roles and snapshots as parts of messages: for payload.c and wire.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_PAYLOAD_INTERNAL_H
#define APUS_PAYLOAD_INTERNAL_H

#include "payload.h"

#define APUS_ROLE_SIZE 24

/* Set @errp to APUS_ERROR_CORRUPT; always FALSE. */
gboolean apus_corrupt(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/*
 * A role that nobody has filled yet, all of it 0, occurs here, though not in a
 * ROLE entry.
 */
void apus_role_put(uint8_t *out, const ApusRole *role);
gboolean apus_role_get(ApusRole *role, const uint8_t *data, GError **errp);

/* Write to @out, of APUS_SNAPSHOT_MAX bytes; returns how many it took. */
size_t apus_snapshot_put(uint8_t *out, const ApusSnapshot *snapshot);

#endif
