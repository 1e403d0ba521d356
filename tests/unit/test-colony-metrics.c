/*
 * What a supervisor knows, as metrics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "qemu/colony/line.h"
#include "qemu/colony/metrics.h"
#include "qemu/colony/metrics-internal.h"
#include "tests/unit/colony-talk.h"
#include "tests/unit/openmetrics.h"

#define PORT 7003
#define OF_A "{vm=\"web\",node=\"a\""

#define DASHBOARD "docs/grafana/colony.json"
#define MANUAL "docs/reference/metrics.rst"

/* --- reports -------------------------------------------------------------- */

static const char leader[] =
    "{\"program\": \"0.1\", \"time\": 1795283000.25, \"age\": 0.5,"
    " \"process\": {\"kind\": \"qemu\", \"state\": \"running\", \"ended\": 2},"
    " \"task\": {\"kind\": \"resync\", \"peer\": \"b\"},"
    " \"warnings\": [\"one\", \"another\"],"
    " \"apus\": {\"part\": \"leader\", \"protected\": true,"
    "  \"may-speak\": false, \"members\": ["
    "   {\"id\": 1, \"connected\": true, \"silence\": 0},"
    "   {\"id\": 2, \"connected\": false, \"silence\": 2500000000},"
    "   {\"id\": 9, \"connected\": true, \"silence\": 0}],"
    "  \"outputs\": {\"equal\": 5, \"staged\": 7}},"
    " \"plover\": {\"age\": 0.25, \"syncs\": 3, \"leader\": {\"pause\":"
    "   {\"median\": 1500, \"p99\": 20000, \"max\": 1000000}}},"
    " \"gannet\": [{\"node-name\": \"d0\", \"state\": \"primary\","
    "   \"checkpoint-time\": 1500000, \"primary\": {\"held\": 4}},"
    "  {\"node-name\": \"d1\", \"state\": \"copying\"}]}";

static JsonObject *parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = colony_line_parse(text, strlen(text), &error);

    g_assert_no_error(error);
    return object;
}

static char *text_of(Talk *talk, JsonObject *report)
{
    char *text = colony_metrics_text(talk->config, talk->a, report);
    g_autofree char *wrong = openmetrics_check(text);

    g_assert_cmpstr(wrong, ==, NULL);
    return text;
}

static void must_say(const char *text, const char *name, double value)
{
    double is = openmetrics_value(text, name);

    if (isnan(value) ? !isnan(is) : is != value) {
        g_error("%s is %g, not %g, in:\n%s", name, is, value, text);
    }
}

static void numbers_of_the_report_are_there(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_report_time_seconds" OF_A "}", 1795283000.25);
    must_say(text, "colony_process_ends_total" OF_A "}", 2);
    must_say(text, "colony_warnings" OF_A "}", 2);
    must_say(text, "colony_may_speak" OF_A "}", 0);
    must_say(text, "colony_outputs_released_total" OF_A ",why=\"equal\"}", 5);
    must_say(text, "colony_outputs_released_total" OF_A ",why=\"staged\"}", 7);
    must_say(text, "colony_program_info" OF_A ",version=\"0.1\"}", 1);
}

static void lengths_of_time_are_seconds(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_sync_age_seconds" OF_A "}", 0.25);
    must_say(text, "colony_pause_seconds" OF_A ",quantile=\"0.5\"}", 0.0015);
    must_say(text, "colony_pause_seconds" OF_A ",quantile=\"0.99\"}", 0.02);
    must_say(text, "colony_pause_seconds" OF_A ",quantile=\"1.0\"}", 1);
    must_say(text, "colony_disk_checkpoint_seconds" OF_A ",disk=\"d0\"}",
             0.0015);
}

static void states_are_one_of_many(Talk *talk,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_part" OF_A ",colony_part=\"leader\"}", 1);
    must_say(text, "colony_part" OF_A ",colony_part=\"secondary\"}", 0);
    must_say(text, "colony_task" OF_A ",colony_task=\"resync\"}", 1);
    must_say(text, "colony_task" OF_A ",colony_task=\"migrate\"}", 0);
}

