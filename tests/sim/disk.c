/*
 * Storage that loses what is not safe
 *
 * Orders are carried out one after another, some in one go; only then they are
 * safe. When the process ends, some of those that are still under way are
 * carried out, and perhaps a part of the next one; never a later one without an
 * earlier.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "sim.h"

static SimStored *stored_at(SimDisk *disk, uint64_t index)
{
    return &disk->entry[index % SIM_DISK_ENTRIES];
}

/* --- orders ------------------------------------------------------------- */

static SimOrder *order_at(SimDisk *disk, unsigned i)
{
    return &disk->order[(disk->head + i) % disk->room];
}

static void grow(SimDisk *disk)
{
    unsigned room = MAX(32, 2 * disk->room);
    SimOrder *order = g_new0(SimOrder, room);

    for (unsigned i = 0; i < disk->room; i++) {
        order[i] = *order_at(disk, i);
    }
    for (unsigned i = disk->room; i < room; i++) {
        order[i].records = g_byte_array_new();
    }
    g_free(disk->order);
    disk->order = order;
    disk->room = room;
    disk->head = 0;
}

static void begin_batch(SimHost *host)
{
    Sim *sim = host->sim;
    SimDisk *disk = &host->disk;

    if (!disk->busy && disk->orders > 0) {
        disk->busy = TRUE;
        disk->batch = disk->orders;
        sim_push_for(host, sim->now + disk->slow +
                     sim_between(&sim->random, sim->plan.disk_min,
                                 sim->plan.disk_max),
                     SIM_EVENT_DISK, 0, 0, 0);
    }
}

static SimOrder *new_order(SimHost *host, SimOrderKind kind, uint64_t ticket)
{
    SimDisk *disk = &host->disk;
    SimOrder *order;

    if (disk->orders == disk->room) {
        grow(disk);
    }
    order = order_at(disk, disk->orders++);
    order->kind = kind;
    order->ticket = ticket;
    g_byte_array_set_size(order->records, 0);
    return order;
}

void sim_disk_save(void *opaque, uint64_t ticket, const ApusHardState *state)
{
    SimHost *host = opaque;

    sim_check_save(host, state);
    new_order(host, SIM_ORDER_SAVE, ticket)->state = *state;
    begin_batch(host);
}

void sim_disk_append(void *opaque, uint64_t ticket, uint64_t first,
                     const ApusRecords *records)
{
    SimHost *host = opaque;
    SimOrder *order = new_order(host, SIM_ORDER_APPEND, ticket);

    order->index = first;
    for (unsigned i = 0; i < 2; i++) {
        if (records->size[i]) {
            g_byte_array_append(order->records, records->data[i],
                                records->size[i]);
        }
    }
    begin_batch(host);
}

void sim_disk_trim(void *opaque, uint64_t index)
{
    SimHost *host = opaque;

    new_order(host, SIM_ORDER_TRIM, 0)->index = index;
    begin_batch(host);
}

/* --- carrying them out -------------------------------------------------- */

static void append(SimHost *host, const SimOrder *order, size_t size)
{
    SimDisk *disk = &host->disk;
    const uint8_t *data = order->records->data;
    ApusEntry entry;
    gssize n;

    if (size == 0 && order->index > disk->last) {
        return; /* nothing to cut off */
    }
    if (order->index > disk->last + 1) {
        /* Behind a snapshot: what was before it is of no use. */
        disk->first = order->index;
    }
    if (order->index < disk->first) {
        disk->first = order->index;
    }
    disk->last = order->index - 1;
    while (size > 0) {
        SimStored *stored = stored_at(disk, disk->last + 1);

        n = apus_record_decode(&entry, data, size, NULL);
        if (n <= 0 || n > SIM_RECORD_MAX) {
            break; /* torn */
        }
        if (entry.index != disk->last + 1) {
            sim_fail(host->sim, "storage", "%u orders entry %" PRIu64
                     " behind %" PRIu64, host->id, entry.index, disk->last);
            return;
        }
        memcpy(stored->record, data, n);
        stored->size = n;
        stored->term = entry.term;
        disk->last++;
        data += n;
        size -= n;
    }
    if (disk->last >= disk->first + SIM_DISK_ENTRIES) {
        sim_fail(host->sim, "storage", "%u never trims its log", host->id);
    }
}

