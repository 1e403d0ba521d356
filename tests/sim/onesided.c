/*
 * One-sided writes: what is sent lands in the receiver's memory
 *
 * In place of messages that arrive, records that are written into rings in the
 * memory of the other process (colo-net/verbs/ring.h) and found there when it
 * looks. A write needs nothing of the receiver: it lands while that is frozen,
 * after its sender has died, and in pieces, of which the last may be there
 * before the first. Writes of one connection begin to land in the order in
 * which they were posted, and none is lost before the connection breaks. What
 * the sender is never told: that they have landed.
 *
 * A member has two rings for each of its connections: mail, and the log, into
 * which only the leader may write to whom it is granted (core/grant.h). To
 * revoke it a member takes the key out of force: what comes later lands
 * nowhere, and breaks the connection.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "colo-net/verbs/bytes.h"
#include "sim.h"

/* Of 10,000 writes, those that come in pieces. */
#define IN_PIECES 3000
/* A receiver that looks all the time, and one that was asleep. */
#define LOOK_MAX (30 * SIM_US)
#define ASLEEP_MAX (2 * SIM_MS)
/* So long the adapter repeats a write; then the connection is broken. */
#define PATIENCE (100 * SIM_MS)
#define STALL (5 * SIM_MS)
/* Kept free of messages. */
#define RESERVE 1024

static SimWay *way_of(Sim *sim, ApusId from, ApusId to)
{
    return &sim->way[from][to];
}

/* --- memory --------------------------------------------------------------- */

/* Memory that was used before, under another key. */
static void open_lane(Sim *sim, SimLane *lane)
{
    lane->key = ++sim->keys;
    lane->told = 0;
    lane->reader = (VerbsRingReader) {
        .memory = lane->memory, .size = SIM_LANE, .seed = lane->key,
    };
}

/* The sender learns of it. */
static void use_lane(SimLane *lane, uint32_t key)
{
    lane->given = key;
    lane->writer = (VerbsRingWriter) {
        .mirror = lane->mirror, .size = SIM_LANE, .seed = key,
    };
}

void sim_way_reset(Sim *sim, ApusId from, ApusId to)
{
    SimWay *way = way_of(sim, from, to);

    if (!way->writes) {
        way->writes = g_array_new(FALSE, FALSE, sizeof(SimWrite));
        for (unsigned i = 0; i < VERBS_LANES; i++) {
            way->lane[i].memory = g_malloc0(SIM_LANE);
            way->lane[i].mirror = g_malloc0(SIM_LANE);
        }
    }
    g_array_set_size(way->writes, 0);
    way->first = 0;
    way->generation++;
    way->life = sim->host[to].lives;
    way->landing = way->broken = FALSE;
    way->stalled = way->granted = 0;
    way->lane[SIM_LOG].key = way->lane[SIM_LOG].given = 0;
    open_lane(sim, &way->lane[SIM_MAIL]);
    use_lane(&way->lane[SIM_MAIL], way->lane[SIM_MAIL].key);
}

void sim_way_free(SimWay *way)
{
    if (way->writes) {
        g_array_unref(way->writes);
        for (unsigned i = 0; i < VERBS_LANES; i++) {
            g_free(way->lane[i].memory);
            g_free(way->lane[i].mirror);
        }
    }
}

/* --- out ------------------------------------------------------------------ */

/* The next write of @way lands when its time has come. */
static void expect(Sim *sim, ApusId from, ApusId to, uint64_t at)
{
    SimWay *way = way_of(sim, from, to);

    if (!way->landing && way->first < way->writes->len) {
        const SimWrite *next = &g_array_index(way->writes, SimWrite,
                                              way->first);

        way->landing = TRUE;
        sim_push(sim, MAX(at, next->at), SIM_EVENT_LAND, to, from,
                 way->generation, 0);
    }
}

static void put(SimHost *host, ApusId to, unsigned lane_number,
                VerbsRecordKind kind, const VerbsPiece *pieces, unsigned n)
{
    Sim *sim = host->sim;
    SimWay *way = way_of(sim, host->id, to);
    SimWay *back = way_of(sim, to, host->id);
    SimLane *lane = &way->lane[lane_number];
    VerbsCredit credit = { .receives = 0 };
    SimWrite write = {
        .lane = lane_number,
        .key = lane->given,
        .at = sim->now + sim_net_delay(sim) + sim->link[host->id][to].lag,
    };

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        credit.read[i] = back->lane[i].told = back->lane[i].reader.position;
    }
    write.size = verbs_ring_put(&lane->writer, kind, &credit, pieces, n,
                                &write.offset);
    g_array_append_val(way->writes, write);
    expect(sim, host->id, to, sim->now);
}

