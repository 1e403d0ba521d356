/*
 * colo-compare with a primary that resumes before the sync is complete
 *
 * What the primary said before it stopped leaves when the secondary has
 * everything; what it said afterwards, only when the secondary says it, too.
 *
 * The primary of a pair has a colo-compare whose chardevs the test holds, so
 * the test says what the guests would. A link that stands still keeps the
 * secondary's answer from the primary.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "test-deadline.h"
#include <poll.h>

#define DEADLINE 20 /* seconds */
#define POLL 1000 /* microseconds */

/* Of the secondary's answers to a sync, that it has everything comes last. */
#define APPLIED_SIZE (48 + 32)
#define STAGED_SIZE (48 + 28)

#define ETHERNET_SIZE 14
#define IP_SIZE 20
#define TCP_SIZE 20
#define UDP_SIZE 8
#define TEXT_SIZE 32
#define PACKET_MAX 128

typedef struct Rig {
    ColoPair *pair;
    int primary; /* what its guest says */
    int secondary;
    int out; /* what leaves */
    uint64_t answers;
} Rig;

/* What a packet carries; TCP packets begin where the one before ends. */
typedef struct Packet {
    int protocol; /* IPPROTO_TCP, IPPROTO_UDP, or 0 for ARP */
    uint16_t port; /* tells connections apart */
    uint32_t seq;
    char text[TEXT_SIZE];
} Packet;

static Packet tcp(uint32_t place, const char *text)
{
    Packet p = {
        .protocol = IPPROTO_TCP,
        .port = 40000,
        .seq = 1000 + place * TEXT_SIZE,
    };

    g_strlcpy(p.text, text, sizeof(p.text));
    return p;
}

static Packet udp(uint16_t port, const char *text)
{
    Packet p = { .protocol = IPPROTO_UDP, .port = port };

    g_strlcpy(p.text, text, sizeof(p.text));
    return p;
}

/* One that colo-compare lets pass at once */
static Packet arp(const char *text)
{
    Packet p = { };

    g_strlcpy(p.text, text, sizeof(p.text));
    return p;
}

/* As the chardevs carry it: its size, then the frame; returns both together. */
static size_t encode(uint8_t buf[PACKET_MAX], const Packet *p)
{
    uint8_t *ip = buf + 4 + ETHERNET_SIZE;
    uint8_t *l4 = ip + IP_SIZE;
    uint8_t *text = ip;

    memset(buf, 0, PACKET_MAX);
    stw_be_p(buf + 4 + 12, p->protocol ? 0x0800 : 0x0806);
    if (p->protocol) {
        text = l4 + (p->protocol == IPPROTO_TCP ? TCP_SIZE : UDP_SIZE);
        ip[0] = 0x45;
        stw_be_p(ip + 2, text + TEXT_SIZE - ip);
        ip[8] = 64;
        ip[9] = p->protocol;
        stl_be_p(ip + 12, 0x0a000001);
        stl_be_p(ip + 16, 0x0a000002);
        stw_be_p(l4, 80);
        stw_be_p(l4 + 2, p->port);
        if (p->protocol == IPPROTO_TCP) {
            stl_be_p(l4 + 4, p->seq);
            l4[12] = (TCP_SIZE / 4) << 4;
            l4[13] = 0x18;
        } else {
            stw_be_p(l4 + 4, UDP_SIZE + TEXT_SIZE);
        }
    }
    memcpy(text, p->text, TEXT_SIZE);
    stl_be_p(buf, text + TEXT_SIZE - buf - 4);
    return text + TEXT_SIZE - buf;
}

static void say(int fd, Packet p)
{
    uint8_t buf[PACKET_MAX];
    size_t size = encode(buf, &p);

    g_assert_cmpint(send(fd, buf, size, MSG_NOSIGNAL), ==, size);
}

static void hear(Rig *rig, Packet p)
{
    uint8_t expected[PACKET_MAX], buf[PACKET_MAX];
    size_t size = encode(expected, &p);

    g_assert_cmpint(recv(rig->out, buf, size, MSG_WAITALL), ==, size);
    g_assert_cmpmem(buf, size, expected, size);
}

