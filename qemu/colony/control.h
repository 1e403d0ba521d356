/*
 * How the command talks to the supervisors, and these to each other
 *
 * Lines of JSON over a stream: a UNIX socket in the node's directory, and TCP
 * at the node's control port, there with TLS and certificates on both sides if
 * the config has them. Without them the TCP port serves only addresses of the
 * config's nodes.
 *
 *   > {"verb": "report", "vm": NAME, "to": NODE, "version": 1,
 *      "speaks": [1, 1], ...arguments}
 *   < {"return": {...}} or {"error": {"class": CLASS, "desc": TEXT}}
 *   < {"event": {...}}, many, after "events"; {"alive": true} now and then
 *
 * "version" is of this form, and never changes; "speaks" has the oldest and the
 * newest version of all the rest (COLONY_PROTOCOL_CONTROL), [1, 1] if it is
 * left out. Arguments that are not known are ignored.
 *
 * One request at a time on a connection; a line is at most COLONY_LINE_MAX
 * long, of a request 64 KiB. A request says the digest of the asker's config,
 * too: if it is another than the supervisor's, all verbs are refused but those
 * that only look, and "stop". Everything is asynchronous in the thread-default
 * main context; the command waits with colony_call(), which has a deadline.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONTROL_H
#define COLONY_CONTROL_H

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include "config.h"

#define COLONY_CONTROL_VERSION 1
#define COLONY_LINE_MAX (1 << 20)

#define COLONY_CONTROL_ERROR colony_control_error_quark()
GQuark colony_control_error_quark(void);

typedef enum ColonyControlError {
    COLONY_CONTROL_ERROR_UNREACHABLE, /* nobody listens, or no answer in time */
    COLONY_CONTROL_ERROR_VERSION, /* of the other side, or its config differs */
    COLONY_CONTROL_ERROR_REFUSED, /* it must not be, as things are */
    COLONY_CONTROL_ERROR_DANGEROUS, /* it could be with force */
    COLONY_CONTROL_ERROR_FAILED,
} ColonyControlError;

/* --- client --------------------------------------------------------------- */

/* @result: json_object_ref() it to keep it; NULL if @error is set */
typedef void ColonyCallDone(void *opaque, JsonObject *result,
                            const GError *error);

/*
 * Ask the supervisor of @node; over its UNIX socket if @local. @arguments:
 * members that are added to the request; taken over; may be NULL.
 */
void colony_call_async(const ColonyConfig *config, const ColonyNode *node,
                       gboolean local, const char *verb, JsonObject *arguments,
                       unsigned timeout_ms, ColonyCallDone *done,
                       void *opaque);
/* The same, and wait. */
JsonObject *colony_call(const ColonyConfig *config, const ColonyNode *node,
                        gboolean local, const char *verb,
                        JsonObject *arguments, unsigned timeout_ms,
                        GError **error);

typedef struct ColonyWatch ColonyWatch;
/* @event: NULL: from now on, all that happens comes; this once, first */
typedef void ColonyWatchEvent(void *opaque, JsonObject *event);
/* @closed: with the reason, once; then free it. */
ColonyWatch *colony_watch_new(const ColonyConfig *config,
                              const ColonyNode *node, gboolean local,
                              ColonyWatchEvent *event, ColonyCallDone *closed,
                              void *opaque);
void colony_watch_free(ColonyWatch *watch);

/* --- server --------------------------------------------------------------- */

typedef struct ColonyServer ColonyServer;
typedef struct ColonyRequest ColonyRequest;

/*
 * Answer with one of the two below, now or later, exactly once, be it after the
 * server was freed. @arguments: until then. "events" is answered here.
 */
typedef void ColonyServe(void *opaque, ColonyRequest *request,
                         const char *verb, JsonObject *arguments);

/*
 * Listens at the node's UNIX socket and control port; fails, with
 * COLONY_CONTROL_ERROR_REFUSED, if another supervisor of the node does.
 */
ColonyServer *colony_server_new(const ColonyConfig *config,
                                const ColonyNode *node, ColonyServe *serve,
                                void *opaque, GError **error);
void colony_server_free(ColonyServer *server);

/* @result: taken over; NULL: an empty one */
void colony_request_return(ColonyRequest *request, JsonObject *result);
void colony_request_fail(ColonyRequest *request, const GError *error);
/* Whether it came by the UNIX socket. */
gboolean colony_request_is_local(const ColonyRequest *request);

/*
 * To everybody who has asked for events; slow ones are cut off. @event is the
 * caller's.
 */
void colony_server_emit(ColonyServer *server, JsonObject *event);

#endif