static void each_disk_is_there(Talk *talk, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_disk_writes_held_total" OF_A ",disk=\"d0\","
             "side=\"primary\"}", 4);
    must_say(text, "colony_disk_state" OF_A ",disk=\"d0\","
             "colony_disk_state=\"primary\"}", 1);
    must_say(text, "colony_disk_state" OF_A ",disk=\"d1\","
             "colony_disk_state=\"copying\"}", 1);
}

static void each_other_member_is_there(Talk *talk,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_member_silence_seconds" OF_A ",peer=\"b\"}", 2.5);
    must_say(text, "colony_member_connected" OF_A ",peer=\"b\"}", 0);
    must_say(text, "colony_member_connected" OF_A ",peer=\"a\"}", NAN);
}

static void only_a_leader_says_protected(Talk *talk,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    JsonObject *apus = json_object_get_object_member(report, "apus");
    g_autofree char *before = text_of(talk, report), *after = NULL;

    must_say(before, "colony_protected" OF_A "}", 1);
    json_object_set_string_member(apus, "part", "witness");
    after = text_of(talk, report);
    must_say(after, "colony_protected" OF_A "}", 0);
}

static void what_is_not_known_is_not_there(Talk *talk,
                                           gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = json_object_new();
    g_autofree char *nothing = text_of(talk, NULL);
    g_autofree char *little = text_of(talk, report);

    g_assert_cmpstr(nothing, ==, "# EOF\n");
    must_say(little, "colony_sync_age_seconds" OF_A "}", NAN);
    must_say(little, "colony_protected" OF_A "}", 0);
}

static void what_makes_no_sense_is_left_out(Talk *talk,
                                            gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(
        "{\"program\": \"a\\\"b\\\\c\\nd\", \"time\": \"noon\", \"age\": {},"
        " \"process\": {\"ended\": -1, \"state\": 3}, \"apus\":"
        "  {\"part\": \"king\", \"members\": [1, {}, {\"id\": -1},"
        "   {\"id\": 2, \"silence\": null}, {\"id\": 2, \"silence\": 1}]},"
        " \"plover\": [], \"gannet\": [null, {\"node-name\": 4},"
        "  {\"node-name\": \"d\"}, {\"node-name\": \"d\"}]}");
    g_autofree char *text = text_of(talk, report);

    must_say(text, "colony_process_ends_total" OF_A "}", NAN);
    must_say(text, "colony_report_time_seconds" OF_A "}", NAN);
    must_say(text, "colony_part" OF_A ",colony_part=\"leader\"}", 0);
}

/* --- all metrics, their sources and their users --------------------------- */

static void set_path(JsonObject *object, const char *path, int value)
{
    const char *dot = strchr(path, '.');
    g_autofree char *name = NULL;
    JsonObject *inner;

    if (!dot) {
        json_object_set_int_member(object, path, value);
        return;
    }
    name = g_strndup(path, dot - path);
    inner = colony_json_object(object, name);
    if (!inner) {
        inner = json_object_new();
        json_object_set_object_member(object, name, inner);
    }
    set_path(inner, dot + 1, value);
}

static void set_all(JsonObject *object, const Metric *table)
{
    for (const Metric *metric = table; metric->name; metric++) {
        set_path(object, metric->path, 1);
    }
}

static JsonObject *everything(void)
{
    JsonObject *report = json_object_new(), *disk = json_object_new();
    JsonObject *member = json_object_new();
    JsonArray *disks = json_array_new(), *members = json_array_new();

    json_object_set_string_member(report, "program", "0.1");
    set_all(report, colony_metrics_of_node);
    json_object_set_string_member(disk, "node-name", "d0");
    set_all(disk, colony_metrics_of_disk);
    json_array_add_object_element(disks, disk);
    json_object_set_array_member(report, "gannet", disks);
    json_object_set_int_member(member, "id", 2);
    set_all(member, colony_metrics_of_member);
    json_array_add_object_element(members, member);
    json_object_set_array_member(
        json_object_get_object_member(report, "apus"), "members", members);
    return report;
}

