/*
 * Two replicas of a disk, the connection between them, and who makes
 * checkpoints of both
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-pair.h"
#include "gannet-task.h"

#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)
#define MAX_STEPS 300000
#define RECENT 8
#define REQUESTS 4
#define SECONDARY_WRITE (MIB / 4)

typedef struct GannetPairWrite {
    GannetRange range;
    uint64_t number;
} GannetPairWrite;

typedef struct Mail {
    GannetMessage message;
    GBytes *payload; /* or NULL */
} Mail;

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

/* --- beginning and end ---------------------------------------------------- */

static void configure(GannetPair *pair, gboolean big,
                      GannetReplicaConfig *config)
{
    static const uint32_t block_sizes[] = { 512, 4096, 16384 };

    gannet_layout_init(&pair->layout, (big ? 24 : 17) * MIB + below(3) * 512,
                       big ? 4 : 6, big ? 4 * MIB : 48 * KIB);
    *config = (GannetReplicaConfig) {
        .layout = &pair->layout,
        .buffer_limit = big ? 14 * MIB : 12 * MIB + below(20) * MIB,
        .queue_limit = (big ? 1 : 0) * MIB / 2 + (8 + below(200)) * KIB,
        .block_size = block_sizes[below(3)],
    };
    pair->room = big || below(3) ? 2 * KIB + below(200) * KIB : UINT64_MAX;
}

GannetPair *gannet_pair_new(gboolean big)
{
    GannetPair *pair = g_new0(GannetPair, 1);
    GannetReplicaConfig config;

    configure(pair, big, &config);
    pair->replicas[0] = gannet_replica_new("A", &config);
    pair->replicas[1] = gannet_replica_new("B", &config);
    pair->sealed = gannet_image_new(&pair->layout);
    pair->recent = g_array_new(FALSE, FALSE, sizeof(GannetPairWrite));
    pair->pristine = TRUE;
    return pair;
}

static void drop_mail(GQueue *queue, guint keep)
{
    while (queue->length > keep) {
        Mail *mail = g_queue_pop_tail(queue);

        g_clear_pointer(&mail->payload, g_bytes_unref);
        g_free(mail);
    }
}

void gannet_pair_free(GannetPair *pair)
{
    drop_mail(&pair->down, 0);
    drop_mail(&pair->up, 0);
    gannet_replica_free(pair->replicas[0]);
    gannet_replica_free(pair->replicas[1]);
    g_array_unref(pair->recent);
    g_free(pair->sealed);
    g_free(pair);
}

static GannetReplica *primary_of(const GannetPair *pair)
{
    return pair->replicas[pair->primary];
}

static GannetReplica *secondary_of(const GannetPair *pair)
{
    return pair->replicas[!pair->primary];
}

static gboolean is_linked(const GannetPair *pair)
{
    return pair->open[0] && pair->open[1] && !pair->cut;
}

static gboolean is_closed(const GannetPair *pair)
{
    return !pair->open[0] && !pair->open[1];
}

/* --- the connection ------------------------------------------------------- */

static uint64_t size_of(const Mail *mail)
{
    return GANNET_WIRE_HEADER + mail->message.payload;
}

/* What is sent is something that the other side takes for a message. */
static void post(const GannetPair *pair, GQueue *queue,
                 const GannetMessage *message, GBytes *payload)
{
    Mail *mail = g_new0(Mail, 1);
    const void *data = payload ? g_bytes_get_data(payload, NULL) : NULL;
    uint8_t header[GANNET_WIRE_HEADER];
    g_autoptr(GError) error = NULL;

    gannet_wire_encode(message, data, header);
    gannet_wire_decode(header, pair->layout.size, &mail->message, &error);
    g_assert_no_error(error);
    gannet_wire_check(header, &mail->message, data, &error);
    g_assert_no_error(error);
    mail->payload = payload;
    g_queue_push_tail(queue, mail);
}

static gboolean send_down(GannetPair *pair)
{
    GannetMessage message;
    GBytes *payload = NULL;

    if (!pair->open[pair->primary] ||
        (pair->bytes >= pair->room && pair->down.length) ||
        !gannet_primary_next(primary_of(pair)->primary, &message, &payload)) {
        return FALSE;
    }
    if (pair->cut) {
        g_clear_pointer(&payload, g_bytes_unref);
        return TRUE;
    }
    post(pair, &pair->down, &message, payload);
    pair->bytes += size_of(g_queue_peek_tail(&pair->down));
    return TRUE;
}

