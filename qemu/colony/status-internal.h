/*
 * The inside of a ColonyStatus
 *
 * One file each:
 *
 *   report.c           who leads, and how it is with the VM
 *   status-words.c     the sentences: what each node does
 *   status-why.c       and why it is so with the VM
 *   status-warnings.c  what else is not as it should be
 *   status-text.c      for humans
 *   status-json.c      for programs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_STATUS_INTERNAL_H
#define COLONY_STATUS_INTERNAL_H

#include "report.h"

typedef enum StatusRole {
    STATUS_LEADER,
    STATUS_SECONDARY,
    STATUS_CANDIDATE, /* can become secondary */
    STATUS_WITNESS,
    STATUS_DEPOSED,
    STATUS_OFF, /* nothing runs there */
    STATUS_MISSING,
    STATUS_UNKNOWN,
} StatusRole;

/* What follows @report is part of it; NULL if it is not known. */
typedef struct StatusNode {
    const ColonyNode *node;
    JsonObject *report;
    JsonObject *process, *task, *apus, *guest;
    char *error; /* why there is no report */
    StatusRole role;
    char *text; /* how it is, for humans */
    gboolean heard; /* another member that answers hears its member */
    gboolean dead; /* its process is known to be gone, maybe for a new one */
    gboolean watched; /* another one would know */
} StatusNode;

typedef struct StatusWarning {
    const char *code;
    const StatusNode *node; /* NULL: it is about all of them */
    char *text;
} StatusWarning;

struct ColonyStatus {
    const ColonyConfig *config;
    gint64 time; /* us since the epoch */
    StatusNode *nodes;
    unsigned count;
    JsonObject *newest; /* "apus" of whom knows most; NULL: nobody tells */
    StatusNode *leader, *secondary; /* NULL: not known, or nobody */
    unsigned members, majority; /* of the group */
    unsigned reached; /* members that count, the leader among them */
    ColonyHealth health;
    char *why;
    GPtrArray *warnings; /* of StatusWarning */
};

/* report.c */
StatusNode *status_member(const ColonyStatus *status, gint64 id);
gboolean status_part_is(const StatusNode *node, const char *part);
gboolean status_process_is(const StatusNode *node, const char *state);
/* The "members" entry of @node, as @apus has it; NULL if there is none. */
JsonObject *status_entry(JsonObject *apus, const StatusNode *node);
/*
 * Does it count for a majority, as the leader sees it, or else those that
 * answer? What it says of itself may be newer, and goes before that.
 */
gboolean status_counts(const ColonyStatus *status, const StatusNode *node);
/* Is a secondary named without which the leader's death were the end? */
gboolean status_is_fragile(const ColonyStatus *status);
const char *status_role_name(StatusRole role);
const char *status_health_name(ColonyHealth health);

/* status-why.c; what is returned is the caller's */
char *status_why_unprotected(const ColonyStatus *status);
char *status_why_held(const ColonyStatus *status);
char *status_why_leaderless(const ColonyStatus *status);
char *status_why_unknown(const ColonyStatus *status);

/* status-words.c; what is returned is the caller's, if it is not const */
void status_tell_node(const ColonyStatus *status, StatusNode *node);
/* What runs there: QEMU or apusd. */
const char *status_program(const StatusNode *node);
char *status_task_text(const ColonyStatus *status, const StatusNode *node);
/* Words of the group of @node, with names instead of numbers. */
char *status_with_names(const ColonyStatus *status, const StatusNode *node,
                        const char *text);
char *status_bytes(gint64 bytes);
char *status_seconds(double seconds);
double status_number(JsonObject *object, const char *name, double otherwise);
/* "word" and "words" */
const char *status_plural(gint64 number, const char *one, const char *many);

/* status-warnings.c */
void status_warn_all(ColonyStatus *status);
void status_warning_free(gpointer warning);

#endif
