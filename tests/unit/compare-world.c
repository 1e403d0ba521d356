/*
 * A small world for compare.h and echo.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/compare-guest.h"
#include "tests/unit/compare-world.h"

#define KEEP_LIMIT 100000
#define NETDEV 77

typedef struct Replica {
    FlowTable *table;
    Compare *compare;
    Echo *echo;
    Guest guest;
    GuestWays ways;
} Replica;

/* A sync that is under way */
typedef struct Sync {
    enum { SYNC_NONE, SYNC_SEALED, SYNC_APPLIED, SYNC_FAILED } phase;
    uint64_t epoch;
    GByteArray *flows;
    Guest guest;
} Sync;

struct CompareWorld {
    CompareWorldOptions options;
    int64_t now;
    Replica *leader;
    Replica *secondary; /* NULL: unprotected */
    gboolean protected; /* it has had a sync */
    uint64_t epoch; /* the last one sealed */
    Sync sync;
    /* The outcome of a sync is not known to the leader, until the next. */
    gboolean open;
    Guest sealed; /* the first guest of those that are open */

    gboolean settling; /* the network is good */
    gboolean lossy; /* frames may have got lost, as those of a dead leader */

    GPtrArray *log; /* of GuestInput */
    GQueue *notes; /* of GBytes */
    Client clients[GUEST_FLOWS];
    CompareWorldStats stats;
};

static gboolean chance(unsigned n)
{
    return g_test_rand_int_range(0, n) == 0;
}

/* --- replicas -------------------------------------------------------------*/

static Replica *replica_new(void)
{
    Replica *replica = g_new0(Replica, 1);
    uint64_t seed = (uint64_t)g_test_rand_int() << 32 | g_test_rand_int();

    replica->table = flow_table_new(64, seed);
    replica->compare = compare_new(replica->table);
    replica->echo = echo_new(replica->table, NETDEV, KEEP_LIMIT);
    replica->ways.window = g_test_rand_int_range(3000, 6000);
    replica->ways.id = g_test_rand_int();
    return replica;
}

static void replica_free(CompareWorld *world, Replica *replica)
{
    CompareStats compare;
    EchoStats echo;

    if (!replica) {
        return;
    }
    compare_stats(replica->compare, &compare);
    echo_stats(replica->echo, &echo);
    world->stats.alone += compare.alone;
    world->stats.equal += compare.equal;
    world->stats.staged += compare.staged;
    world->stats.cut += compare.cut;
    world->stats.waits += echo.waits;
    world->stats.learned += echo.learned;
    compare_free(replica->compare);
    echo_free(replica->echo);
    flow_table_free(replica->table);
    g_free(replica);
}

static void input_free(void *opaque)
{
    GuestInput *input = opaque;

    g_free(input->frame);
    g_free(input);
}

CompareWorld *compare_world_new(const CompareWorldOptions *options)
{
    CompareWorld *world = g_new0(CompareWorld, 1);

    world->options = *options;
    world->lossy = options->frames_lost;
    world->leader = replica_new();
    world->sync.flows = g_byte_array_new();
    world->log = g_ptr_array_new_with_free_func(input_free);
    world->notes = g_queue_new();
    for (unsigned i = 0; i < GUEST_FLOWS; i++) {
        world->clients[i].bytes = g_byte_array_new();
    }
    return world;
}

void compare_world_free(CompareWorld *world)
{
    replica_free(world, world->leader);
    replica_free(world, world->secondary);
    g_byte_array_free(world->sync.flows, TRUE);
    g_ptr_array_free(world->log, TRUE);
    g_queue_free_full(world->notes, (GDestroyNotify)g_bytes_unref);
    for (unsigned i = 0; i < GUEST_FLOWS; i++) {
        g_byte_array_free(world->clients[i].bytes, TRUE);
    }
    g_free(world);
}

void compare_world_stats(const CompareWorld *world, CompareWorldStats *stats)
{
    CompareWorld copy = *world;
    Replica *both[] = { world->leader, world->secondary };

    for (unsigned i = 0; i < 2; i++) {
        CompareStats compare;
        EchoStats echo;

        if (both[i]) {
            compare_stats(both[i]->compare, &compare);
            echo_stats(both[i]->echo, &echo);
            copy.stats.alone += compare.alone;
            copy.stats.equal += compare.equal;
            copy.stats.staged += compare.staged;
            copy.stats.cut += compare.cut;
            copy.stats.waits += echo.waits;
            copy.stats.learned += echo.learned;
        }
    }
    *stats = copy.stats;
}

