/*
 * Reports of three nodes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "colo-net/core/versions.h"
#include "tests/unit/colony-trio.h"

static const char conf[] =
    "[vm]\nname=web\nmemory=256M\naccel=tcg\n"
    "[disk data]\nfile=/disks/web.img\n"
    "[nic lan]\nbridge=br0\n";

static const char member[] =
    "{\"id\": %d, \"address\": \"192.0.2.%d:7000\", \"can-run\": true, "
    "\"connected\": true, \"suspected\": false, \"dead\": false, "
    "\"amnesiac\": false, \"match\": 61, \"delivered\": 61, \"silence\": 0}";

/* node, member, digest, kind, "apus" of the kind, the rest */
static const char report[] =
    "{\"version\": 1, \"program\": \"" COLONY_VERSION "\", \"vm\": \"web\", "
    "\"node\": \"%c\", \"member\": %d, \"config\": \"%016" G_GINT64_MODIFIER
    "x\", \"time\": 1795283000.25, \"age\": 0.1, "
    "\"supervisor\": {\"pid\": 811, \"uptime\": 86403.5, \"wanted\": \"up\"}, "
    "\"process\": {\"kind\": \"%s\", \"state\": \"running\", \"pid\": 840, "
    "\"uptime\": 86402.9, \"ended\": 0}, "
    "\"apus\": {\"program\": \"" COLONY_VERSION "\", \"cluster\": \"web.1\", \"member\": %d, \"part\": \"%s\", "
    "\"state\": \"%s\", \"generation\": 0, \"term\": 7, \"leader\": 1, "
    "\"secondary\": 2, \"amnesiac\": false, \"changing\": false, "
    "\"members\": [%s], \"log\": {\"commit\": 64}, \"counters\": "
    "{\"strange\": 0, \"bytes-sent\": 1048576}%s}%s}";

static const char qemu_apus[] =
    ", \"protected\": %s, \"may-speak\": %s, \"outputs\": {\"held-bytes\": "
    "2048, \"oldest\": 1500, \"released\": 5230, \"diverged\": 41, "
    "\"dropped\": 0}";

static const char leader_rest[] =
    ", \"guest\": {\"status\": \"running\", \"running\": true}, "
    "\"plover\": {\"role\": \"leader\", \"term\": 7, \"epoch\": 1042, "
    "\"syncs\": 100, \"refused\": 0, \"age\": 0.3, \"leader\": {\"pause\": "
    "{\"median\": 1240, \"p99\": 3400, \"max\": 8000}, \"united\": 20000, "
    "\"differ\": 500, \"sent\": 31457280}}, "
    "\"gannet\": [{\"disk\": \"data\", \"state\": \"primary\", \"partial\": "
    "false, \"primary\": {\"queued\": 65536, \"missing\": 0, \"copy-total\": "
    "0, \"copy-done\": 0}}]";

static const char secondary_rest[] =
    ", \"guest\": {\"status\": \"running\", \"running\": true}, "
    "\"plover\": {\"role\": \"secondary\", \"term\": 7, \"epoch\": 1042, "
    "\"syncs\": 100, \"refused\": 0, \"age\": 0.3}, "
    "\"gannet\": [{\"disk\": \"data\", \"state\": \"secondary\", "
    "\"partial\": false}]";

static JsonNode *parse(const char *json)
{
    GError *error = NULL;
    JsonNode *node = json_from_string(json, &error);

    g_assert_no_error(error);
    return node;
}

