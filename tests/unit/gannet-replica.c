/*
 * A replica of a disk for tests of GANNET
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "gannet-replica.h"
#include "gannet-task.h"

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

GannetReplica *gannet_replica_new(const char *name,
                                  const GannetReplicaConfig *config)
{
    GannetReplica *replica = g_new0(GannetReplica, 1);
    uint64_t **images[] = {
        &replica->disk, &replica->durable, &replica->model,
        &replica->stream, &replica->sealed, &replica->agreed,
        &replica->claim,
    };

    replica->config = *config;
    replica->layout = config->layout;
    replica->name = name;
    for (unsigned i = 0; i < G_N_ELEMENTS(images); i++) {
        *images[i] = gannet_image_new(config->layout);
    }
    return replica;
}

static void end_process(GannetReplica *replica)
{
    if (replica->tasks) {
        g_ptr_array_set_free_func(replica->tasks,
                                  (GDestroyNotify)gannet_task_free);
        for (guint i = 0; i < replica->tasks->len; i++) {
            GannetTask *task = g_ptr_array_index(replica->tasks, i);

            if (task->piece) {
                gannet_store_written_back(replica->store, task->piece, FALSE);
            }
        }
    }
    g_clear_pointer(&replica->tasks, g_ptr_array_unref);
    g_clear_pointer(&replica->side, gannet_side_file_free);
    g_clear_pointer(&replica->primary, gannet_primary_free);
    g_clear_pointer(&replica->secondary, gannet_secondary_free);
    g_clear_pointer(&replica->store, gannet_store_free);
    replica->up = FALSE;
    replica->guest = GANNET_NO_GUEST;
    replica->claims = replica->claims && !replica->taken_over;
    replica->siding = replica->reporting = replica->settle = FALSE;
    replica->pressed = replica->failed = replica->stopped = FALSE;
    replica->taken_over = FALSE;
}

void gannet_replica_free(GannetReplica *replica)
{
    end_process(replica);
    g_free(replica->disk);
    g_free(replica->durable);
    g_free(replica->model);
    g_free(replica->stream);
    g_free(replica->sealed);
    g_free(replica->agreed);
    g_free(replica->claim);
    g_free(replica);
}

/* --- life ----------------------------------------------------------------- */

static GannetRegions *marks_of(const GannetReplica *replica)
{
    GannetRegions *marks = gannet_regions_new(
        replica->layout->size, gannet_side_file_granularity(replica->side));

    gannet_side_file_marks(replica->side, marks);
    return marks;
}

static void assume(GannetReplica *replica)
{
    g_autoptr(GannetRegions) marks = marks_of(replica);

    gannet_primary_assume(replica->primary,
                          gannet_side_file_state(replica->side)->pair, marks);
}

void gannet_replica_start(GannetReplica *replica)
{
    const GannetReplicaConfig *config = &replica->config;
    GannetPrimaryConfig primary = {
        .size = config->layout->size,
        .queue_limit = config->queue_limit,
    };
    GannetStoreConfig store = {
        .size = config->layout->size,
        .limit = config->buffer_limit,
        .block_size = config->block_size,
    };
    g_autoptr(GError) error = NULL;

    g_assert_false(replica->up);
    replica->side = gannet_side_file_new(replica->metadata,
                                         sizeof(replica->metadata),
                                         config->layout->size, &error);
    g_assert_no_error(error);
    replica->primary = gannet_primary_new(&primary);
    replica->store = gannet_store_new(&store, &error);
    g_assert_no_error(error);
    replica->secondary = gannet_secondary_new(replica->store);
    replica->tasks = g_ptr_array_new();
    replica->up = TRUE;
    replica->write_after = 0;
    replica->early = 0;
    replica->whole = !gannet_side_file_state(replica->side)->partial;
    assume(replica);
}

/* A durable write of a page that a crash ends may be anything of these. */
static void tear_page(GannetReplica *replica)
{
    uint8_t *to = replica->metadata + replica->page.offset;
    unsigned outcome = below(3);

    for (unsigned i = 0; i < GANNET_SIDE_FILE_PAGE; i += GANNET_SECTOR) {
        if (outcome == 0 || (outcome == 1 && below(2))) {
            memcpy(to + i, replica->page.data + i, GANNET_SECTOR);
        }
    }
}

