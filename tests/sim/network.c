/*
 * Connections and messages
 *
 * A connection belongs to one process on each side; each side hears of its
 * begin and its end at a time of its own. A message needs a connection when it
 * is sent, and nothing when it arrives: what was sent to a process that has
 * died reaches the one after it. Every message passes the codec both ways.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <string.h>

#include "sim.h"

/* Between two attempts to connect. */
#define RETRY_MIN (2 * SIM_MS)
#define RETRY_MAX (20 * SIM_MS)
/* With whom a member is connected without having asked for it. */
#define MAX_GUESTS 2
/* How many of 10,000 messages are lost, repeated, late while there is noise. */
#define NOISE 800

uint64_t sim_net_delay(Sim *sim)
{
    return sim_between(&sim->random, sim->plan.delay_min,
                       sim->plan.delay_max);
}

/* --- packets ------------------------------------------------------------ */

static uint32_t new_packet(Sim *sim)
{
    uint32_t number;

    if (sim->free_packets->len == 0) {
        SimPacket packet = { .bytes = g_byte_array_new() };

        g_array_append_val(sim->packets, packet);
        return sim->packets->len - 1;
    }
    number = g_array_index(sim->free_packets, uint32_t,
                           sim->free_packets->len - 1);
    g_array_set_size(sim->free_packets, sim->free_packets->len - 1);
    return number;
}

static void drop_packet(Sim *sim, uint32_t number)
{
    SimPacket *packet = &g_array_index(sim->packets, SimPacket, number);

    if (--packet->uses == 0) {
        g_array_append_val(sim->free_packets, number);
    }
}

void sim_net_forget(Sim *sim, const SimEvent *event)
{
    if (event->type == SIM_EVENT_MESSAGE) {
        drop_packet(sim, event->arg);
    } else if (event->type == SIM_EVENT_WIRE) {
        sim_wire_forget(sim, event->arg);
    }
}

static void post(Sim *sim, uint32_t number, ApusId from, ApusId to)
{
    const SimPlan *plan = &sim->plan;
    SimLink *link = &sim->link[from][to];
    uint64_t at = sim->now + sim_net_delay(sim) + link->lag;
    unsigned late = plan->late + (sim->noise ? NOISE : 0);
    uint64_t late_max = sim->noise ? MAX(plan->late_max, 200 * SIM_MS)
                                   : plan->late_max;

    if (sim_chance(&sim->random, late)) {
        at += sim_magnitude(&sim->random, SIM_MS, late_max);
    } else if (!plan->overtaking) {
        at = MAX(at, link->last + 1);
        link->last = at;
    }
    g_array_index(sim->packets, SimPacket, number).uses++;
    sim_push(sim, at, SIM_EVENT_MESSAGE, to, from, number, 0);
}

static void trace_message(Sim *sim, const char *how, ApusId from, ApusId to,
                          const ApusMessage *message)
{
    char text[300];

    if (sim->trace) {
        sim_text_message(text, sizeof(text), message);
        sim_say(sim, "%u %s %u: %s", from, how, to, text);
    }
}

static void note_triggers(SimHost *host, const ApusMessage *message)
{
    Sim *sim = host->sim;

    switch (message->type) {
    case APUS_MESSAGE_ASK_VOTE:
        if (!message->ask_vote.pre) {
            sim_trigger(sim, SIM_TRIGGER_ASK, host->id, message->to);
        }
        break;
    case APUS_MESSAGE_VOTE:
        if (!message->vote.pre &&
            message->vote.verdict == APUS_VOTE_GRANTED) {
            sim_trigger(sim, SIM_TRIGGER_GRANT, host->id, message->to);
        }
        break;
    case APUS_MESSAGE_FETCH:
        sim->count.adopted++;
        sim_trigger(sim, SIM_TRIGGER_FETCH, host->id, message->to);
        break;
    case APUS_MESSAGE_SNAPSHOT:
        sim->count.snapshots++;
        sim_trigger(sim, SIM_TRIGGER_SNAPSHOT, host->id, message->to);
        break;
    default:
        break;
    }
}

