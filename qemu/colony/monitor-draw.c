/*
 * The monitor's screen: from what is known to lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "line.h"
#include "monitor-model.h"
#include "status-internal.h"
#include "text.h"

#define NAME_COLUMNS 12
#define HOST_COLUMNS 15
#define ROLE_COLUMNS 10
#define LABEL_COLUMNS 10
#define VALUE_COLUMNS 13
/* The least room for a graph that tells anything. */
#define GRAPH_COLUMNS 10
#define FOOT_ROWS 2
#define WHY_ROWS 3
#define DISK_ROWS 2
#define STALE_US (3 * G_USEC_PER_SEC)

typedef struct Screen {
    const ColonyMonitor *monitor;
    unsigned columns, rows; /* without the foot */
    gboolean ascii;
    GPtrArray *lines; /* of ColonyLine */
} Screen;

static void free_line(gpointer opaque)
{
    ColonyLine *line = opaque;

    g_free(line->text);
    g_free(line);
}

static unsigned room(const Screen *screen)
{
    return screen->rows > screen->lines->len
        ? screen->rows - screen->lines->len : 0;
}

/* Nothing but ASCII, if that is all that the terminal has. */
static char *plain(const Screen *screen, const char *text)
{
    GString *result;

    if (!screen->ascii) {
        return g_strdup(text);
    }
    result = g_string_new(NULL);
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        g_string_append_c(result, (unsigned char)*at < 128 ? *at : '?');
    }
    return g_string_free(result, FALSE);
}

static void add(Screen *screen, ColonyLook look, const char *text)
{
    g_autofree char *clean = colony_text_clean(text);
    g_autofree char *cut = colony_text_cut(g_strchomp(clean),
                                           screen->columns);
    ColonyLine *line;

    if (room(screen)) {
        line = g_new(ColonyLine, 1);
        *line = (ColonyLine) { plain(screen, cut), look };
        g_ptr_array_add(screen->lines, line);
    }
}

static void G_GNUC_PRINTF(3, 4)
add_format(Screen *screen, ColonyLook look, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    add(screen, look, text);
}

static void add_wrapped(Screen *screen, ColonyLook look, const char *first,
                        const char *text, unsigned max)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    colony_text_wrap(lines, first, text, screen->columns, max);
    for (guint i = 0; i < lines->len; i++) {
        add(screen, look, g_ptr_array_index(lines, i));
    }
}

/* --- the head, the nodes ------------------------------------------------- */

static ColonyLook look_of(ColonyHealth health)
{
    static const ColonyLook looks[] = {
        [COLONY_PROTECTED] = COLONY_LOOK_GOOD,
        [COLONY_UNPROTECTED] = COLONY_LOOK_WARNING,
        [COLONY_HELD] = COLONY_LOOK_BAD,
        [COLONY_DOWN] = COLONY_LOOK_BAD,
        [COLONY_UNKNOWN] = COLONY_LOOK_BAD,
    };

    return looks[health];
}

static void add_head(Screen *screen, gint64 now)
{
    const ColonyMonitor *monitor = screen->monitor;
    const ColonyStatus *status = monitor->status;
    const char *name = monitor->config->name;
    gint64 age = now - monitor->time;
    g_autofree char *word = NULL, *seconds = NULL;

    if (!status) {
        add_format(screen, COLONY_LOOK_TITLE, "%s: asking the nodes...", name);
        return;
    }
    word = g_ascii_strup(status_health_name(status->health), -1);
    seconds = status_seconds(age / 1e6);
    add_format(screen, look_of(status->health), "%s: %s%s%s%s", name, word,
               age > STALE_US ? " (as of " : "",
               age > STALE_US ? seconds : "",
               age > STALE_US ? " ago)" : "");
    if (status->why) {
        add_wrapped(screen, COLONY_LOOK_PLAIN, "  ", status->why, WHY_ROWS);
    }
}

static ColonyLook look_of_role(StatusRole role)
{
    switch (role) {
    case STATUS_LEADER:
    case STATUS_SECONDARY:
    case STATUS_CANDIDATE:
    case STATUS_WITNESS:
        return COLONY_LOOK_PLAIN;
    case STATUS_MISSING:
    case STATUS_UNKNOWN:
        return COLONY_LOOK_BAD;
    default:
        return COLONY_LOOK_WARNING;
    }
}