void gannet_replica_crash(GannetReplica *replica, gboolean power)
{
    g_assert_true(replica->up);
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (gannet_task_is_writing(task)) {
            gannet_task_tear(replica, task);
        }
    }
    if (replica->siding) {
        tear_page(replica);
    }
    if (power) {
        for (unsigned i = 0; i < replica->layout->sectors; i++) {
            if (below(2)) {
                replica->disk[i] = replica->durable[i];
            }
        }
        gannet_image_copy(replica->layout, replica->durable, replica->disk);
    }
    end_process(replica);
}

static void swap_images(uint64_t **a, uint64_t **b)
{
    uint64_t *image = *a;

    *a = *b;
    *b = image;
}

void gannet_replica_swap(GannetReplica *a, GannetReplica *b)
{
    g_autofree uint8_t *metadata = g_memdup2(a->metadata,
                                             sizeof(a->metadata));
    gboolean claims = a->claims;

    g_assert_true(!a->up && !b->up);
    swap_images(&a->disk, &b->disk);
    swap_images(&a->durable, &b->durable);
    swap_images(&a->claim, &b->claim);
    a->claims = b->claims;
    b->claims = claims;
    memcpy(a->metadata, b->metadata, sizeof(a->metadata));
    memcpy(b->metadata, metadata, sizeof(b->metadata));
}

gboolean gannet_replica_can_run(const GannetReplica *replica)
{
    return replica->up && replica->guest == GANNET_NO_GUEST &&
           replica->tasks->len == 0 &&
           gannet_store_is_clean(replica->store) &&
           !gannet_side_file_state(replica->side)->partial &&
           gannet_secondary_state(replica->secondary) ==
           GANNET_SECONDARY_IDLE &&
           gannet_primary_state(replica->primary) == GANNET_PRIMARY_ALONE &&
           gannet_side_file_durable(replica->side) ==
           gannet_side_file_change(replica->side);
}

void gannet_replica_run(GannetReplica *replica)
{
    g_assert_true(gannet_replica_can_run(replica));
    /* It may have been a secondary since it started. */
    assume(replica);
    gannet_image_copy(replica->layout, replica->model, replica->disk);
    replica->guest = GANNET_GUEST_OWN;
    replica->stopped = FALSE;
    replica->claims = FALSE;
}

/* --- reading -------------------------------------------------------------- */

static void view_range(const GannetReplica *replica, GannetLayer layer,
                       uint64_t offset, uint64_t bytes, uint8_t *data)
{
    g_autoptr(GArray) holes = g_array_new(FALSE, FALSE, sizeof(GannetRange));
    struct iovec iov = { data, bytes };

    gannet_store_read(replica->store, layer, offset, bytes, &iov, 1, holes);
    for (guint i = 0; i < holes->len; i++) {
        const GannetRange *hole = &g_array_index(holes, GannetRange, i);

        gannet_image_get(replica->layout, replica->disk, hole->offset,
                         hole->bytes, data + (hole->offset - offset));
    }
}

void gannet_replica_view(const GannetReplica *replica, GannetLayer layer,
                         unsigned first, unsigned n, uint64_t *image)
{
    const GannetLayout *layout = replica->layout;
    unsigned each = layout->sectors / layout->windows;
    g_autofree uint8_t *data = g_malloc(layout->window_bytes);

    while (n > 0) {
        unsigned part = MIN(n, each - first % each);
        uint64_t offset = gannet_layout_offset(layout, first);
        uint64_t bytes = (uint64_t)part * GANNET_SECTOR;

        view_range(replica, layer, offset, bytes, data);
        gannet_image_put(layout, image, offset, bytes, data);
        first += part;
        n -= part;
    }
}

GBytes *gannet_replica_read(const GannetReplica *replica, GannetLayer layer,
                            const GannetRange *range)
{
    uint8_t *data = g_malloc(range->bytes);

    view_range(replica, layer, range->offset, range->bytes, data);
    if (data[0] == 0 && memcmp(data, data + 1, range->bytes - 1) == 0) {
        g_free(data);
        return NULL;
    }
    return g_bytes_new_take(data, range->bytes);
}

void gannet_replica_hash(GBytes *data, uint8_t hash[16])
{
    XXH128_canonical_t canonical;

    memset(&canonical, 0xff, sizeof(canonical));
    if (data) {
        XXH128_canonicalFromHash(&canonical, XXH3_128bits(
            g_bytes_get_data(data, NULL), g_bytes_get_size(data)));
    }
    memcpy(hash, canonical.digest, sizeof(canonical.digest));
}

