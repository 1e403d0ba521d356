/*
 * What can be asked of apusd: a JSON object, one line
 *
 *   {"command": "status"}
 *   {"command": "trace"}
 *   {"command": "replace", "old": ID,
 *    "new": {"id": ID, "address": "HOST:PORT", "can-run": BOOLEAN}}
 *
 * Answered with {"return": ...} or {"error": "text"}, one line; after a trace,
 * {"event": "text", "time": SECONDS} for each change from then on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_REQUEST_H
#define APUSD_REQUEST_H

#include <json-glib/json-glib.h>

#include "colo-net/apus/core/types.h"

#define APUSD_REQUEST_MAX 4096 /* bytes of a line */

typedef enum {
    APUSD_STATUS,
    APUSD_TRACE,
    APUSD_REPLACE,
} ApusdCommand;

typedef struct {
    ApusdCommand command;
    ApusId old; /* or APUS_NOBODY: only add */
    ApusMember new_member; /* id APUS_NOBODY: only remove */
} ApusdRequest;

/* Errors: APUS_ERROR_CORRUPT, with a text for who asked. */
gboolean apusd_request_parse(ApusdRequest *request, const char *text,
                             size_t size, GError **errp);

/* A line, with its end; to be freed. The first one takes @value. */
char *apusd_answer_return(JsonNode *value);
char *apusd_answer_error(const GError *error);
char *apusd_answer_event(const char *text, double time);
char *apusd_request_line(const ApusdRequest *request);

#endif