static gboolean post(SimHost *host, ApusId to, unsigned lane_number,
                     VerbsRecordKind kind, const VerbsPiece *pieces,
                     unsigned n)
{
    SimWay *way = way_of(host->sim, host->id, to);
    SimLane *lane = &way->lane[lane_number];
    size_t reserve = kind == VERBS_RECORD_DATA ? RESERVE : 0;
    size_t size = 0;

    if (way->broken || !sim_net_is_newest(host, to)) {
        return FALSE;
    }
    for (unsigned i = 0; i < n; i++) {
        size += pieces[i].size;
    }
    if (!verbs_ring_fits(&lane->writer, size, reserve)) {
        return FALSE;
    }
    if (verbs_ring_must_skip(&lane->writer, size)) {
        put(host, to, lane_number, VERBS_RECORD_SKIP, NULL, 0);
    }
    put(host, to, lane_number, kind, pieces, n);
    return TRUE;
}

static void send_numbers(SimHost *host, ApusId to, VerbsRecordKind kind,
                         uint64_t one, uint64_t other)
{
    uint8_t bytes[16];

    verbs_put64(bytes, one);
    verbs_put64(bytes + 8, other);
    post(host, to, SIM_MAIL, kind, &(VerbsPiece) { bytes, sizeof(bytes) }, 1);
}

static size_t bytes_of(const ApusRecords *records)
{
    return records->size[0] + records->size[1];
}

/*
 * Entries need the right to write. Who leads and has none tells that it leads,
 * and is given it for that (or told of a newer term).
 */
gboolean sim_way_send(SimHost *host, const ApusMessage *message)
{
    ApusMessage told = *message;
    SimWay *way = way_of(host->sim, host->id, message->to);
    gboolean append = message->type == APUS_MESSAGE_APPEND;
    gboolean log = append && way->granted == message->term;
    ApusRecords records;

    if (append && !log) {
        told.append.records = (ApusRecords) { .size = { 0 } };
    }
    records = apus_wire_records(&told);
    return post(host, message->to, log ? SIM_LOG : SIM_MAIL,
                VERBS_RECORD_DATA, (VerbsPiece[]) {
                    { host->sim->head, apus_wire_head(host->sim->head, &told) },
                    { records.data[0], records.size[0] },
                    { records.data[1], records.size[1] },
                }, 3);
}

gboolean sim_way_ready(SimHost *host, ApusId peer)
{
    SimWay *way = way_of(host->sim, host->id, peer);

    return way->granted == host->core->term &&
           verbs_ring_fits(&way->lane[SIM_LOG].writer, SIM_LANE / 4, RESERVE);
}

/* --- the right to write --------------------------------------------------- */

static void take_away(SimHost *host, ApusId peer)
{
    SimLane *lane = &way_of(host->sim, peer, host->id)->lane[SIM_LOG];

    sim_trace(host->sim, "%u takes its log from %u", host->id, peer);
    lane->key = 0;
    send_numbers(host, peer, VERBS_RECORD_REVOKED, 0, 0);
}

void sim_way_fence(SimHost *host, uint64_t term)
{
    ApusId loser = apus_grant_fence(&host->grant, term);

    if (loser != APUS_NOBODY && !SIM_BROKEN(R4_NOT_FENCED)) {
        take_away(host, loser);
    }
}

/* @peer has told that it leads @term. */
static void give(SimHost *host, ApusId peer, uint64_t term)
{
    SimLane *lane = &way_of(host->sim, peer, host->id)->lane[SIM_LOG];
    ApusId loser;
    ApusGranted granted = apus_grant_ask(&host->grant, peer, term, &loser);

    if (granted == APUS_GRANT_REFUSED) {
        return;
    }
    if (loser != APUS_NOBODY) {
        take_away(host, loser);
    }
    if (granted == APUS_GRANT_GIVEN) {
        open_lane(host->sim, lane);
        sim_trace(host->sim, "%u gives its log to %u", host->id, peer);
    }
    send_numbers(host, peer, VERBS_RECORD_GRANT, lane->key, term);
}

