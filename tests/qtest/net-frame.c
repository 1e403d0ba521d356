/*
 * How filter-mirror, filter-redirector and colo-compare write their frames
 *
 * Each frame is one write, is not delayed by Nagle's algorithm, keeps its
 * order, and a peer that does not read cannot stop QEMU.
 *
 * Frames enter through a socket netdev (filters) or through the primary_in
 * chardev (colo-compare; ARP, which it passes on without a comparison), and
 * leave through a chardev whose other end the test holds. A frame carries its
 * number behind an Ethernet header of type ARP.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "test-deadline.h"
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#define DEADLINE        20      /* seconds */
#define HEADER_LEN      14      /* Ethernet, then the number of the frame */
#define FRAME_MIN       60
#define FRAME_MAX       1514
#define KIB             1024
#define MIB             (1024 * KIB)

typedef struct Subject {
    const char *name;
    const char *object;
    bool compare;
} Subject;

static const Subject subjects[] = {
    {
        .name = "mirror",
        .object = "-object filter-mirror,id=f0,netdev=n0,queue=tx,outdev=out",
    }, {
        .name = "redirector",
        .object = "-object filter-redirector,id=f0,netdev=n0,queue=tx,"
                  "outdev=out",
    }, {
        .name = "compare",
        .object = "-object iothread,id=t0 "
                  "-object colo-compare,id=f0,primary_in=pri,secondary_in=sec,"
                  "iothread=t0,outdev=out",
        .compare = true,
    },
};

/* A QEMU with one of the subjects, and our ends of its sockets */
typedef struct Rig {
    QTestState *qts;
    const Subject *subject;
    bool vnet_hdr;
    int in;
    int in_secondary;
} Rig;

static void set_deadline(void)
{
    test_deadline(DEADLINE, "QEMU passes frames on");
}

static void make_pair(int type, int fds[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, type, 0, fds), ==, 0);
}

/* Two connected TCP sockets on the loopback interface */
static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(sin);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    g_assert_cmpint(listener, >=, 0);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&sin, len), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&sin, &len),
                    ==, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(fds[0], >=, 0);
    g_assert_cmpint(connect(fds[0], (struct sockaddr *)&sin, len), ==, 0);
    fds[1] = accept(listener, NULL, NULL);
    g_assert_cmpint(fds[1], >=, 0);
    close(listener);
}

/*
 * Start QEMU with @subject writing to the chardev 'out', which the options
 * @out_chardev create.
 */
static void rig_start(Rig *rig, const Subject *subject, bool vnet_hdr,
                      const char *out_chardev)
{
    g_autofree char *input = NULL;
    int in[2], sec[2];

    make_pair(SOCK_STREAM, in);
    make_pair(SOCK_STREAM, sec);

    if (subject->compare) {
        input = g_strdup_printf("-chardev socket,id=pri,fd=%d "
                                "-chardev socket,id=sec,fd=%d ",
                                in[1], sec[1]);
    } else {
        /* a hub with an open port is a receiver that takes all */
        input = g_strdup_printf("-netdev socket,id=n0,fd=%d "
                                "-netdev hubport,id=h0,hubid=0,netdev=n0 "
                                "-netdev hubport,id=h1,hubid=0 ",
                                in[1]);
    }
    rig->subject = subject;
    rig->vnet_hdr = vnet_hdr;
    rig->qts = qtest_initf("-M none %s %s %s%s", input, out_chardev,
                           subject->object,
                           vnet_hdr ? ",vnet_hdr_support=on" : "");
    test_deadline_kills(rig->qts);
    rig->in = in[0];
    rig->in_secondary = sec[0];
    close(in[1]);
    close(sec[1]);

    /* the chardevs are connected when the main loop has run once */
    qtest_qmp_assert_success(rig->qts, "{ 'execute': 'query-status' }");
}

static void rig_stop(Rig *rig)
{
    test_deadline_quit(rig->qts);
    close(rig->in);
    close(rig->in_secondary);
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

/* Read exactly @size bytes; false if the peer closed before the first one */
static bool read_all(int fd, uint8_t *buf, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t ret = recv(fd, buf + done, size - done, 0);

        g_assert_cmpint(ret, >=, 0);
        if (!ret) {
            g_assert_cmpint(done, ==, 0);
            return false;
        }
        done += ret;
    }
    return true;
}

/* Let frame @number of @size bytes enter */
static void feed(Rig *rig, uint32_t number, uint32_t size)
{
    uint8_t buf[8 + FRAME_MAX] = { 0 };
    size_t header = rig->subject->compare && rig->vnet_hdr ? 8 : 4;

    g_assert_cmpint(size, <=, FRAME_MAX);
    stl_be_p(buf, size); /* a vnet header of no bytes may follow */
    memset(buf + header, 0xff, 6);
    memset(buf + header + 6, 0x52, 6);
    stw_be_p(buf + header + 12, 0x0806);
    stl_be_p(buf + header + HEADER_LEN, number);
    write_all(rig->in, buf, header + size);
}