/* --- inputs ---------------------------------------------------------------*/

static void submit(CompareWorld *world, GuestInput input)
{
    g_ptr_array_add(world->log, g_memdup2(&input, sizeof(input)));
}

static void submit_frame(CompareWorld *world, HoldFrame *frame)
{
    if (flow_noise(world->leader->table, frame->data, frame->size, 0)) {
        g_assert_not_reached(); /* clients are honest here */
    }
    submit(world, (GuestInput) { .kind = INPUT_FRAME, .frame = frame });
}

/* False if there is none, or it has to wait. */
static gboolean consume(CompareWorld *world, Replica *replica)
{
    Guest *guest = &replica->guest;
    GuestInput *input;
    HoldFrame *copy;
    EchoPass pass = ECHO_PASS;

    if (guest->at == world->log->len) {
        return FALSE;
    }
    input = world->log->pdata[guest->at];
    if (input->kind != INPUT_FRAME) {
        guest_do(guest, input);
        guest->at++;
        return TRUE;
    }
    copy = g_memdup2(input->frame, HOLD_OVERHEAD + input->frame->size);
    if (replica == world->leader) {
        flow_inbound(replica->table, copy->data, copy->size, 0, world->now);
    } else {
        pass = echo_inbound(replica->echo, copy->data, copy->size, 0,
                            world->now);
    }
    if (pass == ECHO_PASS) {
        g_assert_true(net_sums_right(copy->data, copy->size, 0));
        guest_hear(guest, copy);
        guest->at++;
    }
    g_free(copy);
    return pass == ECHO_PASS;
}

/* --- outputs --------------------------------------------------------------*/

/* Whether this guest, if it went on, has said the same up to @end. */
static gboolean has_said(const CompareWorld *world, const Guest *guest,
                         unsigned flow, unsigned from, unsigned end)
{
    const GuestConn *conn = &guest->conn[flow];
    const GuestConn *leader = &world->leader->guest.conn[flow];

    if (conn->life != leader->life || conn->snd < end) {
        return FALSE;
    }
    for (unsigned i = MAX(from, 1); i < end; i++) {
        gboolean fin = i == 1 + conn->todo;
        gboolean leaders_fin = i == 1 + leader->todo;

        if (fin != leaders_fin ||
            (!fin && guest_byte(conn, flow, i) !=
             guest_byte(leader, flow, i))) {
            return FALSE;
        }
    }
    return TRUE;
}

static void check_stream(CompareWorld *world, const HoldFrame *frame,
                         unsigned flow)
{
    Client *client = &world->clients[flow];
    const uint8_t *payload;
    size_t size = net_payload(frame, &payload);
    uint8_t flags = net_flags(frame);
    gboolean syn = !!(flags & NET_SYN);
    unsigned from = syn ? 0 : net_seq(frame) - client->wire;
    unsigned end = from + size + syn + !!(flags & NET_FIN);

    if (!client_knows(client, frame) || client->state == CLIENT_CLOSED) {
        return;
    }
    if (!syn) {
        /* nothing is left out, not even by an acknowledgement */
        g_assert_true(from <= MAX(client->got, 1) || world->lossy);
    }
    if (end == from || !world->secondary) {
        return;
    }
    g_assert_true(world->protected);
    g_assert_true(has_said(world, &world->secondary->guest, flow,
                           MIN(client->got, from), end));
    if (world->open) {
        g_assert_true(has_said(world, &world->sealed, flow,
                               MIN(client->got, from), end));
    }
}

static void check_datagram(CompareWorld *world, const HoldFrame *frame)
{
    unsigned n;

    memcpy(&n, frame->data + 42, sizeof(n));
    if (world->secondary) {
        g_assert_true(world->protected);
        g_assert_cmpuint(n, <, world->secondary->guest.datagrams);
        if (world->open) {
            g_assert_cmpuint(n, <, world->sealed.datagrams);
        }
    }
}

static void client_answer(CompareWorld *world, unsigned flow)
{
    Client *client = &world->clients[flow];

    submit_frame(world, client_say(client, flow));
    if (client->finished) {
        client->state = CLIENT_CLOSED;
    }
}

