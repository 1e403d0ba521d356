/*
 * A supervisor's ears, and those who speak to it, on this host
 *
 * Node "a" answers, at a loopback address of its own; "b" is 127.0.0.1, from
 * where we ask; "c" is a name. The supervisor runs in the default main context,
 * as do all that wait here, for TALK_MS at most.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TALK_H
#define COLONY_TALK_H

#include "qemu/colony/control.h"

#define TALK_MS 20000

typedef struct Talk {
    char *directory; /* of a's */
    ColonyConfig *config;
    ColonyNode *a, *b, *c;
    ColonyServer *server;
    /* How requests are answered. */
    enum {
        TALK_ECHO, /* { "verb", "local", "arguments" } */
        TALK_LATER, /* not before talk_answer() */
        TALK_ERROR, /* @error */
    } manner;
    GError *error;
    GQueue later; /* of ColonyRequest */
    unsigned served;
} Talk;

/* For g_test_add(). */
void talk_set_up(Talk *talk, gconstpointer unused);
void talk_tear_down(Talk *talk, gconstpointer unused);

void talk_listen(Talk *talk);
void talk_hang_up(Talk *talk);
/*
 * FALSE: this is TSan, which does not see the locks of the threads in which GIO
 * shakes hands for TLS.
 */
gboolean talk_can_shake_hands(void);

/* The eldest request of TALK_LATER. */
void talk_answer(Talk *talk);

/* The main context runs until @condition is TRUE, or the test fails. */
#define talk_until(condition)                                       \
    do {                                                            \
        gint64 end_ = g_get_monotonic_time() + TALK_MS * 1000;      \
                                                                    \
        while (!(condition)) {                                      \
            talk_turn();                                            \
            g_assert_cmpint(g_get_monotonic_time(), <, end_);       \
        }                                                           \
    } while (0)
void talk_turn(void);

/* Ask, and wait. @arguments: taken over, may be NULL. */
JsonObject *talk_ask(Talk *talk, gboolean local, const char *verb,
                     JsonObject *arguments, GError **error);
/* The same from somebody whose file is @config. */
JsonObject *talk_ask_with(const ColonyConfig *config, const ColonyNode *node,
                          gboolean local, const char *verb,
                          JsonObject *arguments, GError **error);
void talk_must_echo(Talk *talk, gboolean local);
void talk_must_fail(Talk *talk, gboolean local, int code, const char *part);

/* A connection without manners. @from: the address to come from, or NULL. */
GSocket *talk_connect(Talk *talk, gboolean local, const char *from);
void talk_send(GSocket *socket, const char *text, gssize length);
/* The next line without its end; NULL: the other side has closed. */
char *talk_line(GSocket *socket);

#endif
