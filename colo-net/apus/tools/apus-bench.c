/*
 * apus-bench: how fast a group commits
 *
 * A whole group is started, each member as a process of its own, on loopback
 * or at addresses of this host, with a state directory of its own that is
 * removed at the end: a leader, a secondary, which is delivered everything too,
 * and witnesses. Or, with --member, this process is one member of a group that
 * exists, whose other members run elsewhere, and has it under load as soon as
 * it leads.
 *
 * The load is a closed loop: the next entry is submitted in the callback that
 * says that one is committed. An entry's latency is the time between the two.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "../apus.h"
#include "bench/load.h"

#define PATIENCE G_GUINT64_CONSTANT(20000000000)
#define STOP_TIMEOUT G_GUINT64_CONSTANT(1000000000)
#define KEY_SIZE 32

typedef struct {
    BenchSettings settings;
    BenchGroup group;
    ApusMembers members; /* of the group that is started */
    uint8_t *key;
    size_t key_size;

    /* The command line. */
    char *member, *cluster, *key_file, *hosts, *transport;
    int id, busy_poll, rdma_ring, ack_timeout;
    gboolean rdma, tls, verbose;
} Bench;

/* This process's member. */
typedef struct {
    Bench *bench;
    ApusId id;
    Apus *apus;
    uint8_t *payload;
    gboolean named; /* the role with a secondary was submitted */
    BenchLoad *load; /* once it leads; belongs to the member's thread */

    GMutex lock;
    GCond changed;
    gboolean ended;
    char *failure;
} Member;

/* --- the member's handlers, in its thread -------------------------------- */

static void end(Member *member, char *failure)
{
    g_mutex_lock(&member->lock);
    if (!member->ended) {
        member->ended = TRUE;
        member->failure = failure;
    } else {
        g_free(failure);
    }
    g_cond_signal(&member->changed);
    g_mutex_unlock(&member->lock);
}

static ApusDeliver deliver(void *opaque, const ApusEntry *entry)
{
    (void)opaque;
    (void)entry;
    return APUS_DELIVER_GO_ON;
}

static void committed(void *opaque, ApusFate fate, uint64_t index)
{
    BenchSlot *slot = opaque;
    Member *member = slot->opaque;

    (void)index;
    if (fate != APUS_FATE_COMMITTED) {
        end(member, g_strdup("an entry was not committed"));
    } else if (!bench_load_done(slot)) {
        end(member, g_strdup("no entry could be submitted"));
    }
}

static gboolean begin(void *opaque, BenchSlot *slot)
{
    Member *member = opaque;
    g_autoptr(GError) error = NULL;

    if (apus_submit(member->apus, APUS_ENTRY_INPUT, member->payload,
                    member->bench->settings.size, committed, slot, &error)) {
        return TRUE;
    }
    if (!g_error_matches(error, APUS_ERROR, APUS_ERROR_FULL)) {
        end(member, g_strdup(error->message));
    }
    return FALSE;
}

static void measured(void *opaque)
{
    end(opaque, NULL);
}

static void count(void *opaque, uint64_t *writes, uint64_t *reads)
{
    ApusTransportCounters counters = { 0 };
    Member *member = opaque;

    apus_counters(member->apus, &counters, NULL);
    *writes = counters.writes;
    *reads = counters.reads;
}

/* The secondary is named: the load begins. */
static void named(void *opaque, ApusFate fate, uint64_t index)
{
    static const BenchLoadOps ops = {
        .begin = begin,
        .ended = measured,
        .count = count,
    };
    Member *member = opaque;

    (void)index;
    if (fate != APUS_FATE_COMMITTED) {
        end(member, g_strdup("the role was not committed"));
        return;
    }
    member->load = bench_load_new(&member->bench->settings,
                                  &member->bench->group, &ops, member);
    if (!bench_load_start(member->load)) {
        end(member, g_strdup("no entry could be submitted"));
    }
}

