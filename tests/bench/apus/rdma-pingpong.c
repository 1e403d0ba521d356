/*
 * A bare ping-pong of RDMA WRITEs between two processes: what a write and the
 * answering write cost before anything is done with them
 *
 * Each side looks at its own memory until the number at the message's end is
 * the next one. (That the end arrives last is what software RDMA does; a
 * protocol must not rely on it.)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "colo-net/apus/tools/bench/load.h"

#define PATIENCE G_GUINT64_CONSTANT(10000000000)
#define PORT "7470"
#define ADDRESSES "10.0.0.1,10.0.0.2"

enum { SENDS = 64 };

/* Where the other side writes: sent in the private data. */
typedef struct {
    uint64_t address;
    uint32_t rkey;
} Place;

typedef struct {
    struct rdma_cm_id *id;
    size_t size;
    uint8_t *in, *out; /* a message, and its number */
    struct ibv_mr *in_region, *out_region;
    Place there;
    uint64_t number; /* of the last message that was sent */
    unsigned unsignalled;
    BenchLoad *load; /* of who measures */
    BenchSlot *slot;
    gboolean ended;
} Side;

typedef struct {
    const BenchSettings *settings;
    char **hosts;
    int ready[2]; /* a pipe: the server listens */
} Bench;

static gboolean make_endpoint(struct rdma_cm_id **id, const char *from,
                              const char *to)
{
    struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP };
    struct ibv_qp_init_attr attr = {
        .cap = { .max_send_wr = SENDS, .max_recv_wr = 1, .max_send_sge = 1,
                 .max_recv_sge = 1 },
        .qp_type = IBV_QPT_RC,
    };
    struct rdma_addrinfo numeric = { .ai_flags = RAI_NUMERICHOST };
    struct rdma_addrinfo *here = NULL, *there = NULL;
    gboolean good;

    if (from) {
        good = !rdma_getaddrinfo(from, NULL, &numeric, &here);
        hints.ai_src_addr = good ? here->ai_dst_addr : NULL;
        hints.ai_src_len = good ? here->ai_dst_len : 0;
    } else {
        hints.ai_flags = RAI_PASSIVE;
        good = TRUE;
    }
    good = good && !rdma_getaddrinfo(to, PORT, &hints, &there) &&
           !rdma_create_ep(id, there, NULL, &attr);
    g_clear_pointer(&there, rdma_freeaddrinfo);
    g_clear_pointer(&here, rdma_freeaddrinfo);
    return good;
}

static gboolean register_memory(Side *side, struct rdma_cm_id *id, size_t size)
{
    size_t all = size + sizeof(side->number);

    side->id = id;
    side->size = size;
    side->in = g_malloc0(all);
    side->out = g_malloc0(all);
    side->in_region = rdma_reg_write(id, side->in, all);
    side->out_region = rdma_reg_msgs(id, side->out, all);
    return side->in_region && side->out_region;
}

static Place our_place(const Side *side)
{
    return (Place) { (uintptr_t)side->in, side->in_region->rkey };
}

static gboolean send_message(Side *side)
{
    gboolean signalled = ++side->unsignalled == SENDS / 2;
    struct ibv_wc done;

    side->number++;
    memcpy(side->out + side->size, &side->number, sizeof(side->number));
    if (rdma_post_write(side->id, NULL, side->out,
                        side->size + sizeof(side->number), side->out_region,
                        signalled ? IBV_SEND_SIGNALED : 0,
                        side->there.address, side->there.rkey)) {
        return FALSE;
    }
    if (!signalled) {
        return TRUE;
    }
    side->unsignalled = 0;
    return rdma_get_send_comp(side->id, &done) == 1 &&
           done.status == IBV_WC_SUCCESS;
}

static gboolean has_come(const Side *side, uint64_t number)
{
    uint64_t *end = (uint64_t *)(side->in + side->size);

    return __atomic_load_n(end, __ATOMIC_ACQUIRE) == number;
}

/* --- the server --------------------------------------------------------- */

