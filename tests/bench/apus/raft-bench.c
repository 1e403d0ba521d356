/*
 * The same work done by libraft: a group of processes on loopback, and a
 * closed loop of entries
 *
 * Compare apus-bench.c. All members vote; the first is elected because it
 * waits least for a leader. An entry is done when it is applied. Snapshots are
 * taken, and are next to nothing, so that neither memory nor disk fills up;
 * between two of them, as much is kept as the ring of an APUS member holds.
 *
 * libraft always writes to its directory: for the sake of a comparison without
 * a disk, that must be on tmpfs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <raft.h>
#include <raft/uv.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "colo-net/apus/tools/bench/load.h"

#define PATIENCE G_GUINT64_CONSTANT(20000000000)
#define KEPT_BYTES (64 << 20)
#define MAX_KEPT (256 * 1024) /* entries, whatever their size */
#define FIRST_TIMEOUT 300 /* milliseconds without a leader: the first's */
#define OTHER_TIMEOUT 3000
#define HEARTBEAT 50

typedef struct {
    BenchSettings settings;
    BenchGroup group;
    uint16_t ports[BENCH_MAX_PROCESSES];
} Bench;

typedef struct {
    const Bench *bench;
    uv_loop_t loop;
    uv_timer_t timer;
    struct raft_uv_transport transport;
    int (*connect)(struct raft_uv_transport *transport,
                   struct raft_uv_connect *request, raft_id id,
                   const char *address, raft_uv_connect_cb done);
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft raft;
    uint64_t applied;

    BenchLoad *load; /* of the leader */
    uint64_t deadline;
    gboolean ended;
    char *failure;
} Member;

/* An entry under way. */
typedef struct {
    struct raft_apply apply;
    BenchSlot *slot;
} Request;

static void fail(Member *member, const char *what, const char *why)
{
    if (!member->failure) {
        member->failure = g_strdup_printf("%s: %s", what, why);
    }
    uv_stop(&member->loop);
}

/* --- what is replicated -------------------------------------------------- */

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buffer,
                 void **result)
{
    Member *member = fsm->data;

    (void)buffer;
    member->applied++;
    *result = NULL;
    return 0;
}

static int snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[],
                    unsigned *count)
{
    Member *member = fsm->data;

    *count = 1;
    *buffers = raft_malloc(sizeof(**buffers));
    (*buffers)[0].len = sizeof(uint64_t);
    (*buffers)[0].base = raft_malloc(sizeof(uint64_t));
    memcpy((*buffers)[0].base, &member->applied, sizeof(uint64_t));
    return 0;
}

static int restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    Member *member = fsm->data;

    memcpy(&member->applied, buffer->base, sizeof(uint64_t));
    raft_free(buffer->base);
    return 0;
}

/* --- a member ------------------------------------------------------------ */

static void set_nodelay(uv_stream_t *stream)
{
    int fd, on = 1;

    if (stream && !uv_fileno((uv_handle_t *)stream, &fd)) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
}

/* What connect() was asked for, with another callback. */
typedef struct {
    struct raft_uv_connect request;
    struct raft_uv_connect *original;
} Connect;

static void connected(struct raft_uv_connect *request, uv_stream_t *stream,
                      int status)
{
    Connect *connect = request->data;
    struct raft_uv_connect *original = connect->original;

    set_nodelay(stream);
    g_free(connect);
    original->cb(original, stream, status);
}

/* libraft leaves Nagle's algorithm on, which would cost it dearly. */
static int connect_nodelay(struct raft_uv_transport *transport,
                           struct raft_uv_connect *request, raft_id id,
                           const char *address, raft_uv_connect_cb done)
{
    /* Its data pointer is libraft's. */
    Member *member = (Member *)((char *)transport -
                                offsetof(Member, transport));
    Connect *connect = g_new0(Connect, 1);
    int rc;

    connect->request.data = connect;
    connect->original = request;
    request->cb = done;
    rc = member->connect(transport, &connect->request, id, address, connected);
    if (rc) {
        g_free(connect);
    }
    return rc;
}

static char *address_of(const Bench *bench, unsigned place)
{
    return g_strdup_printf("127.0.0.1:%u", bench->ports[place]);
}

static int bootstrap(Member *member)
{
    struct raft_configuration configuration;
    int rc = 0;

    raft_configuration_init(&configuration);
    for (unsigned i = 0; !rc && i < member->bench->settings.members; i++) {
        g_autofree char *address = address_of(member->bench, i);

        rc = raft_configuration_add(&configuration, i + 1, address,
                                    RAFT_VOTER);
    }
    rc = rc ? rc : raft_bootstrap(&member->raft, &configuration);
    raft_configuration_close(&configuration);
    return rc;
}

