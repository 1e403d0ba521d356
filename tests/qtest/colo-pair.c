/*
 * Two QEMUs in COLO with a tiny guest, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define DEADLINE        20              /* seconds */
#define POLL            1000            /* microseconds */
#define ANSWER          G_USEC_PER_SEC
#define NEVER           (24 * 60 * 60 * 1000)

static void set_colo(QTestState *qts, const ColoPairOptions *o)
{
    qtest_qmp_assert_success(qts,
        "{ 'execute': 'migrate-set-capabilities', 'arguments': {"
        "    'capabilities': [ { 'capability': 'x-colo', 'state': true },"
        "        { 'capability': 'x-plover', 'state': %i } ] } }", o->plover);
    qtest_qmp_assert_success(qts,
        "{ 'execute': 'migrate-set-parameters', 'arguments': {"
        "    'x-checkpoint-delay': %u } }", o->interval ?: NEVER);
}

static bool status_is(QTestState *qts, const char *status)
{
    QDict *reply = qtest_qmp_assert_success_ref(qts,
                       "{ 'execute': 'query-status' }");
    bool is = g_str_equal(qdict_get_str(reply, "status"), status);

    qobject_unref(reply);
    return is;
}

static void wait_running(QTestState *qts)
{
    while (!status_is(qts, "running")) {
        g_usleep(POLL);
    }
}

static char *path_in(const char *dir, const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static QTestState *start_replica(const ColoPairOptions *o, const char *name,
                                 const char *firmware, const char *extra)
{
    QTestState *qts;

    qts = qtest_initf("-name %s -nodefaults -accel tcg,thread=multi -M %s "
                      "-global apic.vapic=off -smp %d -bios %s %s %s %s",
                      name, o->machine ?: "pc", o->cpus ?: 1, firmware,
                      o->memory ?: "-m 32", o->devices ?: "", extra);
    test_deadline_kills(qts);
    return qts;
}

ColoPair *colo_pair_start(const ColoPairOptions *o)
{
    ColoPair *pair = g_new0(ColoPair, 1);
    g_autoptr(GError) err = NULL;
    g_autofree char *firmware = NULL;
    g_autofree char *incoming = NULL;
    g_autofree char *outgoing = NULL;
    g_autofree char *uri = NULL;
    g_autofree char *secondary = NULL;

    test_deadline(DEADLINE, "two QEMUs enter COLO");

    pair->dir = g_dir_make_tmp("colony-qtest-XXXXXX", &err);
    g_assert_no_error(err);
    firmware = path_in(pair->dir, "firmware");
    incoming = path_in(pair->dir, "incoming");
    outgoing = path_in(pair->dir, "outgoing");
    uri = g_strdup_printf("unix:%s", outgoing);
    tiny_guest_write(&o->guest, firmware);

    secondary = g_strdup_printf("-incoming unix:%s %s", incoming,
                                o->secondary ?: "");
    pair->secondary = start_replica(o, "secondary", firmware, secondary);
    pair->primary = start_replica(o, "primary", firmware, o->primary ?: "");
    pair->link = colo_link_new(outgoing, incoming);
    if (o->guest.cpu[0].program == TINY_GUEST_COUNT) {
        colo_wait_progress(pair->primary, o->guest.cpu[0].ranges[0].start);
    }
    if (o->prepare) {
        o->prepare(pair->primary);
    }

    set_colo(pair->secondary, o);
    set_colo(pair->primary, o);
    qtest_qmp_assert_success(pair->primary,
        "{ 'execute': 'migrate', 'arguments': { 'uri': %s } }", uri);
    colo_link_wait_passed(pair->link, TO_PRIMARY, COLO_MESSAGE_SIZE);
    wait_running(pair->secondary);
    wait_running(pair->primary);
    test_deadline(0, NULL);
    return pair;
}

void colo_pair_free(ColoPair *pair)
{
    static const char *const files[] = { "firmware", "incoming", "outgoing" };
    int i;

    test_deadline(DEADLINE, "two QEMUs end");
    if (pair->primary) {
        colo_pair_kill(pair, &pair->primary);
    }
    if (pair->secondary) {
        colo_pair_kill(pair, &pair->secondary);
    }
    colo_link_free(pair->link);
    for (i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = path_in(pair->dir, files[i]);

        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(pair->dir), ==, 0);
    test_deadline(0, NULL);
    g_free(pair->dir);
    g_free(pair);
}

void colo_pair_request(ColoPair *pair)
{
    /* Setting the interval, to whatever value, asks for a checkpoint. */
    qtest_qmp_assert_success(pair->primary,
        "{ 'execute': 'migrate-set-parameters', 'arguments': {"
        "    'x-checkpoint-delay': %u } }", NEVER);
}

unsigned colo_pair_checkpoints(ColoPair *pair)
{
    uint64_t bytes = colo_link_passed(pair->link, TO_PRIMARY);

    return (bytes - COLO_MESSAGE_SIZE) / COLO_CHECKPOINT_ANSWERS;
}

void colo_pair_wait_checkpoints(ColoPair *pair, unsigned total)
{
    test_deadline(DEADLINE, "the secondary loads a checkpoint");
    colo_link_wait_passed(pair->link, TO_PRIMARY, COLO_MESSAGE_SIZE +
                          (uint64_t)total * COLO_CHECKPOINT_ANSWERS);
    test_deadline(0, NULL);
}

void colo_pair_checkpoint(ColoPair *pair)
{
    unsigned done = colo_pair_checkpoints(pair);

    colo_pair_request(pair);
    colo_pair_wait_checkpoints(pair, done + 1);
    /* A request that comes before the primary has heard of it would be lost. */
    test_deadline(DEADLINE, "the primary runs on after a checkpoint");
    wait_running(pair->primary);
    test_deadline(0, NULL);
}

void colo_pair_kill(ColoPair *pair, QTestState **qts)
{
    /* reachable, so that LeakSanitizer has nothing to report */
    static GSList *killed;
    pid_t pid = qtest_pid(*qts);

    test_deadline_spares(*qts);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    /* qtest_quit() would take this death for a failure: keep it instead. */
    qtest_remove_abrt_handler(*qts);
    killed = g_slist_prepend(killed, *qts);
    *qts = NULL;
}

void colo_wait_exit(QTestState *qts, const char *reason)
{
    QDict *event, *data;

    test_deadline(DEADLINE, "the survivor says that it left COLO");
    event = qtest_qmp_eventwait_ref(qts, "COLO_EXIT");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, reason);
    qobject_unref(event);
    test_deadline(0, NULL);
}

