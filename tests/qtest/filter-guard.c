/*
 * filter-guard without a session: it is not there
 *
 * Two socket netdevs, whose other ends the test holds, are joined by a hub. One
 * of them stands for the guest, the other one for the network; the guard is on
 * the latter. So what the guest says is what the test writes on the one end and
 * reads on the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "test-deadline.h"

#define DEADLINE 20 /* seconds */
#define FRAME_MAX (64 * 1024 + 4096) /* what QEMU's netdevs take */

typedef struct Rig {
    QTestState *qts;
    int guest;
    int network;
} Rig;

/* A frame of one kind: how it begins, how long it is; the rest is filler */
typedef struct Kind {
    const char *name;
    uint8_t head[18];
    uint32_t size;
} Kind;

static const Kind kinds[] = {
    {
        .name = "ARP",
        .head = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x06 },
        .size = 42,
    }, {
        .name = "IPv4",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x00, 0x45 },
        .size = 590,
    }, {
        .name = "IPv4 multicast",
        .head = { 0x01, 0, 0x5e, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x00, 0x45 },
        .size = 60,
    }, {
        .name = "IPv6",
        .head = { 0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 1,
                  0x86, 0xdd, 0x60 },
        .size = 1514,
    }, {
        .name = "VLAN",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x81, 0x00, 0, 7, 0x08, 0x00 },
        .size = 1518,
    }, {
        .name = "unknown protocol",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x88, 0xb5 },
        .size = 64,
    }, {
        .name = "jumbo",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x00, 0x45 },
        .size = 9014,
    }, {
        .name = "64 KiB to be segmented",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x00, 0x45 },
        .size = 12 + 14 + 65535,
    }, {
        .name = "one byte",
        .head = { 0x42 },
        .size = 1,
    },
};

static void make_pair(int fds[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
}

static void rig_start(Rig *rig, const char *options)
{
    int guest[2], network[2];

    test_deadline(DEADLINE, "QEMU passes frames on");
    make_pair(guest);
    make_pair(network);
    rig->qts = qtest_initf("-M none -netdev socket,id=net0,fd=%d "
                           "-netdev socket,id=guest0,fd=%d "
                           "-netdev hubport,id=h0,hubid=0,netdev=net0 "
                           "-netdev hubport,id=h1,hubid=0,netdev=guest0 %s",
                           network[1], guest[1], options);
    test_deadline_kills(rig->qts);
    rig->guest = guest[0];
    rig->network = network[0];
    close(guest[1]);
    close(network[1]);
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    close(rig->guest);
    close(rig->network);
    test_deadline(0, NULL);
}

static void write_all(int fd, const uint8_t *buf, size_t size)
{
    while (size) {
        ssize_t ret = send(fd, buf, size, MSG_NOSIGNAL);

        g_assert_cmpint(ret, >, 0);
        buf += ret;
        size -= ret;
    }
}

static void read_all(int fd, uint8_t *buf, size_t size)
{
    while (size) {
        ssize_t ret = recv(fd, buf, size, 0);

        g_assert_cmpint(ret, >, 0);
        buf += ret;
        size -= ret;
    }
}

/* Frame @number of @kind; the caller frees it. */
static uint8_t *frame_new(const Kind *kind, unsigned number)
{
    uint8_t *frame = g_malloc(kind->size);

    for (uint32_t i = 0; i < kind->size; i++) {
        frame[i] = i < sizeof(kind->head) && kind->head[i] ? kind->head[i] :
                   number + i * 7;
    }
    return frame;
}

static void say(int fd, const Kind *kind, unsigned number)
{
    g_autofree uint8_t *frame = frame_new(kind, number);
    uint8_t header[4];

    stl_be_p(header, kind->size);
    write_all(fd, header, sizeof(header));
    write_all(fd, frame, kind->size);
}

static void hear(int fd, const Kind *kind, unsigned number)
{
    g_autofree uint8_t *expected = frame_new(kind, number);
    g_autofree uint8_t *frame = g_malloc(FRAME_MAX);
    uint8_t header[4];

    read_all(fd, header, sizeof(header));
    g_assert_cmpuint(ldl_be_p(header), ==, kind->size);
    read_all(fd, frame, kind->size);
    g_assert_cmpmem(frame, kind->size, expected, kind->size);
}

/* Frames of each kind cross in both directions, whole and in order. */
static void check_open(Rig *rig)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        say(rig->guest, &kinds[i], i);
        say(rig->network, &kinds[i], i + 100);
        hear(rig->network, &kinds[i], i);
        hear(rig->guest, &kinds[i], i + 100);
    }
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
