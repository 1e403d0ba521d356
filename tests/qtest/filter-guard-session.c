/*
 * filter-guard in a session: nothing leaves too early, nothing is lost
 *
 * A pair that synchronises its VMs only when it is told to, or when a guard
 * asks for it. The guests do nothing; what they "say" comes from frame-rig.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 20 /* seconds */
#define POLL 1000 /* microseconds */
#define KIB 1024

/* Of the secondary's answers to a sync, that it has everything comes last. */
#define APPLIED_SIZE (48 + 32)
#define STAGED_SIZE (48 + 28)

typedef struct Side {
    FrameRig *frames;
    QTestState *qts;
} Side;

typedef struct Rig {
    ColoPair *pair;
    Side primary;
    Side secondary;
} Rig;

static void set_deadline(void)
{
    test_deadline(DEADLINE, "the guards do what they should");
}

static char *side_options(Side *side, const char *guard)
{
    side->frames = frame_rig_new(0);
    return g_strdup_printf("-object plover,id=p0,sync-timeout=%d %s "
                           "-object filter-guard,id=g0,netdev=net0%s",
                           DEADLINE * 1000, side->frames->options, guard);
}

static void rig_start(Rig *rig, const char *guard)
{
    g_autofree char *primary = side_options(&rig->primary, guard);
    g_autofree char *secondary = side_options(&rig->secondary, guard);
    const ColoPairOptions options = {
        .plover = true,
        .primary = primary,
        .secondary = secondary,
    };

    rig->pair = colo_pair_start(&options);
    frame_rig_started(rig->primary.frames);
    frame_rig_started(rig->secondary.frames);
    rig->primary.qts = rig->pair->primary;
    rig->secondary.qts = rig->pair->secondary;
    set_deadline();
}

static void rig_stop(Rig *rig)
{
    colo_pair_free(rig->pair);
    frame_rig_free(rig->primary.frames);
    frame_rig_free(rig->secondary.frames);
    test_deadline(0, NULL);
}

static QDict *get(QTestState *qts, const char *property)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/g0', 'property': %s } }",
                             property);

    g_assert_true(qdict_haskey(reply, "return"));
    return reply;
}

static uint64_t counter(Side *side, const char *name)
{
    QDict *reply = get(side->qts, name);
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static bool is_holding(Side *side)
{
    QDict *reply = get(side->qts, "holding");
    bool value = qdict_get_bool(reply, "return");

    qobject_unref(reply);
    return value;
}

static void wait_holding(Side *side)
{
    while (!is_holding(side)) {
        g_usleep(POLL);
    }
}

static void wait_counter(Side *side, const char *name, uint64_t value)
{
    while (counter(side, name) != value) {
        g_usleep(POLL);
    }
}

static bool status_is(Side *side, const char *status)
{
    QDict *reply = qtest_qmp_assert_success_ref(side->qts,
                       "{ 'execute': 'query-status' }");
    bool is = g_str_equal(qdict_get_str(reply, "status"), status);

    qobject_unref(reply);
    return is;
}

static uint64_t syncs(Side *side)
{
    QDict *reply = qtest_qmp_assert_success_ref(side->qts,
                       "{ 'execute': 'query-plover' }");
    uint64_t n = qdict_get_int(reply, "syncs");

    qobject_unref(reply);
    return n;
}

static void request_sync(Rig *rig)
{
    qtest_qmp_assert_success(rig->primary.qts,
                             "{ 'execute': 'plover-sync' }");
}

/* Both sides have completed one more. */
static void sync_now(Rig *rig)
{
    uint64_t primary = syncs(&rig->primary);
    uint64_t secondary = syncs(&rig->secondary);

    request_sync(rig);
    while (syncs(&rig->primary) == primary ||
           syncs(&rig->secondary) == secondary) {
        g_usleep(POLL);
    }
}

/* A pair whose guards hold, and whose next sync finds nothing unusual */
static void start_session(Rig *rig, const char *guard)
{
    rig_start(rig, guard);
    wait_holding(&rig->primary);
    wait_holding(&rig->secondary);
    sync_now(rig);
}

/* How much the secondary says in a sync. */
static uint64_t answer_size(Rig *rig)
{
    uint64_t passed = colo_link_passed(rig->pair->link, TO_PRIMARY);

    sync_now(rig);
    return colo_link_passed(rig->pair->link, TO_PRIMARY) - passed;
}

static void test_leader_holds_until_the_secondary_has_all(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.primary.frames->guest, 0);
    wait_counter(&rig.primary, "held-frames", FRAME_KINDS);
    frame_silence(rig.primary.frames->network);

    sync_now(&rig);
    frame_hear_all(rig.primary.frames->network, 0);
    frame_silence(rig.primary.frames->network);
    g_assert_cmpuint(counter(&rig.primary, "held-frames"), ==, 0);
    g_assert_cmpuint(counter(&rig.primary, "held-bytes"), ==, 0);
    g_assert_cmpuint(counter(&rig.primary, "released-frames"), ==,
                     FRAME_KINDS);
    rig_stop(&rig);
}