static size_t frame_header(Rig *rig)
{
    return rig->vnet_hdr ? 8 : 4;
}

/* The number of the frame @buf, whose wire format must be right */
static uint32_t check_frame(Rig *rig, const uint8_t *buf, uint32_t size)
{
    size_t header = frame_header(rig);

    g_assert_cmpint(ldl_be_p(buf), ==, size);
    if (rig->vnet_hdr) {
        g_assert_cmpint(ldl_be_p(buf + 4), ==, 0);
    }
    g_assert_cmpint(lduw_be_p(buf + header + 12), ==, 0x0806);
    return ldl_be_p(buf + header + HEADER_LEN);
}

/* Read one frame from a stream and return its number */
static uint32_t read_frame(Rig *rig, int fd, uint32_t size)
{
    uint8_t buf[8 + FRAME_MAX];

    g_assert_true(read_all(fd, buf, frame_header(rig) + size));
    return check_frame(rig, buf, size);
}

static bool is_nodelay(int fd)
{
    int value;
    socklen_t len = sizeof(value);

    g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len),
                    ==, 0);
    return value;
}

/*
 * The socket that QEMU writes to is ours as well, so its options can be
 * looked at.
 */
static void check_nodelay(const Subject *subject, const char *option,
                          bool expected)
{
    g_autofree char *chardevs = NULL;
    int out[2], unused[2];
    Rig rig;

    set_deadline();
    make_tcp_pair(out);
    make_tcp_pair(unused);
    chardevs = g_strdup_printf("-chardev socket,id=out,fd=%d%s "
                               "-chardev socket,id=unused,fd=%d",
                               out[1], option, unused[1]);
    rig_start(&rig, subject, false, chardevs);

    g_assert_cmpint(is_nodelay(out[1]), ==, expected);
    g_assert_false(is_nodelay(unused[1]));

    rig_stop(&rig);
    close(out[0]);
    close(out[1]);
    close(unused[0]);
    close(unused[1]);
}

static void test_frames_are_not_delayed(const void *data)
{
    check_nodelay(data, "", true);
}

static void test_user_may_want_delay(const void *data)
{
    check_nodelay(data, ",nodelay=off", false);
}

static void test_later_connection_is_not_delayed(const void *data)
{
    g_autofree char *dir = g_dir_make_tmp("net-frame-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "out", NULL);
    g_autofree char *chardev = g_strdup_printf(
        "-chardev socket,id=out,path=%s,server=on,wait=off", path);
    int out[2];
    Rig rig;

    set_deadline();
    make_tcp_pair(out);
    rig_start(&rig, data, false, chardev);
    g_assert_false(is_nodelay(out[1]));

    qtest_qmp_fds_assert_success(rig.qts, &out[1], 1,
                                 "{ 'execute': 'getfd',"
                                 "  'arguments': { 'fdname': 'conn' } }");
    qtest_qmp_assert_success(rig.qts,
                             "{ 'execute': 'add_client', 'arguments': {"
                             "  'protocol': 'out', 'fdname': 'conn' } }");
    g_assert_true(is_nodelay(out[1]));

    rig_stop(&rig);
    close(out[0]);
    close(out[1]);
    unlink(path);
    rmdir(dir);
}

static void check_one_write(const Subject *subject, bool vnet_hdr)
{
    static const uint32_t sizes[] = { FRAME_MIN, 61, 590, FRAME_MAX };
    g_autofree char *chardev = NULL;
    int out[2];
    Rig rig;

    set_deadline();
    /* keeps what was sent with one call apart from what was not */
    make_pair(SOCK_SEQPACKET, out);
    chardev = g_strdup_printf("-chardev socket,id=out,fd=%d", out[1]);
    rig_start(&rig, subject, vnet_hdr, chardev);

    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        feed(&rig, i, sizes[i]);
    }
    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t buf[4 * KIB];
        ssize_t ret = recv(out[0], buf, sizeof(buf), 0);

        g_assert_cmpint(ret, ==, frame_header(&rig) + sizes[i]);
        g_assert_cmpint(check_frame(&rig, buf, sizes[i]), ==, i);
    }

    rig_stop(&rig);
    close(out[0]);
    close(out[1]);
}

static void test_frame_is_one_write(const void *data)
{
    check_one_write(data, false);
}

static void test_frame_with_vnet_hdr_is_one_write(const void *data)
{
    check_one_write(data, true);
}

