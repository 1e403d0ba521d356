/*
 * filter-guard with a group: nothing leaves unless the group's majority is
 * heard
 *
 * The test plays the guest and the network of netdev net0, and listens to a
 * network card, net1. There is no session.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "apus-trio.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
#define KIB 1024
/* One of each kind of frame */
#define FRAMES_SIZE (42 + FRAME_PLAIN_SIZE + 60 + 1514 + 1518 + 64 + 9014 + \
                     65561 + 1)

typedef struct Rig {
    ApusTrio *trio;
    QTestState *qts;
    FrameRig *frames;
    int card; /* what its network hears */
} Rig;

static void rig_start(Rig *rig, const char *guard)
{
    int card[2];

    test_deadline(DEADLINE, "the gate opens and closes");
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, card), ==, 0);
    *rig = (Rig) {
        .trio = apus_trio_new(),
        .frames = frame_rig_new(0),
        .card = card[0],
    };
    rig->qts = qtest_initf(
        "-M pc -m 16 -nodefaults %s %s "
        "-netdev socket,id=net1,fd=%d -device e1000,netdev=net1,romfile= "
        "-object filter-guard,id=g0,netdev=net0,group=apus%s "
        "-object filter-guard,id=g1,netdev=net1,group=apus%s",
        rig->frames->options, rig->trio->options[0], card[1], guard, guard);
    test_deadline_kills(rig->qts);
    close(card[1]);
    frame_rig_started(rig->frames);
    apus_trio_start(rig->trio);
    apus_wait_leads(rig->qts);
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    frame_rig_free(rig->frames);
    close(rig->card);
    apus_trio_free(rig->trio);
    test_deadline(0, NULL);
}

static QDict *get(Rig *rig, const char *property)
{
    QDict *reply = qtest_qmp(rig->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/g0', 'property': %s } }",
                             property);

    g_assert_true(qdict_haskey(reply, "return"));
    return reply;
}

static uint64_t counter(Rig *rig, const char *name)
{
    QDict *reply = get(rig, name);
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static bool status_is(Rig *rig, const char *status)
{
    QDict *reply = qtest_qmp_assert_success_ref(rig->qts,
                       "{ 'execute': 'query-status' }");
    bool is = g_str_equal(qdict_get_str(reply, "status"), status);

    qobject_unref(reply);
    return is;
}

static void wait_status(Rig *rig, const char *status)
{
    while (!status_is(rig, status)) {
        g_usleep(POLL);
    }
}

static bool may_speak(Rig *rig)
{
    QDict *reply = qtest_qmp(rig->qts, "{ 'execute': 'query-apus' }");
    QDict *info = qdict_get_qdict(reply, "return");
    bool may = info && qdict_get_bool(info, "may-speak");

    qobject_unref(reply);
    return may;
}

/* Until the witness is back. */
static void lose_majority(Rig *rig)
{
    test_deadline_quit(rig->trio->witness);
    rig->trio->witness = NULL;
    while (may_speak(rig)) {
        g_usleep(POLL);
    }
}

static void test_frames_wait_for_a_majority(const void *guard)
{
    uint64_t released;
    Rig rig;

    rig_start(&rig, guard);
    frame_say_all(rig.frames->guest, 0);
    frame_hear_all(rig.frames->network, 0);
    released = counter(&rig, "released-frames");
    g_assert_cmpuint(released, ==, FRAME_KINDS);

    lose_majority(&rig);
    frame_say_all(rig.frames->guest, 20);
    while (counter(&rig, "held-bytes") < FRAMES_SIZE) {
        g_usleep(POLL);
    }
    /* what the guest hears is not the guard's business */
    frame_say_all(rig.frames->network, 50);
    frame_hear_all(rig.frames->guest, 50);
    frame_silence(rig.frames->network);
    g_assert_cmpuint(counter(&rig, "released-frames"), ==, released);

    apus_trio_start(rig.trio);
    frame_hear_all(rig.frames->network, 20);
    frame_say_all(rig.frames->guest, 40);
    frame_hear_all(rig.frames->network, 40);
    while (counter(&rig, "held-bytes")) {
        g_usleep(POLL);
    }
    g_assert_cmpuint(counter(&rig, "released-frames"), ==,
                     released + 2 * FRAME_KINDS);
    g_assert_cmpuint(counter(&rig, "dropped-frames"), ==, 0);
    rig_stop(&rig);
}

/* Nothing is lost, and no more is said than there is room for. */
static void test_full_guard_pauses_the_vm(const void *guard)
{
    unsigned said = 0;
    Rig rig;

    rig_start(&rig, guard);
    lose_majority(&rig);
    while (!status_is(&rig, "paused")) {
        frame_say(rig.frames->guest, FRAME_PLAIN, said++);
        g_assert_cmpuint(said, <, 512 * KIB / FRAME_PLAIN_SIZE);
    }
    g_assert_cmpuint(counter(&rig, "times-full"), ==, 1);
    frame_silence(rig.frames->network);

    apus_trio_start(rig.trio);
    for (unsigned i = 0; i < said; i++) {
        frame_hear(rig.frames->network, FRAME_PLAIN, i);
    }
    wait_status(&rig, "running");
    g_assert_cmpuint(counter(&rig, "dropped-frames"), ==, 0);
    frame_say_all(rig.frames->guest, 10);
    frame_hear_all(rig.frames->network, 10);
    rig_stop(&rig);
}

static void announce(Rig *rig)
{
    qtest_qmp_assert_success(rig->qts, "{ 'execute': 'announce-self',"
        "  'arguments': { 'initial': 50, 'max': 50, 'rounds': 1,"
        "                 'step': 0 } }");
}

/* RARP, in which a NIC's address is. */
static void hear_announcement(int fd)
{
    uint8_t frame[4 + 60];

    for (size_t n = 0; n < sizeof(frame); ) {
        ssize_t ret = recv(fd, frame + n, sizeof(frame) - n, 0);

        g_assert_cmpint(ret, >, 0);
        n += ret;
    }
    g_assert_cmpuint(ldl_be_p(frame), ==, 60);
    g_assert_cmpuint(lduw_be_p(frame + 4 + 12), ==, 0x8035);
}

/* What QEMU says of the guest, it says in the guest's name. */
static void test_announcements_obey(void)
{
    Rig rig;

    rig_start(&rig, "");
    announce(&rig);
    hear_announcement(rig.card);
    lose_majority(&rig);
    announce(&rig);
    frame_silence(rig.card);
    apus_trio_start(rig.trio);
    hear_announcement(rig.card);
    rig_stop(&rig);
}

static void test_guard_of_a_leader_stays(void)
{
    QDict *reply;
    Rig rig;

    rig_start(&rig, "");
    reply = qtest_qmp(rig.qts, "{ 'execute': 'object-del',"
                      "  'arguments': { 'id': 'g0' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "object 'g0' is in use, can not be deleted");
    qobject_unref(reply);
    reply = qtest_qmp(rig.qts, "{ 'execute': 'qom-set', 'arguments': {"
                      "  'path': '/objects/g0', 'property': 'status',"
                      "  'value': 'off' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "filter-guard 'g0' cannot be switched off, as apus-group "
                    "'apus' may forbid the guest to speak");
    qobject_unref(reply);
    frame_say_all(rig.frames->guest, 0);
    frame_hear_all(rig.frames->network, 0);
    /* with its netdev it goes */
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'net0' } }");
    rig_stop(&rig);
}

