/*
 * filter-rewriter around a checkpoint
 *
 * The test is the network and the secondary's guest; what a checkpoint does is
 * done with QMP: stop, tell the filters, cont.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "frame-rig.h"
#include "libqtest.h"
#include "test-deadline.h"

#define DEADLINE 20 /* seconds */

#define ETHERNET_SIZE 14
#define IP_SIZE 20
#define TCP_SIZE 20
#define FRAME_SIZE (ETHERNET_SIZE + IP_SIZE + TCP_SIZE + 6)

#define SYN 0x02
#define ACK 0x10

/* The two guests' initial sequence numbers, and the client's. */
#define PRIMARY 5000u
#define SECONDARY 4000000000u
#define CLIENT 77u

typedef struct Rig {
    QTestState *qts;
    FrameRig *frames;
} Rig;

static void rig_start(Rig *rig)
{
    test_deadline(DEADLINE, "the rewriter passes packets on");
    rig->frames = frame_rig_new(0);
    rig->qts = qtest_initf("-M none %s"
                           " -object filter-rewriter,id=f0,netdev=net0",
                           rig->frames->options);
    frame_rig_started(rig->frames);
    test_deadline_kills(rig->qts);
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    frame_rig_free(rig->frames);
    test_deadline(0, NULL);
}

static void say(int fd, bool by_guest, unsigned flags, uint32_t seq,
                uint32_t ack)
{
    uint8_t frame[4 + FRAME_SIZE] = { 0 };
    uint8_t *ip = frame + 4 + ETHERNET_SIZE;
    uint8_t *tcp = ip + IP_SIZE;

    stl_be_p(frame, FRAME_SIZE);
    stw_be_p(frame + 4 + 12, 0x0800);
    ip[0] = 0x45;
    stw_be_p(ip + 2, IP_SIZE + TCP_SIZE);
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    stl_be_p(ip + (by_guest ? 12 : 16), 0x0a000001);
    stl_be_p(ip + (by_guest ? 16 : 12), 0x0a000002);
    stw_be_p(tcp + (by_guest ? 0 : 2), 80);
    stw_be_p(tcp + (by_guest ? 2 : 0), 40000);
    stl_be_p(tcp + 4, seq);
    stl_be_p(tcp + 8, ack);
    tcp[12] = (TCP_SIZE / 4) << 4;
    tcp[13] = flags;
    g_assert_cmpint(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), ==,
                    sizeof(frame));
}

static void hear(int fd, unsigned flags, uint32_t seq, uint32_t ack)
{
    uint8_t frame[4 + FRAME_SIZE];
    uint8_t *tcp = frame + 4 + ETHERNET_SIZE + IP_SIZE;

    g_assert_cmpint(recv(fd, frame, sizeof(frame), MSG_WAITALL), ==,
                    sizeof(frame));
    g_assert_cmpint(tcp[13], ==, flags);
    g_assert_cmphex((uint32_t)ldl_be_p(tcp + 4), ==, seq);
    g_assert_cmphex((uint32_t)ldl_be_p(tcp + 8), ==, ack);
}

/* The client sends: the guest hears @ack for the @said. */
static void client_says(Rig *rig, unsigned flags, uint32_t seq, uint32_t said,
                        uint32_t ack)
{
    say(rig->frames->network, false, flags, seq, said);
    hear(rig->frames->guest, flags, seq, ack);
}

/* The guest sends: @seq leaves for the @said. */
static void guest_says(Rig *rig, unsigned flags, uint32_t said, uint32_t ack,
                       uint32_t seq)
{
    say(rig->frames->guest, true, flags, said, ack);
    hear(rig->frames->network, flags, seq, ack);
}

static void handshake(Rig *rig)
{
    client_says(rig, SYN, CLIENT, 0, 0);
    guest_says(rig, SYN | ACK, SECONDARY, CLIENT + 1, SECONDARY);
    client_says(rig, ACK, CLIENT + 1, PRIMARY + 1, SECONDARY + 1);
}

static void stop(Rig *rig)
{
    qtest_qmp_assert_success(rig->qts, "{ 'execute': 'stop' }");
}

/* The guest has the primary's state now. */
static void apply(Rig *rig)
{
    qtest_qmp_assert_success(rig->qts,
                             "{ 'execute': 'xen-colo-do-checkpoint' }");
}

static void go_on(Rig *rig)
{
    qtest_qmp_assert_success(rig->qts, "{ 'execute': 'cont' }");
}

static void numbers_are_the_primarys_for_the_client(void)
{
    Rig rig;

    rig_start(&rig);
    handshake(&rig);
    guest_says(&rig, ACK, SECONDARY + 1, CLIENT + 1, PRIMARY + 1);
    client_says(&rig, ACK, CLIENT + 1, PRIMARY + 7, SECONDARY + 7);
    rig_stop(&rig);
}

static void after_a_checkpoint_nothing_is_rewritten(void)
{
    Rig rig;

    rig_start(&rig);
    handshake(&rig);
    stop(&rig);
    apply(&rig);
    go_on(&rig);
    guest_says(&rig, ACK, PRIMARY + 1, CLIENT + 1, PRIMARY + 1);
    client_says(&rig, ACK, CLIENT + 1, PRIMARY + 7, PRIMARY + 7);
    rig_stop(&rig);
}

/* What comes in the middle of a checkpoint is for the guest that comes. */
static void what_comes_for_a_stopped_vm_is_not_of_the_epoch_before(void)
{
    Rig rig;

    rig_start(&rig);
    handshake(&rig);
    stop(&rig);
    say(rig.frames->network, false, ACK, CLIENT + 1, PRIMARY + 7);
    /* When the main loop has turned, QEMU has seen it. */
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'query-status' }");
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'query-status' }");
    apply(&rig);
    go_on(&rig);
    hear(rig.frames->guest, ACK, CLIENT + 1, PRIMARY + 7);
    rig_stop(&rig);
}

static void a_checkpoint_ends_a_handshake(void)
{
    Rig rig;

    rig_start(&rig);
    client_says(&rig, SYN, CLIENT, 0, 0);
    guest_says(&rig, SYN | ACK, SECONDARY, CLIENT + 1, SECONDARY);
    stop(&rig);
    apply(&rig);
    go_on(&rig);
    client_says(&rig, ACK, CLIENT + 1, PRIMARY + 1, PRIMARY + 1);
    guest_says(&rig, ACK, PRIMARY + 1, CLIENT + 1, PRIMARY + 1);
    rig_stop(&rig);
}

static void a_client_may_be_quicker_than_the_secondary(void)
{
    Rig rig;

    rig_start(&rig);
    client_says(&rig, SYN, CLIENT, 0, 0);
    /* Nobody can say yet what this is for the guest. */
    client_says(&rig, ACK, CLIENT + 1, PRIMARY + 1, PRIMARY + 1);
    guest_says(&rig, SYN | ACK, SECONDARY, CLIENT + 1, SECONDARY);
    client_says(&rig, ACK, CLIENT + 1, PRIMARY + 1, SECONDARY + 1);
    guest_says(&rig, ACK, SECONDARY + 1, CLIENT + 1, PRIMARY + 1);
    rig_stop(&rig);
}

#define TEST(name) qtest_add_func("/filter-rewriter/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(numbers_are_the_primarys_for_the_client);
    TEST(after_a_checkpoint_nothing_is_rewritten);
    TEST(what_comes_for_a_stopped_vm_is_not_of_the_epoch_before);
    TEST(a_checkpoint_ends_a_handshake);
    TEST(a_client_may_be_quicker_than_the_secondary);
    return g_test_run();
}