static void add_nodes(Screen *screen)
{
    const ColonyStatus *status = screen->monitor->status;

    add(screen, COLONY_LOOK_PLAIN, "");
    add_format(screen, COLONY_LOOK_FAINT, "%-*s %-*s %-*s %s", NAME_COLUMNS,
               "NODE", HOST_COLUMNS, "HOST", ROLE_COLUMNS, "ROLE", "STATE");
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        g_autofree char *name = colony_text_pad(node->node->name,
                                                NAME_COLUMNS);
        g_autofree char *host = colony_text_pad(node->node->host,
                                                HOST_COLUMNS);

        add_format(screen, look_of_role(node->role), "%s %s %-*s %s", name,
                   host, ROLE_COLUMNS, status_role_name(node->role),
                   node->text);
    }
}

/* --- graphs -------------------------------------------------------------- */

static double largest(const ColonySeries *series, unsigned from)
{
    double most = 0;

    for (unsigned i = from; i < series->count; i++) {
        if (!isnan(series->value[i])) {
            most = MAX(most, series->value[i]);
        }
    }
    return most;
}

char *colony_monitor_sparkline(const ColonySeries *series, unsigned columns,
                               gboolean ascii)
{
    static const char *const blocks[] = {
        "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█",
    };
    static const char *const letters[] = {
        "_", ".", "-", "~", "=", "+", "*", "#",
    };
    const char *const *levels = ascii ? letters : blocks;
    unsigned from = series->count > columns ? series->count - columns : 0;
    double most = largest(series, from);
    GString *line = g_string_new(NULL);

    for (unsigned i = from; i < series->count; i++) {
        double value = series->value[i];

        if (isnan(value)) {
            g_string_append_c(line, ' ');
        } else {
            g_string_append(line, levels[most <= 0 ? 0 : (unsigned)(0.5 +
                MAX(value, 0) / most * (G_N_ELEMENTS(blocks) - 1))]);
        }
    }
    return g_string_free(line, FALSE);
}

static char *value_of(ColonySeriesKind kind, double value)
{
    g_autofree char *bytes = NULL;

    if (isnan(value)) {
        return g_strdup("-");
    }
    switch (kind) {
    case COLONY_SERIES_PAUSE:
    case COLONY_SERIES_COMPARE:
        return g_strdup_printf("%.2f ms", value);
    case COLONY_SERIES_DIRTY:
        return g_strdup_printf("%.0f pages", value);
    case COLONY_SERIES_SAME:
        return g_strdup_printf("%.0f %%", value);
    default:
        bytes = status_bytes(value);
        return g_strdup_printf("%s/s", bytes);
    }
}

static void add_graphs(Screen *screen)
{
    static const char *const labels[] = {
        [COLONY_SERIES_PAUSE] = "pause",
        [COLONY_SERIES_DIRTY] = "written",
        [COLONY_SERIES_SAME] = "same",
        [COLONY_SERIES_COMPARE] = "compare",
        [COLONY_SERIES_SYNC] = "syncs",
        [COLONY_SERIES_GROUP] = "group",
    };
    unsigned fixed = LABEL_COLUMNS + VALUE_COLUMNS + 2;
    unsigned width = screen->columns > fixed ? screen->columns - fixed : 0;

    add(screen, COLONY_LOOK_PLAIN, "");
    for (unsigned i = 0; i < COLONY_SERIES_COUNT; i++) {
        const ColonySeries *series = &screen->monitor->series[i];
        double last = series->count ? series->value[series->count - 1] : NAN;
        g_autofree char *value = value_of(i, last);
        g_autofree char *graph = width >= GRAPH_COLUMNS
            ? colony_monitor_sparkline(series, width, screen->ascii)
            : g_strdup("");

        add_format(screen, COLONY_LOOK_PLAIN, "%-*s %*s %s", LABEL_COLUMNS,
                   labels[i], VALUE_COLUMNS, value, graph);
    }
}

/* --- disks, warnings, events --------------------------------------------- */

static void add_disk(Screen *screen, JsonObject *disk)
{
    JsonObject *primary = colony_json_object(disk, "primary");
    const char *id = colony_json_string(disk, "disk");
    const char *state = colony_json_string(disk, "state");
    gint64 done = colony_json_int(primary, "copy-done", 0);
    gint64 total = colony_json_int(primary, "copy-total", 0);
    g_autofree char *queued = status_bytes(
        colony_json_int(primary, "queued", 0));
    unsigned percent = total > 0 ? 100.0 * CLAMP(done, 0, total) / total : 0;
    gboolean copies = !g_strcmp0(state, "copying");
    g_autofree char *bar = g_strnfill(percent / 5, '#');

    if (copies) {
        add_format(screen, COLONY_LOOK_WARNING, "%-*s copying [%-20s] %u %%",
                   LABEL_COLUMNS, id ? id : "disk", bar, percent);
    } else {
        add_format(screen, COLONY_LOOK_PLAIN, "%-*s %s, %s queued",
                   LABEL_COLUMNS, id ? id : "disk", state ? state : "?",
                   queued);
    }
}