/* More than the queue of a netdev takes may leave at once. */
static void test_slow_network_gets_all_in_order(void)
{
    const unsigned count = 12000;
    Rig rig;

    start_session(&rig, "");
    for (unsigned i = 0; i < count; i++) {
        frame_say(rig.primary.frames->guest, FRAME_PLAIN, i);
    }
    wait_counter(&rig.primary, "held-frames", count);
    sync_now(&rig);
    g_assert_cmpuint(counter(&rig.primary, "held-frames"), ==, 0);
    g_assert_cmpuint(counter(&rig.primary, "held-bytes"), >, 0);
    for (unsigned i = 0; i < count; i++) {
        frame_hear(rig.primary.frames->network, FRAME_PLAIN, i);
    }
    g_assert_cmpuint(counter(&rig.primary, "dropped-frames"), ==, 0);
    rig_stop(&rig);
}

static void test_what_the_guest_receives_is_not_held(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.primary.frames->network, 0);
    frame_hear_all(rig.primary.frames->guest, 0);
    frame_say_all(rig.secondary.frames->network, 0);
    frame_hear_all(rig.secondary.frames->guest, 0);
    rig_stop(&rig);
}

/*
 * The leader's VM runs on before the secondary says that it has everything.
 * What it sends then belongs to the next sync, and what it sent before leaves
 * with this one.
 */
static void test_what_is_said_after_the_stop_stays(void)
{
    uint64_t answers;
    Rig rig;

    start_session(&rig, "");
    answers = answer_size(&rig);
    frame_say(rig.primary.frames->guest, FRAME_PLAIN, 1);
    wait_counter(&rig.primary, "held-frames", 1);

    colo_link_freeze_after(rig.pair->link, TO_PRIMARY,
                           answers - APPLIED_SIZE - STAGED_SIZE);
    request_sync(&rig);
    colo_link_wait_frozen(rig.pair->link);
    while (!status_is(&rig.primary, "running")) {
        g_usleep(POLL);
    }
    frame_say(rig.primary.frames->guest, FRAME_PLAIN, 2);
    wait_counter(&rig.primary, "held-frames", 2);
    frame_silence(rig.primary.frames->network);

    colo_link_thaw(rig.pair->link);
    frame_hear(rig.primary.frames->network, FRAME_PLAIN, 1);
    wait_counter(&rig.primary, "released-frames", 1);
    g_assert_cmpuint(counter(&rig.primary, "held-frames"), ==, 1);
    frame_silence(rig.primary.frames->network);

    request_sync(&rig);
    frame_hear(rig.primary.frames->network, FRAME_PLAIN, 2);
    rig_stop(&rig);
}

static void test_secondary_throws_away_what_it_says(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.secondary.frames->guest, 0);
    wait_counter(&rig.secondary, "held-frames", FRAME_KINDS);
    sync_now(&rig);
    g_assert_cmpuint(counter(&rig.secondary, "discarded-frames"), ==,
                     FRAME_KINDS);
    g_assert_cmpuint(counter(&rig.secondary, "held-bytes"), ==, 0);

    frame_say(rig.secondary.frames->guest, FRAME_PLAIN, 7);
    wait_counter(&rig.secondary, "held-frames", 1);
    frame_silence(rig.secondary.frames->network);
    rig_stop(&rig);
}

