/*
 * COLO keeps the guest alive and its memory whole
 *
 * Whichever side dies or freezes, and at whatever moment of a checkpoint, the
 * other one answers its monitor, leaves COLO on request and runs on with
 * memory that one guest could have written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <poll.h>
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define MIB             (1024 * 1024)
#define PAGES           128
#define PAUSE           200000          /* well below a millisecond */

#define CHECKPOINTS     300
#define QUERY_EVERY     10

/* Where in the checkpoint the link freezes */
typedef struct Moment {
    const char *name;
    ColoLinkDirection direction;
    uint64_t bytes;             /* of the checkpoint that still pass */
    uint64_t bytes_missing;     /* if set, of the last one, that do not */
} Moment;

static const Moment moments[] = {
    {
        .name = "request-sent",
        .direction = TO_SECONDARY,
        .bytes = 0,
    }, {
        .name = "secondary-stopped",
        .direction = TO_PRIMARY,
        .bytes = 0,
    }, {
        .name = "both-stopped",
        .direction = TO_SECONDARY,
        .bytes = COLO_MESSAGE_SIZE,
    }, {
        .name = "ram",
        .direction = TO_SECONDARY,
        .bytes = PAGES * TINY_GUEST_PAGE / 2,
    }, {
        .name = "devices",
        .direction = TO_SECONDARY,
        .bytes_missing = 2 * TINY_GUEST_PAGE,
    }, {
        .name = "received",
        .direction = TO_PRIMARY,
        .bytes = COLO_MESSAGE_SIZE,
    }, {
        .name = "loaded",
        .direction = TO_PRIMARY,
        .bytes = 2 * COLO_MESSAGE_SIZE,
    },
};

static const ColoPairOptions counting = {
    .guest.cpu[0] = {
        .program = TINY_GUEST_COUNT,
        .pause = PAUSE,
        .ranges[0] = { 4 * MIB, PAGES },
    },
};

typedef struct Case {
    bool primary_survives;
    bool peer_freezes;          /* else it is killed */
    const Moment *moment;       /* NULL: no checkpoint under way */
} Case;

/* Wait until the guest has written to all its pages, so that all are sent. */
static void wait_round(QTestState *qts)
{
    const TinyGuestRange *range = &counting.guest.cpu[0].ranges[0];
    uint32_t last = range->start + (range->pages - 1) * TINY_GUEST_PAGE;

    test_deadline(20, "the guest writes to all its pages");
    colo_wait_progress(qts, last);
    colo_wait_progress(qts, last);
    test_deadline(0, NULL);
}

static void freeze_link_at(ColoPair *pair, const Moment *moment)
{
    uint64_t bytes = moment->bytes;

    wait_round(pair->primary);
    if (moment->bytes_missing) {
        uint64_t before = colo_link_passed(pair->link, moment->direction);

        colo_pair_checkpoint(pair);
        bytes = colo_link_passed(pair->link, moment->direction) - before -
                moment->bytes_missing;
        wait_round(pair->primary);
    }
    colo_link_freeze_after(pair->link, moment->direction, bytes);
    colo_pair_request(pair);
    test_deadline(20, "the checkpoint comes to where the link freezes");
    colo_link_wait_frozen(pair->link);
    test_deadline(0, NULL);
}

static void test_survival(const void *opaque)
{
    const Case *c = opaque;
    const TinyGuestCpu *cpu = &counting.guest.cpu[0];
    ColoPair *pair = colo_pair_start(&counting);
    QTestState *survivor = c->primary_survives ? pair->primary
                                               : pair->secondary;
    QTestState **peer = c->primary_survives ? &pair->secondary
                                            : &pair->primary;
    bool exits;

    colo_pair_checkpoint(pair);
    if (c->moment) {
        freeze_link_at(pair, c->moment);
    }
    if (c->peer_freezes) {
        g_assert_cmpint(kill(qtest_pid(*peer), SIGSTOP), ==, 0);
    } else {
        colo_pair_kill(pair, peer);
        colo_link_cut(pair->link);
    }

    /* An idle primary looks at its connection at the next checkpoint only. */
    exits = !c->peer_freezes && (c->moment || !c->primary_survives);
    if (exits) {
        colo_wait_exit(survivor, "error");
    }
    colo_assert_answers(survivor);
    colo_failover(survivor, exits);
    colo_assert_answers(survivor);

    if (*peer) {
        colo_pair_kill(pair, peer);
    }
    test_deadline(20, "the survivor's guest goes on");
    colo_wait_progress(survivor, cpu->ranges[0].start);
    colo_assert_consistent(survivor, cpu);
    colo_pair_free(pair);
}

/* Two vCPUs, checkpoints one after the other, and a monitor that answers. */
static void test_many_checkpoints(void)
{
    ColoPairOptions options = counting;
    ColoPair *pair;
    unsigned done;

    options.cpus = 2;
    options.interval = 1;
    options.guest.cpu[1] = (TinyGuestCpu) {
        .program = TINY_GUEST_COUNT,
        .pause = PAUSE,
        .ranges[0] = { 8 * MIB, PAGES },
    };
    pair = colo_pair_start(&options);

    for (done = QUERY_EVERY; done <= CHECKPOINTS; done += QUERY_EVERY) {
        colo_pair_wait_checkpoints(pair, done);
        colo_assert_answers(pair->primary);
        colo_assert_answers(pair->secondary);
    }

    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);
    colo_assert_consistent(pair->secondary, &options.guest.cpu[0]);
    colo_assert_consistent(pair->secondary, &options.guest.cpu[1]);
    colo_pair_free(pair);
}

