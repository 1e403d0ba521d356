/*
 * Lines of JSON over a stream: what both ends of control.h have in common
 *
 * Everything happens in the context that was the thread's default one when the
 * wire was made; nothing waits. All errors are COLONY_CONTROL_ERROR_*.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONTROL_WIRE_H
#define COLONY_CONTROL_WIRE_H

#include "control.h"

/* How often who has asked for events hears {"alive": true}. */
#define COLONY_ALIVE_MS 5000

/* The line of an object, with its end; NULL: the other side would refuse it. */
char *colony_wire_format(JsonObject *message, GError **error);

/* { "error": ... } of an error of any domain, and the error of that. */
JsonObject *colony_wire_error(const GError *error);
void colony_wire_take_error(JsonObject *message, GError **error);

/* The config's digest, as it travels: a JSON number would not hold it. */
char *colony_wire_digest(const ColonyConfig *config);

typedef struct ColonyWire ColonyWire;

typedef struct ColonyWireOps {
    /* @message is the wire's. */
    void (*line)(void *opaque, JsonObject *message);
    /*
     * Nothing comes any more: the other side has closed, was too slow, or sent
     * what is no message. Called once.
     */
    void (*closed)(void *opaque, const GError *error);
} ColonyWireOps;

/*
 * @stream: a socket's, or TLS over one, shaken hands; a reference is taken.
 * @line_max: bytes of a line that is accepted; no callback comes from within.
 */
ColonyWire *colony_wire_new(GIOStream *stream, gsize line_max,
                            const ColonyWireOps *ops, void *opaque);
/* From now on no callback; what was sent and is still here is dropped. */
void colony_wire_free(ColonyWire *wire);
/* Likewise, but what was sent may still leave for some seconds. */
void colony_wire_end(ColonyWire *wire);

/*
 * Queue a message, a line of colony_wire_format(). Who takes none for some
 * seconds, or leaves more than COLONY_LINE_MAX bytes in the queue, is cut off.
 */
void colony_wire_send(ColonyWire *wire, const char *line);

#endif