static void test_secondary_that_takes_over_says_what_it_held(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.secondary.frames->guest, 0);
    wait_counter(&rig.secondary, "held-frames", FRAME_KINDS);
    colo_pair_kill(rig.pair, &rig.pair->primary);
    colo_wait_exit(rig.secondary.qts, "error");
    set_deadline();
    frame_silence(rig.secondary.frames->network);

    colo_failover(rig.secondary.qts, true);
    set_deadline();
    frame_hear_all(rig.secondary.frames->network, 0);
    frame_say_all(rig.secondary.frames->guest, 10);
    frame_hear_all(rig.secondary.frames->network, 10);
    g_assert_false(is_holding(&rig.secondary));
    rig_stop(&rig);
}

static void test_leader_that_goes_on_alone_says_what_it_held(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.primary.frames->guest, 0);
    wait_counter(&rig.primary, "held-frames", FRAME_KINDS);
    colo_pair_kill(rig.pair, &rig.pair->secondary);
    /* it hears of it when it has something to say */
    request_sync(&rig);
    colo_wait_exit(rig.primary.qts, "error");
    set_deadline();
    frame_silence(rig.primary.frames->network);

    colo_failover(rig.primary.qts, true);
    set_deadline();
    frame_hear_all(rig.primary.frames->network, 0);
    frame_say_all(rig.primary.frames->guest, 10);
    frame_hear_all(rig.primary.frames->network, 10);
    rig_stop(&rig);
}

static void test_guard_asks_for_a_sync_before_it_is_full(void)
{
    const unsigned count = 200 * KIB / FRAME_PLAIN_SIZE;
    Rig rig;

    start_session(&rig, ",limit=256K");
    for (unsigned i = 0; i < count; i++) {
        frame_say(rig.primary.frames->guest, FRAME_PLAIN, i);
    }
    frame_hear(rig.primary.frames->network, FRAME_PLAIN, 0);
    g_assert_cmpuint(counter(&rig.primary, "times-full"), ==, 0);
    rig_stop(&rig);
}

/* As long as there can be no sync, the VM stands; and nothing is lost. */
static void test_full_guard_pauses_the_leader(void)
{
    unsigned said = 0;
    Rig rig;

    start_session(&rig, ",limit=256K");
    colo_link_freeze_after(rig.pair->link, TO_PRIMARY, 0);
    while (!status_is(&rig.primary, "paused")) {
        frame_say(rig.primary.frames->guest, FRAME_PLAIN, said++);
        g_assert_cmpuint(said, <, 512 * KIB / FRAME_PLAIN_SIZE);
    }
    g_assert_cmpuint(counter(&rig.primary, "times-full"), ==, 1);
    g_assert_cmpuint(counter(&rig.primary, "held-bytes"), >, 250 * KIB);
    frame_silence(rig.primary.frames->network);

    colo_link_thaw(rig.pair->link);
    while (!status_is(&rig.primary, "running")) {
        g_usleep(POLL);
    }
    wait_counter(&rig.primary, "held-frames", 0);
    for (unsigned i = 0; i < said; i++) {
        frame_hear(rig.primary.frames->network, FRAME_PLAIN, i);
    }
    g_assert_cmpuint(counter(&rig.primary, "dropped-frames"), ==, 0);
    rig_stop(&rig);
}

/* The secondary freezes, the guard becomes full, and the user decides. */
static void test_paused_leader_goes_on_alone(void)
{
    unsigned said = 0;
    Rig rig;

    start_session(&rig, ",limit=256K");
    colo_link_freeze_after(rig.pair->link, TO_PRIMARY, 0);
    while (!status_is(&rig.primary, "paused")) {
        frame_say(rig.primary.frames->guest, FRAME_PLAIN, said++);
        g_assert_cmpuint(said, <, 512 * KIB / FRAME_PLAIN_SIZE);
    }
    colo_pair_kill(rig.pair, &rig.pair->secondary);
    colo_failover(rig.primary.qts, false);
    set_deadline();
    for (unsigned i = 0; i < said; i++) {
        frame_hear(rig.primary.frames->network, FRAME_PLAIN, i);
    }
    g_assert_true(status_is(&rig.primary, "running"));
    frame_say_all(rig.primary.frames->guest, 10);
    frame_hear_all(rig.primary.frames->network, 10);
    rig_stop(&rig);
}

