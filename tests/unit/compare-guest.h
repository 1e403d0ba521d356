/*
 * A guest and a client of compare-world.h
 *
 * Positions are those of the guest's stream: its SYN has 0, its first byte 1.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_COMPARE_GUEST_H
#define TESTS_COMPARE_GUEST_H

#include "colo-net/core/hold.h"
#include "tests/unit/net-frames.h"

#define GUEST_FLOWS 5
#define GUEST_PORT 2000 /* of the first client */
#define GUEST_SEGMENT 1500

typedef struct GuestConn {
    enum { GUEST_NONE, GUEST_CALLS, GUEST_ANSWERS, GUEST_OPEN } state;
    unsigned life;
    uint32_t isn;
    uint32_t heard; /* the client's next sequence number */
    unsigned todo; /* bytes to say */
    gboolean closing; /* and then a FIN */
    unsigned snd;
    unsigned una;
    unsigned differs_from; /* the bytes from here on are others; 0: none */
    uint8_t salt;
} GuestConn;

/* All of it: it is copied in a sync. */
typedef struct Guest {
    GuestConn conn[GUEST_FLOWS];
    unsigned datagrams_todo;
    unsigned datagrams;
    size_t at; /* in the log */
} Guest;

/* What is in the log: a frame from a client, or something to do */
typedef struct GuestInput {
    enum { INPUT_FRAME, INPUT_SAY, INPUT_CALL, INPUT_CLOSE,
           INPUT_DATAGRAM } kind;
    unsigned flow;
    unsigned life;
    unsigned n;
    HoldFrame *frame;
} GuestInput;

/* What is the same for all of its frames */
typedef struct GuestWays {
    unsigned window; /* as far as it goes without an acknowledgement */
    uint16_t id; /* of IP packets */
} GuestWays;

uint8_t guest_byte(const GuestConn *conn, unsigned flow, unsigned position);
unsigned guest_end(const GuestConn *conn); /* when all is said */

/* Hear a frame that is translated. Asserts that it makes sense. */
void guest_hear(Guest *guest, const HoldFrame *frame);
void guest_do(Guest *guest, const GuestInput *input);
/* Say something new, or, if @again, something old; NULL: nothing to say. */
HoldFrame *guest_say(Guest *guest, GuestWays *ways, unsigned flow,
                     gboolean again);
HoldFrame *guest_acknowledge(const Guest *guest, unsigned flow);
HoldFrame *guest_say_datagram(Guest *guest, GuestWays *ways);

typedef struct Client {
    enum { CLIENT_NONE, CLIENT_CALLS, CLIENT_ANSWERS, CLIENT_OPEN,
           CLIENT_CLOSED } state;
    unsigned life;
    gboolean called; /* by the guest */
    uint32_t isn;
    uint32_t wire; /* the guest's first sequence number, as it knows it */
    unsigned got;
    gboolean finished; /* and a FIN */
    GByteArray *bytes; /* at position - 1 */
} Client;

/* Whether the frame is of this connection, and not of the one before */
gboolean client_knows(const Client *client, const HoldFrame *frame);
/* Returns whether it wants to acknowledge. */
gboolean client_hear(Client *client, const HoldFrame *frame);
HoldFrame *client_say(const Client *client, unsigned flow);

#endif
