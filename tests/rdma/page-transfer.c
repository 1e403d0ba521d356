/*
 * How fast syncs are, over TCP and over RDMA
 *
 *   page-transfer LEADER SECONDARY [--pages=N] [--dirty=N] [--syncs=N]
 *               [--full] [--over=tcp|rdma]
 *
 * Two processes, a leader and a secondary as they are in QEMU, but with VMs
 * that are only memory. In each sync the leader has written --dirty pages of
 * --pages, at random places and with random bytes, of which all differ; with
 * --full they are sent without being compared. LEADER and SECONDARY are the
 * addresses of both, on one machine; with RDMA, of its devices.
 *
 * On standard output, for each way, a line of JSON. The times are the leader's,
 * in microseconds: "staged" until it may release what the guest has said,
 * "sync" until the secondary has applied. Writes are RDMA WRITEs, calls those
 * of the kernel for the connection, "sleeps" how often
 * somebody waited in it; all are for each sync.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plover-sync/core/leader.h"
#include "plover-sync/core/secondary.h"

#define PAGE 4096
#define TIMEOUT_US 10000000
#define WARM_UP 5 /* syncs that do not count */

typedef struct Options {
    int pages, dirty, syncs;
    gboolean full;
    char *over;
} Options;

enum { LEADER, SECONDARY, SIDES };

typedef struct Count {
    uint64_t writes, bytes, sleeps, calls;
} Count;

/* Of one run: shared by both processes. */
typedef struct Result {
    Count count[SIDES];
    int64_t staged[10000], sync[10000];
    uint64_t sent, received;
    uint64_t differing; /* pages, at the end */
    gboolean done;
} Result;

typedef struct Side {
    const Options *options;
    int socket;
    uint64_t calls, sleeps;
    uint8_t *memory;
    GArray *dirty;
    PloverRdma *rdma;
    PloverLink *link;
} Side;

/* --- the connection ------------------------------------------------------- */

static int64_t io_now(void *opaque G_GNUC_UNUSED)
{
    return g_get_monotonic_time();
}

static gboolean io_wait(Side *side, short events, int64_t deadline,
                        GError **errp)
{
    struct pollfd pfd = { .fd = side->socket, .events = events };
    int64_t left = deadline == PLOVER_NO_DEADLINE ? -1 :
                   MAX(0, deadline - g_get_monotonic_time()) / 1000 + 1;

    side->sleeps++;
    if (poll(&pfd, 1, left) > 0) {
        return TRUE;
    }
    g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO, "too late");
    return FALSE;
}

static gboolean io_send(void *opaque, const PloverPiece *pieces, size_t n,
                        int64_t deadline, GError **errp)
{
    Side *side = opaque;
    struct iovec iov[PLOVER_PIECES_MAX];
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };

    for (size_t i = 0; i < n; i++) {
        iov[i] = (struct iovec) { (void *)pieces[i].data, pieces[i].size };
    }
    while (message.msg_iovlen) {
        ssize_t sent = sendmsg(side->socket, &message,
                               MSG_DONTWAIT | MSG_NOSIGNAL);

        side->calls++;
        if (sent < 0 && errno == EAGAIN) {
            if (!io_wait(side, POLLOUT, deadline, errp)) {
                return FALSE;
            }
            continue;
        }
        if (sent < 0) {
            g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO, "%s",
                        g_strerror(errno));
            return FALSE;
        }
        while (message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len) {
            sent -= message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base +
                                        sent;
            message.msg_iov->iov_len -= sent;
        }
    }
    return TRUE;
}

static gssize io_receive(void *opaque, void *data, size_t size,
                         int64_t deadline, GError **errp)
{
    Side *side = opaque;

    for (;;) {
        ssize_t got = recv(side->socket, data, size, MSG_DONTWAIT);

        side->calls++;
        if (got > 0) {
            return got;
        }
        if (got == 0 || errno != EAGAIN) {
            g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                        "closed");
            return -1;
        }
        if (!io_wait(side, POLLIN, deadline, errp)) {
            return -1;
        }
    }
}

static const PloverIo io = {
    .now = io_now, .send = io_send, .receive = io_receive,
};

static gboolean io_lives(void *opaque G_GNUC_UNUSED, GError **errp)
{
    g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO, "closed");
    return FALSE;
}

/* --- the VM --------------------------------------------------------------- */

