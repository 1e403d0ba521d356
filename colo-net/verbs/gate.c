/*
 * Gated lanes: who may write into them, and who may not any more
 *
 * A lane is open to the other side while its memory is registered for remote
 * writes, under a key that is new for each grant. To revoke is to take the
 * registration away, which returns when the adapter takes no write for it any
 * more. Positions then go on behind everything that may have been written, so
 * that what landed before is no record of the next grant.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/internal.h"

/* --- our lanes ------------------------------------------------------------ */

gboolean verbs_grant(VerbsLink *link, unsigned lane, uint64_t ticket,
                     GError **errp)
{
    VerbsIn *in = &link->in[lane];

    g_assert(lane < VERBS_LANES && link->host->config.lanes[lane].gated);
    if (link->failed || link->state != LINK_OPEN) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_LINK,
                    "the link is not open");
        return FALSE;
    }
    if (in->granted) {
        return TRUE;
    }
    if (in->in_hand) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_LINK,
                    "a record of the grant before is still in use");
        return FALSE;
    }
    if (!g_hash_table_contains(link->host->safe,
                               link->device->identity->name)) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_UNSAFE,
                    "%s was not tested whether it keeps out writes that were "
                    "revoked", link->device->identity->name);
        return FALSE;
    }
    in->mr = verbs_register(link, in->memory, in->ring.size,
                            IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
                            errp);
    if (!in->mr) {
        return FALSE;
    }
    in->number++;
    in->ticket = ticket;
    in->granted = TRUE;
    verbs_gates_tell(link);
    return TRUE;
}

/*
 * There is no going on when a lane cannot be closed: without its queue pair
 * nobody writes into it, either.
 */
static void close_by_force(VerbsLink *link)
{
    int error = link->host->calls->destroy_qp(link->qp);

    if (error != 0) {
        g_error("RDMA: cannot keep %s out of our memory: %s", link->name,
                g_strerror(error));
    }
    link->qp = NULL;
    verbs_link_fail(link, VERBS_END_LOCAL, "cannot take back a grant");
}

void verbs_revoke(VerbsLink *link, unsigned lane)
{
    VerbsIn *in = &link->in[lane];

    g_assert(lane < VERBS_LANES && link->host->config.lanes[lane].gated);
    if (!in->granted) {
        return;
    }
    if (in->mr) {
        size_t size = in->mr->length;

        if (link->host->calls->dereg_mr(in->mr) != 0) {
            close_by_force(link);
        } else {
            in->mr = NULL;
            link->host->counters.memory -= size;
        }
    }
    in->granted = FALSE;
    in->pending = 0;
    in->torn_since = 0;
    in->in_hand_span = 0;
    in->ring.position += in->ring.size;
    if (link->state == LINK_OPEN && !link->failed) {
        verbs_gates_tell(link);
    }
}

gboolean verbs_is_granted(const VerbsLink *link, unsigned lane)
{
    return link->in[lane].granted;
}

static void tell_granted(VerbsLink *link, unsigned lane)
{
    VerbsIn *in = &link->in[lane];
    VerbsGrant grant = {
        .lane = lane,
        .number = in->number,
        .rkey = in->mr->rkey,
        .start = in->ring.position,
        .ticket = in->ticket,
    };
    uint8_t data[VERBS_GRANT_SIZE];
    uint32_t before = in->told;

    verbs_grant_put(data, &grant);
    /* The record's own header says the position in this grant already. */
    in->told = in->number;
    if (!verbs_link_say(link, VERBS_RECORD_GRANT, data, sizeof(data))) {
        in->told = before;
    }
}

static void tell_revoked(VerbsLink *link, unsigned lane)
{
    VerbsIn *in = &link->in[lane];
    uint8_t data[VERBS_REVOKED_SIZE];

    verbs_revoked_put(data, lane, in->told);
    if (verbs_link_say(link, VERBS_RECORD_REVOKED, data, sizeof(data))) {
        in->told = 0;
    }
}

void verbs_gates_tell(VerbsLink *link)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsIn *in = &link->in[i];

        if (!link->host->config.lanes[i].gated) {
            continue;
        }
        if (in->told > 0 && (in->told != in->number || !in->granted)) {
            tell_revoked(link, i);
        }
        if (in->granted && in->told == 0) {
            tell_granted(link, i);
        }
    }
}

/* --- lanes of the other side ---------------------------------------------- */

static void say_granted(VerbsLink *link, unsigned lane, gboolean granted,
                        uint64_t ticket)
{
    if (!link->detached && link->host->handlers.granted) {
        link->host->handlers.granted(link->host->opaque, link, lane, granted,
                                     ticket);
    }
}

void verbs_gate_granted(VerbsLink *link, const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    VerbsGrant grant;
    VerbsOut *out;

    if (!verbs_grant_get(data, size, &grant) ||
        !link->out[grant.lane].gated || link->out[grant.lane].granted ||
        link->out[grant.lane].ring.size == 0) {
        verbs_link_fail(link, VERBS_END_GARBAGE, "this is not a grant");
        return;
    }
    out = &link->out[grant.lane];
    if (!verbs_mirror_make(link, grant.lane, &error)) {
        verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
        return;
    }
    out->number = grant.number;
    out->rkey = grant.rkey;
    out->ring.written = grant.start;
    out->ring.read = grant.start;
    out->granted = TRUE;
    out->room_wanted = FALSE;
    say_granted(link, grant.lane, TRUE, grant.ticket);
}

void verbs_gate_revoked(VerbsLink *link, const uint8_t *data, size_t size)
{
    uint32_t number;
    unsigned lane;

    if (!verbs_revoked_get(data, size, &lane, &number) ||
        !link->out[lane].granted || !link->out[lane].gated ||
        link->out[lane].number != number) {
        verbs_link_fail(link, VERBS_END_GARBAGE, "nothing was granted so");
        return;
    }
    link->out[lane].granted = FALSE;
    say_granted(link, lane, FALSE, 0);
}
