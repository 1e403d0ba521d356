/*
 * What one node knows, and what all of them together come to
 *
 * A Report is JSON, made by a supervisor from query-apus, query-plover,
 * query-gannet, query-status and what it is doing; the schema is in
 * docs/reference/colony-status.rst. A Status is made of the reports of all
 * nodes, those that do not answer included, by whoever asks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_REPORT_H
#define COLONY_REPORT_H

#include <json-glib/json-glib.h>
#include "config.h"

/* At the end of a task's error, when it is the other node that knows more. */
#define COLONY_SAYS_WHY "; QEMU's messages say why"

typedef enum ColonyHealth {
    COLONY_PROTECTED, /* any node may die */
    COLONY_UNPROTECTED, /* the VM runs and is heard; the next failure ends it */
    COLONY_HELD, /* the VM is not heard */
    COLONY_DOWN, /* no VM runs */
    COLONY_UNKNOWN, /* too few nodes answer to tell */
} ColonyHealth;

typedef struct ColonyStatus ColonyStatus;

/*
 * @reports: for each node of the config, in its order, a JsonObject or NULL;
 * @errors: for each that is NULL a text why. @config has to live as long.
 */
ColonyStatus *colony_status_new(const ColonyConfig *config,
                                JsonObject *const *reports,
                                const char *const *errors);
void colony_status_free(ColonyStatus *status);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColonyStatus, colony_status_free)

ColonyHealth colony_status_health(const ColonyStatus *status);
/* Why it is not protected, in words for humans; NULL: it is. */
const char *colony_status_why(const ColonyStatus *status);
const ColonyNode *colony_status_leader(const ColonyStatus *status);
const ColonyNode *colony_status_secondary(const ColonyStatus *status);

/* For --json. */
JsonObject *colony_status_json(const ColonyStatus *status);
/* Fits a screen of 80 by 24; @columns: of the terminal; @color: may be used */
char *colony_status_text(const ColonyStatus *status, unsigned columns,
                         gboolean color);
/* The exit status of colony status: 0 protected, 1 not, 2 held or down, 3 ? */
int colony_status_exit(const ColonyStatus *status);

#endif