/* COLO ends with it, also when there was no checkpoint yet. */
static void test_failover_before_checkpoint(void)
{
    ColoPairOptions options = counting;
    ColoPair *pair;

    options.memory = "-m 32,slots=1,maxmem=1G";
    options.secondary = "-object memory-backend-ram,id=mem1,size=64M";
    pair = colo_pair_start(&options);

    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);

    /* virtio-mem discards RAM, which COLO forbids. */
    qtest_qmp_device_add(pair->secondary, "virtio-mem-pci", "vm0",
                         "{ 'memdev': 'mem1' }");
    colo_pair_free(pair);
}

/* Empty @fd, the pipe that a QEMU logs to, up to a line with @text. */
static void read_log(int fd, const char *text)
{
    g_autoptr(GString) log = g_string_new(NULL);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char page[4096];

    test_deadline(20, text);
    while (!strstr(log->str, text)) {
        ssize_t n;

        g_assert_cmpint(poll(&p, 1, -1), ==, 1);
        n = read(fd, page, sizeof(page));
        g_assert_cmpint(n, >, 0);
        g_string_append_len(log, page, n);
    }
    test_deadline(0, NULL);
}

/* Fill the pipe, of one page, so that only @room bytes can be logged. */
static void fill_log(int fd, size_t room)
{
    char page[4096];

    memset(page, ' ', sizeof(page));
    g_assert_cmpint(write(fd, page, sizeof(page) - room), ==,
                    sizeof(page) - room);
}

/*
 * The primary was told that its state is safe, and released its output; then
 * the secondary must not take over with any other state. It is held up, by the
 * trace-event that follows the message, before it can apply the state.
 */
static void test_failover_after_received(void)
{
    static const char fits_once[] =
        "colo_send_message Send 'checkpoint-reply' message\n";
    const uint32_t mark = 16 * MIB;
    ColoPairOptions options = counting;
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("colony-qtest-XXXXXX", &err);
    g_autofree char *log = g_build_filename(dir, "log", NULL);
    g_autofree char *trace = NULL;
    ColoPair *pair;
    int fd;

    g_assert_no_error(err);
    g_assert_cmpint(mkfifo(log, 0600), ==, 0);
    fd = open(log, O_RDWR | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(fcntl(fd, F_SETPIPE_SZ, 4096), ==, 4096);

    trace = g_strdup_printf("-trace colo_send_message -D %s", log);
    options.secondary = trace;
    pair = colo_pair_start(&options);
    colo_pair_checkpoint(pair);

    qtest_writel(pair->primary, mark, 1);
    read_log(fd, "vmstate-loaded");
    fill_log(fd, sizeof(fits_once));
    colo_pair_request(pair);
    test_deadline(20, "the secondary says that it has received the state");
    colo_link_wait_passed(pair->link, TO_PRIMARY, COLO_MESSAGE_SIZE +
                          COLO_CHECKPOINT_ANSWERS + 2 * COLO_MESSAGE_SIZE);
    test_deadline(0, NULL);

    colo_pair_kill(pair, &pair->primary);
    test_deadline(20, "the secondary takes the request to fail over");
    qtest_qmp_assert_success(pair->secondary,
                             "{ 'execute': 'x-colo-lost-heartbeat' }");
    test_deadline(0, NULL);
    read_log(fd, "vmstate-received");
    colo_wait_exit(pair->secondary, "request");
    colo_assert_consistent(pair->secondary, &counting.guest.cpu[0]);
    g_assert_cmpuint(qtest_readl(pair->secondary, mark), ==, 1);

    colo_pair_free(pair);
    close(fd);
    g_assert_cmpint(g_unlink(log), ==, 0);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* Multifd would write into the guest past COLO's cache of received pages. */
static void test_multifd_is_refused(void)
{
    QTestState *qts = qtest_init("-M none");
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qts,
        "{ 'execute': 'migrate-set-capabilities', 'arguments': {"
        "    'capabilities': ["
        "        { 'capability': 'x-colo', 'state': true },"
        "        { 'capability': 'multifd', 'state': true } ] } }");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==,
                    "Multifd is not compatible with COLO");
    qobject_unref(error);
    qtest_quit(qts);
}

static void add_cases(bool primary_survives, const Moment *moment)
{
    int freezes;

    for (freezes = 0; freezes <= 1; freezes++) {
        Case *c = g_new(Case, 1);
        g_autofree char *when =
            moment ? g_strdup_printf("checkpoint/%s", moment->name)
                   : g_strdup("idle");
        g_autofree char *path =
            g_strdup_printf("/colo/%s-%s/%s-survives/%s",
                            primary_survives ? "secondary" : "primary",
                            freezes ? "frozen" : "killed",
                            primary_survives ? "primary" : "secondary", when);

        *c = (Case) { primary_survives, freezes, moment };
        qtest_add_data_func_full(path, c, test_survival, g_free);
    }
}

int main(int argc, char **argv)
{
    int primary, i;

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    for (primary = 0; primary <= 1; primary++) {
        add_cases(primary, NULL);
        for (i = 0; i < ARRAY_SIZE(moments); i++) {
            add_cases(primary, &moments[i]);
        }
    }
    qtest_add_func("/colo/many-checkpoints", test_many_checkpoints);
    qtest_add_func("/colo/failover-before-checkpoint",
                   test_failover_before_checkpoint);
    qtest_add_func("/colo/failover-after-received",
                   test_failover_after_received);
    qtest_add_func("/colo/multifd-is-refused", test_multifd_is_refused);
    return g_test_run();
}
