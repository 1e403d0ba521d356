/*
 * What the files of a pair of replicas have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_PAIR_INTERNAL_H
#define GANNET_PAIR_INTERNAL_H

#include "gannet-pair.h"

typedef struct GannetPairWrite {
    GannetRange range;
    uint64_t number;
} GannetPairWrite;

/* Of the connection that there is, or was last. */
GannetReplica *gannet_pair_primary(const GannetPair *pair);
GannetReplica *gannet_pair_secondary(const GannetPair *pair);
gboolean gannet_pair_is_linked(const GannetPair *pair);
/* One end is closed: nobody will take what was sent to it. */
void gannet_pair_close(GannetPair *pair, unsigned which);

gboolean gannet_pair_step_framework(GannetPair *pair);

#endif