static void add_disks(Screen *screen)
{
    const StatusNode *leader = screen->monitor->status->leader;
    JsonArray *disks = colony_json_array(leader ? leader->report : NULL,
                                         "gannet");
    guint count = disks ? json_array_get_length(disks) : 0;

    for (guint i = 0; i < MIN(count, DISK_ROWS); i++) {
        JsonNode *disk = json_array_get_element(disks, i);

        if (JSON_NODE_HOLDS_OBJECT(disk)) {
            add_disk(screen, json_node_get_object(disk));
        }
    }
    if (count > DISK_ROWS) {
        add_format(screen, COLONY_LOOK_FAINT, "and %u more disks",
                   count - DISK_ROWS);
    }
}

static void add_warnings(Screen *screen)
{
    const GPtrArray *warnings = screen->monitor->status->warnings;

    if (warnings->len && room(screen) > warnings->len) {
        add(screen, COLONY_LOOK_PLAIN, "");
    }
    for (guint i = 0; i < warnings->len; i++) {
        const StatusWarning *warning = g_ptr_array_index(warnings, i);
        unsigned others = warnings->len - i;

        if (room(screen) == 1 && others > 1) {
            add_format(screen, COLONY_LOOK_WARNING, "! and %u more", others);
            return;
        }
        add_wrapped(screen, COLONY_LOOK_WARNING, "! ", warning->text,
                    room(screen) > others ? 2 : 1);
    }
}

/* The newest that fit, the oldest of them first. */
static void add_events(Screen *screen)
{
    const GQueue *events = &screen->monitor->events;
    guint left = room(screen);

    if (left < 2 || !events->length) {
        return;
    }
    add(screen, COLONY_LOOK_PLAIN, "");
    for (guint i = MIN(events->length, left - 1); i > 0; i--) {
        add(screen, COLONY_LOOK_FAINT,
            g_queue_peek_nth((GQueue *)events, i - 1));
    }
}

/* --- the foot ------------------------------------------------------------ */

static void add_question(Screen *screen)
{
    const ColonyMonitor *monitor = screen->monitor;
    g_auto(GStrv) parts = g_strsplit(monitor->asking->question, "%s", 2);
    g_autofree char *question = g_strjoinv(monitor->config->name, parts);

    if (monitor->asking->dangerous) {
        add_format(screen, COLONY_LOOK_BAD, "%s Type its name: %s_", question,
                   monitor->typed->str);
    } else {
        add_format(screen, COLONY_LOOK_TITLE, "%s y/n", question);
    }
}

/* Those that fit, none in part. */
static void add_keys(Screen *screen)
{
    GString *keys = g_string_new("q quit  r refresh");

    for (const ColonyMonitorKey *key = colony_monitor_keys; key->key; key++) {
        if (keys->len + strlen(key->word) + 4 <= screen->columns) {
            g_string_append_printf(keys, "  %c %s", key->key, key->word);
        }
    }
    add(screen, COLONY_LOOK_FAINT, keys->str);
    g_string_free(keys, TRUE);
}

static void add_foot(Screen *screen)
{
    const ColonyMonitor *monitor = screen->monitor;

    while (room(screen) > FOOT_ROWS) {
        add(screen, COLONY_LOOK_PLAIN, "");
    }
    if (monitor->asking) {
        add_question(screen);
    } else {
        add(screen, COLONY_LOOK_TITLE, monitor->message ? monitor->message
                                                        : "");
    }
    add_keys(screen);
}

GPtrArray *colony_monitor_draw(const ColonyMonitor *monitor, unsigned columns,
                               unsigned rows, gboolean ascii, gint64 now)
{
    Screen screen = {
        .monitor = monitor,
        .columns = columns,
        .rows = rows > FOOT_ROWS ? rows - FOOT_ROWS : 0,
        .ascii = ascii,
        .lines = g_ptr_array_new_with_free_func(free_line),
    };

    add_head(&screen, now);
    if (monitor->status) {
        add_nodes(&screen);
        add_graphs(&screen);
        add_disks(&screen);
        add_warnings(&screen);
        add_events(&screen);
    }
    screen.rows = rows;
    add_foot(&screen);
    return screen.lines;
}
