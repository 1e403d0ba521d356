/*
 * A link: what lies in its rings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/internal.h"

#define NUMBER_MASK 0x7fffffffu /* what an immediate has of a grant's number */
/* Records of a lane that are handed out in one go. */
#define ROUND 256

void verbs_link_announced(VerbsLink *link, uint32_t immediate)
{
    VerbsIn *in = &link->in[immediate & 1];

    G_STATIC_ASSERT(VERBS_LANES == 2);
    /* What came before its grant was revoked was dropped with it. */
    if (in->granted && immediate >> 1 == (in->number & NUMBER_MASK)) {
        in->pending++;
    }
}

static void garbage(VerbsLink *link, unsigned lane, const char *what)
{
    verbs_link_fail(link, VERBS_END_GARBAGE, "in lane %u: %s", lane, what);
}

static void take_credit(VerbsLink *link, unsigned lane,
                        const VerbsCredit *credit)
{
    /* Records of two lanes overtake each other, so it may be older. */
    int32_t more = credit->receives - link->receives;

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsOut *out = &link->out[i];

        if (out->granted && !verbs_ring_credit(&out->ring, credit->read[i])) {
            garbage(link, lane, "it has read what was not written");
        }
    }
    if (more > 0) {
        link->receives = credit->receives;
    }
}

static void take_lanes(VerbsLink *link, const VerbsRecord *record)
{
    if (link->state != LINK_ACCEPTED ||
        !verbs_link_take_descriptor(link, record->data, record->size)) {
        garbage(link, 0, "this is not what lanes it has");
        return;
    }
    link->state = LINK_OPEN;
    link->deadline = 0;
    if (link->host->handlers.open) {
        link->host->handlers.open(link->host->opaque, link, NULL, 0);
    }
}

/* The user's. One that is not trusted could still write to it. */
static void hand_out(VerbsLink *link, unsigned lane, const VerbsRecord *record)
{
    g_autofree uint8_t *copy = NULL;
    const uint8_t *data = record->data;
    VerbsIn *in = &link->in[lane];

    link->host->counters.records++;
    in->copied = !link->trusted;
    if (in->copied) {
        copy = g_memdup2(record->data, record->size);
        data = copy;
        link->first_taken = TRUE;
    }
    link->host->handlers.received(link->host->opaque, link, lane, data,
                                  record->size);
}

/* Whoever is not trusted says one thing, and then waits. */
static gboolean has_to_wait(const VerbsLink *link, const VerbsRecord *record)
{
    switch (record->kind) {
    case VERBS_RECORD_DATA:
        return !link->trusted && link->first_taken;
    case VERBS_RECORD_GRANT:
    case VERBS_RECORD_REVOKED:
        return !link->trusted;
    default:
        return FALSE;
    }
}

static void take(VerbsLink *link, unsigned lane, const VerbsRecord *record)
{
    gboolean own = record->kind > VERBS_RECORD_SKIP;

    if (link->state == LINK_ACCEPTED && record->kind != VERBS_RECORD_LANES) {
        garbage(link, lane, "its first record does not say what lanes it has");
        return;
    }
    if (own && lane != 0) {
        garbage(link, lane, "this record belongs in lane 0");
        return;
    }
    switch (record->kind) {
    case VERBS_RECORD_LANES:
        take_lanes(link, record);
        break;
    case VERBS_RECORD_GRANT:
        verbs_gate_granted(link, record->data, record->size);
        break;
    case VERBS_RECORD_REVOKED:
        verbs_gate_revoked(link, record->data, record->size);
        break;
    default:
        break;
    }
    if (!link->failed && record->kind != VERBS_RECORD_LANES) {
        take_credit(link, lane, &record->credit);
    }
    if (!link->failed && !link->detached &&
        record->kind == VERBS_RECORD_DATA) {
        hand_out(link, lane, record);
    }
}

/* Nothing of the lane may be looked at now. */
static gboolean stands(const VerbsLink *link, const VerbsIn *in)
{
    return link->failed || link->detached || !in->granted || in->in_hand ||
           link->state < LINK_ACCEPTED || link->state > LINK_OPEN;
}

/*
 * Memory alone does not say when a record is complete, so for a while it may
 * not be.
 */
static void torn(VerbsLink *link, unsigned lane, uint64_t now)
{
    VerbsIn *in = &link->in[lane];

    if (!verbs_never_sleeps(link->host)) {
        garbage(link, lane, "what was written is no record");
    } else if (in->torn_since == 0) {
        in->torn_since = now;
    } else if (now - in->torn_since > link->host->config.connect_timeout) {
        garbage(link, lane, "what has begun to be written is no record");
    }
}

/* The record that was in hand is used up. */
static void pass(VerbsIn *in)
{
    in->ring.position += in->in_hand_span;
    in->in_hand_span = 0;
    in->in_hand = FALSE;
}

/* FALSE: there is none now. */
static gboolean next(VerbsLink *link, unsigned lane, uint64_t now)
{
    VerbsIn *in = &link->in[lane];
    VerbsRecord record;

    switch (verbs_ring_peek(&in->ring, &record)) {
    case VERBS_RING_EMPTY:
        if (!verbs_never_sleeps(link->host)) {
            garbage(link, lane, "nothing was written where a record was due");
        }
        return FALSE;
    case VERBS_RING_TORN:
        torn(link, lane, now);
        return FALSE;
    case VERBS_RING_BAD:
        garbage(link, lane, "this is no record");
        return FALSE;
    case VERBS_RING_RECORD:
        break;
    }
    in->torn_since = 0;
    if (has_to_wait(link, &record)) {
        return FALSE;
    }
    in->in_hand = TRUE;
    in->in_hand_span = record.span;
    if (in->pending > 0) {
        in->pending--;
    }
    take(link, lane, &record);
    if (!in->kept) {
        pass(in);
    }
    return TRUE;
}

gboolean verbs_link_receive(VerbsLink *link, uint64_t now)
{
    gboolean worked = FALSE;

    for (unsigned lane = 0; lane < VERBS_LANES; lane++) {
        VerbsIn *in = &link->in[lane];

        for (unsigned i = 0; i < ROUND && !stands(link, in) &&
             (in->pending > 0 || verbs_never_sleeps(link->host)) &&
             next(link, lane, now); i++) {
            worked = TRUE;
        }
    }
    return worked;
}

void verbs_link_trust(VerbsLink *link)
{
    g_autoptr(GError) error = NULL;

    link->trusted = TRUE;
    link->host->urgent = TRUE;
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        if (link->device && link->out[i].granted &&
            !verbs_mirror_make(link, i, &error)) {
            verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
            return;
        }
    }
}

void verbs_keep(VerbsLink *link, unsigned lane)
{
    VerbsIn *in = &link->in[lane];

    g_assert(in->in_hand && !in->copied);
    in->kept = TRUE;
}

void verbs_done(VerbsLink *link, unsigned lane)
{
    VerbsIn *in = &link->in[lane];

    g_assert(in->kept);
    in->kept = FALSE;
    pass(in);
    link->host->urgent = TRUE;
}
