/*
 * Primary: the side of a pair of disks whose guest is heard
 *
 * Two bitmaps tell what the peer's disk may not have: @current, what was sent
 * since a mark, and @older, what was sent before it, which becomes empty when
 * the mark is reported durable. Until then no other mark is waited for, so two
 * are enough. When the connection is lost both go to @missing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/primary.h"

#include <string.h>

/*
 * Of the bitmaps; scaled up so that each takes at most 1 MiB, but a region is
 * copied with one write.
 */
#define GRANULARITY (64u << 10)
#define MAX_REGIONS (UINT64_C(8) << 20)

#define PAGE UINT64_C(4096)

#define VERIFY_BYTES (1u << 20)
#define VERIFY_AHEAD 4
#define MAX_DIFFERENCES 1024

typedef struct Item {
    GannetMessage message;
    GBytes *payload; /* or NULL */
} Item;

struct GannetPrimary {
    GannetPrimaryConfig config;
    GannetPrimaryState state;

    GQueue queue; /* of Item */
    uint64_t queued;
    uint64_t reserved; /* by writes under way */

    uint64_t term;
    uint64_t epoch; /* the last that was sealed */
    uint64_t writes; /* of the open epoch */
    uint64_t sum;

    uint64_t mark;       /* the last of this connection */
    uint64_t durable;
    uint64_t older_mark; /* 0: @older is empty */
    GannetRegions *older;
    GannetRegions *current;

    GannetRegions *missing;
    gboolean known; /* @missing is all that @pair lacks */
    uint64_t pair;
    uint64_t fresh; /* what the pair will be called */
    uint64_t synced_mark;
    uint64_t copy_from;
    GannetRegions *copied; /* being read, to be sent */
    unsigned copying;      /* ranges of it */

    gboolean verifying;
    uint64_t verify_next;
    uint64_t verify_answered;
    unsigned hashing; /* ranges under way */
    GArray *differences;

    unsigned events; /* bits by GannetPrimaryEvent */
    char *why;
    GannetPrimaryStats stats;
};

static GQuark error_quark(void)
{
    return g_quark_from_static_string("gannet-primary");
}

#define fail(errp, ...) g_set_error(errp, error_quark(), 0, __VA_ARGS__)

static uint64_t granularity(uint64_t size)
{
    uint64_t result = GRANULARITY;

    while (size / result > MAX_REGIONS && result < GANNET_MAX_WRITE) {
        result *= 2;
    }
    return result;
}

GannetPrimary *gannet_primary_new(const GannetPrimaryConfig *config)
{
    GannetPrimary *primary = g_new0(GannetPrimary, 1);
    uint64_t unit = granularity(config->size);

    primary->config = *config;
    g_queue_init(&primary->queue);
    primary->older = gannet_regions_new(config->size, unit);
    primary->current = gannet_regions_new(config->size, unit);
    primary->missing = gannet_regions_new(config->size, unit);
    primary->copied = gannet_regions_new(config->size, unit);
    primary->differences = g_array_new(FALSE, FALSE, sizeof(GannetRange));
    return primary;
}

static void drop_queue(GannetPrimary *primary)
{
    Item *item;

    while ((item = g_queue_pop_head(&primary->queue))) {
        g_clear_pointer(&item->payload, g_bytes_unref);
        g_free(item);
    }
    primary->queued = 0;
}

void gannet_primary_free(GannetPrimary *primary)
{
    drop_queue(primary);
    gannet_regions_free(primary->older);
    gannet_regions_free(primary->current);
    gannet_regions_free(primary->missing);
    gannet_regions_free(primary->copied);
    g_array_unref(primary->differences);
    g_free(primary->why);
    g_free(primary);
}

GannetPrimaryState gannet_primary_state(const GannetPrimary *primary)
{
    return primary->state;
}

/* --- the queue ------------------------------------------------------------ */

