/*
 * filter-apus on two replicas: both guests receive the same, in one order
 *
 * Each has a netdev whose guest the test plays, net0, and a network card,
 * net1, that takes nothing until the test enables it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "apus-trio.h"
#include "colo-pair.h"
#include "frame-rig.h"
#include "nic-card.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */

typedef struct Side {
    FrameRig *frames;
    int card_network;
    int card_theirs;
    QTestState *qts;
} Side;

typedef struct Rig {
    ApusTrio *trio;
    ColoPair *pair;
    Side leader;
    Side secondary;
    unsigned said; /* to the cards */
} Rig;

static char *side_options(Side *side, const char *group)
{
    g_autofree char *card = NULL;

    side->frames = frame_rig_new(0);
    card = nic_card_options("net1", &side->card_network, &side->card_theirs);
    return g_strdup_printf(
        "-object plover,id=p0,sync-timeout=%d %s %s %s "
        "-object filter-apus,id=f0,netdev=net0,group=apus "
        "-object filter-apus,id=f1,netdev=net1,group=apus "
        "-object filter-guard,id=g0,netdev=net0,group=apus",
        DEADLINE * 1000, side->frames->options, card, group);
}

static void side_started(Side *side, QTestState *qts)
{
    frame_rig_started(side->frames);
    close(side->card_theirs);
    side->qts = qts;
}

static void say_to_cards(Rig *rig, Side *side, unsigned frames)
{
    while (frames--) {
        nic_card_say(side->card_network, rig->said++);
    }
}

/* What came before there was a secondary goes there with the VM. */
static Rig *starting;
static void prepare(QTestState *leader)
{
    apus_wait_leads(leader);
    say_to_cards(starting, &starting->leader, 3);
}

static void rig_start(Rig *rig)
{
    g_autofree char *leader = NULL;
    g_autofree char *secondary = NULL;
    ColoPairOptions options = { .plover = true, .prepare = prepare };

    *rig = (Rig) { .trio = apus_trio_new() };
    options.primary = leader = side_options(&rig->leader,
                                            rig->trio->options[0]);
    options.secondary = secondary = side_options(&rig->secondary,
                                                 rig->trio->options[1]);
    starting = rig;
    apus_trio_start(rig->trio);
    rig->pair = colo_pair_start(&options);
    side_started(&rig->leader, rig->pair->primary);
    side_started(&rig->secondary, rig->pair->secondary);
    test_deadline(DEADLINE, "both guests get their frames");
    apus_wait_part(rig->secondary.qts, "secondary");
}

static void side_free(Side *side)
{
    frame_rig_free(side->frames);
    close(side->card_network);
}

static void rig_stop(Rig *rig)
{
    colo_pair_free(rig->pair);
    apus_trio_free(rig->trio);
    side_free(&rig->leader);
    side_free(&rig->secondary);
    test_deadline(0, NULL);
}

