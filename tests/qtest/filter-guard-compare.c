/*
 * filter-guard with release=compare: what both guests have said leaves
 *
 * A protected pair whose guests do nothing; what they "say" comes from
 * frame-rig, on both sides. How streams are compared is tested without QEMU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "apus-trio.h"
#include "colo-pair.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
/* Longer than a frame takes, and short */
#define PATIENT ",compare-timeout=3000"
#define IMPATIENT ",compare-timeout=20"

typedef struct Side {
    FrameRig *frames;
    QTestState *qts;
} Side;

typedef struct Rig {
    ApusTrio *trio;
    ColoPair *pair;
    Side leader;
    Side secondary;
} Rig;

static char *side_options(Side *side, const char *group, const char *guard)
{
    side->frames = frame_rig_new(0);
    return g_strdup_printf(
        "-object plover,id=p0,sync-timeout=%d %s %s -object filter-guard,"
        "id=g0,netdev=net0,group=apus,release=compare%s", DEADLINE * 1000,
        side->frames->options, group, guard);
}

static uint64_t syncs(Side *side)
{
    QDict *reply = qtest_qmp_assert_success_ref(side->qts,
                       "{ 'execute': 'query-plover' }");
    uint64_t n = qdict_get_int(reply, "syncs");

    qobject_unref(reply);
    return n;
}

/* Both sides have completed one more. */
static void sync_now(Rig *rig)
{
    uint64_t leader = syncs(&rig->leader);
    uint64_t secondary = syncs(&rig->secondary);

    qtest_qmp_assert_success(rig->leader.qts, "{ 'execute': 'plover-sync' }");
    while (syncs(&rig->leader) == leader ||
           syncs(&rig->secondary) == secondary) {
        g_usleep(POLL);
    }
}

/* A pair whose secondary could take over, and whose words are compared */
static void rig_start(Rig *rig, const char *guard)
{
    g_autofree char *leader = NULL;
    g_autofree char *secondary = NULL;
    ColoPairOptions options = { .plover = true, .prepare = apus_wait_leads };

    *rig = (Rig) { .trio = apus_trio_new() };
    options.primary = leader = side_options(&rig->leader,
                                            rig->trio->options[0], guard);
    options.secondary = secondary = side_options(&rig->secondary,
                                                 rig->trio->options[1], guard);
    apus_trio_start(rig->trio);
    rig->pair = colo_pair_start(&options);
    frame_rig_started(rig->leader.frames);
    frame_rig_started(rig->secondary.frames);
    rig->leader.qts = rig->pair->primary;
    rig->secondary.qts = rig->pair->secondary;
    test_deadline(DEADLINE, "what is equal leaves");
    apus_wait_part(rig->secondary.qts, "secondary");
    sync_now(rig);
    apus_wait_protected(rig->leader.qts);
}

static void rig_stop(Rig *rig)
{
    colo_pair_free(rig->pair);
    apus_trio_free(rig->trio);
    frame_rig_free(rig->leader.frames);
    frame_rig_free(rig->secondary.frames);
    test_deadline(0, NULL);
}