/* Buffers are of whole pages, and so is what the secondary keeps. */
static uint64_t cost(uint64_t payload)
{
    return GANNET_WIRE_HEADER + (payload + PAGE - 1) / PAGE * PAGE;
}

static void enqueue(GannetPrimary *primary, GannetMessage message,
                    GBytes *payload)
{
    Item *item = g_new0(Item, 1);

    item->message = message;
    if (payload) {
        item->message.payload = g_bytes_get_size(payload);
        item->payload = g_bytes_ref(payload);
    }
    g_queue_push_tail(&primary->queue, item);
    primary->queued += cost(item->message.payload);
    primary->stats.queued_peak = MAX(primary->stats.queued_peak,
                                     primary->queued);
}

/*
 * A message that carries a mark. What was sent before it waits for the mark to
 * be reported durable, unless an earlier one is still waited for. A mark that
 * is no everyday one is waited for in any case.
 */
static void enqueue_mark(GannetPrimary *primary, GannetMessage message)
{
    message.mark = ++primary->mark;
    message.term = primary->term;
    if (!primary->older_mark) {
        GannetRegions *empty = primary->older;

        primary->older = primary->current;
        primary->current = empty;
        primary->older_mark = primary->mark;
    } else if (message.type != GANNET_MARK && message.type != GANNET_COMMIT) {
        gannet_regions_unite(primary->older, primary->current);
        gannet_regions_clear(primary->current);
        primary->older_mark = primary->mark;
    }
    enqueue(primary, message, NULL);
}

static gboolean has_room(const GannetPrimary *primary, uint64_t bytes,
                         uint64_t limit)
{
    uint64_t held = primary->queued + primary->reserved;

    return held == 0 || held + cost(bytes) <= limit;
}

static gboolean in_step(const GannetPrimary *primary)
{
    return primary->state == GANNET_PRIMARY_SYNCED ||
           primary->state == GANNET_PRIMARY_EPOCHS;
}

/* Nothing but what is in the queue is missing from the peer. */
static gboolean is_copied(const GannetPrimary *primary)
{
    return !primary->copying && !gannet_regions_bytes(primary->missing);
}

/*
 * Copying has ended, or there is something to be reported durable although no
 * epoch will end: say so.
 */
static void note_progress(GannetPrimary *primary)
{
    if (primary->state == GANNET_PRIMARY_COPYING && !primary->synced_mark &&
        is_copied(primary)) {
        enqueue_mark(primary, (GannetMessage) {
            .type = GANNET_SYNCED, .value = primary->fresh });
        primary->synced_mark = primary->mark;
    } else if (primary->state != GANNET_PRIMARY_ALONE &&
               primary->state != GANNET_PRIMARY_EPOCHS &&
               !primary->older_mark &&
               gannet_regions_bytes(primary->current)) {
        enqueue_mark(primary, (GannetMessage) { .type = GANNET_MARK });
    }
}

gboolean gannet_primary_next(GannetPrimary *primary, GannetMessage *message,
                             GBytes **payload)
{
    Item *item;

    note_progress(primary);
    item = g_queue_pop_head(&primary->queue);
    if (!item) {
        return FALSE;
    }
    *message = item->message;
    *payload = item->payload;
    primary->queued -= cost(item->message.payload);
    primary->stats.messages++;
    primary->stats.mirrored += item->message.payload;
    g_free(item);
    return TRUE;
}

/* --- the connection ------------------------------------------------------- */

static void event(GannetPrimary *primary, GannetPrimaryEvent what)
{
    primary->events |= 1u << what;
}

GannetPrimaryEvent gannet_primary_event(GannetPrimary *primary)
{
    for (unsigned i = 1; i <= GANNET_PRIMARY_REFUSED; i++) {
        if (primary->events & 1u << i) {
            primary->events &= ~(1u << i);
            return i;
        }
    }
    return GANNET_PRIMARY_NOTHING;
}