/* --- the guest ------------------------------------------------------------ */

void gannet_replica_write(GannetReplica *replica, const GannetRange *range,
                          uint64_t number)
{
    GannetTask *task;

    g_assert_true(replica->guest != GANNET_NO_GUEST && !replica->stopped);
    task = gannet_task_new(replica,
                           replica->guest == GANNET_GUEST_SECONDARY ?
                           GANNET_TASK_MEMORY : GANNET_TASK_WRITE);
    task->range = *range;
    task->number = number;
    task->slow = below(20) == 0;
}

void gannet_replica_flush(GannetReplica *replica)
{
    if (replica->guest == GANNET_GUEST_OWN) {
        gannet_task_flush(replica);
    }
}

unsigned gannet_replica_requests(const GannetReplica *replica)
{
    unsigned n = 0;

    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        n += task->kind == GANNET_TASK_WRITE ||
             task->kind == GANNET_TASK_MEMORY;
    }
    return n;
}

/* --- steps ---------------------------------------------------------------- */

gboolean gannet_replica_is_quick(const GannetReplica *replica)
{
    return replica->hurry || below(replica->config.slowness) == 0;
}

static gboolean step_side(GannetReplica *replica)
{
    if (!gannet_replica_is_quick(replica)) {
        return FALSE;
    }
    if (replica->siding) {
        memcpy(replica->metadata + replica->page.offset, replica->page.data,
               GANNET_SIDE_FILE_PAGE);
        replica->siding = FALSE;
        gannet_side_file_done(replica->side, TRUE);
        return TRUE;
    }
    replica->siding = gannet_side_file_next(replica->side, FALSE,
                                            &replica->page);
    return replica->siding;
}

