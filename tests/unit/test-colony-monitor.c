/*
 * The monitor: what it keeps, what it draws, and what keys do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "qemu/colony/monitor-model.h"
#include "tests/unit/colony-trio.h"

#define SECOND G_USEC_PER_SEC

typedef struct World {
    ColonyTrio trio;
    ColonyMonitor monitor;
    gint64 now;
} World;

static void set_up(World *world, gconstpointer unused G_GNUC_UNUSED)
{
    colony_trio_init(&world->trio, "");
    colony_monitor_init(&world->monitor, world->trio.config);
    world->now = 1000 * SECOND;
}

static void tear_down(World *world, gconstpointer unused G_GNUC_UNUSED)
{
    colony_monitor_clear(&world->monitor);
    colony_trio_clear(&world->trio);
}

static gboolean tell(World *world, const char *json)
{
    g_autoptr(JsonNode) event = json_from_string(json, NULL);

    return colony_monitor_event(&world->monitor, "18:00:00",
                                g_ptr_array_index(world->trio.config->nodes,
                                                  0),
                                json_node_get_object(event));
}

/* A second later. */
static void look(World *world)
{
    world->now += SECOND;
    colony_monitor_take(&world->monitor, colony_trio_status(&world->trio),
                        world->now);
}

/* The whole screen; every line fits. */
static char *screen(World *world, unsigned columns, unsigned rows,
                    gboolean ascii)
{
    g_autoptr(GPtrArray) lines = colony_monitor_draw(
        &world->monitor, columns, rows, ascii, world->now);
    GString *text = g_string_new(NULL);

    g_assert_cmpuint(lines->len, ==, rows);
    for (guint i = 0; i < lines->len; i++) {
        const ColonyLine *line = g_ptr_array_index(lines, i);

        g_assert_true(g_utf8_validate(line->text, -1, NULL));
        g_assert_cmpint(g_utf8_strlen(line->text, -1), <=, columns);
        g_assert_true(!ascii || g_str_is_ascii(line->text));
        g_string_append_printf(text, "%s\n", line->text);
    }
    return g_string_free(text, FALSE);
}

static void assert_shows(World *world, const char *what)
{
    g_autofree char *text = screen(world, 80, 24, FALSE);

    if (!strstr(text, what)) {
        g_error("\"%s\" is not on the screen:\n%s", what, text);
    }
}

static double newest(const World *world, ColonySeriesKind kind)
{
    const ColonySeries *series = &world->monitor.series[kind];

    return series->value[series->count - 1];
}

/* --- samples ------------------------------------------------------------- */

static void what_happened_between_two_looks_is_drawn(World *world,
                                                     gconstpointer unused
                                                     G_GNUC_UNUSED)
{
    look(world);
    colony_trio_set(&world->trio, 'a', "plover.syncs", "110");
    colony_trio_set(&world->trio, 'a', "plover.leader.united", "21000");
    colony_trio_set(&world->trio, 'a', "plover.leader.differ", "600");
    colony_trio_set(&world->trio, 'a', "plover.leader.sent", "31459328");
    colony_trio_set(&world->trio, 'a', "apus.counters.bytes-sent", "1049600");
    look(world);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_PAUSE), ==, 1.24);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_DIRTY), ==, 100);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_SAME), ==, 90);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_COMPARE), ==, 1.5);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_SYNC), ==, 2048);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_GROUP), ==, 1024);
    assert_shows(world, "written        100 pages");
    assert_shows(world, "same                90 %");
}

static void a_new_leader_begins_a_new_count(World *world,
                                            gconstpointer unused
                                            G_GNUC_UNUSED)
{
    look(world);
    look(world);
    g_assert_cmpfloat(newest(world, COLONY_SERIES_SYNC), ==, 0);
    colony_trio_set(&world->trio, 'a', "", "gone");
    colony_trio_set(&world->trio, 'b', "apus.part", "\"leader\"");
    colony_trio_set(&world->trio, 'b', "apus.term", "8");
    colony_trio_set(&world->trio, 'b', "apus.leader", "2");
    look(world);
    g_assert_true(isnan(newest(world, COLONY_SERIES_SYNC)));
}

static void counters_that_begin_again_are_not_drawn(World *world,
                                                    gconstpointer unused
                                                    G_GNUC_UNUSED)
{
    look(world);
    colony_trio_set(&world->trio, 'a', "plover.leader.sent", "0");
    look(world);
    g_assert_true(isnan(newest(world, COLONY_SERIES_SYNC)));
}

static void a_column_is_a_second(World *world,
                                 gconstpointer unused G_GNUC_UNUSED)
{
    look(world);
    look(world);
    for (int i = 0; i < 8; i++) {
        world->now += SECOND / 10;
        colony_monitor_take(&world->monitor, colony_trio_status(&world->trio),
                            world->now);
    }
    g_assert_cmpuint(world->monitor.series[0].count, ==, 2);
}