const char *gannet_primary_why(const GannetPrimary *primary)
{
    return primary->why;
}

uint64_t gannet_primary_pair(const GannetPrimary *primary)
{
    return primary->pair;
}

/*
 * What has to be copied to a peer that said @hello. What is missing is from
 * now on what this peer lacks; it has a name only if the peer is the old one.
 */
static gboolean choose(GannetPrimary *primary, const GannetHello *hello,
                       const GannetRegions *intents, GannetResync resync,
                       GError **errp)
{
    gboolean same = primary->known && intents && hello->pair &&
                    (hello->pair == primary->pair ||
                     hello->pair == primary->fresh);

    if (resync == GANNET_RESYNC_NONE && hello->partial) {
        fail(errp, "the peer's disk has a part of some state only, it has to "
             "be copied");
        return FALSE;
    }
    if (resync == GANNET_RESYNC_CHANGED && same) {
        gannet_regions_unite(primary->missing, intents);
    } else {
        /* With NONE, what was written since they were equal is missing. */
        if (resync != GANNET_RESYNC_NONE) {
            gannet_regions_add_all(primary->missing);
        }
        same = FALSE;
    }
    primary->pair = same ? hello->pair : 0;
    primary->known = same;
    return TRUE;
}

gboolean gannet_primary_connected(GannetPrimary *primary,
                                  const GannetHello *hello,
                                  const GannetRegions *intents, uint64_t fresh,
                                  GannetResync resync, GError **errp)
{
    g_assert(primary->state == GANNET_PRIMARY_ALONE);
    if (hello->role != GANNET_SECONDARY) {
        fail(errp, "the peer is a primary, too");
        return FALSE;
    }
    if (hello->size != primary->config.size) {
        fail(errp, "the peer's disk has %" G_GUINT64_FORMAT " bytes, this one "
             "%" G_GUINT64_FORMAT, hello->size, primary->config.size);
        return FALSE;
    }
    if (!choose(primary, hello, intents, resync, errp)) {
        return FALSE;
    }
    primary->state = GANNET_PRIMARY_COPYING;
    primary->fresh = fresh;
    primary->mark = primary->durable = primary->synced_mark = 0;
    primary->term = primary->epoch = 0;
    primary->copy_from = 0;
    primary->stats.copy_total = gannet_regions_bytes(primary->missing);
    primary->stats.copy_done = 0;
    g_clear_pointer(&primary->why, g_free);
    return TRUE;
}

static void end_verification(GannetPrimary *primary)
{
    if (primary->verifying) {
        primary->verifying = FALSE;
        event(primary, GANNET_PRIMARY_VERIFIED);
    }
}

void gannet_primary_disconnected(GannetPrimary *primary)
{
    if (primary->state == GANNET_PRIMARY_ALONE) {
        return;
    }
    drop_queue(primary);
    gannet_primary_pending(primary, primary->missing);
    gannet_regions_clear(primary->older);
    gannet_regions_clear(primary->current);
    primary->older_mark = 0;
    primary->state = GANNET_PRIMARY_ALONE;
    end_verification(primary);
}

void gannet_primary_assume(GannetPrimary *primary, uint64_t pair,
                           const GannetRegions *regions)
{
    g_assert(primary->state == GANNET_PRIMARY_ALONE);
    primary->known = pair != 0;
    primary->pair = pair;
    primary->fresh = 0;
    gannet_regions_clear(primary->missing);
    gannet_regions_unite(primary->missing, regions);
}

void gannet_primary_pending(const GannetPrimary *primary,
                            GannetRegions *regions)
{
    gannet_regions_unite(regions, primary->older);
    gannet_regions_unite(regions, primary->current);
    gannet_regions_unite(regions, primary->copied);
    if (regions != primary->missing) {
        gannet_regions_unite(regions, primary->missing);
    }
}

