/*
 * filter-apus and a network card that takes frames when it likes
 *
 * The card is an e1000 that the test drives: it takes nothing until it is
 * enabled, and then as many frames as it has descriptors for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/net/e1000_regs.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"
#include "apus-trio.h"
#include "frame-rig.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
#define KIB 1024
#define SLOT 4
/* The card looks at what has come while it was not enabled so much later. */
#define CARD_DELAY 2000000000ll /* ns */

#define FRAME_SIZE 200
#define RING 0x100000
#define DESCRIPTOR 16
#define RING_FRAMES 16
#define BUFFERS 0x200000
#define BUFFER 2048

typedef struct Rig {
    ApusTrio *trio;
    QTestState *qts;
    int network;
    FrameRig *frames; /* of another netdev */
    QPCIBus *bus;
    QPCIDevice *nic;
    QPCIBar bar;
    unsigned said;
    unsigned heard;
} Rig;

/* A replica with a netdev whose network end is *@network */
static QTestState *start_replica(const ApusTrio *trio, unsigned member,
                                 int *network, const char *extra)
{
    QTestState *qts;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    qts = qtest_initf("-M pc -m 16 -nodefaults -netdev socket,id=net0,fd=%d "
                      "-device e1000,netdev=net0,addr=%d,romfile= %s "
                      "-object filter-apus,id=f0,netdev=net0,group=apus%s",
                      fds[1], SLOT, trio->options[member - 1], extra);
    close(fds[1]);
    test_deadline_kills(qts);
    *network = fds[0];
    return qts;
}

static void rig_start(Rig *rig, const char *filter_options)
{
    g_autofree char *extra = NULL;

    test_deadline(DEADLINE, "the card gets its frames");
    *rig = (Rig) {
        .trio = apus_trio_new(),
        .frames = frame_rig_new(1),
    };
    extra = g_strdup_printf("%s %s -object filter-apus,id=f1,netdev=net1,"
                            "group=apus", filter_options,
                            rig->frames->options);
    rig->qts = start_replica(rig->trio, 1, &rig->network, extra);
    frame_rig_started(rig->frames);
    rig->bus = qpci_new_pc(rig->qts, NULL);
    rig->nic = qpci_device_find(rig->bus, QPCI_DEVFN(SLOT, 0));
    g_assert_nonnull(rig->nic);
    qpci_device_enable(rig->nic);
    rig->bar = qpci_iomap(rig->nic, 0, NULL);
    apus_trio_start(rig->trio);
    apus_wait_leads(rig->qts);
}

static void rig_stop(Rig *rig)
{
    g_free(rig->nic);
    qpci_free_pc(rig->bus);
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

static uint64_t counter(QTestState *qts, const char *name)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                             "  'path': '/objects/f0', 'property': %s } }",
                             name);
    uint64_t value = qdict_get_int(reply, "return");

    qobject_unref(reply);
    return value;
}

static void wait_counter(QTestState *qts, const char *name, uint64_t value)
{
    while (counter(qts, name) != value) {
        g_usleep(POLL);
    }
}

static uint8_t content(unsigned number, unsigned i)
{
    return i < 6 ? 0xff : number * 7 + i; /* broadcast */
}

/* The network says one frame more. */
static void say_only(Rig *rig)
{
    uint8_t frame[4 + FRAME_SIZE];

    stl_be_p(frame, FRAME_SIZE);
    for (unsigned i = 0; i < FRAME_SIZE; i++) {
        frame[4 + i] = content(rig->said, i);
    }
    g_assert_cmpint(send(rig->network, frame, sizeof(frame), MSG_NOSIGNAL), ==,
                    sizeof(frame));
    rig->said++;
}

/* It does, and the group orders it. */
static void say(Rig *rig)
{
    say_only(rig);
    while (counter(rig->qts, "delivered-frames") +
           counter(rig->qts, "pending-frames") < rig->said) {
        g_usleep(POLL);
    }
}

static void set_register(Rig *rig, unsigned name, uint32_t value)
{
    qpci_io_writel(rig->nic, rig->bar, name, value);
}

/* The card may take frames until @end of its ring. */
static void offer(Rig *rig, unsigned end)
{
    set_register(rig, E1000_RDT, end % RING_FRAMES);
}

static void enable(Rig *rig, unsigned end)
{
    for (unsigned i = 0; i < RING_FRAMES; i++) {
        qtest_memset(rig->qts, RING + i * DESCRIPTOR, 0, DESCRIPTOR);
        qtest_writeq(rig->qts, RING + i * DESCRIPTOR, BUFFERS + i * BUFFER);
    }
    set_register(rig, E1000_RDBAL, RING);
    set_register(rig, E1000_RDBAH, 0);
    set_register(rig, E1000_RDLEN, RING_FRAMES * DESCRIPTOR);
    set_register(rig, E1000_RDH, 0);
    offer(rig, end);
    set_register(rig, E1000_RCTL, E1000_RCTL_EN | E1000_RCTL_BAM);
    qtest_clock_step(rig->qts, CARD_DELAY);
}