static void granted(SimHost *host, ApusId peer, uint32_t key, uint64_t term)
{
    SimWay *way = way_of(host->sim, host->id, peer);

    if (way->lane[SIM_LOG].given != key) {
        use_lane(&way->lane[SIM_LOG], key);
    }
    way->granted = term;
    host->clogged |= 1u << peer;
    sim_net_unclog(host, peer);
}

/* --- landing -------------------------------------------------------------- */

static void look_at(SimHost *host, ApusId peer)
{
    Sim *sim = host->sim;
    uint64_t most = sim_chance(&sim->random, 2000) ? ASLEEP_MAX : LOOK_MAX;

    if (host->core) {
        sim_push_for(host, sim->now + sim_below(&sim->random, most),
                     SIM_EVENT_LOOK, peer, 0, 0);
    }
}

/*
 * The piece @piece of @write, of 0 and 1, is there; the other one may be there
 * already, or not yet.
 */
static void land(SimLane *lane, const SimWrite *write, unsigned piece)
{
    size_t half = write->size / 2;
    size_t from = write->offset + (piece ? half : 0);

    memcpy(lane->memory + from, lane->mirror + from,
           piece ? write->size - half : half);
}

void sim_way_break(Sim *sim, ApusId from, ApusId to)
{
    SimWay *way = way_of(sim, from, to);

    if (way->writes) {
        g_array_set_size(way->writes, way->first);
        way->broken = TRUE;
    }
}

/* FALSE: the link is cut; and the connection broken if that lasts. */
static gboolean goes_through(Sim *sim, ApusId from, ApusId to)
{
    SimWay *way = way_of(sim, from, to);

    if (!sim->link[from][to].cut) {
        way->stalled = 0;
        return TRUE;
    }
    if (!way->stalled) {
        way->stalled = sim->now;
    } else if (sim->now - way->stalled > PATIENCE) {
        sim_net_break(sim, from, to);
    }
    return FALSE;
}

/* A write finds no memory to land in: the adapters give the connection up. */
static void refuse(Sim *sim, ApusId from, ApusId to)
{
    sim_trace(sim, "%u refuses a write of %u", to, from);
    sim->count.refused++;
    sim_net_break(sim, from, to);
}

static void land_next(Sim *sim, ApusId from, ApusId to)
{
    SimWay *way = way_of(sim, from, to);
    SimWrite write = g_array_index(way->writes, SimWrite, way->first);
    SimLane *lane = &way->lane[write.lane];
    unsigned piece = sim_below(&sim->random, 2);

    if (write.key != lane->key) {
        refuse(sim, from, to);
        return;
    }
    way->first++;
    land(lane, &write, piece);
    if (!sim_chance(&sim->random, IN_PIECES)) {
        land(lane, &write, !piece);
    } else {
        sim->count.torn++;
        sim_push(sim, sim->now + sim_below(&sim->random, LOOK_MAX),
                 SIM_EVENT_LAND, to, from, way->generation,
                 way->first << 1 | !piece);
    }
    look_at(&sim->host[to], from);
}

void sim_way_land(Sim *sim, const SimEvent *event)
{
    ApusId from = event->peer, to = event->host;
    SimWay *way = way_of(sim, from, to);

    if (way->generation != event->arg || way->life != sim->host[to].lives) {
        return; /* the memory is no more */
    }
    if (event->arg2) {
        const SimWrite *write = &g_array_index(way->writes, SimWrite,
                                               (event->arg2 >> 1) - 1);
        SimLane *lane = &way->lane[write->lane];

        if (write->key == lane->key) {
            land(lane, write, event->arg2 & 1);
            look_at(&sim->host[to], from);
        }
        return;
    }
    way->landing = FALSE;
    if (way->first < way->writes->len && goes_through(sim, from, to)) {
        land_next(sim, from, to);
    }
    expect(sim, from, to, sim->now + (way->stalled ? STALL : 1));
}

/* --- in ------------------------------------------------------------------- */

