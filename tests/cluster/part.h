/*
 * Parted from a peer although the network is there: RDMA only
 *
 * Queue pairs that call it are moved to the error state, at once, and no other
 * is made: it cannot be reached. So members of one host, through whose links
 * no cable goes, can be parted. Both sides are to be told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_PART_H
#define CLUSTER_PART_H

#include <glib.h>

/* From now on, for the whole process; before anything uses RDMA. */
void part_begin(void);
void part_end(void);

/*
 * From who listens at @address, HOST:PORT in numbers. Fails with
 * APUS_ERROR_CONFIG without part_begin(), and where Colony is built without
 * RDMA.
 */
gboolean part_set(const char *address, gboolean parted, GError **errp);

#endif