static gboolean step_tasks(GannetReplica *replica)
{
    guint n = replica->tasks->len;
    guint first = n ? below(n) : 0;

    for (guint i = 0; i < n; i++) {
        GannetTask *task = g_ptr_array_index(replica->tasks,
                                             (first + i) % n);
        gboolean done = FALSE;

        if (gannet_task_step(replica, task, &done)) {
            if (done) {
                g_ptr_array_remove(replica->tasks, task);
                gannet_task_free(task);
            }
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean step_memory(GannetReplica *replica)
{
    if (below(2) && gannet_secondary_state(replica->secondary) ==
        GANNET_SECONDARY_EPOCHS && gannet_store_early(replica->store, 8)) {
        return TRUE;
    }
    return gannet_store_tend(replica->store, 64) > 0;
}

gboolean gannet_replica_step(GannetReplica *replica)
{
    static gboolean (*const steps[])(GannetReplica *) = {
        step_side, step_tasks, step_tasks, gannet_task_begin, step_memory,
    };
    unsigned first = below(G_N_ELEMENTS(steps));

    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[(first + i) % G_N_ELEMENTS(steps)](replica)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* --- the connection ------------------------------------------------------- */

void gannet_replica_hello(const GannetReplica *replica, GannetRole role,
                          GannetHello *hello)
{
    const GannetSideState *state = gannet_side_file_state(replica->side);

    *hello = (GannetHello) {
        .version = GANNET_WIRE_VERSION,
        .speaks = { 1, 1 },
        .role = role,
        .disk = "disk",
        .size = replica->layout->size,
        .room = role == GANNET_PRIMARY ? replica->config.queue_limit :
                                         replica->config.buffer_limit,
        .pair = state->pair,
        .generation = state->generation,
        .partial = state->partial,
    };
}

GannetRegions *gannet_replica_intents(const GannetReplica *replica)
{
    return gannet_side_file_state(replica->side)->pair ? marks_of(replica) :
                                                         NULL;
}

static uint64_t early_blocks(const GannetReplica *replica)
{
    GannetStoreStats stats;

    gannet_store_stats(replica->store, &stats);
    return stats.early;
}

/* What has come is agreed on. */
static void agree(GannetReplica *replica)
{
    gannet_image_copy(replica->layout, replica->agreed, replica->stream);
    replica->early = early_blocks(replica);
}

void gannet_replica_received(GannetReplica *replica,
                             const GannetMessage *message, const void *data)
{
    const GannetLayout *layout = replica->layout;
    gboolean follows = gannet_secondary_state(replica->secondary) ==
                       GANNET_SECONDARY_FOLLOWING;

    switch (message->type) {
    case GANNET_WRITE:
    case GANNET_ZERO:
        gannet_image_put(layout, replica->stream, message->offset,
                         message->bytes, data);
        break;
    case GANNET_SYNCED:
        replica->whole = TRUE;
        break;
    case GANNET_COMMIT:
        gannet_image_copy(layout, replica->sealed, replica->stream);
        break;
    default:
        break;
    }
    if (follows) {
        agree(replica);
    }
}

void gannet_replica_events(GannetReplica *replica)
{
    GannetPrimaryEvent event;

    while ((event = gannet_primary_event(replica->primary)) !=
           GANNET_PRIMARY_NOTHING) {
        switch (event) {
        case GANNET_PRIMARY_PAIRED:
            gannet_task_pair(replica);
            break;
        case GANNET_PRIMARY_DURABLE:
            replica->settle = TRUE;
            break;
        case GANNET_PRIMARY_PRESSURE:
            replica->pressed = TRUE;
            break;
        case GANNET_PRIMARY_REFUSED:
            g_error("%s", gannet_primary_why(replica->primary));
            break;
        default:
            break;
        }
    }
}

void gannet_replica_connected(GannetReplica *replica,
                              const GannetHello *theirs)
{
    GannetSideState state = *gannet_side_file_state(replica->side);

    replica->connection++;
    if (theirs->role == GANNET_PRIMARY) {
        replica->whole = FALSE;
        gannet_replica_view(replica, GANNET_COMMITTED, 0,
                            replica->layout->sectors, replica->stream);
        gannet_image_copy(replica->layout, replica->agreed, replica->stream);
    }
    if (state.pair && state.pair != theirs->pair) {
        /* From now on, no other disk is known to differ in what is marked. */
        state.pair = 0;
        gannet_side_file_set(replica->side, &state);
        replica->write_after = gannet_side_file_change(replica->side);
    }
}

void gannet_replica_take_over(GannetReplica *replica)
{
    GannetSideState state = *gannet_side_file_state(replica->side);
    g_autoptr(GannetRegions) own = gannet_regions_new(
        replica->layout->size, gannet_side_file_granularity(replica->side));
    g_autoptr(GError) error = NULL;

    gannet_secondary_take_over(replica->secondary, own, &error);
    g_assert_no_error(error);
    gannet_primary_assume(replica->primary, state.pair, own);
    replica->connection++;
    replica->taken_over = replica->whole = TRUE;
    replica->early = early_blocks(replica);
    state.pair = 0;
    state.partial = state.partial || !gannet_store_is_clean(replica->store);
    gannet_side_file_set(replica->side, &state);
    replica->write_after = gannet_side_file_change(replica->side);
    replica->guest = GANNET_GUEST_OWN;
    replica->stopped = FALSE;
    replica->claims = FALSE;
}

void gannet_replica_apply(GannetReplica *replica)
{
    gannet_secondary_apply(replica->secondary);
    gannet_image_copy(replica->layout, replica->agreed, replica->sealed);
    replica->early = early_blocks(replica);
}

/* The guest is gone, and what it waited for. */
void gannet_replica_stop(GannetReplica *replica)
{
    for (guint i = replica->tasks->len; i-- > 0; ) {
        GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (task->kind == GANNET_TASK_MEMORY) {
            g_ptr_array_remove_index(replica->tasks, i);
            gannet_task_free(task);
        }
    }
    gannet_secondary_stop(replica->secondary);
    replica->guest = GANNET_NO_GUEST;
    replica->stopped = FALSE;
    if (gannet_secondary_state(replica->secondary) ==
        GANNET_SECONDARY_FOLLOWING) {
        agree(replica);
    }
}

/* --- ranges --------------------------------------------------------------- */

void gannet_replica_under_way(const GannetReplica *replica,
                              GannetRegions *regions)
{
    for (guint i = 0; i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (task->kind == GANNET_TASK_WRITE) {
            gannet_regions_add(regions, task->range.offset,
                               task->range.bytes);
        }
    }
}

gboolean gannet_replica_may_differ(const GannetReplica *replica,
                                   unsigned sector, uint64_t number)
{
    if (replica->disk[sector] != number ||
        replica->durable[sector] != number) {
        return TRUE;
    }
    for (guint i = 0; replica->up && i < replica->tasks->len; i++) {
        const GannetTask *task = g_ptr_array_index(replica->tasks, i);

        if (gannet_task_is_writing(task) &&
            gannet_task_number(replica, task, sector) != number) {
            return TRUE;
        }
    }
    return FALSE;
}
