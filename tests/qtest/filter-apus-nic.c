/*
 * filter-apus and a network card that takes frames when it likes
 *
 * The card is an e1000 that the test drives: it takes nothing until it is
 * enabled, and then as many frames as it has descriptors for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "apus-trio.h"
#include "frame-rig.h"
#include "nic-card.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
#define KIB 1024
/* The card looks at what has come while it was not enabled so much later. */
#define CARD_DELAY 2000000000ll /* ns */

typedef struct Rig {
    ApusTrio *trio;
    QTestState *qts;
    int network;
    FrameRig *frames; /* of another netdev */
    NicCard *card;
    unsigned said;
} Rig;

static void rig_start(Rig *rig, const char *filter_options)
{
    g_autofree char *card = NULL;
    int theirs;

    test_deadline(DEADLINE, "the card gets its frames");
    *rig = (Rig) {
        .trio = apus_trio_new(),
        .frames = frame_rig_new(1),
    };
    card = nic_card_options("net0", &rig->network, &theirs);
    rig->qts = qtest_initf(
        "-M pc -m 16 -nodefaults %s %s %s "
        "-object filter-apus,id=f1,netdev=net1,group=apus "
        "-object filter-apus,id=f0,netdev=net0,group=apus%s",
        card, rig->frames->options, rig->trio->options[0], filter_options);
    test_deadline_kills(rig->qts);
    close(theirs);
    frame_rig_started(rig->frames);
    rig->card = nic_card_new(rig->qts);
    apus_trio_start(rig->trio);
    apus_wait_leads(rig->qts);
}

static void rig_stop(Rig *rig)
{
    nic_card_free(rig->card);
    test_deadline_quit(rig->qts);
    close(rig->network);
    frame_rig_free(rig->frames);
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
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static void wait_counter(Rig *rig, const char *name, uint64_t value)
{
    while (counter(rig, name) != value) {
        g_usleep(POLL);
    }
}

/* The network says one frame more. */
static void say_only(Rig *rig)
{
    nic_card_say(rig->network, rig->said++);
}

/* It does, and the group orders it. */
static void say(Rig *rig)
{
    say_only(rig);
    while (counter(rig, "delivered-frames") +
           counter(rig, "pending-frames") < rig->said) {
        g_usleep(POLL);
    }
}

static void enable(Rig *rig, unsigned end)
{
    nic_card_enable(rig->card, end);
    qtest_clock_step(rig->qts, CARD_DELAY);
}

static void check_pending(Rig *rig, unsigned frames)
{
    wait_counter(rig, "pending-frames", frames);
    g_assert_cmpuint(counter(rig, "delivered-frames"), ==,
                     rig->said - frames);
}

/* A NIC's own queue is purged at each stop, and nothing is lost by that. */
static void test_stops_lose_no_frame(void)
{
    Rig rig;

    rig_start(&rig, "");
    for (unsigned i = 0; i < 5; i++) {
        say(&rig);
    }
    check_pending(&rig, 5);
    /* not enabled: it refuses */
    for (unsigned i = 0; i < 3; i++) {
        run(&rig, "stop");
        check_pending(&rig, 5);
        run(&rig, "cont");
        check_pending(&rig, 5);
    }

    enable(&rig, 2);
    nic_card_hear(rig.card);
    nic_card_hear(rig.card);
    check_pending(&rig, 3);
    /* without descriptors: it has no room */
    for (unsigned i = 0; i < 3; i++) {
        run(&rig, "stop");
        check_pending(&rig, 3 + i);
        say(&rig);
        check_pending(&rig, 4 + i);
        run(&rig, "cont");
        check_pending(&rig, 4 + i);
    }

    nic_card_offer(rig.card, 3);
    nic_card_hear(rig.card);
    check_pending(&rig, 5);
    nic_card_offer(rig.card, 8);
    while (rig.card->heard < rig.said) {
        nic_card_hear(rig.card);
    }
    check_pending(&rig, 0);
    rig_stop(&rig);
}

/* There is one order, whether frames had to wait or not. */
static void test_order_is_kept_when_there_is_room_again(void)
{
    Rig rig;

    rig_start(&rig, "");
    enable(&rig, 1);
    for (unsigned i = 2; i < 80; i++) {
        say(&rig);
        if (g_test_rand_int_range(0, 3)) {
            say(&rig);
        }
        if (g_test_rand_int_range(0, 4) == 0) {
            run(&rig, "stop");
            run(&rig, "cont");
        }
        nic_card_hear(rig.card);
        nic_card_offer(rig.card, i);
    }
    while (rig.card->heard < rig.said) {
        nic_card_hear(rig.card);
        nic_card_offer(rig.card, rig.card->heard + 1);
    }
    check_pending(&rig, 0);
    rig_stop(&rig);
}

/* What is taken is what came first, and other NICs do not suffer. */
static void test_card_that_takes_nothing_has_a_full_queue(void)
{
    const unsigned count = 1024 * KIB / NIC_CARD_FRAME;
    uint64_t pending;
    Rig rig;

    rig_start(&rig, ",queue-limit=256K");
    for (unsigned i = 0; i < count; i++) {
        say_only(&rig);
    }
    wait_counter(&rig, "received-frames", count);
    while (counter(&rig, "pending-frames") +
           counter(&rig, "dropped-full") < count) {
        g_usleep(POLL);
    }
    pending = counter(&rig, "pending-frames");
    g_assert_cmpuint(counter(&rig, "pending-bytes"), >=, 256 * KIB);
    g_assert_cmpuint(counter(&rig, "pending-bytes"), <,
                     512 * KIB + 2 * NIC_CARD_FRAME);
    for (unsigned i = 0; i < 10; i++) {
        frame_say_all(rig.frames->network, i);
        frame_hear_all(rig.frames->guest, i);
    }

    enable(&rig, 1);
    for (unsigned i = 0; i < pending; i++) {
        nic_card_hear(rig.card);
        nic_card_offer(rig.card, rig.card->heard + 1);
    }
    wait_counter(&rig, "delivered-frames", pending);
    rig_stop(&rig);
}

/* A filter that goes leaves nothing behind in the NIC. */
static void test_removed_while_the_nic_is_busy(void)
{
    Rig rig;

    rig_start(&rig, "");
    say(&rig);
    say(&rig);
    check_pending(&rig, 2);
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'f0' } }");
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'object-add',"
        "  'arguments': { 'qom-type': 'filter-apus', 'id': 'f0',"
        "                 'netdev': 'net0', 'group': 'apus' } }");
    enable(&rig, 8);
    g_assert_cmpuint(counter(&rig, "delivered-frames"), ==, 0);
    nic_card_silence(rig.card);
    rig.said = 0; /* those are lost */
    say(&rig);
    nic_card_hear(rig.card);
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/filter-apus-nic/stops-lose-no-frame",
                   test_stops_lose_no_frame);
    qtest_add_func("/filter-apus-nic/"
                   "order-is-kept-when-there-is-room-again",
                   test_order_is_kept_when_there_is_room_again);
    qtest_add_func("/filter-apus-nic/card-that-takes-nothing-has-a-full-queue",
                   test_card_that_takes_nothing_has_a_full_queue);
    qtest_add_func("/filter-apus-nic/removed-while-the-nic-is-busy",
                   test_removed_while_the_nic_is_busy);

    return g_test_run();
}