static gboolean send_up(GannetPair *pair)
{
    GannetMessage message;
    GBytes *payload = NULL;

    if (!pair->open[!pair->primary] ||
        !gannet_secondary_next(secondary_of(pair)->secondary, &message,
                               &payload)) {
        return FALSE;
    }
    if (pair->cut) {
        g_clear_pointer(&payload, g_bytes_unref);
        return TRUE;
    }
    post(pair, &pair->up, &message, payload);
    return TRUE;
}

static void answer(GannetPair *pair, const Mail *mail)
{
    GannetReplica *secondary = secondary_of(pair);
    GannetRange range = { mail->message.offset, mail->message.bytes };
    g_autoptr(GBytes) data = gannet_replica_read(secondary, GANNET_PVM,
                                                 &range);
    uint8_t hash[16];
    gboolean differs;

    gannet_replica_hash(data, hash);
    differs = memcmp(hash, g_bytes_get_data(mail->payload, NULL), 16) != 0;
    /* Where a local write failed nobody knows what there should be. */
    g_assert_true(!differs || primary_of(pair)->failed);
    gannet_secondary_verified(secondary->secondary, &mail->message, differs);
    pair->stats.verified++;
}

static gboolean deliver_down(GannetPair *pair)
{
    GannetReplica *secondary = secondary_of(pair);
    Mail *mail = g_queue_peek_head(&pair->down);
    g_autoptr(GError) error = NULL;
    GannetVerdict verdict;
    const void *data;

    if (!pair->open[!pair->primary]) {
        return FALSE;
    }
    if (!mail) {
        if (pair->cut) {
            gannet_secondary_disconnected(secondary->secondary);
            pair->open[!pair->primary] = FALSE;
        }
        return pair->cut;
    }
    data = mail->payload ? g_bytes_get_data(mail->payload, NULL) : NULL;
    verdict = gannet_secondary_receive(secondary->secondary, &mail->message,
                                       data, &error);
    g_assert_no_error(error);
    if (verdict == GANNET_WAIT) {
        return FALSE;
    }
    if (verdict == GANNET_HASH) {
        answer(pair, mail);
    }
    gannet_replica_received(secondary, &mail->message, data);
    pair->bytes -= size_of(mail);
    g_queue_pop_head(&pair->down);
    g_clear_pointer(&mail->payload, g_bytes_unref);
    g_free(mail);
    return TRUE;
}

static gboolean deliver_up(GannetPair *pair)
{
    GannetReplica *primary = primary_of(pair);
    Mail *mail;
    g_autoptr(GError) error = NULL;

    if (!pair->open[pair->primary]) {
        return FALSE;
    }
    mail = g_queue_pop_head(&pair->up);
    if (!mail) {
        if (pair->cut) {
            gannet_primary_disconnected(primary->primary);
            gannet_replica_events(primary);
            pair->open[pair->primary] = FALSE;
        }
        return pair->cut;
    }
    gannet_primary_receive(primary->primary, &mail->message,
                           mail->payload ? g_bytes_get_data(mail->payload,
                                                            NULL) : NULL,
                           &error);
    g_assert_no_error(error);
    gannet_replica_events(primary);
    g_clear_pointer(&mail->payload, g_bytes_unref);
    g_free(mail);
    return TRUE;
}

/* One end is closed: nobody will take what was sent to it. */
static void close_end(GannetPair *pair, unsigned which)
{
    pair->open[which] = FALSE;
    drop_mail(which == pair->primary ? &pair->up : &pair->down, 0);
}

void gannet_pair_cut(GannetPair *pair)
{
    if (!pair->cut && !is_closed(pair)) {
        pair->cut = TRUE;
        drop_mail(&pair->down, below(pair->down.length + 1));
        drop_mail(&pair->up, below(pair->up.length + 1));
        pair->stats.cuts++;
    }
}

