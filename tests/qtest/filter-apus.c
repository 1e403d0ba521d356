/*
 * filter-apus without a session: the guest gets what the group has ordered
 *
 * What a real network card takes is in filter-apus-nic.c, and what there is on
 * a secondary in filter-apus-session.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "apus-trio.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
#define KIB 1024
#define FILTER(n) " -object filter-apus,id=f" #n ",netdev=net" #n ",group=apus"

/* A leader with two netdevs, and the group that it needs */
typedef struct Rig {
    ApusTrio *trio;
    QTestState *qts;
    FrameRig *frames[2];
} Rig;

static void rig_new(Rig *rig)
{
    test_deadline(DEADLINE, "the leader's guest gets its frames");
    rig->trio = apus_trio_new();
    for (unsigned i = 0; i < ARRAY_SIZE(rig->frames); i++) {
        rig->frames[i] = frame_rig_new(i);
    }
}

/* Start the leader, alone: nothing is ordered yet. */
static void rig_start_alone(Rig *rig, const char *options)
{
    rig_new(rig);
    rig->qts = qtest_initf("-name leader -M none -nodefaults %s %s %s %s",
                           rig->frames[0]->options, rig->frames[1]->options,
                           rig->trio->options[0], options);
    test_deadline_kills(rig->qts);
    for (unsigned i = 0; i < ARRAY_SIZE(rig->frames); i++) {
        frame_rig_started(rig->frames[i]);
    }
}

static void rig_start(Rig *rig, const char *options)
{
    rig_start_alone(rig, options);
    apus_trio_start(rig->trio);
    apus_wait_leads(rig->qts);
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    for (unsigned i = 0; i < ARRAY_SIZE(rig->frames); i++) {
        frame_rig_free(rig->frames[i]);
    }
    apus_trio_free(rig->trio);
    test_deadline(0, NULL);
}

static void run(Rig *rig, const char *command)
{
    qtest_qmp_assert_success(rig->qts, "{ 'execute': %s }", command);
}

static uint64_t counter(Rig *rig, const char *name)
{
    QDict *reply = qtest_qmp(rig->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/f0', 'property': %s } }",
                             name);
    uint64_t value;

    g_assert_true(qdict_haskey(reply, "return"));
    value = qdict_get_int(reply, "return");
    qobject_unref(reply);
    return value;
}

static void wait_counter(Rig *rig, const char *name, uint64_t value)
{
    while (counter(rig, name) != value) {
        g_usleep(POLL);
    }
}

static QDict *add_filter(Rig *rig, const char *arguments)
{
    g_autofree char *text = g_strdup_printf(
        "{ 'qom-type': 'filter-apus', 'id': 'f0', %s }", arguments);

    return qtest_qmp(rig->qts, "{ 'execute': 'object-add', 'arguments': %p }",
                     qobject_from_json(text, &error_abort));
}

static void check_added(Rig *rig, const char *arguments)
{
    QDict *reply = add_filter(rig, arguments);

    g_assert_true(qdict_haskey(reply, "return"));
    qobject_unref(reply);
}

static void check_refused(Rig *rig, const char *arguments,
                          const char *expected)
{
    QDict *reply = add_filter(rig, arguments);
    const char *desc;

    g_assert_true(qdict_haskey(reply, "error"));
    desc = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
    if (!strstr(desc, expected)) {
        g_error("the error is \"%s\", not \"%s\"", desc, expected);
    }
    qobject_unref(reply);
}

static void remove_filter(Rig *rig)
{
    qtest_qmp_assert_success(rig->qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'f0' } }");
}

/* Frames of each kind cross in both directions, whole and in order. */
static void check_open(FrameRig *frames)
{
    frame_say_all(frames->guest, 0);
    frame_hear_all(frames->network, 0);
    frame_say_all(frames->network, 100);
    frame_hear_all(frames->guest, 100);
}

