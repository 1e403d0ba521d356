/*
 * A guest and a network, both played by the test, in a QEMU without a NIC
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "frame-rig.h"
#include <poll.h>

#define FRAME_MAX (64 * 1024 + 4096) /* what QEMU's netdevs take */

/* A frame of one kind: how it begins, how long it is; the rest is filler */
typedef struct Kind {
    const char *name;
    uint8_t head[18];
    uint32_t size;
} Kind;

static const Kind kinds[FRAME_KINDS] = {
    {
        .name = "ARP",
        .head = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x06 },
        .size = 42,
    }, {
        .name = "IPv4",
        .head = { 0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1,
                  0x08, 0x00, 0x45 },
        .size = FRAME_PLAIN_SIZE,
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

FrameRig *frame_rig_new(unsigned n)
{
    FrameRig *rig = g_new(FrameRig, 1);
    int guest[2], network[2];

    make_pair(guest);
    make_pair(network);
    *rig = (FrameRig) {
        .guest = guest[0],
        .network = network[0],
        .theirs = { guest[1], network[1] },
        .options = g_strdup_printf(
            "-netdev socket,id=net%u,fd=%d -netdev socket,id=guest%u,fd=%d "
            "-netdev hubport,id=hub%u-0,hubid=%u,netdev=net%u "
            "-netdev hubport,id=hub%u-1,hubid=%u,netdev=guest%u",
            n, network[1], n, guest[1], n, n, n, n, n, n),
    };
    return rig;
}

void frame_rig_started(FrameRig *rig)
{
    close(rig->theirs[0]);
    close(rig->theirs[1]);
}

void frame_rig_free(FrameRig *rig)
{
    close(rig->guest);
    close(rig->network);
    g_free(rig->options);
    g_free(rig);
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

void frame_say(int fd, unsigned k, unsigned number)
{
    const Kind *kind = &kinds[k];
    g_autofree uint8_t *frame = frame_new(kind, number);
    uint8_t header[4];

    stl_be_p(header, kind->size);
    write_all(fd, header, sizeof(header));
    write_all(fd, frame, kind->size);
}

void frame_hear(int fd, unsigned k, unsigned number)
{
    const Kind *kind = &kinds[k];
    g_autofree uint8_t *expected = frame_new(kind, number);
    g_autofree uint8_t *frame = g_malloc(FRAME_MAX);
    uint8_t header[4];

    read_all(fd, header, sizeof(header));
    g_assert_cmpuint(ldl_be_p(header), ==, kind->size);
    read_all(fd, frame, kind->size);
    g_assert_cmpmem(frame, kind->size, expected, kind->size);
}

void frame_silence(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    g_assert_cmpint(poll(&pfd, 1, 0), ==, 0);
}

void frame_say_all(int fd, unsigned number)
{
    for (unsigned i = 0; i < FRAME_KINDS; i++) {
        frame_say(fd, i, number + i);
    }
}

void frame_hear_all(int fd, unsigned number)
{
    for (unsigned i = 0; i < FRAME_KINDS; i++) {
        frame_hear(fd, i, number + i);
    }
}