/* A frame leaves, and is heard or lost. */
static gboolean leave_one(CompareWorld *world)
{
    HoldQueue *leaving = compare_leaving(world->leader->compare);
    HoldFrame *frame = hold_queue_next(leaving);
    unsigned flow;

    if (!frame) {
        return FALSE;
    }
    if (frame->data[23] == 17) {
        check_datagram(world, frame);
        hold_queue_pop(leaving);
        return TRUE;
    }
    g_assert_true(net_sums_right(frame->data, frame->size, 0));
    flow = frame->data[36] * 256 + frame->data[37] - GUEST_PORT;
    check_stream(world, frame, flow);
    if (client_knows(&world->clients[flow], frame) &&
        !(world->options.frames_lost && !world->settling && chance(8))) {
        Client *client = &world->clients[flow];
        unsigned before = client->bytes->len;

        if (client_hear(client, frame)) {
            client_answer(world, flow);
        }
        world->stats.bytes += client->bytes->len - before;
    }
    hold_queue_pop(leaving);
    return TRUE;
}

static void say(CompareWorld *world, Replica *replica, HoldFrame *frame)
{
    if (!frame) {
        return;
    }
    if (replica == world->leader) {
        compare_output(replica->compare, frame, 0, world->now);
    } else {
        echo_output(replica->echo, frame, 0, world->now);
        g_assert_cmpuint(echo_bytes(replica->echo), <=, KEEP_LIMIT);
    }
}

static void speak(CompareWorld *world, Replica *replica)
{
    unsigned flow = g_test_rand_int_range(0, GUEST_FLOWS);
    HoldFrame *frame;

    if (chance(5)) {
        frame = guest_say_datagram(&replica->guest, &replica->ways);
    } else if (chance(6)) {
        frame = guest_acknowledge(&replica->guest, flow);
    } else {
        frame = guest_say(&replica->guest, &replica->ways, flow, chance(5));
    }
    say(world, replica, frame);
}

/* --- notes ----------------------------------------------------------------*/

static void take_notes(CompareWorld *world)
{
    const uint8_t *note;
    size_t size;

    while (world->secondary &&
           echo_take(world->secondary->echo, &note, &size)) {
        g_assert_cmpuint(size, <=, ECHO_NOTE_MAX);
        if (!(world->options.notes_lost && chance(6))) {
            g_queue_push_tail(world->notes, g_bytes_new(note, size));
        }
    }
}

static gboolean tell_note(CompareWorld *world)
{
    GBytes *note = g_queue_pop_head(world->notes);

    if (note) {
        gsize size;
        const uint8_t *data = g_bytes_get_data(note, &size);

        g_assert_true(compare_told(world->leader->compare, data, size,
                                   world->now, NULL));
        g_bytes_unref(note);
    }
    return note != NULL;
}

/* --- syncs ----------------------------------------------------------------*/

static void protect(CompareWorld *world)
{
    gboolean more = TRUE;

    while (more) {
        more = leave_one(world);
    }
    world->secondary = replica_new();
    world->protected = FALSE;
    world->open = FALSE;
    world->sync.phase = SYNC_NONE;
    compare_begin(world->leader->compare, world->epoch);
    echo_applied(world->secondary->echo, world->epoch);
}

static void seal(CompareWorld *world)
{
    Sync *sync = &world->sync;

    sync->epoch = ++world->epoch;
    sync->guest = world->leader->guest;
    compare_seal(world->leader->compare, sync->epoch);
    g_byte_array_set_size(sync->flows, 0);
    flow_table_save(world->leader->table, sync->flows);
    if (!world->open) {
        world->open = TRUE;
        world->sealed = sync->guest;
    }
    sync->phase = SYNC_SEALED;
}

static void apply(CompareWorld *world)
{
    Replica *secondary = world->secondary;
    g_autoptr(GByteArray) again = g_byte_array_new();

    g_assert_true(flow_table_load(secondary->table, world->sync.flows->data,
                                  world->sync.flows->len, NULL));
    echo_applied(secondary->echo, world->sync.epoch);
    flow_table_save(secondary->table, again);
    g_assert_cmpmem(again->data, again->len, world->sync.flows->data,
                    world->sync.flows->len);
    secondary->guest = world->sync.guest;
    world->sync.phase = SYNC_APPLIED;
}

static void commit(CompareWorld *world)
{
    if (compare_diverged(world->leader->compare) != COMPARE_EQUAL) {
        world->stats.diverged++;
    }
    compare_commit(world->leader->compare, world->sync.epoch, world->now);
    if (!world->options.divergence) {
        /* else notes that came before the commit may tell of the next one */
        g_assert_cmpint(compare_diverged(world->leader->compare), ==,
                        COMPARE_EQUAL);
    }
    world->stats.syncs++;
    world->open = FALSE;
    world->protected = TRUE;
    world->sync.phase = SYNC_NONE;
}

