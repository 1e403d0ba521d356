/*
 * Compare, the leader's side: sessions, epochs, and what leaves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/core/compare-internal.h"

Compare *compare_new(FlowTable *table)
{
    Compare *compare = g_new0(Compare, 1);

    compare->table = table;
    hold_queue_init(&compare->leaving);
    compare->early = g_byte_array_new();
    compare->ghosts = g_hash_table_new_full(g_int64_hash, g_int64_equal,
                                            NULL, g_free);
    return compare;
}

static void forget(Compare *compare)
{
    streams_forget(compare);
    frames_forget(compare);
    g_byte_array_set_size(compare->early, 0);
    compare->why = COMPARE_EQUAL;
    g_clear_pointer(&compare->where, g_free);
}

void compare_free(Compare *compare)
{
    if (compare) {
        forget(compare);
        held_clear(&compare->held);
        hold_queue_clear(&compare->leaving);
        g_byte_array_free(compare->early, TRUE);
        g_hash_table_destroy(compare->ghosts);
        g_free(compare);
    }
}

HoldQueue *compare_leaving(Compare *compare)
{
    return &compare->leaving;
}

void compare_leave(Compare *compare, HeldItem *item)
{
    hold_queue_add(&compare->leaving, held_take(&compare->held, item));
}

void compare_set_diverged(Compare *compare, CompareWhy why, const Flow *flow)
{
    if (compare->why == COMPARE_EQUAL) {
        compare->why = why;
        compare->where = flow ? flow_name(flow) : NULL;
        compare->stats.diverged++;
    }
}

/* --- sessions -------------------------------------------------------------*/

void compare_begin(Compare *compare, uint64_t epoch)
{
    forget(compare);
    compare->holding = TRUE;
    compare->comparing = FALSE;
    compare->base = epoch;
    compare->sealed = 0;
    compare->open = 0;
    for (HeldItem *item = compare->held.oldest; item; item = item->newer) {
        item->frame->after = 0;
    }
}

void compare_end(Compare *compare, gboolean release)
{
    forget(compare);
    compare->comparing = FALSE;
    if (release) {
        compare->holding = FALSE;
        while (compare->held.oldest) {
            compare_leave(compare, compare->held.oldest);
        }
    }
}

/* --- epochs ---------------------------------------------------------------*/

void compare_seal(Compare *compare, uint64_t epoch)
{
    gboolean first = !compare->open;

    g_assert(epoch > compare->sealed);
    compare->sealed = epoch;
    if (first) {
        compare->open = epoch;
    }
    g_byte_array_set_size(compare->early, 0);
    FLOW_FOREACH_MOVED(flow, compare->table) {
        flow->sealed_at = flow->position;
        flow->flags |= FLOW_SEALED;
        if (first) {
            flow->limit_at = flow->position;
        }
    }
}

/* What came since the seal is now compared from the seal on. */
static void anchor(Compare *compare)
{
    HeldItem *next;

    FLOW_FOREACH_MOVED(flow, compare->table) {
        if (flow->flags & FLOW_SEALED) {
            flow_anchor(compare->table, flow);
        }
    }
    for (HeldItem *item = compare->held.oldest; item; item = next) {
        Flow *flow = item->flow;

        next = item->newer;
        if (!flow) {
            continue;
        }
        if (flow->held.first == item &&
            (item->length == 0 || ((flow->flags & FLOW_ANCHORED) &&
                                   held_end(item) <= 0))) {
            compare->stats.staged++;
            compare_leave(compare, item);
        } else if (!(flow->flags & (FLOW_ANCHORED | FLOW_GONE))) {
            compare_set_diverged(compare, COMPARE_STRANGE, flow);
        }
    }
}

static void hear_early(Compare *compare, int64_t now)
{
    g_autoptr(GByteArray) early = compare->early;
    guint at = 0;

    compare->early = g_byte_array_new();
    while (at < early->len) {
        uint32_t size = apus_get32(early->data + at);

        /* what is wrong with it was said when it came */
        compare_told(compare, early->data + at + 4, size, now, NULL);
        at += 4 + size;
    }
}

void compare_commit(Compare *compare, uint64_t epoch, int64_t now)
{
    if (!compare->open || epoch != compare->sealed) {
        return;
    }
    /* First: a connection whose last frame leaves may be gone with it. */
    streams_forget(compare);
    frames_forget(compare);
    while (compare->held.oldest &&
           compare->held.oldest->frame->after < epoch) {
        compare->stats.staged++;
        compare_leave(compare, compare->held.oldest);
    }
    compare->why = COMPARE_EQUAL;
    g_clear_pointer(&compare->where, g_free);

    compare->base = epoch;
    compare->open = 0;
    compare->comparing = TRUE;
    compare->committed_at = now;
    anchor(compare);
    hear_early(compare, now);
}