static gboolean may_connect(const GannetPair *pair, unsigned primary)
{
    const GannetReplica *from = pair->replicas[primary];
    const GannetReplica *to = pair->replicas[!primary];

    return is_closed(pair) && from->up && to->up &&
           from->guest == GANNET_GUEST_OWN && to->guest == GANNET_NO_GUEST &&
           pair->phase == GANNET_PHASE_OFF &&
           gannet_primary_state(from->primary) == GANNET_PRIMARY_ALONE &&
           gannet_primary_state(to->primary) == GANNET_PRIMARY_ALONE &&
           gannet_secondary_state(to->secondary) == GANNET_SECONDARY_IDLE;
}

static GannetResync choose_mode(const GannetPair *pair)
{
    if (pair->pristine) {
        return below(2) ? GANNET_RESYNC_NONE : GANNET_RESYNC_CHANGED;
    }
    return below(8) ? GANNET_RESYNC_CHANGED : GANNET_RESYNC_FULL;
}

static void connect(GannetPair *pair)
{
    GannetReplica *primary = primary_of(pair);
    GannetReplica *secondary = secondary_of(pair);
    g_autoptr(GannetRegions) intents = gannet_replica_intents(secondary);
    GannetResync mode = choose_mode(pair);
    g_autoptr(GError) error = NULL;
    GannetPrimaryStats stats;
    GannetHello ours;
    GannetHello theirs;

    gannet_replica_hello(primary, GANNET_PRIMARY, &ours);
    gannet_replica_hello(secondary, GANNET_SECONDARY, &theirs);
    gannet_secondary_connected(secondary->secondary, &ours,
                               pair->layout.size, theirs.generation, &error);
    g_assert_no_error(error);
    gannet_primary_connected(primary->primary, &theirs, intents,
                             ++pair->number, mode, &error);
    g_assert_no_error(error);
    gannet_replica_connected(secondary, &ours);
    gannet_replica_connected(primary, &theirs);
    primary->failed = FALSE;
    gannet_primary_stats(primary->primary, &stats);
    pair->stats.full += stats.copy_total == pair->layout.size;
}

void gannet_pair_connect(GannetPair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        if (may_connect(pair, i)) {
            pair->primary = i;
            drop_mail(&pair->down, 0);
            drop_mail(&pair->up, 0);
            pair->bytes = 0;
            pair->cut = FALSE;
            pair->open[0] = pair->open[1] = TRUE;
            connect(pair);
            pair->pristine = FALSE;
            return;
        }
    }
}

/* --- the framework -------------------------------------------------------- */

void gannet_pair_begin(GannetPair *pair)
{
    GannetReplica *primary = primary_of(pair);
    GannetReplica *secondary = secondary_of(pair);

    if (pair->phase == GANNET_PHASE_OFF && is_linked(pair) &&
        secondary->guest == GANNET_NO_GUEST &&
        gannet_secondary_state(secondary->secondary) ==
        GANNET_SECONDARY_FOLLOWING &&
        gannet_replica_requests(primary) == 0 &&
        gannet_primary_begin(primary->primary, pair->term + 1, NULL)) {
        pair->term++;
        pair->epoch = 0;
        pair->phase = GANNET_PHASE_BEGIN;
        gannet_image_copy(&pair->layout, pair->sealed, primary->model);
        pair->stats.synced++;
    }
}

void gannet_pair_checkpoint(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_ON && is_linked(pair)) {
        pair->phase = GANNET_PHASE_STOPPING;
        if (below(2)) {
            primary_of(pair)->stopped = TRUE;
        }
        secondary_of(pair)->stopped = TRUE;
    }
}