static int serve(void *opaque, unsigned place)
{
    Bench *bench = opaque;
    struct rdma_conn_param param = { .retry_count = 7, .rnr_retry_count = 7 };
    struct rdma_cm_id *listener, *id;
    Side side = { 0 };
    Place ours;

    (void)place;
    if (!make_endpoint(&listener, NULL, bench->hosts[0]) ||
        rdma_listen(listener, 1) || write(bench->ready[1], "", 1) != 1 ||
        rdma_get_request(listener, &id) ||
        !register_memory(&side, id, bench->settings->size)) {
        g_printerr("rdma-pingpong: server: %s\n", g_strerror(errno));
        return 1;
    }
    memcpy(&side.there, id->event->param.conn.private_data,
           sizeof(side.there));
    ours = our_place(&side);
    param.private_data = &ours;
    param.private_data_len = sizeof(ours);
    if (rdma_accept(id, &param)) {
        g_printerr("rdma-pingpong: server: %s\n", g_strerror(errno));
        return 1;
    }
    /* Until the one who measures ends, and this process with it. */
    for (;;) {
        while (!has_come(&side, side.number + 1)) {
            sched_yield();
        }
        if (!send_message(&side)) {
            return 1;
        }
    }
}

/* --- who measures ------------------------------------------------------- */

static gboolean begin(void *opaque, BenchSlot *slot)
{
    Side *side = opaque;

    side->slot = slot;
    return send_message(side);
}

static void ended(void *opaque)
{
    Side *side = opaque;

    side->ended = TRUE;
}

static gboolean connect_server(Bench *bench, Side *side)
{
    struct rdma_conn_param param = { .retry_count = 7, .rnr_retry_count = 7 };
    struct rdma_cm_id *id;
    Place ours;
    char byte;

    if (read(bench->ready[0], &byte, 1) != 1 ||
        !make_endpoint(&id, bench->hosts[1], bench->hosts[0]) ||
        !register_memory(side, id, bench->settings->size)) {
        return FALSE;
    }
    ours = our_place(side);
    param.private_data = &ours;
    param.private_data_len = sizeof(ours);
    if (rdma_connect(id, &param)) {
        return FALSE;
    }
    memcpy(&side->there, id->event->param.conn.private_data,
           sizeof(side->there));
    return TRUE;
}

static void run(Side *side, uint64_t deadline)
{
    while (!side->ended && bench_now() < deadline) {
        if (!has_come(side, side->number)) {
            sched_yield();
        } else if (!bench_load_done(side->slot)) {
            return;
        }
    }
}

static gboolean measure(Bench *bench, BenchGroup *group, GError **errp)
{
    const BenchLoadOps ops = { .begin = begin, .ended = ended };
    Side side = { 0 };
    g_autoptr(BenchLoad) load = bench_load_new(bench->settings, group, &ops,
                                               &side);

    /* The server first: RDMA that was used does not survive a fork. */
    if (pipe(bench->ready) || !bench_group_add_self(group, "client", errp) ||
        !bench_group_add(group, "server", serve, bench, errp)) {
        return FALSE;
    }
    if (!connect_server(bench, &side)) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "a connection: %s", g_strerror(errno));
        return FALSE;
    }
    side.load = load;
    if (bench_load_start(load)) {
        run(&side, bench_now() + bench_load_deadline(bench->settings,
                                                     PATIENCE));
    }
    if (!side.ended) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "the server does not answer");
        return FALSE;
    }
    for (unsigned i = 0; i < bench_load_results(load); i++) {
        bench_result_print(bench_load_result(load, i), "rdma-pingpong",
                           bench->settings, group);
    }
    return TRUE;
}

static gboolean check(Bench *bench, const char *hosts, GError **errp)
{
    bench->hosts = g_strsplit(hosts ?: ADDRESSES, ",", -1);
    if (g_strv_length(bench->hosts) < 2) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--hosts: must be two addresses");
        return FALSE;
    }
    for (unsigned i = 0; i < bench->settings->inflight.count; i++) {
        if (bench->settings->inflight.value[i] != 1) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--inflight: must be 1");
            return FALSE;
        }
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *hosts = NULL;
    const GOptionEntry more[] = {
        { "hosts", 0, 0, G_OPTION_ARG_STRING, &hosts,
          "of this host, that an RDMA device has (" ADDRESSES ")",
          "ADDRESS,ADDRESS" },
        { 0 }
    };
    BenchSettings settings;
    Bench bench = { .settings = &settings };
    BenchGroup group = { 0 };
    gboolean good;

    good = bench_settings_parse(&settings, "A ping-pong of RDMA WRITEs.", more,
                                argc, argv, &error) &&
           check(&bench, hosts, &error) &&
           bench_group_init(&group, &settings, FALSE, &error) &&
           measure(&bench, &group, &error);
    bench_group_end(&group);
    bench_settings_clear(&settings);
    g_strfreev(bench.hosts);
    if (!good) {
        g_printerr("rdma-pingpong: %s\n", error->message);
    }
    return good ? 0 : 1;
}
