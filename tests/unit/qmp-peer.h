/*
 * A QEMU that the test plays itself, and its client
 *
 * It is the other end of a UNIX socket. What it says and hears happens between
 * two turns of the main loop, so a test is the same every time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QMP_PEER_H
#define QMP_PEER_H

#include "qemu/colony/qmp.h"

#define PEER_GREETING \
    "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define PEER_NEVER 60000 /* ms: no test takes so long */

typedef struct QmpPeer {
    char *directory, *path;
    int listener, fd;
    GString *in; /* what it has read of a line */
    /* The client, and what it has told. */
    ColonyQmp *qmp;
    unsigned ready, closed;
    GError *error; /* of closed */
    GString *log; /* a word for each callback */
    gint64 time; /* of the last event */
    int free_in; /* which callback frees the client: 'r'eady, 'e'vent, ... */
} QmpPeer;

/* They write down what they are told. */
extern const ColonyQmpOps peer_ops;
void peer_on_reply(void *opaque, JsonNode *result, const GError *error);
void peer_note(QmpPeer *peer, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A fixture of GTest; it listens, nobody has connected. */
void peer_set_up(QmpPeer *peer, gconstpointer data);
void peer_tear_down(QmpPeer *peer, gconstpointer data);
void peer_listen(QmpPeer *peer);

void peer_connect(QmpPeer *peer, unsigned timeout_ms);
/* Connect, and come to where the client is ready. */
void peer_negotiate(QmpPeer *peer);
/* Have the client ask; peer_on_reply() takes the answer. */
void peer_ask(QmpPeer *peer, const char *name, unsigned timeout_ms);
void peer_free_client(QmpPeer *peer);

void peer_say(QmpPeer *peer, const char *text);
void peer_say_bytes(QmpPeer *peer, const char *text, gsize length);
/* The next line that the client has sent; the caller's. */
char *peer_hear(QmpPeer *peer);
void peer_hears(QmpPeer *peer, const char *expected);

/* Turn the main loop until the log is like that; then it is empty. */
void peer_wait(QmpPeer *peer, const char *expected);

#endif