static char *read_file(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

/* @before: what stands before the name of a member there, and @after behind */
static void must_be_member(const char *path, const char *file,
                           const char *before, const char *after)
{
    g_autofree char *text = read_file(file);
    g_auto(GStrv) names = g_strsplit(path, ".", -1);

    for (char **name = names; *name; name++) {
        g_autofree char *there = g_strconcat(before, *name, after, NULL);
        g_autofree char *optional = g_strconcat(before, "*", *name, after,
                                                NULL);

        if (!strstr(text, there) && !strstr(text, optional)) {
            g_error("%s: %s is not of %s", path, *name, file);
        }
    }
}

static void must_be_of_report(const char *path)
{
    if (g_str_has_prefix(path, "apus.")) {
        must_be_member(path + 5, "qemu/qapi/apus.json", "'", "'");
    } else if (g_str_has_prefix(path, "plover.") &&
               strcmp(path, "plover.age")) {
        must_be_member(path + 7, "qemu/qapi/colony.json", "'", "'");
    } else {
        must_be_member(path, "docs/reference/colony-status.rst", "``", "``");
    }
}

static void metrics_are_of_what_there_is(void)
{
    for (const Metric *m = colony_metrics_of_node; m->name; m++) {
        must_be_of_report(m->path);
    }
    for (const Metric *m = colony_metrics_of_disk; m->name; m++) {
        must_be_member(m->path, "qemu/qapi/gannet.json", "'", "'");
    }
    for (const Metric *m = colony_metrics_of_member; m->name; m++) {
        must_be_member(m->path, "qemu/qapi/apus.json", "'", "'");
    }
}

static void states_are_those_there_are(void)
{
    static const struct {
        const char *name, *file, *quote;
    } sources[] = {
        { "part", "qemu/qapi/apus.json", "'" },
        { "disk_state", "qemu/qapi/gannet.json", "'" },
        { NULL, "docs/reference/colony-status.rst", "``" },
    };
    const MetricStates *const tables[] = {
        colony_metrics_states_of_node, colony_metrics_states_of_disk,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const MetricStates *s = tables[i]; s->name; s++) {
            unsigned source = 0;

            while (sources[source].name &&
                   strcmp(sources[source].name, s->name)) {
                source++;
            }
            for (const char *const *state = s->states; *state; state++) {
                must_be_member(*state, sources[source].file,
                               sources[source].quote, sources[source].quote);
            }
        }
    }
}

static void every_metric_is_there_and_explained(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = everything();
    g_autofree char *text = text_of(talk, report);
    g_autofree char *manual = read_file(MANUAL);
    g_autoptr(GHashTable) families = openmetrics_families(text);
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, families);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *quoted = g_strconcat("``", name, "``", NULL);
        g_autofree char *sample = g_strconcat("\n", name, NULL);

        if (!strstr(manual, quoted)) {
            g_error("%s: nothing of %s", MANUAL, (char *)name);
        }
        g_assert_nonnull(strstr(text, sample));
    }
}

/* Calls for each metric that the queries of a dashboard name. */
static unsigned check_queries(JsonNode *node, GHashTable *samples);

static unsigned check_query(const char *query, GHashTable *samples)
{
    g_autoptr(GRegex) regex = g_regex_new("\\bcolony_[a-z0-9_]+(?=[{\\[ ,)]|$)",
                                          0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    unsigned found = 0;

    g_regex_match(regex, query, 0, &match);
    for (; g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *name = g_match_info_fetch(match, 0);

        if (!g_hash_table_contains(samples, name)) {
            g_error(DASHBOARD ": there is no %s (%s)", name, query);
        }
        found++;
    }
    return found;
}

static unsigned check_member(const char *name, JsonNode *value,
                             GHashTable *samples)
{
    if (json_node_get_value_type(value) == G_TYPE_STRING) {
        gboolean is_query = !strcmp(name, "expr") || !strcmp(name, "query");

        return is_query ? check_query(json_node_get_string(value), samples)
                        : 0;
    }
    return check_queries(value, samples);
}

static unsigned check_queries(JsonNode *node, GHashTable *samples)
{
    unsigned found = 0;

    if (JSON_NODE_HOLDS_OBJECT(node)) {
        JsonObjectIter iter;
        const char *name;
        JsonNode *value;

        json_object_iter_init(&iter, json_node_get_object(node));
        while (json_object_iter_next(&iter, &name, &value)) {
            found += check_member(name, value, samples);
        }
    } else if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *array = json_node_get_array(node);

        for (guint i = 0; i < json_array_get_length(array); i++) {
            found += check_queries(json_array_get_element(array, i), samples);
        }
    }
    return found;
}