static void take_message(SimHost *host, ApusId peer, unsigned lane,
                         const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    ApusMessage message;
    size_t need = 0;
    gssize n = apus_wire_decode(&message, data, size, &need, &error);

    if (n < 0 || (size_t)n != size) {
        sim_fail(host->sim, "codec", "a frame of %zu bytes decodes to %zd: %s",
                 size, n, error ? error->message : "incomplete");
    } else if (lane == SIM_MAIL && message.type == APUS_MESSAGE_APPEND &&
               bytes_of(&message.append.records) > 0) {
        sim_fail(host->sim, "lane", "%u sends entries to %u by mail", peer,
                 host->id);
    } else if (lane == SIM_LOG && message.term < host->fenced) {
        sim_fail(host->sim, "late-write", "%u, which leads term %" PRIu64
                 ", wrote to %u after its vote in term %" PRIu64, peer,
                 message.term, host->id, host->fenced);
    } else {
        apus_core_receive(host->core, &message, sim_clock(host));
        if (lane == SIM_MAIL && (message.type == APUS_MESSAGE_APPEND ||
                                 message.type == APUS_MESSAGE_SNAPSHOT)) {
            give(host, peer, message.term);
        }
    }
}

/* @peer has read so much of what we have written. */
static void take_credit(SimHost *host, ApusId peer, const VerbsCredit *credit)
{
    SimWay *way = way_of(host->sim, host->id, peer);

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        SimLane *lane = &way->lane[i];

        /* Of a lane that was opened anew it may speak too late. */
        if (lane->given && lane->given == lane->key &&
            !verbs_ring_credit(&lane->writer, credit->read[i])) {
            sim_fail(host->sim, "credit", "%u has read more of lane %u than "
                     "%u has written", peer, i, host->id);
        }
    }
    sim_net_unclog(host, peer);
}

static void take(SimHost *host, ApusId peer, unsigned lane,
                 const VerbsRecord *record)
{
    take_credit(host, peer, &record->credit);
    switch (record->kind) {
    case VERBS_RECORD_DATA:
        take_message(host, peer, lane, record->data, record->size);
        break;
    case VERBS_RECORD_GRANT:
        granted(host, peer, verbs_get64(record->data),
                verbs_get64(record->data + 8));
        break;
    case VERBS_RECORD_REVOKED:
        way_of(host->sim, host->id, peer)->granted = 0;
        break;
    default:
        break;
    }
}

/* What would be taken for a record by who looks at its beginning only. */
static void take_torn(const VerbsRingReader *reader, VerbsRecord *record)
{
    const uint8_t *at = reader->memory +
                        (reader->position & (reader->size - 1));

    *record = (VerbsRecord) {
        .kind = VERBS_RECORD_DATA,
        .data = at + VERBS_RECORD_HEADER,
        .size = record->size,
        .span = verbs_record_span(record->size),
    };
}

/*
 * Take the next record of a lane, if it is there and nobody has taken away the
 * right to write it.
 */
static gboolean look_into(SimHost *host, ApusId peer, unsigned number)
{
    SimWay *way = way_of(host->sim, peer, host->id);
    SimLane *lane = &way->lane[number];
    uint32_t key = lane->key;
    VerbsRecord record;
    VerbsRingState state;

    if (!host->core || !key || !sim_net_is_newest(host, peer)) {
        return FALSE;
    }
    state = verbs_ring_peek(&lane->reader, &record);
    if (state == VERBS_RING_BAD) {
        sim_fail(host->sim, "ring", "%u finds nonsense of %u", host->id, peer);
    }
    if (state == VERBS_RING_TORN && SIM_BROKEN(R5_TORN_TAKEN) &&
        record.size < SIM_LANE / 4) {
        take_torn(&lane->reader, &record);
    } else if (state != VERBS_RING_RECORD) {
        return FALSE;
    }
    take(host, peer, number, &record);
    /* What it said may have ended this connection, or opened the lane anew. */
    if (lane->key == key) {
        lane->reader.position += record.span;
    }
    return !host->sim->failed;
}

void sim_way_look(SimHost *host, ApusId peer)
{
    Sim *sim = host->sim;
    SimWay *way = way_of(sim, peer, host->id);
    unsigned first = sim_below(&sim->random, VERBS_LANES);
    gboolean behind = FALSE;

    for (unsigned i = 0; i < VERBS_LANES; i++) {
        while (look_into(host, peer, first ^ i)) {
            continue;
        }
    }
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        SimLane *lane = &way->lane[i];

        behind |= lane->reader.position - lane->told > SIM_LANE / 4;
    }
    if (behind) {
        post(host, peer, SIM_MAIL, VERBS_RECORD_CREDIT, NULL, 0);
    }
}