static void sync_goes_on(CompareWorld *world)
{
    gboolean fails = world->options.failures && world->protected;

    switch (world->sync.phase) {
    case SYNC_NONE:
        seal(world);
        break;
    case SYNC_SEALED:
        if (fails && chance(3)) {
            world->sync.phase = SYNC_FAILED;
        } else {
            apply(world);
        }
        break;
    case SYNC_APPLIED:
        commit(world);
        break;
    case SYNC_FAILED:
        /* or nobody ever tells the leader */
        if (chance(2)) {
            compare_revert(world->leader->compare, world->now);
            world->stats.reverts++;
            world->open = FALSE;
        }
        world->sync.phase = SYNC_NONE;
        break;
    }
}

/* --- the leader dies ------------------------------------------------------*/

/* What clients have got is what the guest who goes on has said. */
static void check_clients(const CompareWorld *world)
{
    for (unsigned i = 0; i < GUEST_FLOWS; i++) {
        const Client *client = &world->clients[i];
        const GuestConn *conn = &world->leader->guest.conn[i];

        if (client->state != CLIENT_OPEN || client->life != conn->life) {
            continue;
        }
        g_assert_cmpuint(client->got, <=, conn->snd);
        for (unsigned j = 0; j < client->bytes->len; j++) {
            g_assert_cmpuint(client->bytes->data[j], ==,
                             guest_byte(conn, i, j + 1));
        }
    }
}

static void take_over(CompareWorld *world)
{
    gboolean more = TRUE;

    if (world->sync.phase == SYNC_SEALED && chance(2)) {
        apply(world);
    }
    replica_free(world, world->leader);
    world->leader = world->secondary;
    world->secondary = NULL;
    world->protected = FALSE;
    world->open = FALSE;
    g_queue_clear_full(world->notes, (GDestroyNotify)g_bytes_unref);
    world->lossy = TRUE;
    world->stats.takeovers++;
    check_clients(world);
    while (more) {
        more = consume(world, world->leader);
    }
    check_clients(world);
    echo_release(world->leader->echo,
                 compare_leaving(world->leader->compare), world->now);
    world->sync.phase = SYNC_NONE;
}

/* --- what is asked for ----------------------------------------------------*/

static void client_begin(CompareWorld *world, unsigned flow, gboolean calls)
{
    Client *client = &world->clients[flow];
    GByteArray *bytes = client->bytes;

    g_byte_array_set_size(bytes, 0);
    *client = (Client) {
        .state = calls ? CLIENT_CALLS : CLIENT_NONE,
        .life = client->life + 1,
        .called = !calls,
        .isn = g_test_rand_int(),
        .bytes = bytes,
    };
    world->stats.connections++;
    if (calls) {
        submit_frame(world, client_say(client, flow));
    } else {
        submit(world, (GuestInput) { .kind = INPUT_CALL, .flow = flow });
    }
}

static void ask(CompareWorld *world)
{
    unsigned flow = g_test_rand_int_range(0, GUEST_FLOWS);
    Client *client = &world->clients[flow];
    GuestInput input = {
        .kind = INPUT_SAY,
        .flow = flow,
        .life = client->life,
        .n = g_test_rand_int_range(1, 6000),
    };

    if (chance(4)) {
        submit(world, (GuestInput) { .kind = INPUT_DATAGRAM });
    } else if ((client->state == CLIENT_NONE && !client->called) ||
               client->state == CLIENT_CLOSED) {
        client_begin(world, flow, chance(2));
    } else if (client->state == CLIENT_CALLS ||
               client->state == CLIENT_ANSWERS) {
        if (chance(3)) {
            submit_frame(world, client_say(client, flow));
        }
    } else if (client->state == CLIENT_OPEN) {
        if (chance(12)) {
            input.kind = INPUT_CLOSE;
        }
        submit(world, input);
    }
}

static void diverge(CompareWorld *world)
{
    Replica *replica = chance(2) ? world->leader : world->secondary;
    unsigned flow = g_test_rand_int_range(0, GUEST_FLOWS);
    GuestConn *conn = &replica->guest.conn[flow];

    if (conn->state == GUEST_OPEN && !conn->differs_from) {
        conn->differs_from = MAX(conn->snd, 1);
        conn->salt = g_test_rand_int_range(1, 256);
    }
}

/* --- time passes ----------------------------------------------------------*/