static uint64_t counter(Side *side, const char *name)
{
    QDict *reply = qtest_qmp(side->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/g0', 'property': %s } }",
                             name);
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static bool is_holding(Side *side)
{
    QDict *reply = qtest_qmp(side->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/g0',"
                             "  'property': 'holding' } }");
    bool value = qdict_get_bool(reply, "return");

    qobject_unref(reply);
    return value;
}

static void wait_counter(Side *side, const char *name, uint64_t value)
{
    while (counter(side, name) != value) {
        g_usleep(POLL);
    }
}

/* Both sides say the same, once the one and once the other first. */
static void say_the_same(Rig *rig, unsigned number)
{
    frame_say_all(rig->leader.frames->guest, number);
    frame_say_all(rig->secondary.frames->guest, number);
    frame_hear_all(rig->leader.frames->network, number);
    frame_say_all(rig->secondary.frames->guest, number + FRAME_KINDS);
    frame_say_all(rig->leader.frames->guest, number + FRAME_KINDS);
    frame_hear_all(rig->leader.frames->network, number + FRAME_KINDS);
}

static void test_what_both_have_said_leaves_without_a_sync(void)
{
    unsigned number = 0;
    uint64_t equal;
    Rig rig;

    rig_start(&rig, PATIENT);
    /* One that was asked for when the session began may come in between. */
    do {
        equal = counter(&rig.leader, "equal-frames");
        say_the_same(&rig, number);
        number += 2 * FRAME_KINDS;
        g_assert_cmpuint(number, <, 5 * 2 * FRAME_KINDS);
    } while (counter(&rig.leader, "equal-frames") - equal < 2 * FRAME_KINDS);
    g_assert_cmpuint(counter(&rig.leader, "held-bytes"), ==, 0);
    frame_silence(rig.secondary.frames->network);
    rig_stop(&rig);
}

static void test_what_only_the_leader_has_said_asks_for_a_sync(void)
{
    uint64_t before;
    Rig rig;

    rig_start(&rig, IMPATIENT);
    before = syncs(&rig.leader);
    frame_say_all(rig.leader.frames->guest, 0);
    frame_hear_all(rig.leader.frames->network, 0);
    /* it is counted when it is over, and what was held has left before */
    while (syncs(&rig.leader) == before) {
        g_usleep(POLL);
    }
    rig_stop(&rig);
}

static void test_what_only_the_secondary_has_said_is_not_heard(void)
{
    Rig rig;

    rig_start(&rig, PATIENT);
    frame_say_all(rig.secondary.frames->guest, 0);
    wait_counter(&rig.secondary, "reports", FRAME_KINDS);
    frame_say(rig.leader.frames->guest, FRAME_PLAIN, 30);
    frame_say(rig.secondary.frames->guest, FRAME_PLAIN, 30);
    frame_hear(rig.leader.frames->network, FRAME_PLAIN, 30);
    frame_silence(rig.leader.frames->network);
    frame_silence(rig.secondary.frames->network);
    rig_stop(&rig);
}

/*
 * The secondary has said @number before a sync, the leader says it after it,
 * and both say the next one. False: another sync has come in between.
 */
static bool say_too_early(Rig *rig, unsigned number)
{
    int network = rig->leader.frames->network;
    uint64_t reports = counter(&rig->secondary, "reports");
    uint64_t staged, released;

    frame_say(rig->secondary.frames->guest, FRAME_PLAIN, number);
    wait_counter(&rig->secondary, "reports", reports + 1);
    sync_now(rig);
    staged = counter(&rig->leader, "staged-frames");
    released = counter(&rig->leader, "released-frames");
    frame_say(rig->leader.frames->guest, FRAME_PLAIN, number);
    frame_say(rig->leader.frames->guest, FRAME_PLAIN, number + 1);
    frame_say(rig->secondary.frames->guest, FRAME_PLAIN, number + 1);
    while (counter(&rig->leader, "released-frames") == released) {
        g_usleep(POLL);
    }
    staged = counter(&rig->leader, "staged-frames") - staged;
    if (staged == 2) {
        frame_hear(network, FRAME_PLAIN, number);
        frame_hear(network, FRAME_PLAIN, number + 1);
        return false;
    }
    frame_hear(network, FRAME_PLAIN, number + 1);
    sync_now(rig);
    frame_hear(network, FRAME_PLAIN, number);
    return staged == 0;
}

/* An equal word of another epoch is a word that the new state has not said. */
static void test_words_of_before_a_sync_do_not_count_after_it(void)
{
    unsigned number = 0;
    Rig rig;

    rig_start(&rig, PATIENT);
    while (!say_too_early(&rig, number)) {
        number += 2;
        g_assert_cmpuint(number, <, 10);
    }
    rig_stop(&rig);
}

static void test_secondary_that_takes_over_speaks(void)
{
    Rig rig;

    rig_start(&rig, PATIENT);
    colo_pair_kill(rig.pair, &rig.pair->primary);
    apus_wait_leads(rig.secondary.qts);
    while (is_holding(&rig.secondary)) {
        g_usleep(POLL);
    }
    frame_say_all(rig.secondary.frames->guest, 0);
    frame_hear_all(rig.secondary.frames->network, 0);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-guard-compare/"
                   "what-both-have-said-leaves-without-a-sync",
                   test_what_both_have_said_leaves_without_a_sync);
    qtest_add_func("/filter-guard-compare/"
                   "what-only-the-leader-has-said-asks-for-a-sync",
                   test_what_only_the_leader_has_said_asks_for_a_sync);
    qtest_add_func("/filter-guard-compare/"
                   "what-only-the-secondary-has-said-is-not-heard",
                   test_what_only_the_secondary_has_said_is_not_heard);
    qtest_add_func("/filter-guard-compare/"
                   "words-of-before-a-sync-do-not-count-after-it",
                   test_words_of_before_a_sync_do_not_count_after_it);
    qtest_add_func("/filter-guard-compare/secondary-that-takes-over-speaks",
                   test_secondary_that_takes_over_speaks);
    return g_test_run();
}
