/*
 * A guest and a client of compare-world.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/compare-guest.h"

/* --- the guest ------------------------------------------------------------*/

uint8_t guest_byte(const GuestConn *conn, unsigned flow, unsigned position)
{
    uint32_t x = (position + 1) * 2654435761u + flow * 97 + conn->life * 31;
    gboolean differs = conn->differs_from && position >= conn->differs_from;

    return (x >> 13) ^ (differs ? conn->salt : 0);
}

unsigned guest_end(const GuestConn *conn)
{
    return 1 + conn->todo + conn->closing;
}

static unsigned flow_of(const HoldFrame *frame, gboolean to_guest)
{
    const uint8_t *ports = frame->data + 34 + (to_guest ? 0 : 2);

    return ports[0] * 256 + ports[1] - GUEST_PORT;
}

void guest_hear(Guest *guest, const HoldFrame *frame)
{
    GuestConn *conn = &guest->conn[flow_of(frame, TRUE)];
    uint8_t flags = net_flags(frame);
    unsigned acked = net_ack(frame) - conn->isn;

    if ((flags & (NET_SYN | NET_ACK)) == NET_SYN) {
        if (conn->state != GUEST_NONE && conn->state != GUEST_CALLS &&
            conn->heard == net_seq(frame) + 1) {
            return; /* the same again */
        }
        *conn = (GuestConn) {
            .state = GUEST_ANSWERS,
            .life = conn->life + 1,
            .isn = g_test_rand_int(),
            .heard = net_seq(frame) + 1,
        };
        return;
    }
    if (conn->state == GUEST_NONE || !(flags & NET_ACK) ||
        (conn->state != GUEST_CALLS &&
         net_seq(frame) - conn->heard > 1000)) {
        return; /* of another life */
    }
    g_assert_cmpuint(acked, <=, conn->snd);
    if (acked > conn->una) {
        conn->una = acked;
    }
    if (conn->state == GUEST_CALLS) {
        if (!(flags & NET_SYN)) {
            return;
        }
        conn->heard = net_seq(frame) + 1;
    }
    if (acked) {
        conn->state = GUEST_OPEN;
    }
}

void guest_do(Guest *guest, const GuestInput *input)
{
    GuestConn *conn = &guest->conn[input->flow];

    if (input->kind == INPUT_DATAGRAM) {
        guest->datagrams_todo++;
    } else if (input->kind == INPUT_CALL) {
        *conn = (GuestConn) {
            .state = GUEST_CALLS,
            .life = conn->life + 1,
            .isn = g_test_rand_int(),
        };
    } else if (conn->life == input->life && !conn->closing) {
        conn->closing = input->kind == INPUT_CLOSE;
        conn->todo += input->kind == INPUT_SAY ? input->n : 0;
    }
}

static HoldFrame *speak(const GuestConn *conn, unsigned flow, unsigned from,
                        unsigned to)
{
    uint8_t payload[GUEST_SEGMENT];
    NetSegment segment = {
        .peer_port = GUEST_PORT + flow,
        .seq = conn->isn + from,
        .ack = conn->heard,
        .flags = conn->state == GUEST_CALLS ? 0 : NET_ACK,
        .window = conn->state == GUEST_CALLS ? conn->life : 0,
        .payload = payload,
    };

    if (from == 0 && to) {
        segment.flags |= NET_SYN;
        from = 1;
        to = 1;
    }
    if (conn->closing && to == guest_end(conn) && to > from) {
        segment.flags |= NET_FIN;
        to--;
    }
    for (unsigned i = from; i < to; i++) {
        payload[i - from] = guest_byte(conn, flow, i);
    }
    segment.size = to - from;
    return net_segment(&segment);
}