static gboolean secondary_runs(const CompareWorld *world)
{
    return world->sync.phase == SYNC_APPLIED ||
           (world->protected && world->sync.phase == SYNC_NONE);
}

void compare_world_step(CompareWorld *world)
{
    const CompareWorldOptions *options = &world->options;

    world->now += 10;
    switch (g_test_rand_int_range(0, 9)) {
    case 0:
        ask(world);
        break;
    case 1:
        consume(world, world->leader);
        break;
    case 2:
        speak(world, world->leader);
        break;
    case 3:
    case 4:
        if (secondary_runs(world)) {
            consume(world, world->secondary);
            speak(world, world->secondary);
        }
        break;
    case 5:
        if (chance(3)) {
            take_notes(world);
        }
        tell_note(world);
        break;
    case 6:
        leave_one(world);
        if (chance(10)) {
            compare_cut(world->leader->compare, world->now - 100);
        }
        break;
    case 7:
        if (!world->secondary) {
            if (chance(20)) {
                protect(world);
            }
        } else if (world->sync.phase != SYNC_NONE || !world->protected ||
                   (options->syncs && chance(20))) {
            if (chance(4)) {
                sync_goes_on(world);
            }
        }
        break;
    case 8:
        if (!world->secondary || !world->protected) {
            break;
        }
        if (options->divergence && chance(60)) {
            diverge(world);
        }
        if (options->takeovers && chance(200)) {
            take_over(world);
        }
        break;
    }
}

/* Both guests do and say all there is, and everything arrives. */
static void run_out(CompareWorld *world)
{
    unsigned idle = 0; /* rounds */

    world->settling = TRUE;
    for (unsigned i = 0; idle < 40; i++) {
        gboolean busy = FALSE;

        g_assert_cmpuint(i, <, 20000);
        world->now += 1000;
        for (unsigned j = 0; j < 2; j++) {
            Replica *replica = j ? world->secondary : world->leader;

            if (!replica) {
                continue;
            }
            while (consume(world, replica)) {
                busy = TRUE;
            }
            for (unsigned flow = 0; flow < GUEST_FLOWS; flow++) {
                HoldFrame *frame = guest_say(&replica->guest, &replica->ways,
                                             flow, i % 4 == 3);

                busy |= frame && i % 4 != 3;
                say(world, replica, frame);
            }
            say(world, replica, guest_say_datagram(&replica->guest,
                                                   &replica->ways));
        }
        take_notes(world);
        while (tell_note(world) || leave_one(world)) {
            busy = TRUE;
        }
        if (compare_parts(world->leader->compare)) {
            compare_cut(world->leader->compare, world->now - 500);
            busy = TRUE;
        }
        idle = busy ? 0 : idle + 1;
    }
    world->settling = FALSE;
}

static gboolean guests_differ(const CompareWorld *world)
{
    for (unsigned i = 0; i < GUEST_FLOWS; i++) {
        const GuestConn *a = &world->leader->guest.conn[i];
        const GuestConn *b = &world->secondary->guest.conn[i];

        if (a->differs_from != b->differs_from || a->salt != b->salt) {
            return TRUE;
        }
    }
    return FALSE;
}

void compare_world_settle(CompareWorld *world)
{
    gboolean differ;

    if (!world->secondary) {
        protect(world);
    }
    while (world->sync.phase != SYNC_NONE || !world->protected ||
           world->open) {
        sync_goes_on(world);
    }
    run_out(world);
    differ = guests_differ(world);
    if (!differ && !world->options.notes_lost) {
        g_assert_cmpint(compare_diverged(world->leader->compare), ==,
                        COMPARE_EQUAL);
        g_assert_cmpuint(compare_held_frames(world->leader->compare), ==, 0);
    } else if (compare_held_frames(world->leader->compare) &&
               !world->options.notes_lost) {
        g_assert_cmpint(compare_diverged(world->leader->compare), !=,
                        COMPARE_EQUAL);
    }
    /* a sync cures everything */
    while (differ || compare_held_frames(world->leader->compare)) {
        seal(world);
        apply(world);
        commit(world);
        g_assert_cmpuint(compare_held_frames(world->leader->compare), ==, 0);
        run_out(world);
        differ = FALSE;
    }
    check_clients(world);
    for (unsigned i = 0; i < GUEST_FLOWS; i++) {
        const Client *client = &world->clients[i];
        const GuestConn *conn = &world->leader->guest.conn[i];

        if (client->state == CLIENT_OPEN) {
            g_assert_cmpuint(client->got, ==, guest_end(conn));
        }
    }
}