/* Is everybody there? @secondary: the first who can be that, or nobody. */
static gboolean complete(const ApusStatus *status, ApusId *secondary)
{
    unsigned connected = 0;

    *secondary = APUS_NOBODY;
    for (unsigned i = 0; i < status->peers; i++) {
        const ApusPeerStatus *peer = &status->peer[i];
        int place = apus_members_find(&status->members, peer->id);

        if (place < 0 || !peer->connected) {
            continue;
        }
        connected++;
        if (!*secondary && status->members.member[place].can_run) {
            *secondary = peer->id;
        }
    }
    return connected + 1 == status->members.count;
}

static void say(void *opaque, GLogLevelFlags level, const char *text)
{
    Member *member = opaque;

    if (member->bench->verbose || level <= G_LOG_LEVEL_WARNING) {
        g_printerr("apus-bench: member %u: %s\n", member->id, text);
    }
}

static void say_status(Member *member, const ApusStatus *status)
{
    g_autofree char *text =
        g_strdup_printf("%s in term %" G_GUINT64_FORMAT ", the leader is %u; "
                        "of %" G_GUINT64_FORMAT " entries %" G_GUINT64_FORMAT
                        " are committed", apus_state_name(status->state),
                        status->term, status->leader, status->last,
                        status->commit);

    say(member, G_LOG_LEVEL_INFO, text);
}

static void status_changed(void *opaque, const ApusStatus *status)
{
    Member *member = opaque;
    g_autoptr(GError) error = NULL;
    ApusId secondary;

    say_status(member, status);
    if (status->state != APUS_STATE_LEADER) {
        if (member->load) {
            end(member, g_strdup("this member no longer leads"));
        }
        return;
    }
    if (!status->accepts) {
        apus_settled(member->apus);
        return;
    }
    if (member->named || !complete(status, &secondary)) {
        return;
    }
    member->named = TRUE;
    if (!apus_submit_role(member->apus, secondary, 0, named, member,
                          &error)) {
        end(member, g_strdup(error->message));
    }
}

static void failed(void *opaque, const GError *error)
{
    end(opaque, g_strdup(error->message));
}

/* --- a member ----------------------------------------------------------- */

static void member_init(Member *member, Bench *bench, ApusId id)
{
    memset(member, 0, sizeof(*member));
    g_mutex_init(&member->lock);
    g_cond_init(&member->changed);
    member->bench = bench;
    member->id = id;
    member->payload = g_malloc0(bench->settings.size);
}

static void member_clear(Member *member)
{
    apus_free(member->apus);
    g_clear_pointer(&member->load, bench_load_free);
    g_free(member->payload);
    g_free(member->failure);
    g_mutex_clear(&member->lock);
    g_cond_clear(&member->changed);
}

static gboolean member_open(Member *member, gboolean can_run, GError **errp)
{
    static const ApusHandlers handlers = {
        .deliver = deliver,
        .changed = status_changed,
        .failed = failed,
        .log = say,
    };
    Bench *bench = member->bench;
    g_autofree char *directory =
        bench->member ? g_strdup(bench->member)
                      : g_strdup_printf("%s/%u", bench->group.directory,
                                        member->id);
    ApusConfig config = {
        .cluster = bench->cluster,
        .id = member->id,
        .directory = directory,
        .can_run = can_run,
        .delivers = can_run,
        .durability = bench->settings.disk ? APUS_DURABILITY_DISK
                                           : APUS_DURABILITY_MEMORY,
        .key = bench->key,
        .key_size = bench->key_size,
        .tls = bench->tls,
        .transport = bench->rdma ? APUS_TRANSPORT_RDMA : APUS_TRANSPORT_TCP,
        .rdma_ring = (size_t)bench->rdma_ring << 10,
        .rdma_ack_timeout = bench->ack_timeout * G_GUINT64_CONSTANT(1000000),
        .busy_poll = bench->busy_poll * G_GUINT64_CONSTANT(1000),
    };

    if (!bench->member &&
        !apus_found(&config, &bench->members, 1, FALSE, errp)) {
        return FALSE;
    }
    member->apus = apus_new(&config, &handlers, member, errp);
    return member->apus != NULL;
}

