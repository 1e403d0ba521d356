/*
 * A status for humans: a screen of 80 by 24
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "text.h"
#include "status-internal.h"

/* One line of the screen is for the prompt. */
#define ROWS 23
#define WHY_ROWS 4
#define DISK_ROWS 4
#define LABEL "%-9s "

typedef struct Text {
    const ColonyStatus *status;
    unsigned columns;
    GPtrArray *lines; /* of char * */
} Text;

static void G_GNUC_PRINTF(2, 3) add(Text *text, const char *format, ...)
{
    g_autofree char *line = NULL;
    va_list arguments;

    va_start(arguments, format);
    line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    colony_text_wrap(text->lines, "", line, text->columns, 1);
}

static void blank(Text *text)
{
    g_ptr_array_add(text->lines, g_strdup(""));
}

/* --- the head ------------------------------------------------------------ */

static void add_head(Text *text, gboolean color)
{
    static const char *const colors[] = {
        [COLONY_PROTECTED] = "\033[1;32m",
        [COLONY_UNPROTECTED] = "\033[1;33m",
        [COLONY_HELD] = "\033[1;31m",
        [COLONY_DOWN] = "\033[1;31m",
        [COLONY_UNKNOWN] = "\033[1;35m",
    };
    ColonyHealth health = text->status->health;
    g_autofree char *word = g_ascii_strup(status_health_name(health), -1);
    const char *why = text->status->why;

    g_ptr_array_add(text->lines, g_strdup_printf(
        "%s: %s%s%s", text->status->config->name,
        color ? colors[health] : "", word, color ? "\033[0m" : ""));
    if (why) {
        colony_text_wrap(text->lines, "  ", why, text->columns, WHY_ROWS);
    }
}

/* --- the nodes ----------------------------------------------------------- */

static unsigned widest_name(const ColonyStatus *status)
{
    unsigned widest = strlen("NODE");

    for (unsigned i = 0; i < status->count; i++) {
        widest = MAX(widest, strlen(status->nodes[i].node->name));
    }
    return MIN(widest, 16);
}

static void add_nodes(Text *text)
{
    const ColonyStatus *status = text->status;
    unsigned width = widest_name(status);

    blank(text);
    add(text, "%-*s %-15s %-10s %s", (int)width, "NODE", "HOST", "ROLE",
        "STATE");
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        g_autofree char *name = colony_text_pad(node->node->name, width);
        g_autofree char *host = colony_text_pad(node->node->host, 15);

        add(text, "%s %s %-10s %s", name, host, status_role_name(node->role),
            node->text);
    }
}

/* --- syncs --------------------------------------------------------------- */

static void add_sync(Text *text, JsonObject *plover)
{
    JsonObject *leader = colony_json_object(plover, "leader");
    JsonObject *pause = colony_json_object(leader, "pause");
    double syncs = MAX(colony_json_int(plover, "syncs", 0), 1);
    double united = colony_json_int(leader, "united", 0);
    double differ = colony_json_int(leader, "differ", 0);
    g_autofree char *age = NULL;

    if (!leader) {
        return;
    }
    age = status_seconds(status_number(plover, "age", 0));
    add(text, LABEL "%s ago: epoch %" G_GINT64_FORMAT " of term %"
        G_GINT64_FORMAT, "last sync", age, colony_json_int(plover, "epoch", 0),
        colony_json_int(plover, "term", 0));
    add(text, LABEL "median %.2f ms, 99 of 100 within %.2f ms, longest %.2f "
        "ms", "pause", colony_json_int(pause, "median", 0) / 1e3,
        colony_json_int(pause, "p99", 0) / 1e3,
        colony_json_int(pause, "max", 0) / 1e3);
    add(text, LABEL "%.0f written for each sync, %.0f of them differed "
        "(%.0f %% the same)", "pages", united / syncs, differ / syncs,
        united > 0 ? 100 * (united - differ) / united : 100);
}

/* --- the group ----------------------------------------------------------- */

static void add_lag(Text *text, JsonObject *apus)
{
    const StatusNode *secondary = text->status->secondary;
    JsonObject *entry = secondary ? status_entry(apus, secondary) : NULL;
    JsonObject *log = colony_json_object(apus, "log");
    double commit = colony_json_int(log, "commit", 0);
    double delivered = colony_json_int(entry, "delivered", -1);

    if (delivered >= 0) {
        double lag = MAX(commit - delivered, 0);

        add(text, LABEL "%s is %.0f %s behind", "lag", secondary->node->name,
            lag, status_plural(lag, "input", "inputs"));
    }
}