static void resume(GannetPair *pair)
{
    primary_of(pair)->stopped = FALSE;
    secondary_of(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_ON;
}

static gboolean give_up(GannetPair *pair)
{
    resume(pair);
    pair->stats.given_up++;
    return TRUE;
}

static gboolean step_begin(GannetPair *pair)
{
    GannetReplica *secondary = secondary_of(pair);

    switch (gannet_secondary_sealed(secondary->secondary, 0, NULL)) {
    case GANNET_WAIT:
        return FALSE;
    case GANNET_DONE:
        secondary->guest = GANNET_GUEST_SECONDARY;
        secondary->stopped = FALSE;
        gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
        pair->phase = GANNET_PHASE_ON;
        return TRUE;
    default:
        g_assert_false(pair->open[!pair->primary]);
        pair->phase = GANNET_PHASE_OFF;
        return TRUE;
    }
}

static gboolean step_stopping(GannetPair *pair)
{
    GannetReplica *primary = primary_of(pair);
    GannetReplica *secondary = secondary_of(pair);
    uint64_t next = pair->epoch + 1 + (below(10) == 0);

    if (!is_linked(pair) || (!pair->steady && below(60) == 0)) {
        return give_up(pair);
    }
    if (below(4) == 0) {
        g_autoptr(GError) error = NULL;

        /* It may ask before there is anything. */
        gannet_secondary_sealed(secondary->secondary, next, &error);
        g_assert_no_error(error);
    }
    if (gannet_replica_requests(secondary)) {
        return FALSE;
    }
    if (!primary->stopped) {
        primary->stopped = TRUE;
        return TRUE;
    }
    if (gannet_replica_requests(primary)) {
        return FALSE;
    }
    if (!gannet_primary_seal(primary->primary, next, NULL)) {
        /* A range where a local write failed has to be copied first. */
        g_assert_true(primary->failed);
        return give_up(pair);
    }
    pair->epoch = next;
    pair->phase = GANNET_PHASE_SEALED;
    gannet_image_copy(&pair->layout, pair->sealed, primary->model);
    primary->stopped = FALSE;
    return TRUE;
}

static gboolean step_sealed(GannetPair *pair)
{
    GannetReplica *secondary = secondary_of(pair);
    size_t bytes = pair->layout.sectors * sizeof(uint64_t);
    uint64_t pending = gannet_secondary_pending(secondary->secondary);
    /* Another one may stand there still, that was given up. */
    gboolean any = below(2) && (!pending || pending == pair->epoch);
    uint64_t epoch = any ? GANNET_ANY_EPOCH : pair->epoch;

    switch (gannet_secondary_sealed(secondary->secondary, epoch, NULL)) {
    case GANNET_WAIT:
        return !pair->steady && below(60) == 0 ? give_up(pair) : FALSE;
    case GANNET_ERROR:
        g_assert_false(pair->open[!pair->primary]);
        return give_up(pair);
    default:
        break;
    }
    g_assert_cmpuint(gannet_secondary_pending(secondary->secondary), ==,
                     pair->epoch);
    g_assert_cmpmem(secondary->sealed, bytes, pair->sealed, bytes);
    if (!pair->steady && below(5) == 0) {
        return give_up(pair);
    }
    gannet_replica_apply(secondary);
    gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
    resume(pair);
    pair->stats.checkpoints++;
    return TRUE;
}

static gboolean step_framework(GannetPair *pair)
{
    switch (pair->phase) {
    case GANNET_PHASE_BEGIN:
        return step_begin(pair);
    case GANNET_PHASE_STOPPING:
        return step_stopping(pair);
    case GANNET_PHASE_SEALED:
        return step_sealed(pair);
    default:
        return FALSE;
    }
}

void gannet_pair_verify(GannetPair *pair)
{
    if (is_linked(pair)) {
        gannet_primary_verify(primary_of(pair)->primary, NULL);
    }
}

/* The secondary's guest goes, without taking over. */
static void stop_secondary(GannetPair *pair)
{
    GannetReplica *secondary = secondary_of(pair);

    gannet_replica_stop(secondary);
    primary_of(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_OFF;
}

void gannet_pair_end(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_ON && is_linked(pair)) {
        gannet_primary_end(primary_of(pair)->primary);
        stop_secondary(pair);
    }
}

static void take_over(GannetPair *pair)
{
    GannetReplica *secondary = secondary_of(pair);

    if (pair->phase == GANNET_PHASE_SEALED && below(2) &&
        gannet_secondary_pending(secondary->secondary) == pair->epoch) {
        /* It has said that it would. */
        gannet_replica_apply(secondary);
        gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
    }
    gannet_replica_take_over(secondary);
    gannet_pair_cut(pair);
    close_end(pair, !pair->primary);
    primary_of(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_OFF;
    pair->stats.takeovers++;
}

void gannet_pair_fail_over(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_OFF) {
        return;
    }
    if (!secondary_of(pair)->up) {
        primary_of(pair)->stopped = FALSE;
        pair->phase = GANNET_PHASE_OFF;
    } else if (secondary_of(pair)->guest == GANNET_NO_GUEST ||
               (primary_of(pair)->up && below(3) == 0)) {
        gannet_pair_cut(pair);
        stop_secondary(pair);
    } else {
        take_over(pair);
    }
}

/* --- misfortune and repair ------------------------------------------------ */

void gannet_pair_crash(GannetPair *pair, unsigned which)
{
    GannetReplica *replica = pair->replicas[which];

    if (!replica->up) {
        return;
    }
    gannet_replica_crash(replica, below(3) > 0);
    gannet_pair_cut(pair);
    close_end(pair, which);
    pair->pristine = FALSE;
    pair->stats.crashes++;
    if (pair->phase != GANNET_PHASE_OFF) {
        gannet_pair_fail_over(pair);
    }
}

/* Neither disk is of use: two new ones. */
static void renew(GannetPair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        GannetReplica *replica = pair->replicas[i];
        size_t bytes = pair->layout.sectors * sizeof(uint64_t);

        gannet_replica_crash(replica, TRUE);
        memset(replica->disk, 0, bytes);
        memset(replica->durable, 0, bytes);
        memset(replica->metadata, 0, sizeof(replica->metadata));
        replica->claims = FALSE;
        gannet_replica_start(replica);
    }
    pair->pristine = TRUE;
    pair->stats.dead_ends++;
}