static void a_series_has_an_end(World *world,
                                gconstpointer unused G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < COLONY_SERIES_LENGTH + 3; i++) {
        look(world);
    }
    g_assert_cmpuint(world->monitor.series[0].count, ==, COLONY_SERIES_LENGTH);
    assert_shows(world, "web: PROTECTED");
}

/* --- graphs -------------------------------------------------------------- */

static void assert_graph(const double *values, unsigned count,
                         unsigned columns, gboolean ascii, const char *wanted)
{
    ColonySeries series = { .count = count };
    g_autofree char *graph = NULL;

    memcpy(series.value, values, count * sizeof(*values));
    graph = colony_monitor_sparkline(&series, columns, ascii);
    g_assert_cmpstr(graph, ==, wanted);
}

static void a_graph_goes_from_zero_to_the_largest(void)
{
    static const double values[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    static const double zeroes[] = { 0, 0, 0 };

    assert_graph(values, 8, 20, FALSE, "▁▂▃▄▅▆▇█");
    assert_graph(values, 8, 20, TRUE, "_.-~=+*#");
    assert_graph(values, 3, 20, TRUE, "_=#");
    assert_graph(zeroes, 3, 20, TRUE, "___");
    assert_graph(zeroes, 0, 20, TRUE, "");
}

static void a_graph_shows_the_newest_that_fit(void)
{
    static const double values[] = { 9, 9, 9, 0, 1 };

    assert_graph(values, 5, 2, TRUE, "_#");
    assert_graph(values, 5, 0, TRUE, "");
}

static void what_is_not_known_is_left_blank(void)
{
    const double values[] = { 1, NAN, 1 };

    assert_graph(values, 3, 10, TRUE, "# #");
}

/* --- the screen ---------------------------------------------------------- */

static void all_is_on_a_small_screen(World *world,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = NULL;

    colony_trio_set(&world->trio, 'a', "plover.leader.pause.last", "1310");
    look(world);
    look(world);
    tell(world, "{\"event\": \"COLO_PROTECTED\"}");
    text = screen(world, 80, 24, FALSE);
    g_assert_cmpstr(text, ==,
        "web: PROTECTED\n"
        "\n"
        "NODE         HOST            ROLE       STATE\n"
        "a            192.0.2.1       leader     the guest runs, and is heard\n"
        "b            192.0.2.2       secondary  in step, epoch 1042\n"
        "c            192.0.2.3       witness    votes\n"
        "\n"
        "pause            1.31 ms  █\n"
        "written                -\n"
        "same                   -\n"
        "compare          1.50 ms  █\n"
        "syncs              0 B/s  ▁\n"
        "group              0 B/s  ▁\n"
        "data       primary, 64 KiB queued\n"
        "\n"
        "18:00:00 a COLO_PROTECTED\n"
        "\n\n\n\n\n\n\n"
        "q quit  r refresh  s switchover  p protect  v verify  u up  d down\n");
}

static void every_size_is_drawn(World *world,
                                gconstpointer unused G_GNUC_UNUSED)
{
    colony_trio_set(&world->trio, 'b', "", "not\xffvalid \033[2J ünïcode");
    tell(world, "{\"event\": \"COLO_EXIT\", \"data\": {\"reason\": "
         "\"ünïcode\\u001b[2J\"}}");
    for (unsigned columns = 1; columns < 130; columns += 7) {
        for (unsigned rows = 1; rows < 50; rows++) {
            g_free(screen(world, columns, rows, FALSE));
            g_free(screen(world, columns, rows, TRUE));
        }
        look(world);
    }
}

static void before_the_first_answer_it_says_so(World *world,
                                               gconstpointer unused
                                               G_GNUC_UNUSED)
{
    assert_shows(world, "web: asking the nodes...");
}

static void an_old_status_is_called_old(World *world,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    look(world);
    world->now += 10 * SECOND;
    assert_shows(world, "web: PROTECTED (as of 10 s ago)");
}

static void a_fault_is_told_with_its_reason(World *world,
                                            gconstpointer unused G_GNUC_UNUSED)
{
    colony_trio_set(&world->trio, 'c', "", "Connection refused");
    colony_trio_set(&world->trio, 'a', "apus.members.2.connected", "false");
    colony_trio_set(&world->trio, 'b', "apus.members.2.connected", "false");
    look(world);
    assert_shows(world, "web: UNPROTECTED\n"
                 "  c cannot vote now: should a die, the others would be no "
                 "majority\n");
    assert_shows(world, "! c is missing: Connection refused\n");
}

static void events_that_matter_are_shown(World *world,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    look(world);
    g_assert_true(tell(world, "{\"event\": \"COLONY_TASK\", \"data\": "
                       "{\"kind\": \"resync\", \"peer\": \"b\"}}"));
    g_assert_false(tell(world, "{\"event\": \"COLONY_TASK\", \"data\": {}}"));
    g_assert_false(tell(world, "{\"event\": \"NIC_RX_FILTER_CHANGED\"}"));
    g_assert_false(tell(world, "{}"));
    g_assert_true(tell(world, "{\"event\": \"COLONY_ENDED\", \"data\": "
                       "{\"reason\": \"killed\\nby 9\"}}"));
    assert_shows(world, "18:00:00 a COLONY_TASK resync b\n"
                 "18:00:00 a COLONY_ENDED killed by 9\n");
}

static void keys_are_shown_whole_or_not(World *world,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = screen(world, 40, 10, FALSE);

    g_assert_true(g_str_has_suffix(
        text, "\nq quit  r refresh  s switchover  u up\n"));
}

static void a_copy_of_disks_has_a_bar(World *world,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    colony_trio_set(&world->trio, 'a', "gannet.0.state", "\"copying\"");
    colony_trio_set(&world->trio, 'a', "gannet.0.primary.copy-total", "200");
    colony_trio_set(&world->trio, 'a', "gannet.0.primary.copy-done", "50");
    look(world);
    assert_shows(world, "data       copying [#####               ] 25 %");
}

/* --- keys ---------------------------------------------------------------- */

static ColonyMonitorDo type(World *world, const char *keys,
                            const ColonyMonitorKey **key)
{
    ColonyMonitorDo what = COLONY_MONITOR_NOTHING;

    *key = NULL;
    for (; *keys; keys++) {
        g_assert_cmpint(what, ==, COLONY_MONITOR_NOTHING);
        what = colony_monitor_type(&world->monitor, (unsigned char)*keys, key);
    }
    return what;
}

static void a_verb_is_confirmed_by_y(World *world,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    const ColonyMonitorKey *key;

    type(world, "s", &key);
    assert_shows(world, "Let the secondary of web lead? y/n");
    g_assert_cmpint(type(world, "y", &key), ==, COLONY_MONITOR_CALL);
    g_assert_cmpstr(key->verb, ==, "switchover");
    g_assert_false(key->everywhere);
}

static void anything_else_is_no(World *world,
                                gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const answers[] = { "n", "x", "\n", "\033", "s" };
    const ColonyMonitorKey *key;

    for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
        type(world, "v", &key);
        g_assert_cmpint(type(world, answers[i], &key), ==,
                        COLONY_MONITOR_NOTHING);
        g_assert_null(world->monitor.asking);
        assert_shows(world, "not done");
    }
}

