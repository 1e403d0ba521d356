/*
 * apus-group: between the member's thread and the main loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "colony/colo-net/apus/core/payload.h"
#include "colony/colo-net/core/inputs.h"
#include "group-internal.h"
#include "trace.h"

/* Entries that the main loop has not taken yet; then the member waits. */
#define QUEUE_LIMIT (4 * MiB)
/*
 * Batches of frames that are being ordered; what comes meanwhile goes with the
 * next. A busy leader has fewer and bigger ones, and an idle one waits for
 * nothing.
 */
#define IN_FLIGHT 1
/* A batch of fewer frames does not make the next one wait. */
#define BUSY_FRAMES 3
/* Notes; what comes then is lost, and the next sync cures it. */
#define NOTES_LIMIT (8 * MiB)

/* --- from the member's thread -------------------------------------------- */

static GroupItem *new_item(ApusEntryKind kind, const uint8_t *data,
                           size_t size)
{
    GroupItem *item = g_malloc(sizeof(*item) + size);

    *item = (GroupItem) { .kind = kind, .size = size };
    if (size) {
        memcpy(item->data, data, size);
    }
    return item;
}

/* Each wake-up of the main loop is a system call: one is enough. */
static void kick(ApusGroup *group)
{
    if (!qatomic_xchg(&group->kicked, true)) {
        qemu_bh_schedule(group->deliver_bh);
    }
}

ApusDeliver group_queue_deliver(void *opaque, const ApusEntry *entry)
{
    ApusGroup *group = opaque;
    bool wanted = entry->kind == APUS_ENTRY_INPUT ||
                  entry->kind == APUS_ENTRY_ROLE;
    GroupItem *item = new_item(entry->kind, entry->payload,
                               wanted ? entry->length : 0);
    ApusSync sync;
    bool full;

    item->index = entry->index;
    if (entry->kind == APUS_ENTRY_SYNC &&
        apus_sync_decode(&sync, entry->payload, entry->length, NULL)) {
        item->epoch = sync.epoch;
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        QSIMPLEQ_INSERT_TAIL(&group->entries, item, next);
        group->queued += sizeof(*item) + item->size;
        /* A SYNC stops the delivery by itself, and something else resumes it. */
        full = entry->kind == APUS_ENTRY_INPUT && group->queued > QUEUE_LIMIT;
        group->paused = full;
    }
    kick(group);
    return full ? APUS_DELIVER_PAUSE : APUS_DELIVER_GO_ON;
}

void group_queue_skipped(void *opaque, const ApusSnapshot *snapshot)
{
    ApusGroup *group = opaque;

    qatomic_set(&group->gap, true);
    qemu_bh_schedule(group->conduct_bh);
}

void group_queue_told(void *opaque, ApusId from, uint64_t term,
                      const uint8_t *data, size_t size)
{
    ApusGroup *group = opaque;
    GroupItem *item;

    if (!size) {
        return;
    }
    item = new_item(0, data, size);
    item->from = from;
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        if (group->notes_queued + size > NOTES_LIMIT) {
            g_free(item);
            return;
        }
        QSIMPLEQ_INSERT_TAIL(&group->notes, item, next);
        group->notes_queued += size;
    }
    kick(group);
}

/* --- in the main loop ---------------------------------------------------- */

static ApusSink *find_sink(ApusGroup *group, uint32_t key)
{
    ApusSink *sink;

    QTAILQ_FOREACH(sink, &group->sinks, next) {
        if (sink->key == key) {
            return sink;
        }
    }
    return NULL;
}

static void deliver_frames(ApusGroup *group, const GroupItem *item)
{
    InputsReader reader;
    InputsFrame frame;
    GError *error = NULL;

    if (!inputs_open(&reader, item->data, item->size, &error)) {
        error_report("apus-group: inputs at index %" PRIu64 " are dropped: %s",
                     item->index, error->message);
        g_error_free(error);
        return;
    }
    while (inputs_next(&reader, &frame)) {
        ApusSink *sink = find_sink(group, frame.netdev);

        if (sink) {
            group->frames_delivered++;
            sink->deliver(sink, frame.flags, frame.vnet_len, frame.data,
                          frame.size);
        } else {
            group->frames_strange++;
        }
    }
}

/*
 * A secondary may be behind: then the log keeps what it cannot take. A leader's
 * filters refuse frames before they are ordered. What the NICs have not taken
 * at a sync point is part of the state, so a secondary that is waited for takes
 * somewhat more.
 */
static bool has_room(ApusGroup *group)
{
    bool hurry = qatomic_read(&group->hurry);
    ApusSink *sink;

    if (group->part != APUS_PART_SECONDARY || group->blank) {
        return true;
    }
    QTAILQ_FOREACH(sink, &group->sinks, next) {
        size_t limit = sink->limit + (hurry ? sink->limit / 6 : 0);

        if (sink->pending(sink) >= limit) {
            return false;
        }
    }
    return true;
}

