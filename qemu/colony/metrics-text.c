/*
 * A Report as OpenMetrics text
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "line.h"
#include "metrics.h"
#include "metrics-internal.h"

typedef struct Writer {
    GString *text;
    GString *labels; /* vm and node, which everything has */
    const ColonyConfig *config;
    JsonObject *report;
} Writer;

static const struct {
    const char *name, *suffix;
} types[] = {
    [METRIC_GAUGE] = { "gauge", "" },
    [METRIC_COUNTER] = { "counter", "_total" },
    [METRIC_SUMMARY] = { "summary", "" },
    [METRIC_STATESET] = { "stateset", "" },
    [METRIC_INFO] = { "info", "_info" },
};

static const struct {
    const char *name;
    double divisor;
} units[] = {
    [METRIC_NUMBER] = { NULL, 1 },
    [METRIC_BYTES] = { "bytes", 1 },
    [METRIC_SECONDS] = { "seconds", 1 },
    [METRIC_MICROSECONDS] = { "seconds", 1000000 },
    [METRIC_NANOSECONDS] = { "seconds", 1000000000 },
};

/* --- values of the report ------------------------------------------------- */

static JsonNode *find(JsonObject *object, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);
    guint last = g_strv_length(names) - 1;

    for (guint i = 0; i < last; i++) {
        object = colony_json_object(object, names[i]);
    }
    return object ? json_object_get_member(object, names[last]) : NULL;
}

/* Of a list it is the length that counts. */
static gboolean get_number(JsonNode *node, double *number)
{
    GType type = node ? json_node_get_value_type(node) : G_TYPE_INVALID;

    if (type == G_TYPE_BOOLEAN) {
        *number = json_node_get_boolean(node);
    } else if (type == G_TYPE_INT64) {
        *number = json_node_get_int(node);
    } else if (type == G_TYPE_DOUBLE) {
        *number = json_node_get_double(node);
    } else if (type == JSON_TYPE_ARRAY) {
        *number = json_array_get_length(json_node_get_array(node));
    } else {
        return FALSE;
    }
    return isfinite(*number);
}

/* --- lines ---------------------------------------------------------------- */

static void add_label(GString *labels, const char *name, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    g_string_append_printf(labels, "%s%s=\"", labels->len ? "," : "", name);
    for (const char *c = valid; *c; c++) {
        if (*c == '\n') {
            g_string_append(labels, "\\n");
            continue;
        }
        if (*c == '"' || *c == '\\') {
            g_string_append_c(labels, '\\');
        }
        g_string_append_c(labels, *c);
    }
    g_string_append_c(labels, '"');
}

static void begin_family(Writer *writer, const char *name, MetricType type,
                         MetricUnit unit, const char *help)
{
    GString *text = writer->text;

    g_string_append_printf(text, "# TYPE colony_%s %s\n", name,
                           types[type].name);
    if (units[unit].name) {
        g_string_append_printf(text, "# UNIT colony_%s %s\n", name,
                               units[unit].name);
    }
    g_string_append_printf(text, "# HELP colony_%s %s.\n", name, help);
}

/* @more: labels behind those that all have; NULL: none */
static void add_sample(Writer *writer, const char *name, MetricType type,
                       const char *more, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(number, sizeof(number), "%.15g", value);
    g_string_append_printf(writer->text, "colony_%s%s{%s%s%s} %s\n", name,
                           types[type].suffix, writer->labels->str,
                           more ? "," : "", more ? more : "", number);
}

/* --- tables --------------------------------------------------------------- */

/* @more: as above, @label of the metric besides */
static void add_metric(Writer *writer, const Metric *metric, JsonObject *object,
                       const char *more)
{
    g_autofree char *labels = more && metric->label ?
        g_strconcat(more, ",", metric->label, NULL) :
        g_strdup(more ? more : metric->label);
    double value;

    /* What cannot go down does not, but for a peer of another version. */
    if (!get_number(find(object, metric->path), &value) ||
        (metric->type != METRIC_GAUGE && value < 0)) {
        return;
    }
    add_sample(writer, metric->name, metric->type, labels,
               value / units[metric->unit].divisor);
}

/* The objects that a table is for, each with labels of its own. */
typedef struct Things {
    GPtrArray *objects; /* JsonObject */
    GPtrArray *labels; /* char *; NULL: none */
} Things;

static void add_table(Writer *writer, const Metric *table,
                      const Things *things)
{
    const Metric *metric = table, *first;

    while (metric->name) {
        first = metric;
        begin_family(writer, first->name, first->type, first->unit,
                     first->help);
        for (; metric->name && !strcmp(metric->name, first->name); metric++) {
            for (guint i = 0; i < things->objects->len; i++) {
                add_metric(writer, metric, things->objects->pdata[i],
                           things->labels->pdata[i]);
            }
        }
    }
}

static void add_states(Writer *writer, const MetricStates *states,
                       JsonObject *object, const char *more)
{
    JsonNode *node = find(object, states->path);
    const char *now = node && json_node_get_value_type(node) == G_TYPE_STRING ?
                      json_node_get_string(node) : NULL;

    for (const char *const *state = states->states; *state; state++) {
        g_autofree char *labels = g_strdup_printf(
            "%s%scolony_%s=\"%s\"", more ? more : "", more ? "," : "",
            states->name, *state);

        add_sample(writer, states->name, METRIC_STATESET, labels,
                   now && !strcmp(now, *state));
    }
}