/* A VM that was stopped by the user stays stopped when there is room. */
static void test_stop_of_the_user_lasts(void)
{
    unsigned said = 0;
    Rig rig;

    start_session(&rig, ",limit=256K");
    colo_link_freeze_after(rig.pair->link, TO_PRIMARY, 0);
    while (!status_is(&rig.primary, "paused")) {
        frame_say(rig.primary.frames->guest, FRAME_PLAIN, said++);
        g_assert_cmpuint(said, <, 512 * KIB / FRAME_PLAIN_SIZE);
    }
    /* What was not read yet may make the guard pause the VM once more. */
    qtest_qmp_assert_success(rig.primary.qts, "{ 'execute': 'cont' }");
    wait_counter(&rig.primary, "held-frames", said);
    qtest_qmp_assert_success(rig.primary.qts, "{ 'execute': 'cont' }");
    qtest_qmp_assert_success(rig.primary.qts, "{ 'execute': 'stop' }");
    colo_link_thaw(rig.pair->link);
    while (counter(&rig.primary, "held-frames")) {
        request_sync(&rig);
        g_usleep(POLL);
    }
    g_assert_true(status_is(&rig.primary, "paused"));
    qtest_qmp_assert_success(rig.primary.qts, "{ 'execute': 'cont' }");
    for (unsigned i = 0; i < said; i++) {
        frame_hear(rig.primary.frames->network, FRAME_PLAIN, i);
    }
    rig_stop(&rig);
}

static void test_full_guard_of_a_secondary_drops_the_newest(void)
{
    const unsigned count = 400 * KIB / FRAME_PLAIN_SIZE;
    uint64_t held;
    Rig rig;

    start_session(&rig, ",limit=256K");
    for (unsigned i = 0; i < count; i++) {
        frame_say(rig.secondary.frames->guest, FRAME_PLAIN, i);
    }
    while (counter(&rig.secondary, "held-frames") +
           counter(&rig.secondary, "dropped-frames") < count) {
        g_usleep(POLL);
    }
    held = counter(&rig.secondary, "held-frames");
    g_assert_cmpuint(counter(&rig.secondary, "held-bytes"), <=, 256 * KIB);
    g_assert_cmpuint(held, >, 0);
    g_assert_true(status_is(&rig.secondary, "running"));

    colo_pair_kill(rig.pair, &rig.pair->primary);
    colo_wait_exit(rig.secondary.qts, "error");
    colo_failover(rig.secondary.qts, true);
    set_deadline();
    for (unsigned i = 0; i < held; i++) {
        frame_hear(rig.secondary.frames->network, FRAME_PLAIN, i);
    }
    frame_say(rig.secondary.frames->guest, FRAME_PLAIN, count);
    frame_hear(rig.secondary.frames->network, FRAME_PLAIN, count);
    rig_stop(&rig);
}

static void test_guard_stays_while_it_holds(void)
{
    QDict *reply;
    Rig rig;

    start_session(&rig, "");
    reply = qtest_qmp(rig.primary.qts, "{ 'execute': 'object-del',"
                      "  'arguments': { 'id': 'g0' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "object 'g0' is in use, can not be deleted");
    qobject_unref(reply);
    reply = qtest_qmp(rig.primary.qts, "{ 'execute': 'qom-set', 'arguments': {"
                      "  'path': '/objects/g0', 'property': 'status',"
                      "  'value': 'off' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "filter-guard 'g0' cannot be switched off while it holds "
                    "what the guest sends: end COLO first");
    qobject_unref(reply);

    frame_say(rig.primary.frames->guest, FRAME_PLAIN, 1);
    wait_counter(&rig.primary, "held-frames", 1);
    /* with its netdev it goes, and so does what it held */
    qtest_qmp_assert_success(rig.primary.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'net0' } }");
    sync_now(&rig);
    rig_stop(&rig);
}