HoldFrame *guest_say(Guest *guest, GuestWays *ways, unsigned flow,
                     gboolean again)
{
    GuestConn *conn = &guest->conn[flow];
    unsigned limit = conn->state == GUEST_OPEN ?
                     MIN(guest_end(conn), conn->una + ways->window) : 1;
    unsigned from, to;
    HoldFrame *frame;

    if (conn->state == GUEST_NONE) {
        return NULL;
    }
    if (again && conn->una < conn->snd) {
        from = g_test_rand_int_range(0, 4) ? conn->una :
               (unsigned)g_test_rand_int_range(conn->una, conn->snd);
    } else if (conn->snd < limit) {
        from = conn->snd;
        if (from > 1 && from - 1 > conn->una &&
            g_test_rand_int_range(0, 8) == 0) {
            from--; /* partly said before */
        }
    } else {
        return NULL;
    }
    to = from + g_test_rand_int_range(1, GUEST_SEGMENT);
    to = from ? MIN(to, MAX(limit, conn->snd)) : 1;
    frame = speak(conn, flow, from, to);
    conn->snd = MAX(conn->snd, to);
    return frame;
}

HoldFrame *guest_acknowledge(const Guest *guest, unsigned flow)
{
    const GuestConn *conn = &guest->conn[flow];
    gboolean alive = g_test_rand_int_range(0, 4) == 0 && conn->snd > 1;

    if (conn->state != GUEST_OPEN) {
        return NULL;
    }
    return speak(conn, flow, conn->snd - alive, conn->snd - alive);
}

HoldFrame *guest_say_datagram(Guest *guest, GuestWays *ways)
{
    unsigned n = guest->datagrams;

    if (n == guest->datagrams_todo) {
        return NULL;
    }
    guest->datagrams++;
    return net_datagram(ways->id++, &n, sizeof(n));
}

/* --- the client -----------------------------------------------------------*/

gboolean client_knows(const Client *client, const HoldFrame *frame)
{
    if (!(net_flags(frame) & NET_ACK)) {
        /* nobody else can tell whose SYN this is */
        return client->called && net_window(frame) == client->life;
    }
    return client->state != CLIENT_NONE &&
           net_ack(frame) - client->isn <= 1;
}

static void client_take(Client *client, const HoldFrame *frame)
{
    unsigned at = net_seq(frame) - client->wire;
    const uint8_t *payload;
    size_t size = net_payload(frame, &payload);

    if (client->finished) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (at + i == client->got) {
            g_byte_array_append(client->bytes, payload + i, 1);
            client->got++;
        }
    }
    if ((net_flags(frame) & NET_FIN) && at + size == client->got) {
        client->got++;
        client->finished = TRUE;
    }
}

gboolean client_hear(Client *client, const HoldFrame *frame)
{
    uint8_t flags = net_flags(frame);
    const uint8_t *payload;

    switch (client->state) {
    case CLIENT_NONE:
        if ((flags & (NET_SYN | NET_ACK)) != NET_SYN) {
            return FALSE;
        }
        client->state = CLIENT_ANSWERS;
        client->wire = net_seq(frame);
        client->got = 1;
        return TRUE;
    case CLIENT_CALLS:
        if (flags & NET_SYN) {
            client->state = CLIENT_OPEN;
            client->wire = net_seq(frame);
            client->got = 1;
            return TRUE;
        }
        return FALSE;
    case CLIENT_ANSWERS:
        if (flags & NET_SYN) {
            return TRUE;
        }
        if (net_seq(frame) - client->wire > client->got) {
            return FALSE;
        }
        client->state = CLIENT_OPEN;
        break;
    case CLIENT_CLOSED:
        return FALSE;
    default:
        break;
    }
    if (flags & NET_SYN) {
        return TRUE;
    }
    client_take(client, frame);
    return net_payload(frame, &payload) > 0 || (flags & NET_FIN);
}

HoldFrame *client_say(const Client *client, unsigned flow)
{
    gboolean calls = client->state == CLIENT_CALLS;
    gboolean answers = client->state == CLIENT_ANSWERS;
    NetSegment segment = {
        .to_guest = TRUE,
        .peer_port = GUEST_PORT + flow,
        .seq = client->isn + !calls - answers,
        .ack = client->wire + client->got,
        .flags = calls ? NET_SYN : answers ? NET_SYN | NET_ACK : NET_ACK,
    };

    if (calls) {
        segment.ack = 0;
    }
    return net_segment(&segment);
}