/* colo-compare has seen what the primary said, and lets none of it out. */
static void check_silence(Rig *rig, const char *mark)
{
    struct pollfd pfd = { .fd = rig->out, .events = POLLIN };

    say(rig->primary, arp(mark));
    hear(rig, arp(mark));
    g_assert_cmpint(poll(&pfd, 1, 0), ==, 0);
}

static uint64_t syncs(QTestState *qts)
{
    QDict *reply = qtest_qmp_assert_success_ref(qts,
                       "{ 'execute': 'query-plover' }");
    uint64_t n = qdict_get_int(reply, "syncs");

    qobject_unref(reply);
    return n;
}

static void request_sync(Rig *rig)
{
    qtest_qmp_assert_success(rig->pair->primary,
                             "{ 'execute': 'plover-sync' }");
}

static void wait_sync(Rig *rig, uint64_t after)
{
    while (syncs(rig->pair->primary) == after) {
        g_usleep(POLL);
    }
}

static void make_pair(int fds[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
}

static void rig_start(Rig *rig)
{
    g_autofree char *primary = NULL;
    ColoPairOptions options = {
        .plover = true,
        .secondary = "-object plover,id=p0,sync-timeout=20000",
    };
    int pri[2], sec[2], out[2];
    uint64_t passed, done;

    make_pair(pri);
    make_pair(sec);
    make_pair(out);
    primary = g_strdup_printf("-object plover,id=p0,sync-timeout=20000 "
        "-chardev socket,id=pri,fd=%d -chardev socket,id=sec,fd=%d "
        "-chardev socket,id=out,fd=%d -object iothread,id=t0 "
        "-object colo-compare,id=c0,primary_in=pri,secondary_in=sec,outdev=out,"
        "iothread=t0,compare_timeout=60000", pri[1], sec[1], out[1]);
    options.primary = primary;

    rig->pair = colo_pair_start(&options);
    close(pri[1]);
    close(sec[1]);
    close(out[1]);
    rig->primary = pri[0];
    rig->secondary = sec[0];
    rig->out = out[0];
    test_deadline(DEADLINE, "colo-compare does what it should");

    /* The first one may find something to send, the second one does not. */
    for (int i = 0; i < 2; i++) {
        done = syncs(rig->pair->primary);
        passed = colo_link_passed(rig->pair->link, TO_PRIMARY);
        request_sync(rig);
        wait_sync(rig, done);
    }
    rig->answers = colo_link_passed(rig->pair->link, TO_PRIMARY) - passed;
}

static void rig_stop(Rig *rig)
{
    colo_pair_free(rig->pair);
    close(rig->primary);
    close(rig->secondary);
    close(rig->out);
    test_deadline(0, NULL);
}

/* Have a sync, up to where the primary has resumed and waits for STAGED. */
static void sync_until_staged(Rig *rig)
{
    colo_link_freeze_after(rig->pair->link, TO_PRIMARY,
                           rig->answers - APPLIED_SIZE - STAGED_SIZE);
    request_sync(rig);
    colo_link_wait_frozen(rig->pair->link);
}

/* From now on nothing can leave because of a sync. */
static void forbid_syncs(Rig *rig)
{
    colo_link_freeze_after(rig->pair->link, TO_PRIMARY, 0);
}

static void test_said_before_leaves_when_the_secondary_has_all(void)
{
    Rig rig;

    rig_start(&rig);
    say(rig.primary, tcp(0, "one"));
    say(rig.primary, tcp(1, "two"));
    say(rig.primary, udp(1, "three"));
    say(rig.primary, udp(1, "four"));
    check_silence(&rig, "before");
    sync_until_staged(&rig);
    check_silence(&rig, "meanwhile");
    colo_link_thaw(rig.pair->link);
    hear(&rig, tcp(0, "one"));
    hear(&rig, tcp(1, "two"));
    hear(&rig, udp(1, "three"));
    hear(&rig, udp(1, "four"));
    rig_stop(&rig);
}

static void test_said_after_waits_for_the_secondary(void)
{
    Rig rig;

    rig_start(&rig);
    say(rig.primary, tcp(0, "one"));
    check_silence(&rig, "before");
    sync_until_staged(&rig);
    say(rig.primary, tcp(1, "two"));
    say(rig.primary, udp(1, "three"));
    check_silence(&rig, "meanwhile");
    colo_link_thaw(rig.pair->link);
    hear(&rig, tcp(0, "one"));
    check_silence(&rig, "after");

    say(rig.secondary, tcp(1, "two"));
    hear(&rig, tcp(1, "two"));
    check_silence(&rig, "udp");
    say(rig.secondary, udp(1, "three"));
    hear(&rig, udp(1, "three"));
    rig_stop(&rig);
}

/*
 * The secondary has resumed, and said something, before the primary hears that
 * it had everything.
 */
static void test_early_secondary_is_heard(void)
{
    Rig rig;

    rig_start(&rig);
    say(rig.primary, tcp(0, "one"));
    check_silence(&rig, "before");
    sync_until_staged(&rig);
    say(rig.primary, tcp(1, "two"));
    say(rig.secondary, tcp(1, "two"));
    check_silence(&rig, "meanwhile");
    colo_link_thaw(rig.pair->link);
    hear(&rig, tcp(0, "one"));
    hear(&rig, tcp(1, "two"));
    rig_stop(&rig);
}

/*
 * What the secondary said before it got the primary's state is void, even
 * where it is the same as what the primary says next.
 */
static void test_void_words_are_no_partner(void)
{
    Rig rig;

    rig_start(&rig);
    say(rig.secondary, udp(1, "later"));
    say(rig.secondary, udp(2, "mark"));
    say(rig.primary, udp(2, "mark"));
    hear(&rig, udp(2, "mark"));
    sync_until_staged(&rig);
    say(rig.primary, udp(1, "later"));
    check_silence(&rig, "meanwhile");
    colo_link_thaw(rig.pair->link);
    wait_sync(&rig, 2);
    check_silence(&rig, "after");
    say(rig.secondary, udp(1, "later"));
    hear(&rig, udp(1, "later"));
    rig_stop(&rig);
}

/* A difference costs one sync, after which the connection goes on. */
static void test_difference_is_settled_by_one_sync(void)
{
    uint64_t done;
    Rig rig;

    rig_start(&rig);
    done = syncs(rig.pair->primary);
    say(rig.primary, tcp(0, "one"));
    check_silence(&rig, "before");
    say(rig.secondary, tcp(0, "two"));
    hear(&rig, tcp(0, "one"));
    wait_sync(&rig, done);
    forbid_syncs(&rig);

    for (int i = 1; i < 10; i++) {
        say(rig.primary, tcp(i, "same"));
        say(rig.secondary, tcp(i, "same"));
        hear(&rig, tcp(i, "same"));
    }
    rig_stop(&rig);
}

/* The secondary's copy of what a sync has released comes too late. */
static void test_late_copy_is_not_compared(void)
{
    uint64_t done;
    Rig rig;

    rig_start(&rig);
    done = syncs(rig.pair->primary);
    say(rig.primary, tcp(0, "one"));
    check_silence(&rig, "before");
    request_sync(&rig);
    hear(&rig, tcp(0, "one"));
    wait_sync(&rig, done);
    forbid_syncs(&rig);

    say(rig.primary, tcp(1, "two"));
    check_silence(&rig, "after");
    say(rig.secondary, tcp(0, "one"));
    say(rig.secondary, tcp(1, "two"));
    hear(&rig, tcp(1, "two"));
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/compare-session/"
                   "said-before-leaves-when-the-secondary-has-all",
                   test_said_before_leaves_when_the_secondary_has_all);
    qtest_add_func("/compare-session/said-after-waits-for-the-secondary",
                   test_said_after_waits_for_the_secondary);
    qtest_add_func("/compare-session/early-secondary-is-heard",
                   test_early_secondary_is_heard);
    qtest_add_func("/compare-session/void-words-are-no-partner",
                   test_void_words_are_no_partner);
    qtest_add_func("/compare-session/difference-is-settled-by-one-sync",
                   test_difference_is_settled_by_one_sync);
    qtest_add_func("/compare-session/late-copy-is-not-compared",
                   test_late_copy_is_not_compared);

    return g_test_run();
}