static void add_group(Text *text, JsonObject *apus, JsonObject *plover)
{
    JsonObject *outputs = colony_json_object(apus, "outputs");
    JsonObject *counters = colony_json_object(apus, "counters");
    JsonObject *leader = colony_json_object(plover, "leader");
    gint64 oldest = colony_json_int(outputs, "oldest", -1);
    g_autofree char *held = NULL, *ordered = NULL, *synced = NULL;
    g_autofree char *waits = NULL;

    if (!outputs || !counters) {
        return;
    }
    held = status_bytes(colony_json_int(outputs, "held-bytes", 0));
    ordered = status_bytes(colony_json_int(counters, "bytes-sent", 0));
    synced = status_bytes(colony_json_int(leader, "sent", 0));
    waits = oldest < 0 ? g_strdup("") : g_strdup_printf(
        ", the oldest for %.1f ms", oldest / 1e3);
    add_lag(text, apus);
    add(text, LABEL "%s held%s; %" G_GINT64_FORMAT " released, %"
        G_GINT64_FORMAT " divergences", "outputs", held, waits,
        colony_json_int(outputs, "released", 0),
        colony_json_int(outputs, "diverged", 0));
    add(text, LABEL "%s by the group, %s by syncs", "sent", ordered, synced);
}

/* --- disks --------------------------------------------------------------- */

static void add_disk(Text *text, JsonObject *disk)
{
    JsonObject *primary = colony_json_object(disk, "primary");
    const char *id = colony_json_string(disk, "disk");
    const char *state = colony_json_string(disk, "state");
    gint64 done = colony_json_int(primary, "copy-done", 0);
    gint64 total = colony_json_int(primary, "copy-total", 0);
    g_autofree char *missing = status_bytes(
        colony_json_int(primary, "missing", 0));
    g_autofree char *queued = status_bytes(
        colony_json_int(primary, "queued", 0));
    g_autofree char *rest = g_strdup("");

    if (!g_strcmp0(state, "copying") && total > 0) {
        g_free(rest);
        rest = g_strdup_printf(", %.0f %%", 100.0 * done / total);
    }
    add(text, LABEL "%s%s; %s queued, the other side lacks %s",
        id ? id : "disk", state ? state : "unknown", rest, queued, missing);
}

static void add_disks(Text *text)
{
    const StatusNode *leader = text->status->leader;
    JsonArray *disks = colony_json_array(leader ? leader->report : NULL,
                                         "gannet");
    guint count = disks ? json_array_get_length(disks) : 0;

    for (guint i = 0; i < count && i < DISK_ROWS; i++) {
        JsonNode *disk = json_array_get_element(disks, i);

        if (i + 1 == DISK_ROWS && count > DISK_ROWS) {
            add(text, "and %u more disks, see --json", count - i);
        } else if (JSON_NODE_HOLDS_OBJECT(disk)) {
            add_disk(text, json_node_get_object(disk));
        }
    }
}

/* --- warnings ------------------------------------------------------------ */

static void add_warnings(Text *text)
{
    const GPtrArray *warnings = text->status->warnings;

    if (warnings->len) {
        blank(text);
    }
    for (guint i = 0; i < warnings->len; i++) {
        const StatusWarning *warning = g_ptr_array_index(warnings, i);
        unsigned room = ROWS > text->lines->len ? ROWS - text->lines->len : 1;
        unsigned others = warnings->len - i - 1;

        if (room == 1 && others) {
            add(text, "! and %u more, see --json", others + 1);
            return;
        }
        colony_text_wrap(text->lines, "! ", warning->text, text->columns,
                         MIN(room - (others > 0), 2));
    }
}

char *colony_status_text(const ColonyStatus *status, unsigned columns,
                         gboolean color)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    Text text = { status, MAX(columns, 40), lines };
    JsonObject *report = status->leader ? status->leader->report : NULL;
    JsonObject *plover = colony_json_object(report, "plover");

    add_head(&text, color);
    add_nodes(&text);
    if (report) {
        blank(&text);
        add_sync(&text, plover);
        add_group(&text, colony_json_object(report, "apus"), plover);
        add_disks(&text);
    }
    add_warnings(&text);
    g_ptr_array_add(lines, NULL);
    {
        g_autofree char *joined = g_strjoinv("\n", (char **)lines->pdata);

        return g_strconcat(joined, "\n", NULL);
    }
}
