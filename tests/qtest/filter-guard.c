/*
 * filter-guard without a session: it is not there
 *
 * What it does in a session is in filter-guard-session.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 20 /* seconds */

typedef struct Rig {
    QTestState *qts;
    FrameRig *frames;
} Rig;

static void rig_start(Rig *rig, const char *options)
{
    test_deadline(DEADLINE, "QEMU passes frames on");
    rig->frames = frame_rig_new(0);
    rig->qts = qtest_initf("-M none %s %s", rig->frames->options, options);
    frame_rig_started(rig->frames);
    test_deadline_kills(rig->qts);
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    frame_rig_free(rig->frames);
    test_deadline(0, NULL);
}

/* Frames of each kind cross in both directions, whole and in order. */
static void check_open(Rig *rig)
{
    frame_say_all(rig->frames->guest, 0);
    frame_hear_all(rig->frames->network, 0);
    frame_say_all(rig->frames->network, 100);
    frame_hear_all(rig->frames->guest, 100);
}

static uint64_t counter(Rig *rig, const char *name)
{
    QDict *reply = qtest_qmp(rig->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/g0', 'property': %s } }",
                             name);
    uint64_t value;

    g_assert_true(qdict_haskey(reply, "return"));
    value = qdict_get_int(reply, "return");
    qobject_unref(reply);
    return value;
}

static void check_counters_are_zero(Rig *rig)
{
    static const char *const names[] = {
        "held-frames", "held-bytes", "released-frames", "discarded-frames",
        "dropped-frames", "times-full",
    };

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        g_assert_cmpuint(counter(rig, names[i]), ==, 0);
    }
}

/* object-add with @arguments fails, and the error says @expected. */
static void check_refused(Rig *rig, const char *arguments,
                          const char *expected)
{
    g_autofree char *text = g_strdup_printf(
        "{ 'qom-type': 'filter-guard', 'id': 'g1', %s }", arguments);
    QDict *reply = qtest_qmp(rig->qts,
                             "{ 'execute': 'object-add', 'arguments': %p }",
                             qobject_from_json(text, &error_abort));
    const char *desc;

    g_assert_true(qdict_haskey(reply, "error"));
    desc = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
    if (!strstr(desc, expected)) {
        g_error("the error is \"%s\", not \"%s\"", desc, expected);
    }
    qobject_unref(reply);
}

static void test_all_frames_pass(void)
{
    Rig rig;

    rig_start(&rig, "-object filter-guard,id=g0,netdev=net0");
    check_open(&rig);
    check_counters_are_zero(&rig);
    rig_stop(&rig);
}

static void test_comes_and_goes_at_run_time(void)
{
    Rig rig;

    rig_start(&rig, "");
    check_open(&rig);
    for (int i = 0; i < 3; i++) {
        qtest_qmp_assert_success(rig.qts,
            "{ 'execute': 'object-add', 'arguments': {"
            "  'qom-type': 'filter-guard', 'id': 'g0', 'netdev': 'net0',"
            "  'limit': 1048576 } }");
        check_open(&rig);
        qtest_qmp_assert_success(rig.qts,
            "{ 'execute': 'object-del', 'arguments': { 'id': 'g0' } }");
        check_open(&rig);
    }
    rig_stop(&rig);
}

static void test_goes_with_its_netdev(void)
{
    Rig rig;
    QDict *reply;

    rig_start(&rig, "-object filter-guard,id=g0,netdev=net0");
    check_open(&rig);
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'net0' } }");
    reply = qtest_qmp(rig.qts,
        "{ 'execute': 'object-del', 'arguments': { 'id': 'g0' } }");
    g_assert_true(qdict_haskey(reply, "error"));
    qobject_unref(reply);
    rig_stop(&rig);
}

static void test_bad_options_are_refused(void)
{
    Rig rig;

    rig_start(&rig, "-object filter-guard,id=g0,netdev=net0");
    check_refused(&rig, "'limit': 1048576", "'netdev' is missing");
    check_refused(&rig, "'netdev': 'none'",
                  "'netdev' expects a network backend id");
    check_refused(&rig, "'netdev': 'net0'",
                  "netdev 'net0' has a filter-guard already: 'g0'");
    check_refused(&rig, "'netdev': 'guest0', 'limit': 0",
                  "Property 'filter-guard.limit' is 0 bytes; it must be from "
                  "256 KiB to 64 GiB");
    check_refused(&rig, "'netdev': 'guest0', 'limit': 262143",
                  "is 262143 bytes");
    check_refused(&rig, "'netdev': 'guest0',"
                  "'limit': 68719476737", "is 68719476737 bytes");
    check_refused(&rig, "'netdev': 'guest0', 'queue': 'tx'",
                  "Parameter 'queue' is 'tx', but filter-guard holds what the "
                  "guest sends; leave it out");

    /* the limits of the limit, and each other value of queue, are taken */
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'object-add', 'arguments': {"
        "  'qom-type': 'filter-guard', 'id': 'g1', 'netdev': 'guest0',"
        "  'limit': 262144, 'queue': 'rx' } }");
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'object-del', 'arguments': { 'id': 'g1' } }");
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'object-add', 'arguments': {"
        "  'qom-type': 'filter-guard', 'id': 'g1', 'netdev': 'guest0',"
        "  'limit': 68719476736, 'queue': 'all' } }");
    check_open(&rig);
    rig_stop(&rig);
}

static void test_limit_is_fixed(void)
{
    Rig rig;
    QDict *reply;

    rig_start(&rig, "-object filter-guard,id=g0,netdev=net0,limit=1M");
    reply = qtest_qmp(rig.qts, "{ 'execute': 'qom-set', 'arguments': {"
                      "  'path': '/objects/g0', 'property': 'limit',"
                      "  'value': 2097152 } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "Property 'filter-guard.limit' cannot be changed later");
    qobject_unref(reply);
    g_assert_cmpuint(counter(&rig, "limit"), ==, 1048576);
    rig_stop(&rig);
}

static void test_may_be_switched_off(void)
{
    Rig rig;

    rig_start(&rig, "-object filter-guard,id=g0,netdev=net0");
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': '/objects/g0', 'property': 'status',"
                             "  'value': 'off' } }");
    check_open(&rig);
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': '/objects/g0', 'property': 'status',"
                             "  'value': 'on' } }");
    check_open(&rig);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-guard/all-frames-pass", test_all_frames_pass);
    qtest_add_func("/filter-guard/comes-and-goes-at-run-time",
                   test_comes_and_goes_at_run_time);
    qtest_add_func("/filter-guard/goes-with-its-netdev",
                   test_goes_with_its_netdev);
    qtest_add_func("/filter-guard/bad-options-are-refused",
                   test_bad_options_are_refused);
    qtest_add_func("/filter-guard/limit-is-fixed", test_limit_is_fixed);
    qtest_add_func("/filter-guard/may-be-switched-off",
                   test_may_be_switched_off);

    return g_test_run();
}