/* The peer does not read for a while; afterwards it gets all, in order. */
static void test_stalled_peer_gets_all_in_order(const void *data)
{
    const uint32_t count = 2 * MIB / FRAME_MAX;
    g_autofree char *chardev = NULL;
    int out[2];
    Rig rig;

    set_deadline();
    make_pair(SOCK_STREAM, out);
    chardev = g_strdup_printf("-chardev socket,id=out,fd=%d", out[1]);
    rig_start(&rig, data, false, chardev);

    for (uint32_t i = 0; i < count; i++) {
        feed(&rig, i, FRAME_MAX);
    }
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'query-status' }");
    for (uint32_t i = 0; i < count; i++) {
        g_assert_cmpint(read_frame(&rig, out[0], FRAME_MAX), ==, i);
    }

    rig_stop(&rig);
    close(out[0]);
    close(out[1]);
}

/*
 * A peer that has stopped reading for good costs a bounded amount of memory,
 * and QEMU goes on. Whole frames are dropped, never parts, and it gets new
 * ones when it reads again after all.
 */
static void test_dead_peer_does_not_stop_qemu(const void *data)
{
    const uint32_t count = 12 * MIB / FRAME_MAX;
    g_autofree char *chardev = NULL;
    uint32_t got = 0, number, previous = 0;
    int out[2];
    Rig rig;

    set_deadline();
    make_pair(SOCK_STREAM, out);
    chardev = g_strdup_printf("-chardev socket,id=out,fd=%d", out[1]);
    rig_start(&rig, data, true, chardev);

    for (uint32_t i = 1; i <= count; i++) {
        feed(&rig, i, FRAME_MAX);
    }
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'query-status' }");

    /* what was kept comes first, then there is room for a new frame */
    for (;;) {
        struct pollfd pfd = { .fd = out[0], .events = POLLIN };

        if (!poll(&pfd, 1, 20)) {
            feed(&rig, count + 1, FRAME_MAX);
        }
        number = read_frame(&rig, out[0], FRAME_MAX);
        g_assert_cmpint(number, >, previous);
        previous = number;
        if (number == count + 1) {
            break;
        }
        got++;
    }
    g_assert_cmpint(got, >, 0);
    g_assert_cmpint(got, <, count);

    rig_stop(&rig);
    close(out[0]);
    close(out[1]);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), ==, 0);
    return fd;
}

/* A connection that broke inside a frame leaves nothing to the next one. */
static void test_new_connection_begins_with_a_frame(const void *data)
{
    g_autofree char *dir = g_dir_make_tmp("net-frame-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "out", NULL);
    g_autofree char *chardev = g_strdup_printf(
        "-chardev socket,id=out,path=%s,server=on,wait=off", path);
    const uint32_t count = 2 * MIB / FRAME_MAX;
    uint8_t part[100];
    Rig rig;
    int out;

    set_deadline();
    rig_start(&rig, data, true, chardev);
    out = connect_unix(path);
    do {
        struct pollfd pfd = { .fd = out, .events = POLLIN };

        feed(&rig, 0, FRAME_MAX);
        if (poll(&pfd, 1, 10)) {
            break;
        }
    } while (true);

    for (uint32_t i = 1; i < count; i++) {
        feed(&rig, i, FRAME_MAX);
    }
    qtest_qmp_assert_success(rig.qts, "{ 'execute': 'query-status' }");
    g_assert_true(read_all(out, part, sizeof(part)));
    close(out);

    out = connect_unix(path);
    do {
        struct pollfd pfd = { .fd = out, .events = POLLIN };

        feed(&rig, count, FRAME_MAX);
        if (poll(&pfd, 1, 10)) {
            break;
        }
    } while (true);
    g_assert_cmpint(read_frame(&rig, out, FRAME_MAX), ==, count);

    rig_stop(&rig);
    close(out);
    unlink(path);
    rmdir(dir);
}

static void add_test(const Subject *subject, const char *name,
                     void (*fn)(const void *))
{
    g_autofree char *path = g_strdup_printf("/net-frame/%s/%s",
                                            subject->name, name);

    qtest_add_data_func(path, subject, fn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (int i = 0; i < ARRAY_SIZE(subjects); i++) {
        const Subject *s = &subjects[i];

        add_test(s, "not-delayed", test_frames_are_not_delayed);
        add_test(s, "delayed-if-the-user-says-so", test_user_may_want_delay);
        add_test(s, "later-connection-not-delayed",
                 test_later_connection_is_not_delayed);
        add_test(s, "one-write", test_frame_is_one_write);
        add_test(s, "one-write-vnet-hdr",
                 test_frame_with_vnet_hdr_is_one_write);
        add_test(s, "stalled-peer-gets-all-in-order",
                 test_stalled_peer_gets_all_in_order);
        if (!s->compare) {
            add_test(s, "dead-peer-does-not-stop-qemu",
                     test_dead_peer_does_not_stop_qemu);
            add_test(s, "new-connection-begins-with-a-frame",
                     test_new_connection_begins_with_a_frame);
        }
    }

    return g_test_run();
}