void compare_revert(Compare *compare, int64_t now)
{
    if (!compare->open) {
        return;
    }
    compare->open = 0;
    g_byte_array_set_size(compare->early, 0);
    FLOW_FOREACH_MOVED(flow, compare->table) {
        streams_check(compare, flow, now);
    }
    if (compare->comparing) {
        frames_check(compare);
    }
}

/* --- the guest speaks -----------------------------------------------------*/

void compare_output(Compare *compare, HoldFrame *frame, size_t vnet_len,
                    int64_t now)
{
    FlowSaid said = { 0 };
    Packet packet;
    uint32_t seq;

    frame->after = compare->sealed;
    packet_parse(&packet, frame->data, frame->size, vnet_len,
                 PACKET_FROM_GUEST);
    seq = packet.seq;
    if (packet.tcp) {
        said = flow_said(compare->table, &packet, frame->data, TRUE, now);
        if (said.flow) {
            flow_translate_out(said.flow, &packet, frame->data);
        }
    }

    if (!compare->holding ||
        (compare->comparing && packet.tcp && !said.flow)) {
        compare->stats.alone++;
        hold_queue_add(&compare->leaving, frame);
    } else if (said.flow) {
        streams_output(compare, frame, vnet_len, &packet, &said, seq);
    } else {
        frames_output(compare, frame, vnet_len, &packet, now);
    }
}

/* --- the secondary's guest has spoken -------------------------------------*/

static void hear(Compare *compare, const Report *report, int64_t now)
{
    compare->stats.reports++;
    switch (report->kind) {
    case REPORT_STREAM:
        streams_report(compare, report, now);
        break;
    case REPORT_FRAME:
        frames_report(compare, report);
        break;
    case REPORT_STUCK:
        compare_set_diverged(compare, COMPARE_STUCK, NULL);
        break;
    }
}

/* STAGED, on another connection, is slower than this. */
static void keep_early(Compare *compare, const uint8_t *note, size_t size)
{
    uint8_t length[4];

    if (size > COMPARE_EARLY_MAX ||
        compare->early->len + size + 4 > COMPARE_EARLY_MAX) {
        compare->stats.forgotten++;
        return;
    }
    apus_put32(length, size);
    g_byte_array_append(compare->early, length, sizeof(length));
    g_byte_array_append(compare->early, note, size);
}

gboolean compare_told(Compare *compare, const uint8_t *note, size_t size,
                      int64_t now, GError **error)
{
    ReportHeader header;
    size_t n;

    if (!report_parse(note, size, &header, &n, error)) {
        return FALSE;
    }
    if (compare->open && header.epoch == compare->sealed) {
        keep_early(compare, note, size);
        return TRUE;
    }
    if (!compare->comparing || header.epoch != compare->base) {
        compare->stats.stale++;
        return TRUE;
    }
    for (size_t i = 0; i < n; i++) {
        Report report;

        if (!report_get(note, i, &report, error)) {
            return FALSE;
        }
        hear(compare, &report, now);
    }
    return TRUE;
}

/* --- looking --------------------------------------------------------------*/

CompareWhy compare_diverged(const Compare *compare)
{
    return compare->why;
}

const char *compare_why(CompareWhy why)
{
    switch (why) {
    case COMPARE_EQUAL:
        return "equal";
    case COMPARE_BYTES:
        return "other bytes";
    case COMPARE_CLOSED:
        return "closed at one side";
    case COMPARE_STRANGE:
        return "a connection without anchor";
    case COMPARE_STUCK:
        return "an input that the secondary cannot be given";
    }
    g_assert_not_reached();
}

char *compare_diverged_flow(const Compare *compare)
{
    return g_strdup(compare->where);
}

/* A peer that has reset its connection waits for nothing. */
static gboolean is_missed(const Compare *compare, const HeldItem *item)
{
    return (!item->flow || !(item->flow->flags & (FLOW_RESET | FLOW_GONE))) &&
           (!compare->open || item->frame->after < compare->open);
}

int64_t compare_oldest(const Compare *compare)
{
    for (const HeldItem *item = compare->held.oldest; item;
         item = item->newer) {
        if (is_missed(compare, item)) {
            return MAX(item->time, compare->committed_at);
        }
    }
    return -1;
}

uint64_t compare_bytes(const Compare *compare)
{
    return compare->held.bytes + compare->leaving.bytes;
}

uint64_t compare_held_frames(const Compare *compare)
{
    return compare->held.frames;
}

void compare_stats(const Compare *compare, CompareStats *stats)
{
    *stats = compare->stats;
}
