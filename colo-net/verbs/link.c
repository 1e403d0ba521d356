/*
 * A link: sending, completions, and what its work is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/internal.h"

#define BATCH 32 /* completions looked at in one go, receives posted again */
#define ROUNDS 16 /* of them, before others have their turn */

void verbs_link_fail(VerbsLink *link, VerbsEnd end, const char *format, ...)
{
    va_list arguments;

    if (link->failed || link->state >= LINK_LEAVES) {
        return;
    }
    va_start(arguments, format);
    link->text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    link->failed = TRUE;
    link->end = end;
    link->host->urgent = TRUE;
    if (end == VERBS_END_INTRUDER) {
        link->host->counters.refusals++;
    }
}

/* --- descriptors ---------------------------------------------------------- */

void verbs_link_put_descriptor(VerbsLink *link,
                               uint8_t data[VERBS_DESCRIPTOR_SIZE])
{
    VerbsDescriptor descriptor = {
        .receives = link->our_receives,
        .events = !verbs_never_sleeps(link->host),
        .seed = link->seed,
    };

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        const VerbsIn *in = &link->in[i];

        descriptor.lanes[i].size = in->ring.size;
        descriptor.lanes[i].gated = link->host->config.lanes[i].gated;
        descriptor.lanes[i].address = (uintptr_t)in->memory;
        descriptor.lanes[i].rkey = in->mr ? in->mr->rkey : 0;
    }
    link->said_receives = link->our_receives;
    verbs_descriptor_put(data, &descriptor);
}

/*
 * We make a mirror of each lane of the other side, who may have proved nothing
 * yet: it does not decide how much memory that is.
 */
static gboolean is_of_our_size(const VerbsLink *link, unsigned lane,
                               size_t size)
{
    return size <= MAX(4 * link->host->config.lanes[lane].size, MIRROR_LEAST);
}

gboolean verbs_link_take_descriptor(VerbsLink *link, const uint8_t *data,
                                    size_t size)
{
    VerbsDescriptor descriptor;

    if (!verbs_descriptor_get(data, size, &descriptor)) {
        return FALSE;
    }
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        if (!is_of_our_size(link, i, descriptor.lanes[i].size)) {
            verbs_link_fail(link, VERBS_END_GARBAGE, "its ring has %zu KiB, "
                            "ours %zu: they have to be of like size",
                            descriptor.lanes[i].size / 1024,
                            link->host->config.lanes[i].size / 1024);
            return FALSE;
        }
    }
    link->events = descriptor.events;
    link->receives = descriptor.receives;
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsOut *out = &link->out[i];

        out->ring.size = descriptor.lanes[i].size;
        out->ring.seed = descriptor.seed;
        out->address = descriptor.lanes[i].address;
        out->rkey = descriptor.lanes[i].rkey;
        out->gated = descriptor.lanes[i].gated;
        out->granted = out->ring.size > 0 && !out->gated;
    }
    return TRUE;
}

/* --- sending -------------------------------------------------------------- */

/* What we say of the other side's direction; said with every record. */
static VerbsCredit credit(VerbsLink *link)
{
    VerbsCredit credit = { .receives = link->our_receives };

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsIn *in = &link->in[i];

        /* A position in a grant of which it does not know says nothing. */
        if (in->granted && in->told == in->number) {
            in->said = in->ring.position;
        }
        credit.read[i] = in->said;
    }
    link->said_receives = link->our_receives;
    return credit;
}

/* Work requests that can be posted, and the other side has receives for. */
static unsigned slots(const VerbsLink *link)
{
    uint64_t sends = SENDS - 1 - (link->posted - link->completed);
    int32_t receives = link->receives - link->sent;

    if (!link->events) {
        return sends;
    }
    return receives < 0 ? 0 : MIN(sends, (unsigned)receives);
}

/* A link's own records go in the open lane, and have room kept for them. */
static unsigned slots_kept(gboolean own)
{
    return own ? 0 : RESERVE;
}

static size_t bytes_kept(unsigned lane, gboolean own)
{
    return own || lane > 0 ? 0 : RESERVE * VERBS_RECORD_UNIT;
}

/* What has come is still handed out, but nothing goes any more. */
static gboolean is_ending(const VerbsLink *link)
{
    return link->failed || link->disconnected || link->flushed ||
           link->broken != IBV_WC_SUCCESS;
}

static gboolean has_room(const VerbsLink *link, unsigned lane, size_t size,
                         gboolean own)
{
    /* One more for a skip. */
    return slots(link) >= slots_kept(own) + 2 &&
           verbs_ring_fits(&link->out[lane].ring, size, bytes_kept(lane, own));
}