/* A child: a member until it is ended. */
static int follow(void *opaque, unsigned place)
{
    Bench *bench = opaque;
    g_autoptr(GError) error = NULL;
    Member member;

    member_init(&member, bench, place + 1);
    if (!member_open(&member, bench->members.member[place].can_run, &error)) {
        g_printerr("apus-bench: member %u: %s\n", place + 1, error->message);
        return 1;
    }
    apus_run(member.apus);
    return 1;
}

static gboolean wait_for_end(Member *member, GError **errp)
{
    const BenchSettings *settings = &member->bench->settings;
    gint64 deadline = g_get_monotonic_time() +
                      bench_load_deadline(settings, PATIENCE) / 1000;
    gboolean in_time = TRUE;

    g_mutex_lock(&member->lock);
    while (in_time && !member->ended) {
        in_time = g_cond_wait_until(&member->changed, &member->lock, deadline);
    }
    if (!in_time) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_BUSY, "no progress: %s",
                    member->named ? "entries are not committed"
                                  : "this member does not lead a complete "
                                    "group");
    } else if (member->failure) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_STOPPED,
                            member->failure);
    }
    in_time = in_time && !member->failure;
    g_mutex_unlock(&member->lock);
    return in_time;
}

static void print_counters(Apus *apus)
{
    ApusTransportCounters counters;

    if (apus_counters(apus, &counters, NULL)) {
        g_printerr("apus-bench: sent %" G_GUINT64_FORMAT " frames, %"
                   G_GUINT64_FORMAT " bytes, in %" G_GUINT64_FORMAT
                   " writes; received %" G_GUINT64_FORMAT " frames, %"
                   G_GUINT64_FORMAT " bytes, in %" G_GUINT64_FORMAT
                   " reads; dropped %" G_GUINT64_FORMAT "\n",
                   counters.frames_sent, counters.bytes_sent, counters.writes,
                   counters.frames_received, counters.bytes_received,
                   counters.reads, counters.dropped);
    }
}

/* Leads, once the group lets it, and prints what it measured. */
static gboolean measure(Bench *bench, GError **errp)
{
    Member member;
    gboolean good;

    member_init(&member, bench, bench->member ? bench->id : 1);
    good = member_open(&member, TRUE, errp) &&
           apus_start(member.apus, errp) && wait_for_end(&member, errp);
    if (good && bench->verbose) {
        print_counters(member.apus);
    }
    if (member.apus) {
        apus_stop(member.apus, STOP_TIMEOUT);
    }
    for (unsigned i = 0; good && i < bench_load_results(member.load); i++) {
        bench_result_print(bench_load_result(member.load, i), "apus",
                           &bench->settings, &bench->group);
    }
    member_clear(&member);
    return good;
}

/* --- the group ---------------------------------------------------------- */

/* The first two can run a VM, all others are witnesses. */
static gboolean make_members(Bench *bench, GError **errp)
{
    g_auto(GStrv) hosts = g_strsplit(bench->hosts ?: "127.0.0.1", ",", -1);
    unsigned known = g_strv_length(hosts);
    uint16_t ports[BENCH_MAX_PROCESSES];
    unsigned count = bench->settings.members;

    if (!bench_free_ports(count, ports, errp)) {
        return FALSE;
    }
    bench->members.count = count;
    for (unsigned i = 0; i < count; i++) {
        ApusMember *member = &bench->members.member[i];

        member->id = i + 1;
        member->can_run = i < 2;
        g_snprintf(member->address, sizeof(member->address), "%s:%u",
                   hosts[i % known], ports[i]);
    }
    return TRUE;
}