void sim_net_send(void *opaque, const ApusMessage *message)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;
    ApusId to = message->to;
    ApusRecords records = apus_wire_records(message);
    unsigned lost = sim->plan.lost + (sim->noise ? NOISE : 0);
    GByteArray *bytes;
    uint32_t number;
    size_t head;

    if (message->from != host->id || to == host->id || to == 0 ||
        to > sim->hosts) {
        sim_fail(sim, "address", "%u sends from %u to %u", host->id,
                 message->from, to);
        return;
    }
    sim->count.messages++;
    note_triggers(host, message);
    if (sim->one_sided && host->connection[to].up) {
        gboolean sent = sim_way_send(host, message);

        trace_message(sim, sent ? "=>" : "=x", host->id, to, message);
        sim_check_message(host, message);
        return;
    }
    if (!host->connection[to].up || sim->link[host->id][to].cut ||
        sim_chance(&sim->random, lost)) {
        trace_message(sim, "-x", host->id, to, message);
        return;
    }
    trace_message(sim, "->", host->id, to, message);
    sim_check_message(host, message);
    number = new_packet(sim);
    bytes = g_array_index(sim->packets, SimPacket, number).bytes;
    head = apus_wire_head(sim->head, message);
    g_byte_array_set_size(bytes, 0);
    g_byte_array_append(bytes, sim->head, head);
    for (unsigned i = 0; i < 2; i++) {
        if (records.size[i]) {
            g_byte_array_append(bytes, records.data[i], records.size[i]);
        }
    }
    g_array_index(sim->packets, SimPacket, number).uses = 0;
    post(sim, number, host->id, to);
    if (sim_chance(&sim->random, sim->plan.twice + (sim->noise ? NOISE : 0))) {
        post(sim, number, host->id, to);
    }
}

void sim_net_arrive(SimHost *host, const SimEvent *event)
{
    Sim *sim = host->sim;
    GByteArray *bytes = g_array_index(sim->packets, SimPacket,
                                      event->arg).bytes;
    g_autoptr(GError) error = NULL;
    ApusMessage message;
    size_t need = 0;
    gssize size;

    if (sim->plan.sharp_cuts && sim->link[event->peer][host->id].cut) {
        drop_packet(sim, event->arg);
        return;
    }
    size = apus_wire_decode(&message, bytes->data, bytes->len, &need, &error);
    if (size < 0 || (size_t)size != bytes->len) {
        sim_fail(sim, "codec", "a frame of %u bytes decodes to %zd: %s",
                 bytes->len, size, error ? error->message : "incomplete");
    } else {
        trace_message(sim, "<-", host->id, event->peer, &message);
        apus_core_receive(host->core, &message, sim_clock(host));
    }
    drop_packet(sim, event->arg);
}

gboolean sim_net_ready(void *opaque, ApusId peer)
{
    SimHost *host = opaque;

    if (host->sim->link[host->id][peer].clogged ||
        (host->sim->one_sided && !sim_way_ready(host, peer))) {
        host->clogged |= 1u << peer;
        return FALSE;
    }
    return TRUE;
}

void sim_net_unclog(SimHost *host, ApusId peer)
{
    if (host->core && host->clogged >> peer & 1) {
        host->clogged &= ~(1u << peer);
        sim_push_for(host, host->sim->now + SIM_US, SIM_EVENT_FLUSH, 0, 0, 0);
    }
}

void sim_net_fence(void *opaque, uint64_t term)
{
    SimHost *host = opaque;

    host->fenced = MAX(host->fenced, term);
    if (host->sim->one_sided) {
        sim_way_fence(host, term);
    }
}

/* --- connections -------------------------------------------------------- */

static bool wants(const SimHost *host, ApusId peer)
{
    return apus_members_find(&host->peers, peer) >= 0;
}

/* One dials, and the other accepts whoever has the key. */
static bool either_wants(const SimHost *a, const SimHost *b)
{
    return (a->core && wants(a, b->id)) || (b->core && wants(b, a->id));
}

/* Can @host take @peer, perhaps as a guest? */
static bool has_place(const SimHost *host, ApusId peer)
{
    unsigned guests = 0;

    for (ApusId id = 1; id < SIM_HOSTS; id++) {
        guests += id != peer && host->connection[id].up && !wants(host, id);
    }
    return wants(host, peer) || guests < MAX_GUESTS;
}