static uint64_t counter(Side *side, const char *path, const char *name)
{
    QDict *reply = qtest_qmp(side->qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': %s, 'property': %s } }", path, name);
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static void wait_counter(Side *side, const char *path, const char *name,
                         uint64_t value)
{
    while (counter(side, path, name) != value) {
        g_usleep(POLL);
    }
}

static void sync_now(Rig *rig)
{
    uint64_t done, now;
    QDict *reply;

    reply = qtest_qmp_assert_success_ref(rig->leader.qts,
                                         "{ 'execute': 'query-plover' }");
    now = done = qdict_get_int(reply, "syncs");
    qobject_unref(reply);
    qtest_qmp_assert_success(rig->leader.qts, "{ 'execute': 'plover-sync' }");
    while (now == done) {
        g_usleep(POLL);
        reply = qtest_qmp_assert_success_ref(rig->leader.qts,
                                             "{ 'execute': 'query-plover' }");
        now = qdict_get_int(reply, "syncs");
        qobject_unref(reply);
    }
}

static void hear_both(Rig *rig, unsigned number)
{
    frame_hear_all(rig->leader.frames->guest, number);
    frame_hear_all(rig->secondary.frames->guest, number);
}

/* The leader dies, and the secondary leads. */
static void kill_leader(Rig *rig)
{
    sync_now(rig);
    apus_wait_protected(rig->leader.qts);
    colo_pair_kill(rig->pair, &rig->pair->primary);
    apus_wait_leads(rig->secondary.qts);
}

static void test_both_guests_get_the_same(void)
{
    Rig rig;

    rig_start(&rig);
    for (unsigned i = 0; i < 10; i++) {
        frame_say_all(rig.leader.frames->network, i);
        if (i % 3 == 2) {
            sync_now(&rig);
        }
        hear_both(&rig, i);
    }
    frame_silence(rig.leader.frames->guest);
    frame_silence(rig.secondary.frames->guest);
    rig_stop(&rig);
}

static void test_network_of_the_secondary_is_not_heard(void)
{
    Rig rig;

    rig_start(&rig);
    frame_say_all(rig.secondary.frames->network, 50);
    wait_counter(&rig.secondary, "/objects/f0", "dropped-not-leader",
                 FRAME_KINDS);
    frame_say_all(rig.leader.frames->network, 1);
    hear_both(&rig, 1);
    frame_silence(rig.leader.frames->guest);
    frame_silence(rig.secondary.frames->guest);
    g_assert_cmpuint(counter(&rig.secondary, "/objects/f0",
                             "submitted-frames"), ==, 0);
    rig_stop(&rig);
}

static void test_takeover_goes_on_with_its_own_network(void)
{
    Rig rig;

    rig_start(&rig);
    frame_say_all(rig.leader.frames->network, 1);
    hear_both(&rig, 1);
    kill_leader(&rig);
    frame_say_all(rig.secondary.frames->network, 2);
    frame_hear_all(rig.secondary.frames->guest, 2);
    frame_silence(rig.secondary.frames->guest);
    rig_stop(&rig);
}

/* From before the session, from before a sync, and from behind it */
static void test_pending_frames_live_through_all(void)
{
    NicCard *card;
    Rig rig;

    rig_start(&rig);
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 3);
    say_to_cards(&rig, &rig.leader, 4);
    wait_counter(&rig.leader, "/objects/f1", "pending-frames", 7);
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 7);
    sync_now(&rig);
    say_to_cards(&rig, &rig.leader, 2);
    sync_now(&rig);
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 9);
    wait_counter(&rig.leader, "/objects/f1", "pending-frames", 9);
    say_to_cards(&rig, &rig.leader, 3);
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 12);
    kill_leader(&rig);
    say_to_cards(&rig, &rig.secondary, 1);
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 13);

    card = nic_card_new(rig.secondary.qts);
    nic_card_enable(card, 5);
    while (card->heard < rig.said) {
        nic_card_hear(card);
        nic_card_offer(card, card->heard + 5);
    }
    wait_counter(&rig.secondary, "/objects/f1", "pending-frames", 0);
    nic_card_free(card);
    rig_stop(&rig);
}

static void check_stays(Side *side)
{
    QDict *reply;

    reply = qtest_qmp(side->qts, "{ 'execute': 'object-del',"
                      "  'arguments': { 'id': 'f0' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "object 'f0' is in use, can not be deleted");
    qobject_unref(reply);
    reply = qtest_qmp(side->qts, "{ 'execute': 'qom-set', 'arguments': {"
                      "  'path': '/objects/f0', 'property': 'status',"
                      "  'value': 'off' } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"), ==,
                    "filter-apus 'f0' cannot be switched off while two "
                    "replicas run the VM: end COLO first");
    qobject_unref(reply);
}

static void test_filters_stay_while_there_are_two(void)
{
    Rig rig;

    rig_start(&rig);
    check_stays(&rig.leader);
    check_stays(&rig.secondary);
    frame_say_all(rig.leader.frames->network, 1);
    hear_both(&rig, 1);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-apus-session/both-guests-get-the-same",
                   test_both_guests_get_the_same);
    qtest_add_func("/filter-apus-session/"
                   "network-of-the-secondary-is-not-heard",
                   test_network_of_the_secondary_is_not_heard);
    qtest_add_func("/filter-apus-session/"
                   "takeover-goes-on-with-its-own-network",
                   test_takeover_goes_on_with_its_own_network);
    qtest_add_func("/filter-apus-session/pending-frames-live-through-all",
                   test_pending_frames_live_through_all);
    qtest_add_func("/filter-apus-session/filters-stay-while-there-are-two",
                   test_filters_stay_while_there_are_two);

    return g_test_run();
}