/* The others first, so that the leader knows their CPU clocks. */
static gboolean start_group(Bench *bench, GError **errp)
{
    if (!bench_group_init(&bench->group, &bench->settings, !bench->member,
                          errp) ||
        !bench_group_add_self(&bench->group, "leader", errp)) {
        return FALSE;
    }
    if (bench->member) {
        return TRUE;
    }
    if (!make_members(bench, errp)) {
        return FALSE;
    }
    for (unsigned i = 1; i < bench->members.count; i++) {
        if (!bench_group_add(&bench->group, i == 1 ? "secondary" : "witness",
                             follow, bench, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean take_key(Bench *bench, GError **errp)
{
    if (bench->key_file) {
        return g_file_get_contents(bench->key_file, (char **)&bench->key,
                                   &bench->key_size, errp);
    }
    if (bench->tls) {
        bench->key = g_malloc(KEY_SIZE);
        bench->key_size = getrandom(bench->key, KEY_SIZE, 0);
    }
    return TRUE;
}

static gboolean check_transport(Bench *bench, GError **errp)
{
    bench->rdma = !g_strcmp0(bench->transport, "rdma");
    if (bench->transport && !bench->rdma && strcmp(bench->transport, "tcp")) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--transport is '%s', must be tcp or rdma",
                    bench->transport);
        return FALSE;
    }
    if (bench->rdma_ring < 0 || bench->ack_timeout < 0) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--rdma-ring and --ack-timeout cannot be negative");
        return FALSE;
    }
    return TRUE;
}

static gboolean check(Bench *bench, GError **errp)
{
    if (bench->member && (bench->id < 1 || bench->id > G_MAXUINT16)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--member needs --id, a number from 1 to %u",
                    G_MAXUINT16);
        return FALSE;
    }
    if (bench->busy_poll < 0 || bench->busy_poll > 1000000) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--busy-poll is %d, must be 0 to 1000000 microseconds",
                    bench->busy_poll);
        return FALSE;
    }
    if (bench->hosts && !*bench->hosts) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--hosts= needs an address of this host, or several");
        return FALSE;
    }
    return check_transport(bench, errp);
}

static gboolean parse(Bench *bench, int argc, char **argv, GError **errp)
{
    const GOptionEntry more[] = {
        { "transport", 0, 0, G_OPTION_ARG_STRING, &bench->transport,
          "tcp or rdma (tcp)", "KIND" },
        { "rdma-ring", 0, 0, G_OPTION_ARG_INT, &bench->rdma_ring,
          "memory for entries from a leader, for each member (1024)", "KIB" },
        { "ack-timeout", 0, 0, G_OPTION_ARG_INT, &bench->ack_timeout,
          "until an RDMA connection with a silent host is broken (100)",
          "MILLISECONDS" },
        { "tls", 0, 0, G_OPTION_ARG_NONE, &bench->tls,
          "members speak TLS", NULL },
        { "busy-poll", 0, 0, G_OPTION_ARG_INT, &bench->busy_poll,
          "of each member, before it sleeps (0; with RDMA 50)",
          "MICROSECONDS" },
        { "hosts", 0, 0, G_OPTION_ARG_STRING, &bench->hosts,
          "of this host, for each member in turn (127.0.0.1)",
          "ADDRESS,ADDRESS,..." },
        { "member", 0, 0, G_OPTION_ARG_FILENAME, &bench->member,
          "be the member whose state this is, of a group that exists",
          "DIRECTORY" },
        { "id", 0, 0, G_OPTION_ARG_INT, &bench->id, "of that member", "N" },
        { "cluster", 0, 0, G_OPTION_ARG_STRING, &bench->cluster,
          "of that member (bench)", "NAME" },
        { "key-file", 0, 0, G_OPTION_ARG_FILENAME, &bench->key_file,
          "the secret of the group", "FILE" },
        { "verbose", 'v', 0, G_OPTION_ARG_NONE, &bench->verbose,
          "what members say, and what the leader sent", NULL },
        { 0 }
    };

    bench->cluster = g_strdup("bench");
    return bench_settings_parse(&bench->settings,
                                "How fast a group of APUS members commits.",
                                more, argc, argv, errp) &&
           check(bench, errp) && take_key(bench, errp);
}

static void bench_free(Bench *bench)
{
    bench_group_end(&bench->group);
    bench_settings_clear(&bench->settings);
    g_free(bench->key);
    g_free(bench->member);
    g_free(bench->cluster);
    g_free(bench->key_file);
    g_free(bench->hosts);
    g_free(bench->transport);
    g_free(bench);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    Bench *bench = g_new0(Bench, 1);
    gboolean good;

    good = parse(bench, argc, argv, &error) && start_group(bench, &error) &&
           measure(bench, &error);
    bench_free(bench);
    if (!good) {
        g_printerr("apus-bench: %s\n", error->message);
    }
    return good ? 0 : 1;
}