static void what_is_dangerous_takes_the_name(World *world,
                                             gconstpointer unused
                                             G_GNUC_UNUSED)
{
    const ColonyMonitorKey *key;

    type(world, "dwe", &key);
    assert_shows(world, "Power web off? Type its name: we_");
    g_assert_cmpint(type(world, "x\bb\n", &key), ==, COLONY_MONITOR_CALL);
    g_assert_cmpstr(key->verb, ==, "down");
    g_assert_true(key->everywhere);
    g_assert_cmpint(type(world, "dy\n", &key), ==, COLONY_MONITOR_NOTHING);
    g_assert_cmpint(type(world, "d\n", &key), ==, COLONY_MONITOR_NOTHING);
    g_assert_cmpint(type(world, "dweb\033", &key), ==,
                    COLONY_MONITOR_NOTHING);
}

static void q_quits_and_r_looks(World *world,
                                gconstpointer unused G_GNUC_UNUSED)
{
    const ColonyMonitorKey *key;

    g_assert_cmpint(type(world, "r", &key), ==, COLONY_MONITOR_LOOK);
    g_assert_cmpint(type(world, "z", &key), ==, COLONY_MONITOR_NOTHING);
    g_assert_cmpint(type(world, "q", &key), ==, COLONY_MONITOR_QUIT);
}

int main(int argc, char **argv)
{
#define ADD(path, function) \
    g_test_add("/monitor/" path, World, NULL, set_up, function, tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD("samples/between", what_happened_between_two_looks_is_drawn);
    ADD("samples/new-leader", a_new_leader_begins_a_new_count);
    ADD("samples/begin-again", counters_that_begin_again_are_not_drawn);
    ADD("samples/second", a_column_is_a_second);
    ADD("samples/end", a_series_has_an_end);
    g_test_add_func("/monitor/graph/range",
                    a_graph_goes_from_zero_to_the_largest);
    g_test_add_func("/monitor/graph/newest",
                    a_graph_shows_the_newest_that_fit);
    g_test_add_func("/monitor/graph/unknown",
                    what_is_not_known_is_left_blank);
    ADD("screen/small", all_is_on_a_small_screen);
    ADD("screen/every-size", every_size_is_drawn);
    ADD("screen/first", before_the_first_answer_it_says_so);
    ADD("screen/old", an_old_status_is_called_old);
    ADD("screen/fault", a_fault_is_told_with_its_reason);
    ADD("screen/copy", a_copy_of_disks_has_a_bar);
    ADD("screen/events", events_that_matter_are_shown);
    ADD("screen/keys", keys_are_shown_whole_or_not);
    ADD("keys/confirmed", a_verb_is_confirmed_by_y);
    ADD("keys/no", anything_else_is_no);
    ADD("keys/dangerous", what_is_dangerous_takes_the_name);
    ADD("keys/others", q_quits_and_r_looks);
    return g_test_run();
}