static JsonObject *make_report(const ColonyConfig *config, int place)
{
    static const char *const parts[] = { "leader", "secondary", "witness" };
    static const char *const rests[] = { leader_rest, secondary_rest, "" };
    GString *members = g_string_new(NULL), *text = g_string_new(NULL);
    g_autofree char *more = place == 2 ? g_strdup("") : g_strdup_printf(
        qemu_apus, place ? "false" : "true", place ? "false" : "true");
    g_autoptr(JsonNode) node = NULL;
    JsonObject *object;

    for (int i = 1; i <= 3; i++) {
        g_string_append(members, i > 1 ? ", " : "");
        g_string_append_printf(members, member, i, i);
    }
    g_string_append_printf(
        text, report, 'a' + place, place + 1, colony_config_digest(config),
        place == 2 ? "apusd" : "qemu", place + 1, parts[place],
        place ? "follower" : "leader", members->str, more, rests[place]);
    node = parse(text->str);
    object = json_object_ref(json_node_get_object(node));
    g_string_free(members, TRUE);
    g_string_free(text, TRUE);
    return object;
}

static void init(ColonyTrio *trio, const char *path, const char *text)
{
    GError *error = NULL;

    trio->config = colony_config_parse(path, text, strlen(text), &error);
    g_assert_no_error(error);
    for (int i = 0; i < 3; i++) {
        trio->reports[i] = make_report(trio->config, i);
        trio->errors[i] = NULL;
    }
}

void colony_trio_init(ColonyTrio *trio, const char *policy)
{
    g_autofree char *text = g_strconcat(
        conf, "[node a]\nhost=192.0.2.1\n[node b]\nhost=192.0.2.2\n"
        "[node c]\nhost=192.0.2.3\ncan-run=no\n[policy]\n", policy, NULL);

    init(trio, "/etc/web.conf", text);
}

/* Tests that run side by side have addresses of their own. */
void colony_trio_init_in(ColonyTrio *trio, const char *directory)
{
    g_autofree char *path = g_build_filename(directory, "web.conf", NULL);
    g_autoptr(GString) text = g_string_new(conf);
    unsigned number = getpid();

    for (int i = 0; i < 3; i++) {
        g_autofree char *own = g_strdup_printf("%s/%c", directory, 'a' + i);

        g_assert_cmpint(g_mkdir(own, 0700), ==, 0);
        g_string_append_printf(
            text, "[node %c]\nhost=127.%u.%u.%d\ndirectory=%s\n%s", 'a' + i,
            64 + number / 256 % 128, number % 256, i + 1, own,
            i == 2 ? "can-run=no\n" : "");
    }
    g_assert_true(g_file_set_contents(path, text->str, -1, NULL));
    init(trio, path, text->str);
}

void colony_trio_clear(ColonyTrio *trio)
{
    for (int i = 0; i < 3; i++) {
        g_clear_pointer(&trio->reports[i], json_object_unref);
    }
    colony_config_free(trio->config);
}

static JsonNode *step(JsonNode *node, const char *name)
{
    if (JSON_NODE_HOLDS_ARRAY(node)) {
        return json_array_get_element(json_node_get_array(node),
                                      g_ascii_strtoull(name, NULL, 10));
    }
    return json_object_get_member(json_node_get_object(node), name);
}

void colony_trio_set(ColonyTrio *trio, char node, const char *path,
                     const char *json)
{
    int place = node - 'a';
    g_auto(GStrv) names = g_strsplit(path, ".", -1);
    guint last = g_strv_length(names);
    g_autoptr(JsonNode) root = NULL;
    JsonNode *at;

    if (!*path) {
        g_clear_pointer(&trio->reports[place], json_object_unref);
        trio->errors[place] = json;
        return;
    }
    at = root = json_node_init_object(json_node_alloc(),
                                      trio->reports[place]);
    for (guint i = 0; i + 1 < last; i++) {
        at = step(at, names[i]);
        g_assert_nonnull(at);
    }
    if (json) {
        json_object_set_member(json_node_get_object(at), names[last - 1],
                               parse(json));
    } else {
        json_object_remove_member(json_node_get_object(at), names[last - 1]);
    }
}

ColonyStatus *colony_trio_status(ColonyTrio *trio)
{
    return colony_status_new(trio->config, trio->reports, trio->errors);
}