static gboolean take_durable(GannetPrimary *primary, uint64_t mark,
                             GError **errp)
{
    if (mark > primary->mark || mark < primary->durable) {
        fail(errp, "the peer reported mark %" G_GUINT64_FORMAT " durable, "
             "between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
             " were possible", mark, primary->durable, primary->mark);
        return FALSE;
    }
    primary->durable = mark;
    if (primary->older_mark && mark >= primary->older_mark) {
        gannet_regions_clear(primary->older);
        primary->older_mark = 0;
        event(primary, GANNET_PRIMARY_DURABLE);
    }
    if (primary->state == GANNET_PRIMARY_COPYING && primary->synced_mark &&
        mark >= primary->synced_mark) {
        primary->state = GANNET_PRIMARY_SYNCED;
        primary->pair = primary->fresh;
        primary->known = TRUE;
        event(primary, GANNET_PRIMARY_PAIRED);
    }
    return TRUE;
}

static gboolean take_verified(GannetPrimary *primary,
                              const GannetMessage *message, GError **errp)
{
    GannetRange range = { message->offset, message->bytes };

    if (!primary->verifying || range.offset != primary->verify_answered ||
        range.offset + range.bytes > primary->verify_next) {
        fail(errp, "the peer answered a comparison that was not asked for");
        return FALSE;
    }
    primary->verify_answered += range.bytes;
    primary->stats.verified += range.bytes;
    if (message->value) {
        primary->stats.differing += range.bytes;
        if (primary->differences->len < MAX_DIFFERENCES) {
            g_array_append_val(primary->differences, range);
        }
    }
    if (primary->verify_answered == primary->config.size) {
        end_verification(primary);
    }
    return TRUE;
}

gboolean gannet_primary_receive(GannetPrimary *primary,
                                const GannetMessage *message,
                                const void *payload, GError **errp)
{
    if (primary->state == GANNET_PRIMARY_ALONE) {
        fail(errp, "there is no connection");
        return FALSE;
    }
    switch (message->type) {
    case GANNET_DURABLE:
        return take_durable(primary, message->mark, errp);
    case GANNET_VERIFIED:
        return take_verified(primary, message, errp);
    case GANNET_PRESSURE:
        event(primary, GANNET_PRIMARY_PRESSURE);
        return TRUE;
    case GANNET_FAILED:
        g_free(primary->why);
        primary->why = g_strndup(payload, message->payload);
        event(primary, GANNET_PRIMARY_REFUSED);
        return TRUE;
    default:
        fail(errp, "the peer sent a %s, which is a primary's to send",
             gannet_message_name(message->type));
        return FALSE;
    }
}

/* --- writes --------------------------------------------------------------- */

gboolean gannet_primary_admit(GannetPrimary *primary, uint64_t bytes,
                              gboolean force)
{
    if (!force && primary->state != GANNET_PRIMARY_ALONE &&
        !has_room(primary, bytes, primary->config.queue_limit)) {
        return FALSE;
    }
    primary->reserved += cost(bytes);
    return TRUE;
}

/* The peer will get it, or lacks it. */
static void note(GannetPrimary *primary, uint64_t offset, uint64_t bytes)
{
    gannet_regions_add(primary->state == GANNET_PRIMARY_ALONE ?
                       primary->missing : primary->current, offset, bytes);
}

void gannet_primary_written(GannetPrimary *primary, uint64_t offset,
                            uint64_t bytes, uint64_t admitted, GBytes *data)
{
    gboolean epochs = primary->state == GANNET_PRIMARY_EPOCHS;

    primary->reserved -= cost(admitted);
    note(primary, offset, bytes);
    if (primary->state == GANNET_PRIMARY_ALONE) {
        return;
    }
    enqueue(primary, (GannetMessage) {
        .type = data ? GANNET_WRITE : GANNET_ZERO,
        .term = epochs ? primary->term : 0,
        .epoch = epochs ? primary->epoch + 1 : 0,
        .offset = offset,
        .bytes = bytes }, data);
    if (epochs) {
        primary->writes++;
        primary->sum += bytes;
    }
}