void colo_failover(QTestState *survivor, bool exited)
{
    g_autofree char *mode = NULL;
    QDict *status;

    test_deadline(DEADLINE, "the survivor takes the request to fail over");
    status = qtest_qmp_assert_success_ref(survivor,
                 "{ 'execute': 'query-colo-status' }");
    mode = g_strdup(qdict_get_str(status, "mode"));
    g_assert_cmpstr(mode, !=, "none");
    qobject_unref(status);
    qtest_qmp_assert_success(survivor,
        "{ 'execute': 'x-colo-lost-heartbeat' }");

    if (!exited) {
        colo_wait_exit(survivor, "request");
    }
    test_deadline(DEADLINE, "the survivor runs on");
    wait_running(survivor);
    status = qtest_qmp_assert_success_ref(survivor,
                 "{ 'execute': 'query-colo-status' }");
    g_assert_cmpstr(qdict_get_str(status, "mode"), ==, "none");
    g_assert_cmpstr(qdict_get_str(status, "last-mode"), ==, mode);
    g_assert_cmpstr(qdict_get_str(status, "reason"), ==, "request");
    qobject_unref(status);
    test_deadline(0, NULL);
}

void colo_assert_answers(QTestState *qts)
{
    gint64 start = g_get_monotonic_time();
    QDict *reply;

    test_deadline(DEADLINE, "QMP answers");
    reply = qtest_qmp_assert_success_ref(qts, "{ 'execute': 'query-status' }");
    g_assert_cmpint(g_get_monotonic_time() - start, <, ANSWER);
    qobject_unref(reply);
    test_deadline(0, NULL);
}

void colo_assert_consistent(QTestState *qts, const TinyGuestCpu *cpu)
{
    const TinyGuestRange *range;
    uint32_t first = 0, previous = 0;
    int i;

    g_assert_cmpint(cpu->program, ==, TINY_GUEST_COUNT);
    test_deadline(DEADLINE, "the guest stops and its memory is read");
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    for (range = cpu->ranges; range->pages; range++) {
        for (i = 0; i < range->pages; i++) {
            uint32_t count = qtest_readl(qts, range->start +
                                              i * TINY_GUEST_PAGE);

            if (range == cpu->ranges && i == 0) {
                g_assert_cmpuint(count, >, 0);
                first = previous = count;
            }
            if (count > previous || count + 1 < first) {
                g_test_message("page 0x%08x has counted %u, page before it %u, "
                               "first page %u",
                               range->start + i * TINY_GUEST_PAGE, count,
                               previous, first);
                g_test_fail();
                return;
            }
            previous = count;
        }
    }
    test_deadline(0, NULL);
}

void colo_wait_progress(QTestState *qts, uint32_t address)
{
    uint32_t before = qtest_readl(qts, address);

    while (qtest_readl(qts, address) == before) {
        g_usleep(POLL);
    }
}