/* One that BEGIN reached when nobody thought of starting any more. */
static void stop_unstarted(GannetPair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        GannetReplica *replica = pair->replicas[i];

        if (replica->up && pair->phase == GANNET_PHASE_OFF &&
            gannet_secondary_state(replica->secondary) ==
            GANNET_SECONDARY_EPOCHS) {
            gannet_replica_stop(replica);
        }
    }
}

void gannet_pair_revive(GannetPair *pair)
{
    unsigned first = below(2);

    stop_unstarted(pair);
    for (unsigned i = 0; i < 2; i++) {
        if (!pair->replicas[i]->up) {
            gannet_replica_start(pair->replicas[i]);
            return;
        }
    }
    if (pair->replicas[0]->guest == GANNET_GUEST_OWN &&
        pair->replicas[1]->guest == GANNET_GUEST_OWN) {
        /* One has taken over from the other, which does not know it yet. */
        gannet_pair_crash(pair, pair->primary);
    } else if (pair->replicas[0]->guest == GANNET_NO_GUEST &&
               pair->replicas[1]->guest == GANNET_NO_GUEST &&
               is_closed(pair)) {
        for (unsigned i = 0; i < 2; i++) {
            if (gannet_replica_can_run(pair->replicas[(first + i) % 2])) {
                gannet_replica_run(pair->replicas[(first + i) % 2]);
                return;
            }
        }
        if (!gannet_pair_step(pair)) {
            renew(pair);
        }
    }
}

/* --- guests --------------------------------------------------------------- */

/*
 * Mostly small and in one place, so that writes overlap. Where memory is short
 * they are so large that it soon is; but those that may be under way together
 * fit into what both sides keep in reserve for a checkpoint.
 */
static void pick(const GannetPair *pair, gboolean secondary,
                 GannetRange *range)
{
    const GannetLayout *layout = &pair->layout;
    unsigned sectors = layout->window_bytes / GANNET_SECTOR;
    gboolean big = layout->window_bytes > MIB;
    unsigned most = !big ? sectors :
                    (secondary ? SECONDARY_WRITE : MIB) / GANNET_SECTOR;
    unsigned first = below(big || !below(4) ? sectors : 64);
    unsigned n = 1 + below(below(big ? 3 : 8) ? most / (big ? 1 : 5) : most);

    n = MIN(n, sectors - first);
    range->offset = layout->start[below(layout->windows)] +
                    (uint64_t)first * GANNET_SECTOR;
    range->bytes = (uint64_t)n * GANNET_SECTOR;
}

static void write_somewhere(GannetPair *pair, GannetReplica *replica)
{
    gboolean secondary = replica->guest == GANNET_GUEST_SECONDARY;
    GannetPairWrite one = { .number = below(8) ? ++pair->number : 0 };

    if (secondary && pair->recent->len && below(3)) {
        /* What the primary has written. */
        one = g_array_index(pair->recent, GannetPairWrite,
                            below(pair->recent->len));
        one.range.bytes = MIN(one.range.bytes, SECONDARY_WRITE);
    } else {
        pick(pair, secondary, &one.range);
        if (!one.number && below(20) == 0) {
            one.range = (GannetRange) { 0, pair->layout.size };
        }
    }
    gannet_replica_write(replica, &one.range, one.number);
    if (!secondary) {
        g_array_append_val(pair->recent, one);
        if (pair->recent->len > RECENT) {
            g_array_remove_index(pair->recent, 0);
        }
    }
}