/* Nobody remembers a network card that was unplugged. */
static void test_unplugged_sender_is_forgotten(void)
{
    Rig rig;

    start_session(&rig, "");
    frame_say_all(rig.primary.frames->guest, 0);
    wait_counter(&rig.primary, "held-frames", FRAME_KINDS);
    qtest_qmp_assert_success(rig.primary.qts,
        "{ 'execute': 'netdev_del', 'arguments': { 'id': 'hub0-0' } }");
    sync_now(&rig);
    g_assert_cmpuint(counter(&rig.primary, "held-bytes"), ==, 0);
    g_assert_cmpuint(counter(&rig.primary, "dropped-frames"), ==, FRAME_KINDS);
    frame_silence(rig.primary.frames->network);
    rig_stop(&rig);
}

static void test_guard_that_comes_later_holds(void)
{
    Rig rig;

    start_session(&rig, "");
    qtest_qmp_assert_success(rig.primary.qts,
        "{ 'execute': 'object-add', 'arguments': {"
        "  'qom-type': 'filter-guard', 'id': 'g1', 'netdev': 'guest0' } }");
    /* to the network is from guest0's guest, to speak of it so */
    frame_say(rig.primary.frames->network, FRAME_PLAIN, 1);
    frame_say(rig.primary.frames->guest, FRAME_PLAIN, 2);
    wait_counter(&rig.primary, "held-frames", 1);
    frame_silence(rig.primary.frames->guest);
    frame_silence(rig.primary.frames->network);
    sync_now(&rig);
    frame_hear(rig.primary.frames->guest, FRAME_PLAIN, 1);
    frame_hear(rig.primary.frames->network, FRAME_PLAIN, 2);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-guard-session/"
                   "leader-holds-until-the-secondary-has-all",
                   test_leader_holds_until_the_secondary_has_all);
    qtest_add_func("/filter-guard-session/slow-network-gets-all-in-order",
                   test_slow_network_gets_all_in_order);
    qtest_add_func("/filter-guard-session/"
                   "what-the-guest-receives-is-not-held",
                   test_what_the_guest_receives_is_not_held);
    qtest_add_func("/filter-guard-session/what-is-said-after-the-stop-stays",
                   test_what_is_said_after_the_stop_stays);
    qtest_add_func("/filter-guard-session/secondary-throws-away-what-it-says",
                   test_secondary_throws_away_what_it_says);
    qtest_add_func("/filter-guard-session/"
                   "secondary-that-takes-over-says-what-it-held",
                   test_secondary_that_takes_over_says_what_it_held);
    qtest_add_func("/filter-guard-session/"
                   "leader-that-goes-on-alone-says-what-it-held",
                   test_leader_that_goes_on_alone_says_what_it_held);
    qtest_add_func("/filter-guard-session/"
                   "guard-asks-for-a-sync-before-it-is-full",
                   test_guard_asks_for_a_sync_before_it_is_full);
    qtest_add_func("/filter-guard-session/full-guard-pauses-the-leader",
                   test_full_guard_pauses_the_leader);
    qtest_add_func("/filter-guard-session/paused-leader-goes-on-alone",
                   test_paused_leader_goes_on_alone);
    qtest_add_func("/filter-guard-session/stop-of-the-user-lasts",
                   test_stop_of_the_user_lasts);
    qtest_add_func("/filter-guard-session/"
                   "full-guard-of-a-secondary-drops-the-newest",
                   test_full_guard_of_a_secondary_drops_the_newest);
    qtest_add_func("/filter-guard-session/guard-stays-while-it-holds",
                   test_guard_stays_while_it_holds);
    qtest_add_func("/filter-guard-session/unplugged-sender-is-forgotten",
                   test_unplugged_sender_is_forgotten);
    qtest_add_func("/filter-guard-session/guard-that-comes-later-holds",
                   test_guard_that_comes_later_holds);

    return g_test_run();
}
