/*
 * What must be true of two replicas of a disk, whatever has happened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-pair.h"
#include "gannet-task.h"

/* What a restart would find in the side file. */
typedef struct Left {
    GannetSideState state;
    GannetRegions *marks;
} Left;

static void read_left(const GannetReplica *replica, Left *left)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GannetSideFile) side = gannet_side_file_new(
        replica->metadata, sizeof(replica->metadata), replica->layout->size,
        &error);

    g_assert_no_error(error);
    left->state = *gannet_side_file_state(side);
    left->marks = gannet_regions_new(replica->layout->size,
                                     gannet_side_file_granularity(side));
    gannet_side_file_marks(side, left->marks);
}

static gboolean is_in(const GannetRegions *regions,
                      const GannetReplica *replica, unsigned sector)
{
    return gannet_regions_touch(regions,
                                gannet_layout_offset(replica->layout, sector),
                                GANNET_SECTOR);
}

/* The guest reads what it wrote, or what the last checkpoint gave it. */
static void check_guest(const GannetReplica *replica, unsigned first,
                        unsigned n)
{
    GannetLayer layer = replica->guest == GANNET_GUEST_SECONDARY ?
                        GANNET_SVM : GANNET_COMMITTED;
    g_autofree uint64_t *view = NULL;
    g_autoptr(GannetRegions) changing = NULL;

    if (!replica->up || replica->guest == GANNET_NO_GUEST) {
        return;
    }
    changing = gannet_regions_new(replica->layout->size, GANNET_SECTOR);
    gannet_replica_under_way(replica, changing);
    view = gannet_image_new(replica->layout);
    gannet_replica_view(replica, layer, first, n, view);
    for (unsigned i = first; i < first + n; i++) {
        if (view[i] != replica->model[i] && !is_in(changing, replica, i)) {
            g_error("%s: sector %u has %" G_GUINT64_FORMAT ", not %"
                    G_GUINT64_FORMAT, replica->name, i, view[i],
                    replica->model[i]);
        }
    }
}

/* All of it after what changes it at once, else a random part. */
static void check_guests(GannetPair *pair)
{
    unsigned now = pair->stats.checkpoints + pair->stats.takeovers +
                   pair->stats.synced;
    unsigned n = MIN(64, pair->layout.sectors);
    unsigned first = g_test_rand_int_range(0, pair->layout.sectors - n + 1);

    if (now != pair->checked || g_test_rand_int_range(0, 64) == 0) {
        pair->checked = now;
        first = 0;
        n = pair->layout.sectors;
    }
    check_guest(pair->replicas[0], first, n);
    check_guest(pair->replicas[1], first, n);
}

/* A disk of which the side file says that it is whole has what it should. */
static void check_whole(const GannetReplica *replica, const Left *left)
{
    if (left->state.partial) {
        g_assert_true(replica->guest != GANNET_GUEST_OWN ||
                      replica->taken_over);
        return;
    }
    for (unsigned i = 0; replica->claims && i < replica->layout->sectors;
         i++) {
        if (gannet_replica_may_differ(replica, i, replica->claim[i])) {
            g_error("%s: sector %u of a whole disk is not of epoch %"
                    G_GUINT64_FORMAT, replica->name, i, left->state.epoch);
        }
    }
}

/*
 * If both crash now, the marks of both disks cover where they differ, or their
 * side files do not name the same pair.
 */
static void check_marks(const GannetPair *pair, const Left left[2])
{
    GannetReplica *const *replicas = pair->replicas;

    if (!left[0].state.pair || left[0].state.pair != left[1].state.pair) {
        return;
    }
    for (unsigned i = 0; i < pair->layout.sectors; i++) {
        uint64_t number = replicas[0]->disk[i];

        if ((gannet_replica_may_differ(replicas[0], i, number) ||
             gannet_replica_may_differ(replicas[1], i, number)) &&
            !is_in(left[0].marks, replicas[0], i) &&
            !is_in(left[1].marks, replicas[1], i)) {
            g_error("sector %u of pair %" G_GUINT64_FORMAT " may differ and "
                    "is not marked", i, left[0].state.pair);
        }
    }
}

/* The primary knows what the other disk may lack if that crashes now. */
static void check_missing(const GannetReplica *primary,
                          const GannetReplica *other, const Left *left)
{
    g_autoptr(GannetRegions) missing = NULL;

    if (!primary->up || primary->guest != GANNET_GUEST_OWN ||
        !left->state.pair ||
        left->state.pair != gannet_primary_pair(primary->primary)) {
        return;
    }
    missing = gannet_regions_new(primary->layout->size, GANNET_SECTOR);
    gannet_primary_pending(primary->primary, missing);
    gannet_replica_under_way(primary, missing);
    if (gannet_primary_state(primary->primary) == GANNET_PRIMARY_ALONE) {
        gannet_regions_unite(missing, left->marks);
    }
    for (unsigned i = 0; i < primary->layout->sectors; i++) {
        if (gannet_replica_may_differ(other, i, primary->model[i]) &&
            !is_in(missing, primary, i)) {
            g_error("%s does not know that %s may lack sector %u",
                    primary->name, other->name, i);
        }
    }
}

static void check_memory(const GannetReplica *replica)
{
    GannetStoreStats stats;

    if (replica->up) {
        gannet_store_stats(replica->store, &stats);
        g_assert_cmpuint(stats.used, <=, stats.limit);
    }
}

static void check_crash(const GannetPair *pair)
{
    Left left[2];

    for (unsigned i = 0; i < 2; i++) {
        read_left(pair->replicas[i], &left[i]);
        check_whole(pair->replicas[i], &left[i]);
    }
    check_marks(pair, left);
    check_missing(pair->replicas[0], pair->replicas[1], &left[1]);
    check_missing(pair->replicas[1], pair->replicas[0], &left[0]);
    gannet_regions_free(left[0].marks);
    gannet_regions_free(left[1].marks);
}

void gannet_pair_check(GannetPair *pair)
{
    check_memory(pair->replicas[0]);
    check_memory(pair->replicas[1]);
    check_guests(pair);
    /* Of a big one not each time, as it takes long. */
    if (pair->layout.sectors < 1000 || g_test_rand_int_range(0, 16) == 0) {
        check_crash(pair);
    }
}

gboolean gannet_pair_in_step(const GannetPair *pair)
{
    const GannetReplica *primary = pair->replicas[pair->primary];

    return pair->open[0] && pair->open[1] && !pair->cut &&
           pair->phase == GANNET_PHASE_OFF &&
           gannet_primary_state(primary->primary) == GANNET_PRIMARY_SYNCED;
}

void gannet_pair_check_equal(GannetPair *pair)
{
    const GannetReplica *a = pair->replicas[0];
    const GannetReplica *b = pair->replicas[1];
    size_t bytes = pair->layout.sectors * sizeof(uint64_t);
    Left left[2];

    g_assert_cmpmem(a->disk, bytes, b->disk, bytes);
    read_left(a, &left[0]);
    read_left(b, &left[1]);
    g_assert_cmpuint(left[0].state.pair, !=, 0);
    g_assert_cmpuint(left[0].state.pair, ==, left[1].state.pair);
    g_assert_false(left[0].state.partial);
    g_assert_false(left[1].state.partial);
    g_assert_cmpuint(gannet_regions_bytes(left[!pair->primary].marks), ==, 0);
    gannet_regions_free(left[0].marks);
    gannet_regions_free(left[1].marks);
}