static GroupItem *take_entry(ApusGroup *group, bool *resume)
{
    GroupItem *item;

    QEMU_LOCK_GUARD(&group->lock);
    item = QSIMPLEQ_FIRST(&group->entries);
    if (item) {
        QSIMPLEQ_REMOVE_HEAD(&group->entries, next);
        group->queued -= sizeof(*item) + item->size;
    }
    if (group->paused && group->queued <= QUEUE_LIMIT / 2) {
        group->paused = false;
        *resume = true;
    }
    return item;
}

void group_queue_run(ApusGroup *group)
{
    bool runs = !group->blank && (group->part == APUS_PART_LEADER ||
                                  group->part == APUS_PART_SECONDARY);
    bool resume = false;
    GroupItem *item;

    while (has_room(group) && (item = take_entry(group, &resume))) {
        group->delivered = item->index;
        if (item->kind == APUS_ENTRY_INPUT && runs) {
            group->in_flight -= group->in_flight > 0;
            group_pace_delivered(group);
            deliver_frames(group, item);
        } else if (item->kind == APUS_ENTRY_SYNC) {
            trace_apus_group_barrier(item->epoch.term, item->epoch.number);
            group_sync_reached(group, item->epoch, item->index);
        } else if (item->kind == APUS_ENTRY_ROLE &&
                   apus_role_decode(&group->last_role, item->data, item->size,
                                    NULL)) {
            group->last_role_index = item->index;
            qemu_bh_schedule(group->conduct_bh);
        }
        g_free(item);
    }
    if (resume) {
        apus_resume(group->apus);
    }
}

static void run_notes(ApusGroup *group)
{
    GroupQueue notes;
    GroupItem *item;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        QSIMPLEQ_INIT(&notes);
        QSIMPLEQ_CONCAT(&notes, &group->notes);
        group->notes_queued = 0;
    }
    while ((item = QSIMPLEQ_FIRST(&notes))) {
        QSIMPLEQ_REMOVE_HEAD(&notes, next);
        group->notes_told++;
        switch (item->data[0]) {
        case GROUP_NOTE_GUARD:
            if (group->ears && item->from == group->partner) {
                group->ears->told(group->ears_opaque, item->data + 1,
                                  item->size - 1);
            }
            break;
        case GROUP_NOTE_JOINED:
            if (item->size == 1 + 8) {
                group_session_joined(group, item->from,
                                     ldq_le_p(item->data + 1));
            }
            break;
        default:
            warn_report_once("apus-group: member %u tells what this version "
                             "does not know: %u", item->from, item->data[0]);
        }
        g_free(item);
    }
}

void group_queue_drop(ApusGroup *group)
{
    bool resume;
    GroupItem *item;

    while ((item = take_entry(group, &resume))) {
        g_free(item);
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        while ((item = QSIMPLEQ_FIRST(&group->notes))) {
            QSIMPLEQ_REMOVE_HEAD(&group->notes, next);
            g_free(item);
        }
        group->notes_queued = 0;
    }
}

/* --- frames of the network ----------------------------------------------- */

static void set_listen(ApusGroup *group, bool on)
{
    ApusSink *sink;

    group->deaf = !on;
    QTAILQ_FOREACH(sink, &group->sinks, next) {
        sink->listen(sink, on);
    }
}

bool apus_group_add_sink(ApusGroup *group, ApusSink *sink, Error **errp)
{
    ApusSink *other;

    sink->key = inputs_netdev_key(sink->netdev);
    other = find_sink(group, sink->key);
    if (other) {
        error_setg(errp, "netdev '%s' %s: give it another id", sink->netdev,
                   g_str_equal(other->netdev, sink->netdev)
                   ? "has a filter-apus already"
                   : "has the same hash as another one");
        return false;
    }
    QTAILQ_INSERT_TAIL(&group->sinks, sink, next);
    return true;
}

void apus_group_remove_sink(ApusGroup *group, ApusSink *sink)
{
    if (group->deaf) {
        set_listen(group, true);
    }
    QTAILQ_REMOVE(&group->sinks, sink, next);
    apus_group_consumed(group);
}

/* In the member's thread. */
static void ordered(void *opaque, ApusFate fate, uint64_t index)
{
    ApusGroup *group = opaque;

    if (fate != APUS_FATE_COMMITTED) {
        qatomic_inc(&group->astray);
    }
}

static void submit_batch(ApusGroup *group)
{
    GError *error = NULL;

    if (!inputs_count(group->batch)) {
        return;
    }
    /* What was lost is sent again by its sender, as with any network. */
    group->busy = inputs_count(group->batch) >= BUSY_FRAMES;
    group->submitted_at = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    if (apus_submit(group->apus, APUS_ENTRY_INPUT, group->batch->data,
                    group->batch->len, ordered, group, &error)) {
        group->in_flight++;
    } else {
        trace_apus_group_refused(error->message);
        group->frames_refused++;
        g_error_free(error);
    }
    inputs_begin(group->batch, 0);
}

/*
 * The main loop is about to wait: what was read in this round is submitted. If
 * more may have come while the last batch was ordered, it is read first.
 */