/* The next frame that the card has taken is the next that was said. */
static void hear(Rig *rig)
{
    unsigned at = rig->heard % RING_FRAMES;
    uint8_t frame[FRAME_SIZE];

    while (!(qtest_readb(rig->qts, RING + at * DESCRIPTOR + 12) &
             E1000_RXD_STAT_DD)) {
        g_usleep(POLL);
    }
    qtest_memread(rig->qts, BUFFERS + at * BUFFER, frame, sizeof(frame));
    for (unsigned i = 0; i < FRAME_SIZE; i++) {
        g_assert_cmpuint(frame[i], ==, content(rig->heard, i));
    }
    qtest_writeb(rig->qts, RING + at * DESCRIPTOR + 12, 0);
    rig->heard++;
}

static void check_pending(Rig *rig, unsigned frames)
{
    wait_counter(rig->qts, "pending-frames", frames);
    g_assert_cmpuint(counter(rig->qts, "delivered-frames"), ==,
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
    hear(&rig);
    hear(&rig);
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

    offer(&rig, 3);
    hear(&rig);
    check_pending(&rig, 5);
    offer(&rig, 8);
    while (rig.heard < rig.said) {
        hear(&rig);
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
    for (unsigned i = 2; i < 5 * RING_FRAMES; i++) {
        say(&rig);
        if (g_test_rand_int_range(0, 3)) {
            say(&rig);
        }
        if (g_test_rand_int_range(0, 4) == 0) {
            run(&rig, "stop");
            run(&rig, "cont");
        }
        hear(&rig);
        offer(&rig, i);
    }
    while (rig.heard < rig.said) {
        hear(&rig);
        offer(&rig, rig.heard + 1);
    }
    check_pending(&rig, 0);
    rig_stop(&rig);
}

/* What is taken is what came first, and other NICs do not suffer. */
static void test_card_that_takes_nothing_has_a_full_queue(void)
{
    const unsigned count = 1024 * KIB / FRAME_SIZE;
    uint64_t pending;
    Rig rig;

    rig_start(&rig, ",queue-limit=256K");
    for (unsigned i = 0; i < count; i++) {
        say_only(&rig);
    }
    wait_counter(rig.qts, "received-frames", count);
    while (counter(rig.qts, "pending-frames") +
           counter(rig.qts, "dropped-full") < count) {
        g_usleep(POLL);
    }
    pending = counter(rig.qts, "pending-frames");
    g_assert_cmpuint(counter(rig.qts, "pending-bytes"), >=, 256 * KIB);
    g_assert_cmpuint(counter(rig.qts, "pending-bytes"), <,
                     512 * KIB + 2 * FRAME_SIZE);
    for (unsigned i = 0; i < 10; i++) {
        frame_say_all(rig.frames->network, i);
        frame_hear_all(rig.frames->guest, i);
    }

    enable(&rig, 1);
    for (unsigned i = 0; i < pending; i++) {
        hear(&rig);
        offer(&rig, rig.heard + 1);
    }
    wait_counter(rig.qts, "delivered-frames", pending);
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
    rig.heard = rig.said; /* those are lost */
    enable(&rig, 8);
    g_assert_cmpuint(counter(rig.qts, "delivered-frames"), ==, 0);
    rig.heard = 0;
    rig.said = 0;
    say(&rig);
    hear(&rig);
    rig_stop(&rig);
}

static void test_pending_frames_go_where_the_vm_goes(void)
{
    int network;
    QTestState *other;
    FrameRig *frames = frame_rig_new(1);
    g_autofree char *uri = NULL;
    g_autofree char *incoming = NULL;
    Rig rig;

    rig_start(&rig, "");
    uri = g_strdup_printf("unix:%s/migration", rig.trio->dir);
    incoming = g_strdup_printf(" -incoming %s %s -object filter-apus,id=f7,"
                               "netdev=net1,group=apus", uri, frames->options);
    other = start_replica(rig.trio, 2, &network, incoming);
    frame_rig_started(frames);
    for (unsigned i = 0; i < 7; i++) {
        say(&rig);
    }
    run(&rig, "stop");
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    wait_counter(other, "pending-frames", 7);
    g_assert_cmpuint(counter(other, "pending-bytes"), ==,
                     counter(rig.qts, "pending-bytes"));
    g_assert_cmpuint(counter(other, "received-frames"), ==, 0);
    test_deadline_quit(other);
    close(network);
    frame_rig_free(frames);
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
    qtest_add_func("/filter-apus-nic/pending-frames-go-where-the-vm-goes",
                   test_pending_frames_go_where_the_vm_goes);

    return g_test_run();
}