void gannet_primary_failed(GannetPrimary *primary, uint64_t offset,
                           uint64_t bytes, uint64_t admitted)
{
    primary->reserved -= cost(admitted);
    gannet_regions_add(primary->missing, offset, bytes);
}

/* --- epochs --------------------------------------------------------------- */

static gboolean check_copied(const GannetPrimary *primary, GError **errp)
{
    if (!is_copied(primary)) {
        fail(errp, "%" G_GUINT64_FORMAT " bytes still have to be copied to "
             "the peer", gannet_regions_bytes(primary->missing) +
             gannet_regions_bytes(primary->copied));
        return FALSE;
    }
    return TRUE;
}

gboolean gannet_primary_begin(GannetPrimary *primary, uint64_t term,
                              GError **errp)
{
    switch (primary->state) {
    case GANNET_PRIMARY_ALONE:
        fail(errp, "there is no peer");
        return FALSE;
    case GANNET_PRIMARY_COPYING:
        fail(errp, "the peer's disk is not up to date yet");
        return FALSE;
    case GANNET_PRIMARY_EPOCHS:
        fail(errp, "replication is on already");
        return FALSE;
    case GANNET_PRIMARY_SYNCED:
        break;
    }
    if (!check_copied(primary, errp)) {
        return FALSE;
    }
    primary->term = term;
    primary->epoch = 0;
    primary->writes = primary->sum = 0;
    primary->state = GANNET_PRIMARY_EPOCHS;
    enqueue_mark(primary, (GannetMessage) { .type = GANNET_BEGIN });
    return TRUE;
}

gboolean gannet_primary_seal(GannetPrimary *primary, uint64_t epoch,
                             GError **errp)
{
    if (primary->state != GANNET_PRIMARY_EPOCHS) {
        fail(errp, "replication is not on");
        return FALSE;
    }
    if (epoch <= primary->epoch) {
        fail(errp, "epoch %" G_GUINT64_FORMAT " has ended already", epoch);
        return FALSE;
    }
    if (!check_copied(primary, errp)) {
        return FALSE;
    }
    enqueue_mark(primary, (GannetMessage) {
        .type = GANNET_COMMIT, .epoch = epoch, .bytes = primary->sum,
        .value = primary->writes });
    primary->epoch = epoch;
    primary->writes = primary->sum = 0;
    return TRUE;
}

void gannet_primary_end(GannetPrimary *primary)
{
    if (primary->state == GANNET_PRIMARY_EPOCHS) {
        enqueue_mark(primary, (GannetMessage) { .type = GANNET_END });
        primary->state = GANNET_PRIMARY_SYNCED;
        primary->term = primary->epoch = 0;
    }
}

/* --- copying -------------------------------------------------------------- */

/*
 * No checkpoint succeeds before it is copied, and maybe no room comes before a
 * checkpoint: one at a time.
 */
static gboolean is_due(const GannetPrimary *primary)
{
    return primary->state == GANNET_PRIMARY_EPOCHS && !primary->copying;
}

/* Guest writes come first: copies fill half of the queue. */
gboolean gannet_primary_copy_next(GannetPrimary *primary, uint64_t max_bytes,
                                  GannetRange *range)
{
    uint64_t limit = primary->config.queue_limit / 2;

    max_bytes = MAX(max_bytes, gannet_regions_granularity(primary->missing));
    if (primary->state == GANNET_PRIMARY_ALONE ||
        (!has_room(primary, MIN(max_bytes, limit), limit) &&
         !is_due(primary))) {
        return FALSE;
    }
    if (!gannet_regions_next(primary->missing, primary->copy_from, max_bytes,
                             range)) {
        primary->copy_from = 0;
        if (!gannet_regions_next(primary->missing, 0, max_bytes, range)) {
            return FALSE;
        }
    }
    if (gannet_regions_touch(primary->copied, range->offset, range->bytes)) {
        return FALSE; /* became missing again while it is copied */
    }
    primary->copy_from = range->offset + range->bytes;
    gannet_regions_remove(primary->missing, range->offset, range->bytes);
    gannet_regions_add(primary->copied, range->offset, range->bytes);
    primary->reserved += cost(range->bytes);
    primary->copying++;
    return TRUE;
}