static void test_bad_options_are_refused(void)
{
    Rig rig;

    rig_start_alone(&rig, "");
    check_refused(&rig, "'netdev': 'net0'", "'group' is missing");
    check_refused(&rig, "'group': 'apus'", "'netdev' is missing");
    check_refused(&rig, "'netdev': 'none', 'group': 'apus'",
                  "'netdev' expects a network backend id");
    check_refused(&rig, "'netdev': 'net0', 'group': 'none'",
                  "There is no apus-group 'none'");
    check_refused(&rig, "'netdev': 'net0', 'group': 'apus', 'queue': 'rx'",
                  "Parameter 'queue' is 'rx', but filter-apus orders what the "
                  "guest receives; leave it out");
    check_refused(&rig, "'netdev': 'net0', 'group': 'apus', 'queue-limit': 0",
                  "Property 'filter-apus.queue-limit' is 0 bytes; it must be "
                  "from 256 KiB to 256 MiB");
    check_refused(&rig, "'netdev': 'net0', 'group': 'apus',"
                  "'queue-limit': 262143", "is 262143 bytes");
    check_refused(&rig, "'netdev': 'net0', 'group': 'apus',"
                  "'queue-limit': 268435457", "is 268435457 bytes");

    /* the limits of the limit, and each other value of queue, are taken */
    check_added(&rig, "'netdev': 'net0', 'group': 'apus', 'queue': 'tx',"
                "'queue-limit': 262144");
    remove_filter(&rig);
    check_added(&rig, "'netdev': 'net0', 'group': 'apus', 'queue': 'all',"
                "'queue-limit': 268435456");
    remove_filter(&rig);
    rig_stop(&rig);
}

static void test_options_are_fixed(void)
{
    static const char *const settings[][2] = {
        { "group", "apus" }, { "queue-limit", "1M" },
    };
    Rig rig;

    rig_start_alone(&rig, FILTER(0) ",queue-limit=512K");
    for (int i = 0; i < ARRAY_SIZE(settings); i++) {
        g_autofree char *expected = g_strdup_printf(
            "Property 'filter-apus.%s' cannot be changed later",
            settings[i][0]);
        QDict *reply = qtest_qmp(rig.qts,
            "{ 'execute': 'human-monitor-command', 'arguments': {"
            "  'command-line': %s } }",
            i ? "qom-set /objects/f0 queue-limit 1048576"
              : "qom-set /objects/f0 group \"apus\"");

        g_assert_nonnull(strstr(qdict_get_str(reply, "return"), expected));
        qobject_unref(reply);
    }
    g_assert_cmpuint(counter(&rig, "queue-limit"), ==, 512 * KIB);
    rig_stop(&rig);
}

static void test_netdev_has_one_filter(void)
{
    QDict *reply;
    Rig rig;

    rig_start_alone(&rig, FILTER(0));
    reply = qtest_qmp(rig.qts, "{ 'execute': 'object-add', 'arguments': {"
                      "  'qom-type': 'filter-apus', 'id': 'f1',"
                      "  'netdev': 'net0', 'group': 'apus' } }");
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"),
                            "netdev 'net0' has a filter-apus already"));
    qobject_unref(reply);
    /* the first one is as before */
    g_assert_cmpuint(counter(&rig, "received-frames"), ==, 0);
    rig_stop(&rig);
}

static void test_nothing_passes_without_a_majority(void)
{
    Rig rig;

    rig_start_alone(&rig, FILTER(0));
    frame_say_all(rig.frames[0]->network, 0);
    wait_counter(&rig, "received-frames", FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "delivered-frames"), ==, 0);
    g_assert_cmpuint(counter(&rig, "dropped-not-leader"), ==, FRAME_KINDS);
    frame_silence(rig.frames[0]->guest);
    rig_stop(&rig);
}

static void test_leader_gets_all_frames_in_order(void)
{
    enum { ROUNDS = 20 };
    Rig rig;

    rig_start(&rig, FILTER(0) FILTER(1));
    check_open(rig.frames[0]);
    check_open(rig.frames[1]);
    /* No more at once than a socket holds: hubs do not keep the order then. */
    for (unsigned i = 0; i < ROUNDS; i++) {
        frame_say_all(rig.frames[0]->network, i);
        frame_say_all(rig.frames[1]->network, 100 + i);
        frame_hear_all(rig.frames[0]->guest, i);
        frame_hear_all(rig.frames[1]->guest, 100 + i);
    }
    wait_counter(&rig, "delivered-frames", (1 + ROUNDS) * FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "received-frames"), ==,
                     (1 + ROUNDS) * FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "submitted-frames"), ==,
                     (1 + ROUNDS) * FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "pending-frames"), ==, 0);
    g_assert_cmpuint(counter(&rig, "pending-bytes"), ==, 0);
    frame_silence(rig.frames[0]->guest);
    rig_stop(&rig);
}