static gboolean vm_yes(void *opaque G_GNUC_UNUSED, GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

static void vm_nothing(void *opaque G_GNUC_UNUSED)
{
}

static gboolean vm_save(void *opaque G_GNUC_UNUSED,
                        PloverSections *list G_GNUC_UNUSED,
                        GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

static void vm_collect(void *opaque, GArray *list)
{
    Side *side = opaque;

    g_array_append_vals(list, side->dirty->data, side->dirty->len);
    g_array_set_size(side->dirty, 0);
}

static const uint8_t *vm_page(void *opaque, uint64_t page)
{
    Side *side = opaque;

    return side->memory + page * PAGE;
}

static gboolean vm_same(void *opaque G_GNUC_UNUSED,
                        const PloverSection *a G_GNUC_UNUSED,
                        const PloverSection *b G_GNUC_UNUSED)
{
    return TRUE;
}

static void vm_commit(void *opaque G_GNUC_UNUSED,
                      uint64_t epoch G_GNUC_UNUSED)
{
}

static gboolean vm_quiesce(void *opaque G_GNUC_UNUSED,
                           gboolean idle G_GNUC_UNUSED,
                           GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean vm_check(void *opaque G_GNUC_UNUSED,
                         const PloverSections *want G_GNUC_UNUSED,
                         const PloverSections *own G_GNUC_UNUSED,
                         GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean vm_decide(void *opaque G_GNUC_UNUSED,
                          uint64_t epoch G_GNUC_UNUSED,
                          GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

static void vm_apply(void *opaque, const GArray *pages,
                     const uint8_t *const *data)
{
    Side *side = opaque;

    for (guint i = 0; i < pages->len; i++) {
        memcpy(side->memory + g_array_index(pages, uint64_t, i) * PAGE,
               data[i], PAGE);
    }
}

static gboolean vm_load(void *opaque G_GNUC_UNUSED,
                        const PloverSections *want G_GNUC_UNUSED,
                        const PloverSections *own G_GNUC_UNUSED,
                        uint32_t *loaded, GError **errp G_GNUC_UNUSED)
{
    *loaded = 0;
    return TRUE;
}

static const PloverVm vm = {
    .stop = vm_yes,
    .resume = vm_nothing,
    .release = vm_nothing,
    .save = vm_save,
    .collect = vm_collect,
    .page = vm_page,
    .same = vm_same,
    .commit = vm_commit,
    .quiesce = vm_quiesce,
    .check = vm_check,
    .decide = vm_decide,
    .apply = vm_apply,
    .load = vm_load,
};

static gint compare_pages(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* What the leader's guest does between syncs. */
static void compute(Side *side, GRand *rand)
{
    g_autofree uint8_t *seen = g_malloc0(side->options->pages);

    while ((int)side->dirty->len < side->options->dirty) {
        uint64_t page = g_rand_int_range(rand, 0, side->options->pages);
        uint32_t *words = (uint32_t *)(side->memory + page * PAGE);

        if (!seen[page]) {
            seen[page] = 1;
            g_array_append_val(side->dirty, page);
            for (unsigned i = 0; i < PAGE / sizeof(*words); i++) {
                words[i] = g_rand_int(rand);
            }
        }
    }
    g_array_sort(side->dirty, compare_pages);
}

/* --- the processes -------------------------------------------------------- */

static void must(gboolean ok, const char *what, const GError *error)
{
    if (!ok) {
        fprintf(stderr, "page-transfer: %s: %s\n", what,
                error ? error->message : g_strerror(errno));
        exit(1);
    }
}

static Side *side_new(const Options *options, int socket, gboolean over_rdma,
                      const char *address)
{
    const PloverLife life = { .fd = socket, .check = io_lives };
    Side *side = g_new0(Side, 1);
    struct sockaddr_storage at;
    g_autoptr(GError) error = NULL;

    side->options = options;
    side->socket = socket;
    side->memory = g_malloc0((size_t)options->pages * PAGE);
    side->dirty = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    side->link = plover_link_new(&io, side);
    if (over_rdma) {
        must(verbs_address_parse(&at, address, &error), address, error);
        side->rdma = plover_rdma_new(&at, TIMEOUT_US / 2, &io, &life, side);
    }
    return side;
}

static void side_count(Side *side, Count *count)
{
    VerbsCounters counters = { 0 };

    if (side->rdma) {
        must(!plover_rdma_why_not(side->rdma),
             plover_rdma_why_not(side->rdma), NULL);
        plover_rdma_counters(side->rdma, &counters);
    }
    *count = (Count) {
        .writes = counters.writes,
        .bytes = counters.bytes,
        .sleeps = side->sleeps + counters.events,
        .calls = side->calls,
    };
}

static Count count_since(const Count *now, const Count *before)
{
    return (Count) {
        .writes = now->writes - before->writes,
        .bytes = now->bytes - before->bytes,
        .sleeps = now->sleeps - before->sleeps,
        .calls = now->calls - before->calls,
    };
}

static void greet(PloverLeader *leader, const Options *options)
{
    PloverBlock block = { .name = (char *)"ram", .pages = options->pages };
    const PloverHello hello = {
        .key = 1,
        .page_size = PAGE,
        .copy = options->full ? PLOVER_COPY_FULL : PLOVER_COPY_HASH,
        .run = TRUE,
        .cache_age = 1,
        .n_blocks = 1,
        .blocks = &block,
    };
    g_autoptr(GError) error = NULL;

    must(plover_leader_greet(leader, &hello, &error), "HELLO", error);
}

static int64_t sync_once(PloverLeader *leader, PloverSyncStats *stats)
{
    int64_t start = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    must(plover_leader_sync(leader, PLOVER_REASON_REQUEST, FALSE, NULL, stats,
                            &error), "sync", error);
    return g_get_monotonic_time() - start;
}

static void run_leader(Side *side, Result *result)
{
    const Options *options = side->options;
    const PloverLeaderConfig config = {
        .term = 1,
        .timeout_us = TIMEOUT_US,
        .copy_limit = UINT64_C(1) << 30,
        .rdma = side->rdma,
    };
    PloverLeader *leader = plover_leader_new(&config, &vm, side, side->link);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autoptr(GError) error = NULL;
    PloverSyncStats stats;
    PloverVerify verify;
    Count before = { 0 };

    greet(leader, options);
    for (int i = -WARM_UP; i < options->syncs; i++) {
        int64_t us;

        if (!i) {
            side_count(side, &before);
        }
        compute(side, rand);
        us = sync_once(leader, &stats);
        if (i >= 0) {
            result->sync[i] = us;
            result->staged[i] = stats.staged;
            result->sent += stats.sent;
            result->received += stats.received;
        }
    }
    side_count(side, &result->count[LEADER]);
    result->count[LEADER] = count_since(&result->count[LEADER], &before);
    must(plover_leader_sync(leader, PLOVER_REASON_REQUEST, FALSE, &verify,
                            &stats, &error), "verification", error);
    result->differing = verify.differing;
    result->done = TRUE;
}

static void run_secondary(Side *side, Result *result)
{
    PloverBlock block = {
        .name = (char *)"ram", .pages = side->options->pages,
    };
    const PloverSecondaryConfig config = {
        .timeout_us = TIMEOUT_US,
        .page_size = PAGE,
        .n_blocks = 1,
        .blocks = &block,
        .rdma = side->rdma,
    };
    PloverSecondary *secondary = plover_secondary_new(&config, &vm, side,
                                                      side->link);
    g_autoptr(GError) error = NULL;
    Count before = { 0 }, after;
    PloverHello hello;

    must(plover_secondary_greet(secondary, &hello, &error), "HELLO", error);
    for (int i = -WARM_UP; i <= side->options->syncs; i++) {
        PloverSecondaryStats stats;
        gboolean applied;
        char *why;

        if (!i) {
            side_count(side, &before);
        }
        if (i == side->options->syncs) {
            side_count(side, &after);
            result->count[SECONDARY] = count_since(&after, &before);
        }
        must(plover_secondary_serve(secondary, &applied, &why, &stats, &error),
             "sync", error);
    }
    /* The leader has read everything when it closes. */
    must(recv(side->socket, &(char) { 0 }, 1, 0) == 0, "end", NULL);
}

/* --- both ----------------------------------------------------------------- */

static void bind_to(int fd, const char *address, struct sockaddr_in *at)
{
    socklen_t size = sizeof(*at);

    *at = (struct sockaddr_in) { .sin_family = AF_INET };
    must(inet_pton(AF_INET, address, &at->sin_addr) == 1, address, NULL);
    must(bind(fd, (struct sockaddr *)at, size) == 0, address, NULL);
    must(getsockname(fd, (struct sockaddr *)at, &size) == 0, address, NULL);
}

static void make_connection(char **addresses, int fds[SIDES])
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at, from;
    int one = 1;

    bind_to(listener, addresses[SECONDARY], &at);
    must(listen(listener, 1) == 0, "listen", NULL);
    fds[LEADER] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind_to(fds[LEADER], addresses[LEADER], &from);
    must(connect(fds[LEADER], (struct sockaddr *)&at, sizeof(at)) == 0,
         "connect", NULL);
    fds[SECONDARY] = accept(listener, NULL, NULL);
    must(fds[SECONDARY] >= 0, "accept", NULL);
    close(listener);
    for (int i = 0; i < SIDES; i++) {
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *name, int64_t *times, int n)
{
    qsort(times, n, sizeof(*times), compare_times);
    printf(", \"%s\": {\"median\": %" G_GINT64_FORMAT ", \"p99\": %"
           G_GINT64_FORMAT "}", name, times[n / 2], times[n * 99 / 100]);
}

static void print_count(const char *name, const Count *count, double syncs)
{
    printf(", \"%s\": {\"writes\": %.2f, \"written\": %.0f, \"sleeps\": %.2f, "
           "\"calls\": %.2f}", name, count->writes / syncs,
           count->bytes / syncs, count->sleeps / syncs, count->calls / syncs);
}

static void print_result(const Options *options, const char *over,
                         Result *result)
{
    int n = options->syncs;
    double sum = 0;

    for (int i = 0; i < n; i++) {
        sum += result->sync[i];
    }
    printf("{\"over\": \"%s\", \"copy\": \"%s\", \"pages\": %d, \"dirty\": %d, "
           "\"syncs\": %d, \"equal\": %s, \"pages_per_s\": %.0f, "
           "\"sent\": %.0f, \"received\": %.0f", over,
           options->full ? "full" : "hash", options->pages, options->dirty, n,
           result->differing ? "false" : "true",
           options->dirty * n / (sum / 1e6), result->sent / (double)n,
           result->received / (double)n);
    print_times("staged", result->staged, n);
    print_times("sync", result->sync, n);
    print_count("leader", &result->count[LEADER], n);
    print_count("secondary", &result->count[SECONDARY], n);
    printf("}\n");
    fflush(stdout);
}

/* Each in a process of its own, which RDMA does not survive being forked. */
static gboolean run(const Options *options, const char *over, char **addresses)
{
    Result *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gboolean ok = TRUE;
    int fds[SIDES];
    pid_t pids[SIDES];

    must(result != MAP_FAILED, "mmap", NULL);
    make_connection(addresses, fds);
    for (int i = 0; i < SIDES; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            Side *side = side_new(options, fds[i], strcmp(over, "rdma") == 0,
                                  addresses[i]);

            close(fds[!i]);
            if (i == LEADER) {
                run_leader(side, result);
            } else {
                run_secondary(side, result);
            }
            exit(0);
        }
    }
    close(fds[LEADER]);
    close(fds[SECONDARY]);
    for (int i = 0; i < SIDES; i++) {
        int status;

        waitpid(pids[i], &status, 0);
        ok = ok && status == 0;
    }
    ok = ok && result->done && !result->differing;
    if (result->done) {
        print_result(options, over, result);
    }
    munmap(result, sizeof(*result));
    return ok;
}

int main(int argc, char **argv)
{
    static const char *const ways[] = { "tcp", "rdma" };
    Options options = { .pages = 16384, .dirty = 1000, .syncs = 100 };
    const GOptionEntry entries[] = {
        { "pages", 0, 0, G_OPTION_ARG_INT, &options.pages, NULL, "N" },
        { "dirty", 0, 0, G_OPTION_ARG_INT, &options.dirty, NULL, "N" },
        { "syncs", 0, 0, G_OPTION_ARG_INT, &options.syncs, NULL, "N" },
        { "full", 0, 0, G_OPTION_ARG_NONE, &options.full, NULL, NULL },
        { "over", 0, 0, G_OPTION_ARG_STRING, &options.over, NULL,
          "tcp|rdma" },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(
        "LEADER SECONDARY");
    g_autoptr(GError) error = NULL;
    gboolean ok = TRUE;

    g_option_context_add_main_entries(context, entries, NULL);
    must(g_option_context_parse(context, &argc, &argv, &error), "options",
         error);
    if (argc != 3 || options.dirty < 1 || options.dirty > options.pages ||
        options.syncs < 1 ||
        options.syncs > (int)G_N_ELEMENTS(((Result *)0)->sync)) {
        fprintf(stderr, "page-transfer: two addresses, --dirty 1 to --pages, "
                "--syncs 1 to 10000\n");
        return 2;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        if (!options.over || strcmp(options.over, ways[i]) == 0) {
            ok = run(&options, ways[i], argv + 1) && ok;
        }
    }
    g_free(options.over);
    return !ok;
}