static void the_dashboard_names_what_there_is(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *dashboard = read_file(DASHBOARD);
    g_autoptr(JsonObject) report = everything();
    g_autofree char *text = text_of(talk, report);
    g_autoptr(GHashTable) samples = openmetrics_samples(text);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) root = json_from_string(dashboard, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(check_queries(root, samples), >, 20);
}

/* --- the checker itself --------------------------------------------------- */

static void a_text_that_is_wrong_is_found(void)
{
#define T "# TYPE colony_x gauge\n"
#define L "{vm=\"v\",node=\"n\"}"
    static const char *const texts[] = {
        "", T, T "# EOF", "colony_x" L " 1\n# EOF\n",
        T "colony_x 1\n# EOF\n", T "colony_x" L "1\n# EOF\n",
        T "colony_x" L " one\n# EOF\n", T "colony_y" L " 1\n# EOF\n",
        T "colony_x" L " 1\ncolony_x" L " 1\n# EOF\n",
        T "colony_x{vm=\"v\",node=\"n\",vm=\"v\"} 1\n# EOF\n",
        T "colony_x{vm=\"v\"} 1\n# EOF\n", T "colony_x" L " 1\n" T "# EOF\n",
        T T "# EOF\n", T "# UNIT colony_x seconds\n# EOF\n",
        T "# TYPE colony_y gauge\ncolony_x" L " 1\n# EOF\n",
        "# TYPE colony_x counter\ncolony_x" L " 1\n# EOF\n",
        "# TYPE colony_x counter\ncolony_x_total" L " -1\n# EOF\n",
        "# TYPE colony_x summary\ncolony_x" L " 1\n# EOF\n",
        "# TYPE colony_x stateset\ncolony_x" L " 1\n# EOF\n",
        T "colony_x{vm=\"v\",node=\"\\n} 1\n# EOF\n",
        T "\ncolony_x" L " 1\n# EOF\n",
    };
#undef T
#undef L

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *wrong = openmetrics_check(texts[i]);

        if (!wrong) {
            g_error("nothing is found in \"%s\"", texts[i]);
        }
    }
}

/* --- HTTP ----------------------------------------------------------------- */

static void use_address(Talk *talk)
{
    talk->config->metrics_host = g_strdup(talk->a->host);
    talk->config->metrics_port = PORT;
}

static ColonyMetrics *serve(Talk *talk)
{
    g_autoptr(GError) error = NULL;
    ColonyMetrics *metrics;

    use_address(talk);
    metrics = colony_metrics_new(talk->config, talk->a, &error);
    g_assert_no_error(error);
    return metrics;
}

static GSocket *connect_to(Talk *talk)
{
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(
        talk->config->metrics_host, PORT);
    g_autoptr(GError) error = NULL;
    GSocket *socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
                                   G_SOCKET_PROTOCOL_TCP, &error);

    g_assert_no_error(error);
    g_socket_set_timeout(socket, TALK_MS / 1000);
    g_socket_connect(socket, address, NULL, &error);
    g_assert_no_error(error);
    return socket;
}

/* All that comes until the server closes. */
static char *receive(GSocket *socket)
{
    g_autoptr(GString) all = g_string_new(NULL);
    char data[4096];
    gssize n;

    while ((n = g_socket_receive(socket, data, sizeof(data), NULL,
                                 NULL)) > 0) {
        g_string_append_len(all, data, n);
    }
    return g_strdup(all->str);
}

static char *request(Talk *talk, const char *head)
{
    g_autoptr(GSocket) socket = connect_to(talk);
    g_autofree char *text = g_strconcat(
        head, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", NULL);

    talk_send(socket, text, -1);
    return receive(socket);
}

static void must_get(Talk *talk, const char *what)
{
    g_autofree char *answer = request(talk, "GET /metrics");
    const char *body = strstr(answer, "\r\n\r\n");
    g_autofree char *wrong = NULL;

    g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 200 "));
    g_assert_nonnull(strstr(answer, "application/openmetrics-text; "
                            "version=1.0.0; charset=utf-8"));
    g_assert_nonnull(body);
    wrong = openmetrics_check(body + 4);
    g_assert_cmpstr(wrong, ==, NULL);
    g_assert_nonnull(strstr(body, what));
}

static void the_last_update_is_served(Talk *talk,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) report = parse(leader);
    ColonyMetrics *metrics = serve(talk);

    must_get(talk, "\r\n\r\n# EOF\n");
    for (int i = 0; i < 3; i++) {
        g_autofree char *line = g_strdup_printf(
            "\ncolony_report_age_seconds" OF_A "} %d\n", i);

        json_object_set_int_member(report, "age", i);
        colony_metrics_update(metrics, report);
        must_get(talk, line);
    }
    colony_metrics_free(metrics);
}

