/*
 * What the monitor knows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "line.h"
#include "monitor-model.h"
#include "status-internal.h"
#include "text.h"

#define EVENTS_MAX 32
#define TYPED_MAX 128
#define ESCAPE 27
/* One column of a graph is a second, though more may have been looked. */
#define SAMPLE_US (G_USEC_PER_SEC * 9 / 10)

const ColonyMonitorKey colony_monitor_keys[] = {
    { 's', "switchover", "switchover", FALSE, FALSE,
      "Let the secondary of %s lead?" },
    { 'p', "protect", "reprotect", FALSE, FALSE, "Protect %s now?" },
    { 'v', "verify", "verify", FALSE, FALSE,
      "Compare both replicas of %s? The guest stands meanwhile." },
    { 'u', "up", "up", TRUE, FALSE, "Start %s?" },
    { 'd', "down", "down", TRUE, TRUE, "Power %s off?" },
    { 0 },
};

void colony_monitor_init(ColonyMonitor *monitor, const ColonyConfig *config)
{
    *monitor = (ColonyMonitor) {
        .config = config,
        .typed = g_string_new(NULL),
        .events = G_QUEUE_INIT,
    };
}

void colony_monitor_clear(ColonyMonitor *monitor)
{
    g_clear_pointer(&monitor->status, colony_status_free);
    g_queue_clear_full(&monitor->events, g_free);
    g_free(monitor->message);
    g_string_free(monitor->typed, TRUE);
}

/* --- samples ------------------------------------------------------------- */

static void append(ColonySeries *series, double value)
{
    if (series->count == COLONY_SERIES_LENGTH) {
        memmove(&series->value[0], &series->value[1],
                (COLONY_SERIES_LENGTH - 1) * sizeof(series->value[0]));
        series->count--;
    }
    series->value[series->count++] = value;
}

/*
 * How much more it is than at the sample before, for each of @per; nothing is
 * known if a counter began again.
 */
static double growth(double now, double before, double per)
{
    return now < before || per <= 0 ? NAN : (now - before) / per;
}

typedef struct Sample {
    double syncs, united, differ, sent, group_sent;
    double pause, compare; /* ms; NAN: not known */
} Sample;

/* In ms. A QEMU of before 0.2 knows the median only. */
static double last_pause(JsonObject *leader)
{
    JsonObject *pause = colony_json_object(leader, "pause");

    return colony_json_int(pause, "last",
                           colony_json_int(pause, "median", 0)) / 1e3;
}

static void read_sample(Sample *sample, JsonObject *report)
{
    JsonObject *plover = colony_json_object(report, "plover");
    JsonObject *leader = colony_json_object(plover, "leader");
    JsonObject *apus = colony_json_object(report, "apus");
    JsonObject *outputs = colony_json_object(apus, "outputs");

    *sample = (Sample) {
        .syncs = colony_json_int(plover, "syncs", 0),
        .united = colony_json_int(leader, "united", 0),
        .differ = colony_json_int(leader, "differ", 0),
        .sent = colony_json_int(leader, "sent", 0),
        .group_sent = colony_json_int(colony_json_object(apus, "counters"),
                                      "bytes-sent", 0),
        .pause = leader ? last_pause(leader) : NAN,
        .compare = outputs ? colony_json_int(outputs, "oldest", 0) / 1e3
                           : NAN,
    };
}

static void append_sample(ColonyMonitor *monitor, const Sample *sample,
                          double seconds)
{
    ColonySeries *series = monitor->series;
    double syncs = sample->syncs - monitor->syncs;
    double united = growth(sample->united, monitor->united, 1);
    double differ = growth(sample->differ, monitor->differ, 1);

    append(&series[COLONY_SERIES_PAUSE], sample->pause);
    append(&series[COLONY_SERIES_COMPARE], sample->compare);
    append(&series[COLONY_SERIES_DIRTY], syncs > 0 ? united / syncs : NAN);
    append(&series[COLONY_SERIES_SAME],
           united > 0 ? 100 * (united - differ) / united : NAN);
    append(&series[COLONY_SERIES_SYNC],
           growth(sample->sent, monitor->sent, seconds));
    append(&series[COLONY_SERIES_GROUP],
           growth(sample->group_sent, monitor->group_sent, seconds));
}