void gannet_pair_guest(GannetPair *pair)
{
    GannetReplica *replica = pair->replicas[below(2)];

    if (!replica->up || replica->guest == GANNET_NO_GUEST ||
        replica->stopped) {
        return;
    }
    /* The one that is about to begin stands still. */
    if (pair->phase == GANNET_PHASE_BEGIN && replica == primary_of(pair) &&
        below(2)) {
        return;
    }
    if (below(12) == 0) {
        gannet_replica_flush(replica);
    } else if (gannet_replica_requests(replica) < REQUESTS) {
        write_somewhere(pair, replica);
    }
}

/* --- steps ---------------------------------------------------------------- */

static gboolean step_first(GannetPair *pair)
{
    return pair->replicas[0]->up && gannet_replica_step(pair->replicas[0]);
}

static gboolean step_second(GannetPair *pair)
{
    return pair->replicas[1]->up && gannet_replica_step(pair->replicas[1]);
}

gboolean gannet_pair_step(GannetPair *pair)
{
    static gboolean (*const steps[])(GannetPair *) = {
        step_first, step_second, send_down, deliver_down, send_up,
        deliver_up, step_framework,
    };
    unsigned first = below(G_N_ELEMENTS(steps));

    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[(first + i) % G_N_ELEMENTS(steps)](pair)) {
            pair->stats.steps++;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_idle(const GannetPair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        const GannetReplica *replica = pair->replicas[i];

        if (replica->up && replica->tasks->len) {
            return FALSE;
        }
    }
    return pair->down.length == 0 && pair->up.length == 0 &&
           (pair->phase == GANNET_PHASE_OFF ||
            pair->phase == GANNET_PHASE_ON);
}

void gannet_pair_describe(const GannetPair *pair)
{
    g_printerr("phase %u, %u messages down, %u up, open %d %d, cut %d\n",
               pair->phase, pair->down.length, pair->up.length,
               pair->open[0], pair->open[1], pair->cut);
    for (unsigned i = 0; i < 2; i++) {
        const GannetReplica *replica = pair->replicas[i];

        if (!replica->up) {
            continue;
        }
        g_printerr("%s: primary %u, secondary %u, guest %u, stopped %d, side "
                   "file %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", %"
                   G_GUINT64_FORMAT " bytes free\n", replica->name,
                   gannet_primary_state(replica->primary),
                   gannet_secondary_state(replica->secondary),
                   replica->guest, replica->stopped,
                   gannet_side_file_durable(replica->side),
                   gannet_side_file_change(replica->side),
                   gannet_store_room(replica->store));
        for (guint j = 0; j < replica->tasks->len; j++) {
            const GannetTask *task = g_ptr_array_index(replica->tasks, j);

            g_printerr("  task %u, phase %u, %" G_GUINT64_FORMAT "+%"
                       G_GUINT64_FORMAT "\n", task->kind, task->phase,
                       task->range.offset, task->range.bytes);
        }
    }
}

/*
 * When nothing moves, whoever waits does so for memory, which a checkpoint
 * frees, or for a peer that is gone.
 */
void gannet_pair_settle(GannetPair *pair)
{
    unsigned checkpoints = 0;

    pair->steady = TRUE;
    for (unsigned i = 0; gannet_pair_step(pair) || !is_idle(pair); i++) {
        g_assert_cmpuint(i, <, MAX_STEPS);
        gannet_pair_check(pair);
        if (gannet_pair_step(pair)) {
            continue;
        }
        if (is_idle(pair)) {
            break;
        }
        if (pair->phase != GANNET_PHASE_ON) {
            gannet_pair_describe(pair);
            g_error("dead-lock");
        }
        if (is_linked(pair)) {
            g_assert_cmpuint(++checkpoints, <, 10);
            gannet_pair_checkpoint(pair);
        } else {
            gannet_pair_fail_over(pair);
        }
    }
    pair->steady = FALSE;
}