static bool cut(const Sim *sim, ApusId a, ApusId b)
{
    return sim->link[a][b].cut || sim->link[b][a].cut;
}

static SimPair *pair_of(Sim *sim, ApusId a, ApusId b)
{
    return &sim->pair[MIN(a, b)][MAX(a, b)];
}

static void try_later(Sim *sim, ApusId a, ApusId b, uint64_t after)
{
    SimPair *pair = pair_of(sim, a, b);

    if (!pair->up && !pair->pending) {
        pair->pending = TRUE;
        sim_push(sim, sim->now + after, SIM_EVENT_CONNECT, MIN(a, b),
                 MAX(a, b), 0, 0);
    }
}

static void tell_disconnected(SimHost *host, ApusId peer, uint32_t epoch)
{
    if (host->core) {
        sim_push_for(host, host->sim->now + sim_net_delay(host->sim),
                     SIM_EVENT_DISCONNECTED, peer, epoch, 0);
    }
}

/* The connection of @a and @b ends; those in @told hear of it. */
static void take_down(Sim *sim, ApusId a, ApusId b, bool tell_a, bool tell_b)
{
    SimPair *pair = pair_of(sim, a, b);

    if (!pair->up) {
        return;
    }
    pair->up = FALSE;
    if (tell_a) {
        tell_disconnected(&sim->host[a], b, pair->epoch);
    }
    if (tell_b) {
        tell_disconnected(&sim->host[b], a, pair->epoch);
    }
    try_later(sim, a, b, sim_net_delay(sim) +
                         sim_below(&sim->random, RETRY_MIN));
}

gboolean sim_net_is_newest(const SimHost *host, ApusId peer)
{
    const SimConnection *connection = &host->connection[peer];

    return connection->up &&
           connection->epoch == pair_of(host->sim, host->id, peer)->epoch;
}

void sim_net_break(Sim *sim, ApusId a, ApusId b)
{
    sim_way_break(sim, a, b);
    sim_way_break(sim, b, a);
    take_down(sim, a, b, TRUE, TRUE);
    sim_session_break(sim, a, b);
}

void sim_net_died(SimHost *host, gboolean told)
{
    Sim *sim = host->sim;

    for (ApusId peer = 1; peer <= sim->hosts; peer++) {
        if (peer != host->id) {
            take_down(sim, host->id, peer, FALSE,
                      told && !sim->link[host->id][peer].cut);
        }
    }
}

void sim_net_started(SimHost *host)
{
    for (ApusId peer = 1; peer <= host->sim->hosts; peer++) {
        if (peer != host->id) {
            try_later(host->sim, host->id, peer, sim_net_delay(host->sim));
        }
    }
}

void sim_net_peers(void *opaque, const ApusMembers *members)
{
    SimHost *host = opaque;
    Sim *sim = host->sim;

    host->peers = *members;
    for (ApusId peer = 1; peer <= sim->hosts; peer++) {
        if (peer == host->id) {
            continue;
        }
        if (either_wants(host, &sim->host[peer])) {
            try_later(sim, host->id, peer, sim_net_delay(sim));
        } else {
            take_down(sim, host->id, peer, TRUE, TRUE);
        }
    }
}

static void connect(Sim *sim, ApusId a, ApusId b)
{
    SimPair *pair = pair_of(sim, a, b);

    pair->up = TRUE;
    pair->epoch++;
    if (sim->one_sided) {
        sim_way_reset(sim, a, b);
        sim_way_reset(sim, b, a);
    }
    for (unsigned i = 0; i < 2; i++) {
        ApusId peer = i ? a : b;

        sim_push_for(&sim->host[i ? b : a], sim->now + sim_net_delay(sim),
                     SIM_EVENT_CONNECTED, peer,
                     (uint64_t)sim->host[peer].lives << 32 | pair->epoch, 0);
    }
}

/* @host is refused by the dead process that @peer was. */
static void refuse(SimHost *host, ApusId peer)
{
    SimConnection *connection = &host->connection[peer];

    if (host->core && connection->life && !connection->up &&
        wants(host, peer)) {
        sim_push_for(host, host->sim->now + sim_net_delay(host->sim),
                     SIM_EVENT_REFUSED, peer, connection->life, 0);
    }
}

