/*
 * Two replicas of a disk, the connection between them, and who makes
 * checkpoints of both
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-pair.h"
#include "gannet-pair-internal.h"
#include "gannet-task.h"

#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)
#define MAX_STEPS 300000

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
        .slowness = 1 + below(below(2) ? 4 : 40),
    };
    pair->room = big || below(3) ? 2 * KIB + below(200) * KIB : UINT64_MAX;
}

GannetPair *gannet_pair_new(gboolean big)
{
    GannetPair *pair = g_new0(GannetPair, 1);
    GannetReplicaConfig config;

    pair->big = big;
    configure(pair, big, &config);
    pair->replicas[0] = gannet_replica_new("A", &config);
    pair->replicas[1] = gannet_replica_new("B", &config);
    pair->spare = gannet_replica_new("spare", &config);
    pair->sealed = gannet_image_new(&pair->layout);
    pair->recent = g_array_new(FALSE, FALSE, sizeof(GannetPairWrite));
    pair->share = below(3) ? 50 : below(101);
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
    gannet_replica_free(pair->spare);
    g_array_unref(pair->recent);
    g_free(pair->sealed);
    g_free(pair);
}

GannetReplica *gannet_pair_primary(const GannetPair *pair)
{
    return pair->replicas[pair->primary];
}

GannetReplica *gannet_pair_secondary(const GannetPair *pair)
{
    return pair->replicas[!pair->primary];
}

gboolean gannet_pair_is_linked(const GannetPair *pair)
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
        !gannet_primary_next(gannet_pair_primary(pair)->primary, &message,
                             &payload)) {
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
        !gannet_secondary_next(gannet_pair_secondary(pair)->secondary, &message,
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
    GannetReplica *secondary = gannet_pair_secondary(pair);
    GannetRange range = { mail->message.offset, mail->message.bytes };
    g_autoptr(GBytes) data = gannet_replica_read(secondary, GANNET_PVM,
                                                 &range);
    uint8_t hash[16];
    gboolean differs;

    gannet_replica_hash(data, hash);
    differs = memcmp(hash, g_bytes_get_data(mail->payload, NULL), 16) != 0;
    /* Where a local write failed nobody knows what there should be. */
    g_assert_true(!differs || gannet_pair_primary(pair)->failed);
    gannet_secondary_verified(secondary->secondary, &mail->message, differs);
    pair->stats.verified++;
}

static gboolean deliver_down(GannetPair *pair)
{
    GannetReplica *secondary = gannet_pair_secondary(pair);
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
    GannetReplica *primary = gannet_pair_primary(pair);
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

void gannet_pair_close(GannetPair *pair, unsigned which)
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
    GannetReplica *primary = gannet_pair_primary(pair);
    GannetReplica *secondary = gannet_pair_secondary(pair);
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

/* --- misfortune and repair ------------------------------------------------ */

void gannet_pair_crash(GannetPair *pair, unsigned which)
{
    GannetReplica *replica = pair->replicas[which];

    if (!replica->up) {
        return;
    }
    gannet_replica_crash(replica, below(3) > 0);
    gannet_pair_cut(pair);
    gannet_pair_close(pair, which);
    pair->pristine = FALSE;
    pair->stats.crashes++;
    if (pair->phase != GANNET_PHASE_OFF) {
        gannet_pair_fail_over(pair);
    }
}

void gannet_pair_swap(GannetPair *pair, unsigned which)
{
    if (!pair->replicas[which]->up) {
        gannet_replica_swap(pair->replicas[which], pair->spare);
        pair->pristine = FALSE;
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

/* --- steps ---------------------------------------------------------------- */

static gboolean step_first(GannetPair *pair)
{
    return pair->replicas[0]->up && gannet_replica_step(pair->replicas[0]);
}

static gboolean step_second(GannetPair *pair)
{
    return pair->replicas[1]->up && gannet_replica_step(pair->replicas[1]);
}

static gboolean step_any(GannetPair *pair, gboolean hurry)
{
    static gboolean (*const steps[])(GannetPair *) = {
        step_first, step_second, send_down, deliver_down, send_up,
        deliver_up, gannet_pair_step_framework,
    };
    unsigned first = below(G_N_ELEMENTS(steps));

    pair->replicas[0]->hurry = pair->replicas[1]->hurry = hurry;
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (steps[(first + i) % G_N_ELEMENTS(steps)](pair)) {
            pair->stats.steps++;
            return TRUE;
        }
    }
    return FALSE;
}

gboolean gannet_pair_step(GannetPair *pair)
{
    return step_any(pair, FALSE) || step_any(pair, TRUE);
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
        if (gannet_pair_is_linked(pair)) {
            g_assert_cmpuint(++checkpoints, <, 10);
            gannet_pair_checkpoint(pair);
        } else {
            gannet_pair_fail_over(pair);
        }
    }
    pair->steady = FALSE;
}