static void add_state_table(Writer *writer, const MetricStates *table,
                            const Things *things)
{
    for (; table->name; table++) {
        begin_family(writer, table->name, METRIC_STATESET, METRIC_NUMBER,
                     table->help);
        for (guint i = 0; i < things->objects->len; i++) {
            add_states(writer, table, things->objects->pdata[i],
                       things->labels->pdata[i]);
        }
    }
}

/* --- what there is one of for each ---------------------------------------- */

static void things_init(Things *things)
{
    things->objects = g_ptr_array_new();
    things->labels = g_ptr_array_new_with_free_func(g_free);
}

static void things_clear(Things *things)
{
    g_ptr_array_unref(things->objects);
    g_ptr_array_unref(things->labels);
}

static void things_add(Things *things, JsonObject *object, const char *label,
                       const char *value)
{
    g_autoptr(GString) labels = g_string_new(NULL);

    g_ptr_array_add(things->objects, object);
    if (!label) {
        g_ptr_array_add(things->labels, NULL);
        return;
    }
    add_label(labels, label, value);
    g_ptr_array_add(things->labels, g_strdup(labels->str));
}

static gboolean has(const Things *things, const char *label, const char *value)
{
    g_autoptr(GString) labels = g_string_new(NULL);

    add_label(labels, label, value);
    for (guint i = 0; i < things->labels->len; i++) {
        if (!strcmp(things->labels->pdata[i], labels->str)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void find_disks(Writer *writer, Things *things)
{
    JsonArray *disks = colony_json_array(writer->report, "gannet");

    for (guint i = 0; disks && i < json_array_get_length(disks); i++) {
        JsonNode *node = json_array_get_element(disks, i);
        JsonObject *disk = JSON_NODE_HOLDS_OBJECT(node) ?
                           json_node_get_object(node) : NULL;
        const char *name = colony_json_string(disk, "node-name");

        if (name && !has(things, "disk", name)) {
            things_add(things, disk, "disk", name);
        }
    }
}

static void find_members(Writer *writer, const ColonyNode *self,
                         Things *things)
{
    JsonObject *apus = colony_json_object(writer->report, "apus");
    JsonArray *members = colony_json_array(apus, "members");

    for (guint i = 0; members && i < json_array_get_length(members); i++) {
        JsonNode *node = json_array_get_element(members, i);
        JsonObject *member = JSON_NODE_HOLDS_OBJECT(node) ?
                             json_node_get_object(node) : NULL;
        gint64 id = colony_json_int(member, "id", 0);
        const ColonyNode *peer = id > 0 && id <= G_MAXUINT16 ?
            colony_config_member(writer->config, id) : NULL;

        if (peer && peer != self && !has(things, "peer", peer->name)) {
            things_add(things, member, "peer", peer->name);
        }
    }
}

/* --- all ------------------------------------------------------------------ */

/* Others than the leader may have heard that it is, and be wrong by now. */
static void add_protected(Writer *writer)
{
    JsonObject *apus = colony_json_object(writer->report, "apus");
    const char *part = colony_json_string(apus, "part");

    begin_family(writer, "protected", METRIC_GAUGE, METRIC_NUMBER,
                 "Whether this node leads, and another could take over now");
    add_sample(writer, "protected", METRIC_GAUGE, NULL,
               part && !strcmp(part, "leader") &&
               colony_json_boolean(apus, "protected", FALSE));
}

static void add_info(Writer *writer)
{
    const char *program = colony_json_string(writer->report, "program");
    g_autoptr(GString) labels = g_string_new(NULL);

    if (program) {
        add_label(labels, "version", program);
        begin_family(writer, "program", METRIC_INFO, METRIC_NUMBER,
                     "The version of Colony");
        add_sample(writer, "program", METRIC_INFO, labels->str, 1);
    }
}

static void add_all(Writer *writer, const ColonyNode *self)
{
    Things node, disks, members;

    things_init(&node);
    things_init(&disks);
    things_init(&members);
    things_add(&node, writer->report, NULL, NULL);
    find_disks(writer, &disks);
    find_members(writer, self, &members);

    add_info(writer);
    add_protected(writer);
    add_table(writer, colony_metrics_of_node, &node);
    add_state_table(writer, colony_metrics_states_of_node, &node);
    add_table(writer, colony_metrics_of_member, &members);
    add_table(writer, colony_metrics_of_disk, &disks);
    add_state_table(writer, colony_metrics_states_of_disk, &disks);

    things_clear(&node);
    things_clear(&disks);
    things_clear(&members);
}

char *colony_metrics_text(const ColonyConfig *config, const ColonyNode *node,
                          JsonObject *report)
{
    g_autoptr(GString) labels = g_string_new(NULL);
    Writer writer = { g_string_new(NULL), labels, config, report };

    add_label(labels, "vm", config->name);
    add_label(labels, "node", node->name);
    if (report) {
        add_all(&writer, node);
    }
    g_string_append(writer.text, "# EOF\n");
    return g_string_free(writer.text, FALSE);
}