static void carry_out(SimHost *host, const SimOrder *order, size_t part)
{
    SimDisk *disk = &host->disk;

    switch (order->kind) {
    case SIM_ORDER_SAVE:
        disk->state = order->state;
        break;
    case SIM_ORDER_APPEND:
        append(host, order, MIN(part, order->records->len));
        break;
    case SIM_ORDER_TRIM:
        /* A hint; what the saved base does not stand for is needed. */
        disk->first = MAX(disk->first,
                          MIN(MIN(order->index, disk->state.base.index),
                              disk->last) + 1);
        break;
    }
}

static void pop_order(SimDisk *disk)
{
    disk->head = (disk->head + 1) % disk->room;
    disk->orders--;
}

void sim_disk_event(SimHost *host)
{
    SimDisk *disk = &host->disk;
    uint64_t ticket = 0;

    while (disk->batch > 0) {
        SimOrder *order = order_at(disk, 0);

        carry_out(host, order, SIZE_MAX);
        ticket = MAX(ticket, order->ticket);
        pop_order(disk);
        disk->batch--;
    }
    if (ticket) {
        sim_push_for(host, host->sim->now + SIM_US, SIM_EVENT_STORED, 0,
                     ticket, 0);
    }
    disk->busy = FALSE;
    begin_batch(host);
}

void sim_disk_stop(SimHost *host)
{
    SimRandom *random = &host->sim->random;
    SimDisk *disk = &host->disk;
    unsigned done = sim_below(random, disk->orders + 1);

    for (unsigned i = 0; i < done; i++) {
        carry_out(host, order_at(disk, 0), SIZE_MAX);
        pop_order(disk);
    }
    if (disk->orders > 0 && order_at(disk, 0)->kind == SIM_ORDER_APPEND) {
        const SimOrder *order = order_at(disk, 0);

        /* A write that is torn before its first byte did not happen. */
        if (order->records->len > 0 && sim_below(random, 2)) {
            carry_out(host, order,
                      sim_between(random, 1, order->records->len));
        }
    }
    disk->orders = disk->batch = 0;
    disk->busy = FALSE;
}

/* --- opening it again --------------------------------------------------- */

void sim_disk_found(SimHost *host, const ApusHardState *state)
{
    SimDisk *disk = &host->disk;

    disk->state = *state;
    disk->first = state->base.index + 1;
    disk->last = state->base.index;
    disk->orders = disk->batch = 0;
    disk->busy = disk->damaged = FALSE;
}

void sim_disk_damage(SimHost *host)
{
    SimDisk *disk = &host->disk;

    if (disk->last >= disk->first) {
        disk->last = sim_between(&host->sim->random, disk->first - 1,
                                 disk->last - 1);
        disk->damaged = TRUE;
    }
}

/*
 * A log that goes on behind a base that came from a leader: what was stored
 * there before belongs to a history that is gone. Entries that are missing
 * behind the base are a damage.
 */
static void begin_behind_base(SimDisk *disk)
{
    const ApusSnapshot *base = &disk->state.base;

    if (disk->last > base->index && disk->first > base->index + 1) {
        disk->damaged = TRUE;
    } else if (disk->last > base->index &&
               stored_at(disk, base->index + 1)->term < base->term) {
        disk->last = base->index;
    }
}

void sim_disk_open(SimHost *host, ApusHardState *state)
{
    SimDisk *disk = &host->disk;

    if (host->sim->plan.durability == APUS_DURABILITY_MEMORY) {
        disk->damaged = disk->state.term != 0;
    } else {
        begin_behind_base(disk);
    }
    if (disk->damaged) {
        /* Nothing in a damaged log counts, and that will not be forgotten. */
        disk->state.amnesiac = TRUE;
        disk->first = 1;
        disk->last = 0;
        disk->damaged = FALSE;
    }
    *state = disk->state;
}

gboolean sim_disk_replay(SimHost *host, GError **errp)
{
    SimDisk *disk = &host->disk;
    uint64_t index = MAX(disk->first, apus_log_last_index(host->core->log) + 1);
    ApusEntry entry;

    for (; index <= disk->last; index++) {
        const SimStored *stored = stored_at(disk, index);

        apus_record_decode(&entry, stored->record, stored->size, NULL);
        if (!apus_core_replay(host->core, &entry, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean sim_disk_has(const SimHost *host, uint64_t index, uint64_t term)
{
    const SimDisk *disk = &host->disk;

    if (index <= disk->state.base.index) {
        return TRUE;
    }
    return index >= disk->first && index <= disk->last &&
           disk->entry[index % SIM_DISK_ENTRIES].term == term;
}
