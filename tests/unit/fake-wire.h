/*
 * Connections that are only memory
 *
 * FakeWire joins two threads. Its clock stands still while either of them does
 * anything, unless fake_wire_slow() or fake_wire_pass() say how long it takes;
 * when both wait for each other, it jumps to the earlier of their deadlines. So
 * a dead-lock is seen at once, and nothing ever sleeps.
 *
 * FakePlayback is for one side alone: it receives bytes that were prepared,
 * and then either the connection is closed or nothing comes any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_WIRE_H
#define FAKE_WIRE_H

#include "plover-sync/core/link.h"

typedef enum FakeSide {
    FAKE_LEADER,
    FAKE_SECONDARY,
} FakeSide;

#define FAKE_WIRE_ERROR (g_quark_from_static_string("fake-wire"))

typedef enum FakeWireError {
    FAKE_WIRE_CLOSED,
    FAKE_WIRE_TIMEOUT,
} FakeWireError;

typedef struct FakeWire FakeWire;

/* What opaque is for PloverIo. */
typedef struct FakeWireEnd {
    FakeWire *wire;
    FakeSide side;
} FakeWireEnd;

/* @capacity: bytes that one direction holds before a sender waits. */
FakeWire *fake_wire_new(size_t capacity);
void fake_wire_free(FakeWire *wire);
FakeWireEnd *fake_wire_end(FakeWire *wire, FakeSide side);
extern const PloverIo fake_wire_io;
/* A descriptor that is readable while @side could receive, or it is closed. */
int fake_wire_fd(FakeWire *wire, FakeSide side);
/* Whether it is closed. */
gboolean fake_wire_closed(FakeWire *wire);

/* Both sides learn it; what was sent before can still be received. */
void fake_wire_close(FakeWire *wire);
/* Close as soon as @side has sent @bytes, from its first byte on. */
void fake_wire_cut(FakeWire *wire, FakeSide side, uint64_t bytes);
/* Each message takes so many microseconds to send. */
void fake_wire_slow(FakeWire *wire, int64_t us);
/* @side does something for so long that its peer waits, with nothing to do. */
void fake_wire_pass(FakeWire *wire, FakeSide side, int64_t us);
/* All that @side ever sent. For when no thread is sending. */
const GByteArray *fake_wire_sent(FakeWire *wire, FakeSide side);
/* Wait until @side waits without a deadline, and has nothing to receive. */
void fake_wire_await_idle(FakeWire *wire, FakeSide side);
/* @side will use the connection no more. */
void fake_wire_leave(FakeWire *wire, FakeSide side);

typedef struct FakePlayback {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t at;
    size_t piece; /* the most that is received at once; 0: any */
    size_t most_asked; /* by the receiver */
    gboolean silent; /* then nothing comes, the connection stays */
    size_t room; /* bytes that can be sent before it is closed */
    GByteArray *sent;
    int64_t now;
} FakePlayback;

/* Plays the @size bytes at @data and takes all that is sent. */
void fake_playback_init(FakePlayback *playback, const uint8_t *data,
                        size_t size);
void fake_playback_clear(FakePlayback *playback);
extern const PloverIo fake_playback_io; /* opaque: the FakePlayback */

#endif
