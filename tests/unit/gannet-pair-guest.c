/*
 * What the guests of a pair of replicas write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-pair-internal.h"

#define MIB (UINT64_C(1) << 20)
#define RECENT 8
#define REQUESTS 4
#define SECONDARY_WRITE (MIB / 4)

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

/*
 * Mostly small and in one place, so that writes overlap. Where memory is short
 * they are so large that it soon is; but those that may be under way together
 * fit into what both sides keep in reserve for a checkpoint.
 */
static void pick(const GannetPair *pair, gboolean secondary,
                 GannetRange *range)
{
    const GannetLayout *layout = &pair->layout;
    unsigned sectors = layout->window_bytes / GANNET_SECTOR;
    gboolean big = pair->big;
    unsigned most = !big ? sectors :
                    (secondary ? SECONDARY_WRITE : MIB) / GANNET_SECTOR;
    unsigned first = below(big || !below(4) ? sectors : 64);
    unsigned n = 1 + below(below(big ? 3 : 8) ? most / (big ? 1 : 5) : most);

    n = MIN(n, sectors - first);
    range->offset = layout->start[below(layout->windows)] +
                    (uint64_t)first * GANNET_SECTOR;
    range->bytes = (uint64_t)n * GANNET_SECTOR;
}

static void write_somewhere(GannetPair *pair, GannetReplica *replica)
{
    gboolean secondary = replica->guest == GANNET_GUEST_SECONDARY;
    GannetPairWrite one = { .number = below(8) ? ++pair->number : 0 };

    if (secondary && pair->recent->len && below(3)) {
        /* What the primary has written. */
        one = g_array_index(pair->recent, GannetPairWrite,
                            below(pair->recent->len));
        one.range.bytes = MIN(one.range.bytes, SECONDARY_WRITE);
    } else {
        pick(pair, secondary, &one.range);
        if (!one.number && below(20) == 0) {
            one.range = (GannetRange) { 0, pair->layout.size };
        }
    }
    gannet_replica_write(replica, &one.range, one.number);
    if (!secondary) {
        g_array_append_val(pair->recent, one);
        if (pair->recent->len > RECENT) {
            g_array_remove_index(pair->recent, 0);
        }
    }
}

void gannet_pair_guest(GannetPair *pair)
{
    GannetReplica *replica = pair->replicas[below(100) < pair->share];

    if (!replica->up || replica->guest == GANNET_NO_GUEST ||
        replica->stopped) {
        return;
    }
    /* The one that is about to begin stands still. */
    if (pair->phase == GANNET_PHASE_BEGIN &&
        replica == gannet_pair_primary(pair) && below(2)) {
        return;
    }
    if (below(12) == 0) {
        gannet_replica_flush(replica);
    } else if (gannet_replica_requests(replica) < REQUESTS) {
        write_somewhere(pair, replica);
    }
}