static void about_to_poll(Notifier *notifier, void *data)
{
    ApusGroup *group = container_of(notifier, ApusGroup, poll);
    int64_t next = group->submitted_at + group->pace.ns;
    MainLoopPoll *poll = data;

    if (poll->state != MAIN_LOOP_POLL_FILL ||
        group->in_flight >= IN_FLIGHT) {
        return;
    }
    if (group->busy && inputs_count(group->batch) &&
        qemu_clock_get_ns(QEMU_CLOCK_REALTIME) < next) {
        if (!group->deaf) {
            set_listen(group, false);
        }
        /* Setting it wakes the main loop, which is about to come here. */
        if (!timer_pending(group->pace_timer)) {
            timer_mod_ns(group->pace_timer, next);
        }
    } else if (group->deaf) {
        set_listen(group, true);
        poll->timeout = 0;
    } else {
        submit_batch(group);
    }
}

/* about_to_poll() does it. */
static void pace_over(void *opaque)
{
}

void group_queue_tick(ApusGroup *group)
{
    unsigned astray = qatomic_xchg(&group->astray, 0);

    group->in_flight -= MIN(group->in_flight, astray);
    if (group->part != APUS_PART_LEADER && group->deaf) {
        set_listen(group, true);
    }
}

static void deliver_bh(void *opaque)
{
    ApusGroup *group = opaque;

    qatomic_xchg(&group->kicked, false); /* before the queues are looked at */
    run_notes(group);
    group_queue_run(group);
}

bool apus_group_submit(ApusGroup *group, ApusSink *sink, unsigned flags,
                       unsigned vnet_len, const struct iovec *iov, int iovcnt)
{
    InputsFrame frame = {
        .netdev = sink->key,
        .flags = flags,
        .vnet_len = vnet_len,
        .size = iov_size(iov, iovcnt),
    };
    uint8_t *room;

    if (group->part != APUS_PART_LEADER) {
        return false;
    }
    if (frame.size > INPUTS_FRAME_MAX) {
        return false;
    }
    if (!inputs_fits(group->batch, frame.size)) {
        submit_batch(group);
    }
    if (group->in_flight >= IN_FLIGHT && !group->deaf) {
        /* Each frame would wake the main loop, for nothing. */
        set_listen(group, false);
    }
    room = inputs_append(group->batch, &frame);
    iov_to_buf(iov, iovcnt, 0, room, frame.size);
    group->frames_submitted++;
    return true;
}

void apus_group_consumed(ApusGroup *group)
{
    qemu_bh_schedule(group->deliver_bh);
}

/* --- notes --------------------------------------------------------------- */

bool group_tell(ApusGroup *group, ApusId to, GroupNote kind,
                const uint8_t *data, size_t size)
{
    g_autofree uint8_t *note = g_malloc(1 + size);
    GError *error = NULL;

    note[0] = kind;
    if (size) {
        memcpy(note + 1, data, size);
    }
    if (to == APUS_NOBODY ||
        !apus_tell(group->apus, to, note, 1 + size, &error)) {
        trace_apus_group_refused(error ? error->message : "nobody to tell");
        g_clear_error(&error);
        return false;
    }
    return true;
}

void apus_group_tell(ApusGroup *group, const uint8_t *data, size_t size)
{
    group_tell(group, group->partner, GROUP_NOTE_GUARD, data, size);
}

void apus_group_set_ears(const ApusEars *ears, void *opaque)
{
    ApusGroup *group = apus_group();

    if (group) {
        group->ears = ears;
        group->ears_opaque = opaque;
    }
}

/* --- the place in the log, which goes with the VM ------------------------ */

static int place_loaded(void *opaque, int version_id)
{
    ApusGroup *group = opaque;

    group->blank = false;
    return 0;
}

static const VMStateDescription vmstate_place = {
    .name = TYPE_APUS_GROUP,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = place_loaded,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(delivered, ApusGroup),
        VMSTATE_END_OF_LIST()
    },
};

void group_queue_init(ApusGroup *group)
{
    qemu_mutex_init(&group->lock);
    QSIMPLEQ_INIT(&group->entries);
    QSIMPLEQ_INIT(&group->notes);
    QTAILQ_INIT(&group->sinks);
    group->batch = g_byte_array_new();
    inputs_begin(group->batch, 0);
    group->deliver_bh = qemu_bh_new(deliver_bh, group);
    group->poll.notify = about_to_poll;
    main_loop_poll_add_notifier(&group->poll);
    group->pace_timer = timer_new_ns(QEMU_CLOCK_REALTIME, pace_over, group);
    vmstate_register(NULL, 0, &vmstate_place, group);
}

void group_queue_clear(ApusGroup *group)
{
    vmstate_unregister(NULL, &vmstate_place, group);
    group_queue_drop(group);
    qemu_bh_delete(group->deliver_bh);
    main_loop_poll_remove_notifier(&group->poll);
    timer_free(group->pace_timer);
    g_byte_array_unref(group->batch);
    qemu_mutex_destroy(&group->lock);
}