static gboolean member_start(Member *member, const Bench *bench,
                             unsigned place)
{
    g_autofree char *address = address_of(bench, place);
    g_autofree char *directory =
        g_strdup_printf("%s/%u", bench->group.directory, place + 1);
    unsigned kept = MIN(KEPT_BYTES / bench->settings.size, MAX_KEPT);

    member->bench = bench;
    member->fsm = (struct raft_fsm) {
        .version = 1, .data = member, .apply = apply, .snapshot = snapshot,
        .restore = restore,
    };
    if (mkdir(directory, 0700) || uv_loop_init(&member->loop) ||
        raft_uv_tcp_init(&member->transport, &member->loop)) {
        fail(member, directory, "cannot be used");
        return FALSE;
    }
    member->connect = member->transport.connect;
    member->transport.connect = connect_nodelay;
    if (raft_uv_init(&member->io, &member->loop, directory,
                     &member->transport) ||
        raft_init(&member->raft, &member->io, &member->fsm, place + 1,
                  address)) {
        fail(member, "raft_init", member->io.errmsg);
        return FALSE;
    }
    member->raft.data = member;
    raft_uv_set_connect_retry_delay(&member->io, 20);
    raft_set_election_timeout(&member->raft,
                              place ? OTHER_TIMEOUT : FIRST_TIMEOUT);
    raft_set_heartbeat_timeout(&member->raft, HEARTBEAT);
    raft_set_snapshot_threshold(&member->raft, kept / 2);
    raft_set_snapshot_trailing(&member->raft, kept / 2);
    if (bootstrap(member) || raft_start(&member->raft)) {
        fail(member, "raft_start", raft_errmsg(&member->raft));
        return FALSE;
    }
    return TRUE;
}

static int follow(void *opaque, unsigned place)
{
    Member *member = g_new0(Member, 1);

    if (member_start(member, opaque, place)) {
        uv_run(&member->loop, UV_RUN_DEFAULT);
    }
    g_printerr("raft-bench: member %u ended: %s\n", place + 1,
               member->failure ? member->failure : "");
    return 1;
}

/* --- the leader, which measures ------------------------------------------ */

static void applied(struct raft_apply *apply, int status, void *result)
{
    Member *member = apply->data;
    Request *request = (Request *)apply;
    BenchSlot *slot = request->slot;

    (void)result;
    g_free(request);
    if (status) {
        fail(member, "an entry was not applied", raft_strerror(status));
    } else if (!bench_load_done(slot)) {
        fail(member, "raft_apply", raft_errmsg(&member->raft));
    }
}

static gboolean begin(void *opaque, BenchSlot *slot)
{
    Member *member = opaque;
    Request *request = g_new(Request, 1);
    struct raft_buffer buffer;

    /* libraft wants multiples of 8, and frees it. */
    buffer.len = (member->bench->settings.size + 7) & ~7u;
    buffer.base = raft_malloc(buffer.len);
    memset(buffer.base, 0, buffer.len);
    request->apply.data = member;
    request->slot = slot;
    if (raft_apply(&member->raft, &request->apply, &buffer, 1, applied)) {
        raft_free(buffer.base);
        g_free(request);
        return FALSE;
    }
    return TRUE;
}

static void ended(void *opaque)
{
    Member *member = opaque;

    member->ended = TRUE;
    uv_stop(&member->loop);
}

/* It leads, and a majority has what it has; the others come in the warm-up. */
static gboolean leads(Member *member)
{
    raft_index last = raft_last_index(&member->raft);

    return raft_state(&member->raft) == RAFT_LEADER &&
           raft_last_applied(&member->raft) == last;
}

static void tick(uv_timer_t *timer)
{
    Member *member = timer->data;

    if (bench_now() > member->deadline) {
        fail(member, "nothing happens", raft_errmsg(&member->raft));
    } else if (!member->load && leads(member)) {
        static const BenchLoadOps ops = { .begin = begin, .ended = ended };

        member->load = bench_load_new(&member->bench->settings,
                                      &member->bench->group, &ops, member);
        if (!bench_load_start(member->load)) {
            fail(member, "raft_apply", raft_errmsg(&member->raft));
        }
    }
}

static gboolean measure(Bench *bench, GError **errp)
{
    Member *member = g_new0(Member, 1);

    member->deadline = bench_now() +
                       bench_load_deadline(&bench->settings, PATIENCE);
    if (member_start(member, bench, 0)) {
        uv_timer_init(&member->loop, &member->timer);
        member->timer.data = member;
        uv_timer_start(&member->timer, tick, 20, 20);
        uv_run(&member->loop, UV_RUN_DEFAULT);
    }
    if (!member->ended) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s",
                    member->failure ? member->failure : "ended early");
        return FALSE;
    }
    for (unsigned i = 0; i < bench_load_results(member->load); i++) {
        bench_result_print(bench_load_result(member->load, i), "libraft",
                           &bench->settings, &bench->group);
    }
    return TRUE;
}

/* The followers first, so that the leader knows their CPU clocks. */
static gboolean start_group(Bench *bench, GError **errp)
{
    if (!bench_group_init(&bench->group, &bench->settings, TRUE, errp) ||
        !bench_free_ports(bench->settings.members, bench->ports, errp) ||
        !bench_group_add_self(&bench->group, "leader", errp)) {
        return FALSE;
    }
    for (unsigned i = 1; i < bench->settings.members; i++) {
        if (!bench_group_add(&bench->group, "follower", follow, bench,
                             errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree Bench *bench = g_new0(Bench, 1);
    gboolean good;

    signal(SIGPIPE, SIG_IGN);
    good = bench_settings_parse(&bench->settings,
                                "Entries committed by libraft. Its state is "
                                "always written to --directory.",
                                NULL, argc, argv, &error) &&
           start_group(bench, &error) && measure(bench, &error);
    bench_group_end(&bench->group);
    bench_settings_clear(&bench->settings);
    if (!good) {
        g_printerr("raft-bench: %s\n", error->message);
    }
    return good ? 0 : 1;
}