static gboolean put(VerbsLink *link, unsigned lane, VerbsRecordKind kind,
                    const VerbsPiece *pieces, unsigned n)
{
    VerbsCredit said = credit(link);
    size_t size, offset;

    size = verbs_ring_put(&link->out[lane].ring, kind, &said, pieces, n,
                          &offset);
    return verbs_queue_write(link, lane, offset, size);
}

static gboolean record(VerbsLink *link, unsigned lane, VerbsRecordKind kind,
                       const VerbsPiece *pieces, unsigned n, size_t size)
{
    g_autoptr(GError) error = NULL;

    if (!verbs_mirror_make(link, lane, &error)) {
        verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
        return FALSE;
    }
    if (verbs_ring_must_skip(&link->out[lane].ring, size) &&
        !put(link, lane, VERBS_RECORD_SKIP, NULL, 0)) {
        return FALSE;
    }
    return put(link, lane, kind, pieces, n);
}

gboolean verbs_link_say(VerbsLink *link, VerbsRecordKind kind,
                        const void *data, size_t size)
{
    VerbsPiece piece = { data, size };

    return !is_ending(link) && has_room(link, 0, size, TRUE) &&
           record(link, 0, kind, &piece, 1, size);
}

VerbsSent verbs_send(VerbsLink *link, unsigned lane, const VerbsPiece *pieces,
                     unsigned n)
{
    VerbsOut *out = &link->out[lane];
    size_t size = 0;

    g_assert(lane < VERBS_LANES && !link->detached);
    if (is_ending(link) || link->state > LINK_OPEN) {
        return VERBS_GONE;
    }
    if (link->state < LINK_OPEN) {
        return VERBS_NO_ROOM;
    }
    if (!out->granted) {
        return VERBS_NOT_GRANTED;
    }
    for (unsigned i = 0; i < n; i++) {
        size += pieces[i].size;
    }
    g_assert(size <= verbs_lane_longest(link, lane));
    if (!has_room(link, lane, size, FALSE)) {
        out->room_wanted = TRUE;
        return VERBS_NO_ROOM;
    }
    return record(link, lane, VERBS_RECORD_DATA, pieces, n, size) ?
               VERBS_SENT : VERBS_GONE;
}

size_t verbs_lane_longest(const VerbsLink *link, unsigned lane)
{
    return link->out[lane].ring.size / 4;
}

size_t verbs_lane_room(const VerbsLink *link, unsigned lane)
{
    const VerbsOut *out = &link->out[lane];

    if (is_ending(link) || link->state != LINK_OPEN || !out->granted ||
        slots(link) < slots_kept(FALSE) + 2) {
        return 0;
    }
    return MIN(verbs_ring_room(&out->ring, bytes_kept(lane, FALSE)),
               verbs_lane_longest(link, lane));
}

/* --- completions ---------------------------------------------------------- */

static void send_failed(VerbsLink *link)
{
    const char *status = ibv_wc_status_str(link->broken);

    switch (link->broken) {
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR:
        verbs_link_fail(link, VERBS_END_FENCED,
                        "a write was refused there (%s)", status);
        break;
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RNR_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
    case IBV_WC_REM_ABORT_ERR:
        verbs_link_fail(link, VERBS_END_BROKEN,
                        "a write was not confirmed (%s)", status);
        break;
    case IBV_WC_FATAL_ERR:
    case IBV_WC_GENERAL_ERR:
        verbs_link_fail(link, VERBS_END_DEVICE, "our adapter failed (%s)",
                        status);
        break;
    default:
        verbs_link_fail(link, VERBS_END_LOCAL, "a write failed here (%s)",
                        status);
        break;
    }
}

static void completed(VerbsLink *link, const struct ibv_wc *wc, uint64_t now)
{
    if (wc->status == IBV_WC_WR_FLUSH_ERR) {
        link->flushed = TRUE;
    } else if (wc->wr_id == 0 && wc->status != IBV_WC_SUCCESS) {
        verbs_link_fail(link, VERBS_END_INTRUDER,
                        "it tried to write where it may not (%s)",
                        ibv_wc_status_str(wc->status));
    } else if (wc->status != IBV_WC_SUCCESS) {
        if (link->broken == IBV_WC_SUCCESS) {
            link->broken = wc->status;
        }
    } else if (wc->wr_id > 0) {
        link->completed = wc->wr_id;
    } else {
        link->consumed++;
        verbs_link_announced(link, ntohl(wc->imm_data));
        /* One by one: what went through two lanes comes in its order. */
        verbs_link_receive(link, now);
    }
}