static void take_sample(ColonyMonitor *monitor, gint64 now)
{
    const StatusNode *leader = monitor->status->leader;
    const ColonyNode *node = leader && leader->report ? leader->node : NULL;
    Sample sample = { .pause = NAN, .compare = NAN };

    if (node == monitor->sampled_of && monitor->sampled &&
        now - monitor->sampled < SAMPLE_US) {
        return;
    }
    if (node) {
        read_sample(&sample, leader->report);
    }
    if (node && node == monitor->sampled_of) {
        append_sample(monitor, &sample, (now - monitor->sampled) / 1e6);
    } else {
        for (unsigned i = 0; i < COLONY_SERIES_COUNT; i++) {
            append(&monitor->series[i], NAN);
        }
    }
    monitor->syncs = sample.syncs;
    monitor->united = sample.united;
    monitor->differ = sample.differ;
    monitor->sent = sample.sent;
    monitor->group_sent = sample.group_sent;
    monitor->sampled = now;
    monitor->sampled_of = node;
}

void colony_monitor_take(ColonyMonitor *monitor, ColonyStatus *status,
                         gint64 now)
{
    g_clear_pointer(&monitor->status, colony_status_free);
    monitor->status = status;
    monitor->time = now;
    take_sample(monitor, now);
}

/* --- events -------------------------------------------------------------- */

/* Some are many, and tell nothing that is not on the screen. */
static gboolean is_interesting(const char *name, JsonObject *data)
{
    static const char *const prefixes[] = {
        "COLONY_", "COLO_", "APUS_", "PLOVER_", "GANNET_", "SHUTDOWN",
        "POWERDOWN",
    };

    if (!strcmp(name, "COLONY_TASK")) {
        return data && json_object_get_size(data) > 0;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(name, prefixes[i])) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean colony_monitor_event(ColonyMonitor *monitor, const char *clock,
                              const ColonyNode *node, JsonObject *event)
{
    static const char *const members[] = { "kind", "peer", "part", "reason" };
    const char *name = colony_json_string(event, "event");
    JsonObject *data = colony_json_object(event, "data");
    g_autoptr(GString) text = g_string_new(clock);

    if (!name || !is_interesting(name, data)) {
        return FALSE;
    }
    g_string_append_printf(text, " %s %s", node->name, name);
    for (unsigned i = 0; i < G_N_ELEMENTS(members); i++) {
        const char *value = colony_json_string(data, members[i]);

        if (value) {
            g_string_append_printf(text, " %s", value);
        }
    }
    g_queue_push_head(&monitor->events, colony_text_clean(text->str));
    if (monitor->events.length > EVENTS_MAX) {
        g_free(g_queue_pop_tail(&monitor->events));
    }
    return TRUE;
}

void colony_monitor_say(ColonyMonitor *monitor, const char *text)
{
    g_free(monitor->message);
    monitor->message = text ? colony_text_clean(text) : NULL;
}

/* --- keys ---------------------------------------------------------------- */

static void stop_asking(ColonyMonitor *monitor)
{
    monitor->asking = NULL;
    g_string_truncate(monitor->typed, 0);
}

static ColonyMonitorDo finish_asking(ColonyMonitor *monitor,
                                     const ColonyMonitorKey **key)
{
    const char *wanted = monitor->asking->dangerous ? monitor->config->name
                                                    : "y";
    gboolean yes = !strcmp(monitor->typed->str, wanted);

    *key = monitor->asking;
    stop_asking(monitor);
    if (!yes) {
        colony_monitor_say(monitor, "not done");
    }
    return yes ? COLONY_MONITOR_CALL : COLONY_MONITOR_NOTHING;
}

/* What is dangerous takes the whole name and Enter, the rest one key. */
static ColonyMonitorDo type_answer(ColonyMonitor *monitor, unsigned c,
                                   const ColonyMonitorKey **key)
{
    if (c == ESCAPE || c == 3) {
        g_string_truncate(monitor->typed, 0);
        return finish_asking(monitor, key);
    }
    if (c == '\b' || c == 127) {
        g_string_truncate(monitor->typed, MAX(monitor->typed->len, 1) - 1);
    } else if (c >= ' ' && c < 127 && monitor->typed->len < TYPED_MAX) {
        g_string_append_c(monitor->typed, c);
    }
    if (c == '\n' || c == '\r' || !monitor->asking->dangerous) {
        return finish_asking(monitor, key);
    }
    return COLONY_MONITOR_NOTHING;
}

ColonyMonitorDo colony_monitor_type(ColonyMonitor *monitor, unsigned c,
                                    const ColonyMonitorKey **key)
{
    if (monitor->asking) {
        return type_answer(monitor, c, key);
    }
    if (c == 'q') {
        return COLONY_MONITOR_QUIT;
    }
    if (c == ' ' || c == 'r') {
        return COLONY_MONITOR_LOOK;
    }
    for (const ColonyMonitorKey *known = colony_monitor_keys; known->key;
         known++) {
        if ((unsigned char)known->key == c) {
            colony_monitor_say(monitor, NULL);
            monitor->asking = known;
        }
    }
    return COLONY_MONITOR_NOTHING;
}
