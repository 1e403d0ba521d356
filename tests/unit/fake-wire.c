/*
 * Connections that are only memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/fake-wire.h"

/* No test waits that long, whatever the machine is doing: it hangs. */
#define PATIENCE 60 /* seconds */

typedef struct Direction {
    GByteArray *sent;
    size_t received;
    uint64_t cut; /* closed when so many were sent */
} Direction;

struct FakeWire {
    FakeWireEnd ends[2];
    /* Not GLib's, which ThreadSanitizer does not see. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t capacity;
    Direction from[2]; /* by the side that sends */
    gboolean closed;
    int64_t now;
    int64_t cost; /* of a message */
    /* Of a side that waits for the other; 0: it does not wait. */
    int64_t deadline[2];
    gboolean left[2];
    int fd[2]; /* see fake_wire_fd() */
};

FakeWire *fake_wire_new(size_t capacity)
{
    FakeWire *wire = g_new0(FakeWire, 1);

    pthread_mutex_init(&wire->lock, NULL);
    pthread_cond_init(&wire->changed, NULL);
    wire->capacity = capacity;
    wire->now = 1;
    for (int side = 0; side < 2; side++) {
        wire->ends[side] = (FakeWireEnd) { wire, side };
        wire->from[side].sent = g_byte_array_new();
        wire->from[side].cut = UINT64_MAX;
        wire->fd[side] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    return wire;
}

void fake_wire_free(FakeWire *wire)
{
    for (int side = 0; side < 2; side++) {
        g_byte_array_unref(wire->from[side].sent);
        close(wire->fd[side]);
    }
    pthread_cond_destroy(&wire->changed);
    pthread_mutex_destroy(&wire->lock);
    g_free(wire);
}

FakeWireEnd *fake_wire_end(FakeWire *wire, FakeSide side)
{
    return &wire->ends[side];
}

int fake_wire_fd(FakeWire *wire, FakeSide side)
{
    return wire->fd[side];
}

gboolean fake_wire_closed(FakeWire *wire)
{
    gboolean result;

    pthread_mutex_lock(&wire->lock);
    result = wire->closed;
    pthread_mutex_unlock(&wire->lock);
    return result;
}

static void set_readable(FakeWire *wire, FakeSide side)
{
    const Direction *from = &wire->from[!side];
    uint64_t count = 1;
    gssize ignored;

    if (wire->closed || from->received < from->sent->len) {
        ignored = write(wire->fd[side], &count, sizeof(count));
    } else {
        ignored = read(wire->fd[side], &count, sizeof(count));
    }
    (void)ignored;
}

static void await_change(FakeWire *wire)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    if (pthread_cond_timedwait(&wire->changed, &wire->lock, &until) != 0) {
        g_error("a replica hangs");
    }
}

/* Something happened that @side may wait for: it has not waited in vain. */
static void wake(FakeWire *wire, FakeSide side)
{
    wire->deadline[side] = 0;
    set_readable(wire, FAKE_LEADER);
    set_readable(wire, FAKE_SECONDARY);
    pthread_cond_broadcast(&wire->changed);
}

/* Both wait: nothing will happen before the earlier deadline. */
static void pass_time(FakeWire *wire)
{
    int64_t first = MIN(wire->deadline[0], wire->deadline[1]);

    if (wire->deadline[0] && wire->deadline[1] && first > wire->now) {
        if (first == PLOVER_NO_DEADLINE) {
            g_error("both replicas wait for each other without a deadline");
        }
        wire->now = first;
        pthread_cond_broadcast(&wire->changed);
    }
}

/* With the lock held, wait for something to change. */
static gboolean wait_for_peer(FakeWire *wire, FakeSide side, int64_t deadline,
                     GError **errp)
{
    if (wire->now >= deadline) {
        g_set_error(errp, FAKE_WIRE_ERROR, FAKE_WIRE_TIMEOUT,
                    "the peer did nothing in time");
        return FALSE;
    }
    wire->deadline[side] = deadline;
    pthread_cond_broadcast(&wire->changed);
    pass_time(wire);
    if (wire->now < deadline) {
        await_change(wire);
    }
    wire->deadline[side] = 0;
    if (wire->now >= deadline) {
        pthread_cond_broadcast(&wire->changed);
    }
    return TRUE;
}

static gboolean closed(GError **errp)
{
    g_set_error(errp, FAKE_WIRE_ERROR, FAKE_WIRE_CLOSED,
                "the connection is closed");
    return FALSE;
}

static int64_t wire_now(void *opaque)
{
    FakeWireEnd *end = opaque;
    int64_t now;

    pthread_mutex_lock(&end->wire->lock);
    now = end->wire->now;
    pthread_mutex_unlock(&end->wire->lock);
    return now;
}

static gboolean send_piece(FakeWire *wire, FakeSide side, const uint8_t *data,
                           size_t size, int64_t deadline, GError **errp)
{
    Direction *to = &wire->from[side];

    while (size) {
        size_t room = wire->capacity - (to->sent->len - to->received);
        size_t n = MIN(size, room);

        if (wire->closed) {
            return closed(errp);
        }
        n = MIN(n, to->cut - to->sent->len);
        if (!n) {
            if (!wait_for_peer(wire, side, deadline, errp)) {
                return FALSE;
            }
            continue;
        }
        g_byte_array_append(to->sent, data, n);
        data += n;
        size -= n;
        wire->closed = to->sent->len == to->cut;
        wake(wire, !side);
    }
    return TRUE;
}