/* FALSE: there was nothing. */
static gboolean look_at_completions(VerbsLink *link, uint64_t now)
{
    struct ibv_wc wc[BATCH];
    int n = link->host->calls->poll_cq(link->cq, BATCH, wc);

    if (n < 0) {
        verbs_link_fail(link, VERBS_END_DEVICE,
                        "cannot look at the completion queue");
        return FALSE;
    }
    for (int i = 0; i < n; i++) {
        completed(link, &wc[i], now);
    }
    if (link->consumed >= BATCH && !is_ending(link)) {
        if (!verbs_queue_receive(link, link->consumed)) {
            verbs_link_fail(link, VERBS_END_LOCAL, "cannot post receives");
        }
        link->consumed = 0;
    }
    return n > 0;
}

/* --- the link's work ------------------------------------------------------ */

/* Say how far we have read before it waits for us. */
static void say_credit(VerbsLink *link)
{
    gboolean due = link->our_receives - link->said_receives >= RECEIVES / 4;

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        const VerbsIn *in = &link->in[i];

        due |= in->granted && in->told == in->number && in->ring.size > 0 &&
               in->ring.position - in->said >= in->ring.size / 4;
    }
    if (due && verbs_link_say(link, VERBS_RECORD_CREDIT, NULL, 0)) {
        link->host->counters.credits++;
    }
}

static void tell_room(VerbsLink *link)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsOut *out = &link->out[i];

        if (!out->room_wanted || !out->granted || link->failed ||
            link->detached || slots(link) < SENDS / 2 ||
            out->ring.written - out->ring.read > out->ring.size / 2 ||
            !has_room(link, i, verbs_lane_longest(link, i), FALSE)) {
            continue;
        }
        out->room_wanted = FALSE;
        if (link->host->handlers.room) {
            link->host->handlers.room(link->host->opaque, link, i);
        }
    }
}

static void look_at_deadline(VerbsLink *link, uint64_t now)
{
    if (link->deadline == 0 || now < link->deadline) {
        return;
    }
    link->deadline = 0;
    switch (link->state) {
    case LINK_DRAINS:
    case LINK_LEAVES:
        verbs_link_finish(link);
        break;
    case LINK_CALLED:
        verbs_link_fail(link, VERBS_END_LATE, "it was not answered in time");
        break;
    default:
        verbs_link_fail(link, VERBS_END_LATE, "it did not answer in time");
        break;
    }
}

/* Its user has left: what was sent goes first. */
static void drain(VerbsLink *link, uint64_t now)
{
    if (link->state == LINK_OPEN && !is_ending(link) &&
        link->posted > link->completed && verbs_queue_mark(link)) {
        link->state = LINK_DRAINS;
        link->deadline = now + 2 * link->host->config.ack_timeout;
    } else if (link->state < LINK_DRAINS ||
               (link->state == LINK_DRAINS &&
                (is_ending(link) || link->posted == link->completed))) {
        verbs_link_finish(link);
    }
}

/* Closed in order, with records behind one that is still in use. */
static gboolean waits_for_user(const VerbsLink *link)
{
    gboolean waits = FALSE;

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        waits |= link->in[i].kept && link->in[i].pending > 0;
    }
    return waits && link->disconnected && !link->failed && !link->detached;
}

/* @more may be there, which comes first. */
static void look_at_end(VerbsLink *link, gboolean more)
{
    if (link->state == LINK_LEAVES && link->disconnected) {
        verbs_link_finish(link);
    } else if (waits_for_user(link)) {
        return; /* verbs_done() goes on with it */
    } else if (is_ending(link) && more && !link->failed) {
        link->host->urgent = TRUE;
    } else if (link->broken != IBV_WC_SUCCESS) {
        send_failed(link);
    } else if (link->flushed && !link->failed) {
        /* The adapter may say why. */
        verbs_device_work(link->device);
        verbs_link_fail(link, VERBS_END_INTRUDER,
                        "the queue pair was broken by what it wrote");
    } else if (link->disconnected) {
        verbs_link_fail(link, VERBS_END_CLOSED, "it has closed");
    }
}

gboolean verbs_link_work(VerbsLink *link, uint64_t now)
{
    gboolean worked = FALSE, more;
    unsigned rounds = 0;

    do {
        more = link->cq && !link->failed && look_at_completions(link, now);
        more |= verbs_link_receive(link, now);
        worked |= more;
    } while (more && ++rounds < ROUNDS);
    if (more) {
        link->host->urgent = TRUE;
    }
    look_at_end(link, worked);
    if (link->state == LINK_OPEN && !is_ending(link) && !link->detached) {
        verbs_gates_tell(link);
        say_credit(link);
        tell_room(link);
    }
    look_at_deadline(link, now);
    if (link->detached) {
        drain(link, now);
    } else if (link->failed && link->state < LINK_LEAVES) {
        verbs_link_finish(link);
        worked = TRUE;
    }
    return worked;
}
