/*
 * What the monitor knows, and how it is drawn
 *
 * The model takes statuses, events and what the user types; drawing makes lines
 * of it, without side effects. monitor.c has the terminal and the clock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_MONITOR_MODEL_H
#define COLONY_MONITOR_MODEL_H

#include "report.h"

typedef enum ColonySeriesKind {
    COLONY_SERIES_PAUSE, /* ms that the guest stood for a sync, half of them */
    COLONY_SERIES_DIRTY, /* pages that were written, for each sync */
    COLONY_SERIES_SAME, /* % of them that did not differ */
    COLONY_SERIES_COMPARE, /* ms that an output has waited for its partner */
    COLONY_SERIES_SYNC, /* bytes a second sent by syncs */
    COLONY_SERIES_GROUP, /* bytes a second sent by the group */
    COLONY_SERIES_COUNT,
} ColonySeriesKind;

#define COLONY_SERIES_LENGTH 512

/* The newest is last; NAN: nothing is known of that time. */
typedef struct ColonySeries {
    double value[COLONY_SERIES_LENGTH];
    unsigned count;
} ColonySeries;

/* What a key does. */
typedef struct ColonyMonitorKey {
    char key;
    const char *word; /* for the line of keys */
    const char *verb; /* of supervisor.h */
    gboolean everywhere; /* told to all nodes, else to the leader */
    gboolean dangerous; /* confirmed by the VM's name */
    const char *question; /* %s: the VM, or who becomes leader */
} ColonyMonitorKey;

typedef struct ColonyMonitor {
    const ColonyConfig *config;
    ColonyStatus *status; /* NULL: none yet */
    gint64 time; /* of it, monotonic us */
    ColonySeries series[COLONY_SERIES_COUNT];
    /* Counters of the sample before, when it was, and whose; NULL: none */
    double syncs, united, differ, sent, group_sent;
    gint64 sampled;
    const ColonyNode *sampled_of;
    GQueue events; /* of char *, the newest first */
    char *message; /* what came of the last verb; or NULL */
    const ColonyMonitorKey *asking; /* to be confirmed; or NULL */
    GString *typed; /* by the user, for that */
} ColonyMonitor;

/* Ends with one whose @key is 0. */
extern const ColonyMonitorKey colony_monitor_keys[];

void colony_monitor_init(ColonyMonitor *monitor, const ColonyConfig *config);
void colony_monitor_clear(ColonyMonitor *monitor);

/* @status: taken over. @now: monotonic us */
void colony_monitor_take(ColonyMonitor *monitor, ColonyStatus *status,
                         gint64 now);
/*
 * @event: as "colony events --json" has it, of @node, at the time @clock.
 * FALSE: it is not shown.
 */
gboolean colony_monitor_event(ColonyMonitor *monitor, const char *clock,
                              const ColonyNode *node, JsonObject *event);
/* NULL: none. Copied. */
void colony_monitor_say(ColonyMonitor *monitor, const char *text);

typedef enum ColonyMonitorDo {
    COLONY_MONITOR_NOTHING,
    COLONY_MONITOR_QUIT,
    COLONY_MONITOR_LOOK, /* ask the nodes at once */
    COLONY_MONITOR_CALL, /* *@key was confirmed */
} ColonyMonitorDo;

/* @c: a character, or 27 for Escape */
ColonyMonitorDo colony_monitor_type(ColonyMonitor *monitor, unsigned c,
                                    const ColonyMonitorKey **key);

/* --- drawing -------------------------------------------------------------- */

typedef enum ColonyLook {
    COLONY_LOOK_PLAIN,
    COLONY_LOOK_TITLE,
    COLONY_LOOK_GOOD,
    COLONY_LOOK_WARNING,
    COLONY_LOOK_BAD,
    COLONY_LOOK_FAINT,
} ColonyLook;

typedef struct ColonyLine {
    char *text; /* valid UTF-8, at most @columns characters */
    ColonyLook look; /* of the whole line */
} ColonyLine;

/*
 * @rows lines of at most @columns characters; free with
 * g_ptr_array_unref(). @ascii: nothing else. @now: monotonic us
 */
GPtrArray *colony_monitor_draw(const ColonyMonitor *monitor, unsigned columns,
                               unsigned rows, gboolean ascii, gint64 now);

/* The newest of @series that fit in @columns, from 0 to the largest of them. */
char *colony_monitor_sparkline(const ColonySeries *series, unsigned columns,
                               gboolean ascii);

#endif
