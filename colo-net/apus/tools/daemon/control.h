/*
 * The socket of apusd: who connects may ask
 *
 * Lines of JSON (request.h) over a UNIX socket that only its owner can use.
 * Everything is bounded: connections, bytes of a request, bytes of answers
 * that nobody reads, and the time that a connection may be idle; one that
 * traces may be so for ever, but loses its place if it does not read.
 *
 * Lives in the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_CONTROL_H
#define APUSD_CONTROL_H

#include "request.h"

/* The value to be returned for a request other than trace; NULL: @errp. */
typedef JsonNode *ApusdControlAnswer(void *opaque,
                                     const ApusdRequest *request,
                                     GError **errp);

typedef struct ApusdControl ApusdControl;

/* Errors: APUS_ERROR_IN_USE if somebody answers there already, _IO. */
ApusdControl *apusd_control_new(const char *path, ApusdControlAnswer *answer,
                                void *opaque, GError **errp);
void apusd_control_free(ApusdControl *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusdControl, apusd_control_free)

/* Tell all who trace. */
void apusd_control_event(ApusdControl *control, const char *text);

#endif