static bool refuses(const SimHost *host)
{
    return host->powered && !host->listens;
}

/* @host tries to reach the process that @peer was. */
static void find_dead(SimHost *host, const SimHost *peer)
{
    const SimConnection *connection = &host->connection[peer->id];

    if (!refuses(peer)) {
        return;
    }
    if (connection->up) {
        /* It had not been told. */
        tell_disconnected(host, peer->id, connection->epoch);
    } else if (host->sim->plan.refuses_later) {
        refuse(host, peer->id);
    }
}

/* Is @host there, will it be, or does @peer still believe so? */
static bool may_come(const SimHost *host, const SimHost *peer)
{
    return host->core || host->restarting ||
           (peer->core && peer->connection[host->id].up);
}

static void attempt(Sim *sim, ApusId a, ApusId b)
{
    SimHost *one = &sim->host[a], *other = &sim->host[b];
    SimPair *pair = pair_of(sim, a, b);

    pair->pending = FALSE;
    if (pair->up || (!either_wants(one, other) && !one->connection[b].up &&
                     !other->connection[a].up)) {
        return;
    }
    if (!cut(sim, a, b)) {
        if (one->core && other->core && !one->frozen && !other->frozen &&
            one->listens && other->listens && either_wants(one, other) &&
            has_place(one, b) && has_place(other, a)) {
            connect(sim, a, b);
            return;
        }
        find_dead(other, one);
        find_dead(one, other);
    }
    if (may_come(one, other) && may_come(other, one)) {
        try_later(sim, a, b, sim_between(&sim->random, RETRY_MIN, RETRY_MAX));
    }
}

void sim_net_event(Sim *sim, const SimEvent *event)
{
    if (event->type == SIM_EVENT_CONNECT) {
        attempt(sim, event->host, event->peer);
    } else if (event->life == sim->host[event->host].lives &&
               !cut(sim, event->host, event->peer) &&
               refuses(&sim->host[event->peer])) {
        refuse(&sim->host[event->host], event->peer);
    }
}

static void connected(SimHost *host, const SimEvent *event)
{
    Sim *sim = host->sim;
    SimConnection *connection = &host->connection[event->peer];
    SimHost *peer = &sim->host[event->peer];
    const SimPair *pair = pair_of(sim, host->id, event->peer);
    uint64_t now = sim_clock(host);

    /* It may have ended since, or the other process. */
    if (!pair->up || pair->epoch != (uint32_t)event->arg ||
        peer->lives != event->arg >> 32) {
        return;
    }
    if (connection->up) {
        apus_core_disconnected(host->core, event->peer, now);
        apus_grant_lost(&host->grant, event->peer);
    }
    *connection = (SimConnection) {
        .up = TRUE,
        .epoch = event->arg,
        .life = peer->life,
        .incarnation = peer->incarnation,
    };
    sim_trace(sim, "%u connected with %u, life %u", host->id, event->peer,
              peer->lives);
    apus_core_connected(host->core, event->peer, peer->life,
                        peer->incarnation, now);
    if (sim->one_sided) {
        sim_way_look(host, event->peer); /* it may have begun to speak */
    }
}

void sim_net_process_event(SimHost *host, const SimEvent *event)
{
    SimConnection *connection = &host->connection[event->peer];
    uint64_t now = sim_clock(host);

    if (event->type == SIM_EVENT_CONNECTED) {
        connected(host, event);
    } else if (event->type == SIM_EVENT_DISCONNECTED) {
        if (connection->up && connection->epoch == event->arg) {
            connection->up = FALSE;
            apus_grant_lost(&host->grant, event->peer);
            sim_trace(host->sim, "%u disconnected from %u", host->id,
                      event->peer);
            apus_core_disconnected(host->core, event->peer, now);
            sim_push_for(host, host->sim->now + sim_net_delay(host->sim),
                         SIM_EVENT_PROBE, event->peer, 0, 0);
        }
    } else if (connection->life == event->arg && !connection->up) {
        sim_trace(host->sim, "%u refused by %u", host->id, event->peer);
        apus_core_refused(host->core, event->peer, event->arg, now);
    }
}