/* object-add with @arguments fails, and the error says @expected. */
static void check_refused(Rig *rig, const char *arguments,
                          const char *expected)
{
    g_autofree char *text = g_strdup_printf(
        "{ 'qom-type': 'filter-guard', 'id': 'g2', 'netdev': 'guest0', %s }",
        arguments);
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

static void check_fixed(Rig *rig, const char *name, const char *value)
{
    g_autofree char *expected = g_strdup_printf(
        "Property 'filter-guard.%s' cannot be changed later", name);
    QDict *reply = qtest_qmp(rig->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': '/objects/g0', 'property': %s,"
                             "  'value': %p } }", name,
                             qobject_from_json(value, &error_abort));

    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    expected);
    qobject_unref(reply);
}

static void test_bad_options_are_refused(void)
{
    Rig rig;

    rig_start(&rig, "");
    check_refused(&rig, "'group': 'none'", "'none'");
    check_refused(&rig, "'group': 'g0'", "'g0'");
    check_refused(&rig, "'release': 'compare'",
                  "Parameter 'release' is 'compare', which needs an "
                  "apus-group: name it with 'group'");
    check_refused(&rig, "'release': 'both'",
                  "Parameter 'release' does not accept value 'both'");
    check_refused(&rig, "'compare-timeout': 0",
                  "Property 'filter-guard.compare-timeout' is 0 ms; it must be "
                  "from 1 to 10000");
    check_refused(&rig, "'compare-timeout': 10001", "is 10001 ms");
    check_fixed(&rig, "group", "'apus'");
    check_fixed(&rig, "release", "'sync'");
    check_fixed(&rig, "compare-timeout", "50");

    /* the group stays as long as a guard asks it */
    qtest_qmp_assert_success(rig.qts,
        "{ 'execute': 'object-add', 'arguments': {"
        "  'qom-type': 'filter-guard', 'id': 'g2', 'netdev': 'guest0',"
        "  'group': 'apus', 'release': 'compare', 'compare-timeout': 1 } }");
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/filter-guard-gate/frames-wait-for-a-majority/sync",
                        ",release=sync", test_frames_wait_for_a_majority);
    qtest_add_data_func("/filter-guard-gate/"
                        "frames-wait-for-a-majority/compare",
                        ",release=compare", test_frames_wait_for_a_majority);
    qtest_add_data_func("/filter-guard-gate/full-guard-pauses-the-vm/sync",
                        ",limit=256K", test_full_guard_pauses_the_vm);
    qtest_add_data_func("/filter-guard-gate/full-guard-pauses-the-vm/compare",
                        ",limit=256K,release=compare",
                        test_full_guard_pauses_the_vm);
    qtest_add_func("/filter-guard-gate/announcements-obey",
                   test_announcements_obey);
    qtest_add_func("/filter-guard-gate/guard-of-a-leader-stays",
                   test_guard_of_a_leader_stays);
    qtest_add_func("/filter-guard-gate/bad-options-are-refused",
                   test_bad_options_are_refused);
    return g_test_run();
}