static gboolean wire_send(void *opaque, const PloverPiece *pieces, size_t n,
                          int64_t deadline, GError **errp)
{
    FakeWireEnd *end = opaque;
    gboolean ok = TRUE;

    pthread_mutex_lock(&end->wire->lock);
    end->wire->now += end->wire->cost;
    for (size_t i = 0; ok && i < n; i++) {
        ok = send_piece(end->wire, end->side, pieces[i].data, pieces[i].size,
                        deadline, errp);
    }
    pthread_mutex_unlock(&end->wire->lock);
    return ok;
}

static gssize wire_receive(void *opaque, void *data, size_t size,
                           int64_t deadline, GError **errp)
{
    FakeWireEnd *end = opaque;
    FakeWire *wire = end->wire;
    Direction *from = &wire->from[!end->side];
    gssize n = 0;

    pthread_mutex_lock(&wire->lock);
    while (!n) {
        n = MIN(size, from->sent->len - from->received);
        if (n) {
            memcpy(data, from->sent->data + from->received, n);
            from->received += n;
            wake(wire, !end->side);
        } else if (wire->closed) {
            closed(errp);
            n = -1;
        } else if (!wait_for_peer(wire, end->side, deadline, errp)) {
            n = -1;
        }
    }
    pthread_mutex_unlock(&wire->lock);
    return n;
}

const PloverIo fake_wire_io = {
    .now = wire_now,
    .send = wire_send,
    .receive = wire_receive,
};

void fake_wire_close(FakeWire *wire)
{
    pthread_mutex_lock(&wire->lock);
    wire->closed = TRUE;
    wake(wire, FAKE_LEADER);
    wake(wire, FAKE_SECONDARY);
    pthread_mutex_unlock(&wire->lock);
}

void fake_wire_cut(FakeWire *wire, FakeSide side, uint64_t bytes)
{
    pthread_mutex_lock(&wire->lock);
    g_assert_cmpuint(wire->from[side].sent->len, <, bytes);
    wire->from[side].cut = bytes;
    pthread_mutex_unlock(&wire->lock);
}

void fake_wire_slow(FakeWire *wire, int64_t us)
{
    pthread_mutex_lock(&wire->lock);
    wire->cost = us;
    pthread_mutex_unlock(&wire->lock);
}

void fake_wire_pass(FakeWire *wire, FakeSide side, int64_t us)
{
    pthread_mutex_lock(&wire->lock);
    while (!wire->deadline[!side]) {
        await_change(wire);
    }
    wire->now += us;
    pthread_cond_broadcast(&wire->changed);
    /* If that was too long, it sees it before anything else can come. */
    while (wire->deadline[!side] && wire->deadline[!side] <= wire->now) {
        await_change(wire);
    }
    pthread_mutex_unlock(&wire->lock);
}

const GByteArray *fake_wire_sent(FakeWire *wire, FakeSide side)
{
    return wire->from[side].sent;
}

void fake_wire_await_idle(FakeWire *wire, FakeSide side)
{
    Direction *to = &wire->from[!side];

    pthread_mutex_lock(&wire->lock);
    while (!wire->left[side] &&
           (wire->deadline[side] != PLOVER_NO_DEADLINE ||
            to->received < to->sent->len)) {
        await_change(wire);
    }
    pthread_mutex_unlock(&wire->lock);
}

void fake_wire_leave(FakeWire *wire, FakeSide side)
{
    pthread_mutex_lock(&wire->lock);
    wire->left[side] = TRUE;
    wire->closed = TRUE;
    wake(wire, FAKE_LEADER);
    wake(wire, FAKE_SECONDARY);
    pthread_mutex_unlock(&wire->lock);
}

void fake_playback_init(FakePlayback *playback, const uint8_t *data,
                        size_t size)
{
    *playback = (FakePlayback) {
        .data = data,
        .size = size,
        .room = SIZE_MAX,
        .sent = g_byte_array_new(),
        .now = 1,
    };
}

void fake_playback_clear(FakePlayback *playback)
{
    g_byte_array_unref(playback->sent);
    playback->sent = NULL;
}

static int64_t playback_now(void *opaque)
{
    FakePlayback *playback = opaque;

    return playback->now;
}

static gboolean playback_send(void *opaque, const PloverPiece *pieces,
                              size_t n, int64_t deadline, GError **errp)
{
    FakePlayback *playback = opaque;

    g_assert_cmpint(deadline, <, PLOVER_NO_DEADLINE);
    for (size_t i = 0; i < n; i++) {
        size_t taken = MIN(pieces[i].size,
                           playback->room - playback->sent->len);

        if (taken) {
            g_byte_array_append(playback->sent, pieces[i].data, taken);
        }
        if (taken < pieces[i].size) {
            return closed(errp);
        }
    }
    return TRUE;
}

static gssize playback_receive(void *opaque, void *data, size_t size,
                               int64_t deadline, GError **errp)
{
    FakePlayback *playback = opaque;
    size_t n = MIN(size, playback->size - playback->at);

    playback->most_asked = MAX(playback->most_asked, size);
    if (n) {
        n = playback->piece ? MIN(n, playback->piece) : n;
        memcpy(data, playback->data + playback->at, n);
        playback->at += n;
        return n;
    }
    if (playback->silent && deadline < PLOVER_NO_DEADLINE) {
        playback->now = MAX(playback->now, deadline);
        g_set_error(errp, FAKE_WIRE_ERROR, FAKE_WIRE_TIMEOUT,
                    "the peer did nothing in time");
        return -1;
    }
    closed(errp);
    return -1;
}

const PloverIo fake_playback_io = {
    .now = playback_now,
    .send = playback_send,
    .receive = playback_receive,
};