static void test_frames_wait_while_the_vm_stands(void)
{
    Rig rig;

    rig_start(&rig, FILTER(0));
    for (unsigned i = 0; i < 3; i++) {
        run(&rig, "stop");
        frame_say_all(rig.frames[0]->network, i);
        wait_counter(&rig, "pending-frames", FRAME_KINDS);
        frame_silence(rig.frames[0]->guest);
        run(&rig, "cont");
        frame_hear_all(rig.frames[0]->guest, i);
        wait_counter(&rig, "pending-frames", 0);
        frame_silence(rig.frames[0]->guest);
    }
    rig_stop(&rig);
}

static void test_comes_and_goes_at_run_time(void)
{
    Rig rig;

    rig_start(&rig, "");
    check_open(rig.frames[0]);
    for (unsigned i = 0; i < 3; i++) {
        check_added(&rig, "'netdev': 'net0', 'group': 'apus'");
        check_open(rig.frames[0]);
        wait_counter(&rig, "delivered-frames", FRAME_KINDS);
        remove_filter(&rig);
        check_open(rig.frames[0]);
    }

    /* frames that are pending go with it */
    check_added(&rig, "'netdev': 'net0', 'group': 'apus'");
    run(&rig, "stop");
    frame_say_all(rig.frames[0]->network, 0);
    wait_counter(&rig, "pending-frames", FRAME_KINDS);
    remove_filter(&rig);
    run(&rig, "cont");
    check_open(rig.frames[0]);
    rig_stop(&rig);
}

static void test_goes_with_its_netdev(void)
{
    QDict *reply;
    Rig rig;

    rig_start(&rig, FILTER(0) FILTER(1));
    run(&rig, "stop");
    frame_say_all(rig.frames[0]->network, 0);
    wait_counter(&rig, "pending-frames", FRAME_KINDS);
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'net0' } }");
    reply = qtest_qmp(rig.qts,
        "{ 'execute': 'object-del', 'arguments': { 'id': 'f0' } }");
    g_assert_true(qdict_haskey(reply, "error"));
    qobject_unref(reply);
    run(&rig, "cont");
    check_open(rig.frames[1]);
    rig_stop(&rig);
}

static void test_group_stays_while_it_is_needed(void)
{
    QDict *reply;
    Rig rig;

    rig_start_alone(&rig, FILTER(0));
    reply = qtest_qmp(rig.qts,
        "{ 'execute': 'object-del', 'arguments': { 'id': 'apus' } }");
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "is in use"));
    qobject_unref(reply);
    remove_filter(&rig);
    rig_stop(&rig);
}

static void test_unplugged_receiver_is_forgotten(void)
{
    Rig rig;

    rig_start(&rig, FILTER(0));
    run(&rig, "stop");
    frame_say_all(rig.frames[0]->network, 0);
    wait_counter(&rig, "pending-frames", FRAME_KINDS);
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'hub0-0' } }");
    run(&rig, "cont");
    wait_counter(&rig, "dropped-unfit", FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "pending-bytes"), ==, 0);
    frame_silence(rig.frames[0]->guest);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-apus/bad-options-are-refused",
                   test_bad_options_are_refused);
    qtest_add_func("/filter-apus/options-are-fixed", test_options_are_fixed);
    qtest_add_func("/filter-apus/netdev-has-one-filter",
                   test_netdev_has_one_filter);
    qtest_add_func("/filter-apus/nothing-passes-without-a-majority",
                   test_nothing_passes_without_a_majority);
    qtest_add_func("/filter-apus/leader-gets-all-frames-in-order",
                   test_leader_gets_all_frames_in_order);
    qtest_add_func("/filter-apus/frames-wait-while-the-vm-stands",
                   test_frames_wait_while_the_vm_stands);
    qtest_add_func("/filter-apus/comes-and-goes-at-run-time",
                   test_comes_and_goes_at_run_time);
    qtest_add_func("/filter-apus/goes-with-its-netdev",
                   test_goes_with_its_netdev);
    qtest_add_func("/filter-apus/group-stays-while-it-is-needed",
                   test_group_stays_while_it_is_needed);
    qtest_add_func("/filter-apus/unplugged-receiver-is-forgotten",
                   test_unplugged_receiver_is_forgotten);

    return g_test_run();
}