static void end_copy(GannetPrimary *primary, const GannetRange *range)
{
    primary->copying--;
    gannet_regions_remove(primary->copied, range->offset, range->bytes);
}

void gannet_primary_copied(GannetPrimary *primary, const GannetRange *range,
                           GBytes *data)
{
    end_copy(primary, range);
    primary->stats.copy_done += range->bytes;
    gannet_primary_written(primary, range->offset, range->bytes, range->bytes,
                           data);
}

void gannet_primary_copy_failed(GannetPrimary *primary,
                                const GannetRange *range)
{
    end_copy(primary, range);
    gannet_primary_failed(primary, range->offset, range->bytes, range->bytes);
}

/* --- verifying ------------------------------------------------------------ */

gboolean gannet_primary_verify(GannetPrimary *primary, GError **errp)
{
    if (!in_step(primary)) {
        fail(errp, "the disk is not in step with a peer");
        return FALSE;
    }
    if (primary->verifying || primary->hashing) {
        fail(errp, "a verification is under way already");
        return FALSE;
    }
    primary->verifying = TRUE;
    primary->verify_next = primary->verify_answered = 0;
    primary->stats.verified = primary->stats.differing = 0;
    g_array_set_size(primary->differences, 0);
    return TRUE;
}

gboolean gannet_primary_verify_next(GannetPrimary *primary,
                                    GannetRange *range)
{
    uint64_t ahead = primary->verify_next - primary->verify_answered;

    /* One at a time: the answers come in the order of the questions. */
    if (!primary->verifying || primary->hashing ||
        primary->verify_next == primary->config.size ||
        ahead >= VERIFY_AHEAD * VERIFY_BYTES || !is_copied(primary)) {
        return FALSE;
    }
    range->offset = primary->verify_next;
    range->bytes = MIN(VERIFY_BYTES,
                       primary->config.size - primary->verify_next);
    primary->verify_next += range->bytes;
    primary->hashing++;
    return TRUE;
}

void gannet_primary_hashed(GannetPrimary *primary, const GannetRange *range,
                           const uint8_t hash[16])
{
    gboolean epochs = primary->state == GANNET_PRIMARY_EPOCHS;

    primary->hashing--;
    if (primary->verifying) {
        g_autoptr(GBytes) payload = g_bytes_new(hash, 16);

        enqueue(primary, (GannetMessage) {
            .type = GANNET_VERIFY,
            .term = epochs ? primary->term : 0,
            .epoch = epochs ? primary->epoch + 1 : 0,
            .offset = range->offset, .bytes = range->bytes }, payload);
    }
}

void gannet_primary_hash_failed(GannetPrimary *primary)
{
    primary->hashing--;
    end_verification(primary);
}

/* --- figures -------------------------------------------------------------- */

void gannet_primary_stats(const GannetPrimary *primary,
                          GannetPrimaryStats *stats)
{
    *stats = primary->stats;
    stats->term = primary->term;
    stats->epoch = primary->epoch;
    stats->mark = primary->mark;
    stats->durable = primary->durable;
    stats->queued = primary->queued;
    stats->missing = gannet_regions_bytes(primary->missing) +
                     gannet_regions_bytes(primary->copied);
    stats->unreported = gannet_regions_bytes(primary->older) +
                        gannet_regions_bytes(primary->current);
    stats->verifying = primary->verifying;
}

const GArray *gannet_primary_differences(const GannetPrimary *primary)
{
    return primary->differences;
}