static void must_be_answered(Talk *talk, const char *head, const char *status)
{
    g_autofree char *answer = request(talk, head);
    g_autofree char *begin = g_strconcat("HTTP/1.1 ", status, " ", NULL);

    g_assert_true(g_str_has_prefix(answer, begin));
}

static void nothing_else_is_served(Talk *talk,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    ColonyMetrics *metrics = serve(talk);
    g_autofree char *head = NULL;

    must_be_answered(talk, "GET /", "404");
    must_be_answered(talk, "GET /metrics/../etc/passwd", "404");
    must_be_answered(talk, "POST /metrics", "405");
    must_be_answered(talk, "DELETE /metrics", "405");
    head = request(talk, "HEAD /metrics");
    g_assert_true(g_str_has_prefix(head, "HTTP/1.1 200 "));
    g_assert_null(strstr(head, "# EOF"));
    colony_metrics_free(metrics);
}

static void garbage_does_no_harm(Talk *talk,
                                 gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *long_line = g_strnfill(100000, 'x');
    ColonyMetrics *metrics = serve(talk);

    for (int i = 0; i < 10; i++) {
        g_autoptr(GSocket) socket = connect_to(talk);
        char noise[1000];

        for (unsigned j = 0; j < sizeof(noise); j++) {
            noise[j] = g_test_rand_int();
        }
        talk_send(socket, i ? noise : long_line, i ? 1000 : 100000);
    }
    must_get(talk, "# EOF\n");
    colony_metrics_free(metrics);
}

static void connections_are_bounded(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(
        g_object_unref);
    ColonyMetrics *metrics = serve(talk);
    GSocket *last;

    for (unsigned i = 0; i < 30; i++) {
        g_ptr_array_add(sockets, connect_to(talk));
    }
    last = sockets->pdata[29];
    talk_send(last, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", -1);
    /* Nothing comes, or its end: it has no place. */
    if (g_socket_condition_timed_wait(last, G_IO_IN, 200000, NULL, NULL)) {
        g_autofree char *answer = receive(last);

        g_assert_cmpstr(answer, ==, "");
    }
    g_ptr_array_set_size(sockets, 0);
    must_get(talk, "# EOF\n");
    colony_metrics_free(metrics);
}

static void an_address_in_use_is_an_error(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    ColonyMetrics *metrics = serve(talk);
    g_autoptr(GError) error = NULL;

    g_assert_null(colony_metrics_new(talk->config, talk->a, &error));
    g_assert_nonnull(strstr(error->message, "[metrics]"));
    g_assert_nonnull(strstr(error->message, talk->a->host));
    must_get(talk, "# EOF\n");
    colony_metrics_free(metrics);
}

#define ADD(test)                                                       \
    g_test_add("/metrics/" #test, Talk, NULL, talk_set_up, test,        \
               talk_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(numbers_of_the_report_are_there);
    ADD(lengths_of_time_are_seconds);
    ADD(states_are_one_of_many);
    ADD(each_disk_is_there);
    ADD(each_other_member_is_there);
    ADD(only_a_leader_says_protected);
    ADD(what_is_not_known_is_not_there);
    ADD(what_makes_no_sense_is_left_out);
    g_test_add_func("/metrics/are_of_what_there_is",
                    metrics_are_of_what_there_is);
    g_test_add_func("/metrics/states_are_those_there_are",
                    states_are_those_there_are);
    ADD(every_metric_is_there_and_explained);
    ADD(the_dashboard_names_what_there_is);
    g_test_add_func("/metrics/checker", a_text_that_is_wrong_is_found);
    ADD(the_last_update_is_served);
    ADD(nothing_else_is_served);
    ADD(garbage_does_no_harm);
    ADD(connections_are_bounded);
    ADD(an_address_in_use_is_an_error);
    return g_test_run();
}
