/*
 * How it is with a node, in words for humans
 *
 * Every sentence begins with a small letter and has no full stop: it is put
 * behind a colon. Nodes are called by their names.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "status-internal.h"

/* --- numbers ------------------------------------------------------------- */

char *status_bytes(gint64 bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
    double amount = MAX(bytes, 0);
    int unit = -1;

    while (amount >= 1000 && unit + 1 < (int)G_N_ELEMENTS(units)) {
        amount /= 1024;
        unit++;
    }
    return unit < 0 ? g_strdup_printf("%.0f B", amount)
                    : g_strdup_printf("%.*f %s", amount < 10 ? 1 : 0, amount,
                                      units[unit]);
}

char *status_seconds(double seconds)
{
    if (seconds < 10) {
        return g_strdup_printf("%.1f s", seconds);
    } else if (seconds < 120) {
        return g_strdup_printf("%.0f s", seconds);
    } else if (seconds < 2 * 60 * 60) {
        return g_strdup_printf("%.0f min", seconds / 60);
    } else if (seconds < 2 * 24 * 60 * 60) {
        return g_strdup_printf("%.0f h", seconds / 60 / 60);
    }
    return g_strdup_printf("%.0f days", seconds / 60 / 60 / 24);
}

double status_number(JsonObject *object, const char *name, double otherwise)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
        (json_node_get_value_type(node) != G_TYPE_INT64 &&
         json_node_get_value_type(node) != G_TYPE_DOUBLE)) {
        return otherwise;
    }
    return json_node_get_double(node);
}

const char *status_plural(gint64 number, const char *one, const char *many)
{
    return number == 1 ? one : many;
}

static char *progress(JsonObject *task)
{
    gint64 done = colony_json_int(task, "done", -1);
    gint64 total = colony_json_int(task, "total", 0);
    g_autofree char *of = NULL, *all = NULL;

    if (done < 0 || total <= 0) {
        return g_strdup("");
    }
    of = status_bytes(MIN(done, total));
    all = status_bytes(total);
    return g_strdup_printf(", %d %% (%s of %s)",
                           (int)(100.0 * MIN(done, total) / total), of, all);
}

/* --- words of others ----------------------------------------------------- */

static gboolean name_member(const GMatchInfo *match, GString *result,
                            gpointer opaque)
{
    g_autofree char *number = g_match_info_fetch(match, 1);
    const StatusNode *node = status_member(
        opaque, g_ascii_strtoll(number, NULL, 10));

    if (node) {
        g_string_append(result, node->node->name);
    } else {
        g_string_append_printf(result, "member %s", number);
    }
    return FALSE;
}

char *status_with_names(const ColonyStatus *status, const StatusNode *node,
                        const char *text)
{
    g_autoptr(GRegex) number = g_regex_new("\\bmember ([0-9]{1,5})\\b", 0, 0,
                                           NULL);
    g_autofree char *named = g_regex_replace_eval(
        number, text, -1, 0, 0, name_member, (gpointer)status, NULL);
    GString *result = g_string_new(named ? named : text);

    g_string_replace(result, "this replica", node->node->name, 0);
    g_string_replace(result, "this member", node->node->name, 0);
    return g_string_free(result, FALSE);
}

/* --- what the supervisor does -------------------------------------------- */

typedef struct TaskWords {
    const char *kind;
    const char *text; /* %s: the other node */
} TaskWords;

static const TaskWords task_words[] = {
    { "start", "starts" },
    { "cold", "finds out whose disks are the newest" },
    { "elect", "is to boot the VM, and waits for a majority of the members" },
    { "join", "waits to be brought up to date by the leader" },
    { "ask", "%s gets ready to take the VM" },
    { "prepare", "is ready to take the VM of %s" },
    { "resync", "the disks of %s are brought up to date" },
    { "migrate", "memory is copied to %s" },
    { "protect", "the first sync with %s is under way" },
    { "switchover", "leadership is handed over to %s" },
    { "replace", "%s becomes a member" },
    { "verify", "both replicas are compared" },
    { "down", "the VM is ended" },
};

/* What waits for its next try; NULL: it is no such task. */
static char *retry_text(JsonObject *task, const char *kind, const char *peer)
{
    double seconds = status_number(task, "next", 0);
    g_autofree char *next = status_seconds(seconds);

    if (!g_strcmp0(kind, "retry")) {
        return g_strdup_printf("protecting with %s failed, next try in %s",
                               peer, next);
    }
    return !g_strcmp0(kind, "start") && seconds > 0
        ? g_strdup_printf("starts again in %s", next) : NULL;
}

static char *task_words_of(JsonObject *task)
{
    const char *kind = colony_json_string(task, "kind");
    const char *peer = colony_json_string(task, "peer");
    const char *text = kind;
    char *retry;

    peer = peer ? peer : "another node";
    retry = retry_text(task, kind, peer);
    if (retry) {
        return retry;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(task_words); i++) {
        if (!g_strcmp0(kind, task_words[i].kind)) {
            text = task_words[i].text;
        }
    }
    {
        g_auto(GStrv) parts = g_strsplit(text ? text : "is busy", "%s", 2);

        return g_strjoinv(peer, parts);
    }
}

/* The other node's QEMU has said why before it ended; NULL: not known. */
static char *reason_of_peer(const ColonyStatus *status, JsonObject *task,
                            const char *said)
{
    const char *name = colony_json_string(task, "peer");
    gsize length = strlen(said) - MIN(strlen(said), strlen(COLONY_SAYS_WHY));

    if (!name || strcmp(said + length, COLONY_SAYS_WHY)) {
        return NULL;
    }
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *peer = &status->nodes[i];
        const char *why = colony_json_string(peer->process, "error");

        if (!strcmp(peer->node->name, name) && why) {
            return g_strdup_printf("%.*s; QEMU on %s: %s", (int)length, said,
                                   name, why);
        }
    }
    return NULL;
}

char *status_task_text(const ColonyStatus *status, const StatusNode *node)
{
    g_autofree char *words = NULL, *done = NULL, *error = NULL, *peer = NULL;
    const char *said = colony_json_string(node->task, "error");

    if (!node->task || !colony_json_string(node->task, "kind")) {
        return NULL;
    }
    words = task_words_of(node->task);
    done = progress(node->task);
    peer = said ? reason_of_peer(status, node->task, said) : NULL;
    error = said ? status_with_names(status, node, peer ?: said) : NULL;
    return g_strconcat(words, done, error ? ": " : NULL, error, NULL);
}

/* --- one node ------------------------------------------------------------ */

const char *status_program(const StatusNode *node)
{
    return node->node->can_run ? "QEMU" : "apusd";
}

/* There is a report, but its process says nothing. */
static gboolean is_wanted(const StatusNode *node, const char *state)
{
    JsonObject *supervisor = node ? colony_json_object(node->report,
                                                       "supervisor") : NULL;

    return !g_strcmp0(colony_json_string(supervisor, "wanted"), state);
}

static char *tell_process(const ColonyStatus *status, const StatusNode *node)
{
    const char *program = status_program(node);
    const char *error = colony_json_string(node->process, "error");
    const char *what = "is not known to run";

    if (status_process_is(node, "starting")) {
        return g_strconcat(program, " starts", NULL);
    }

    if (status_process_is(node, "absent")) {
        if (is_wanted(node, "down") && is_wanted(status->leader, "up")) {
            return g_strdup_printf("was not told to take part: colony up %s",
                                   status->config->path);
        } else if (is_wanted(node, "down")) {
            return g_strdup("is off, as it should be");
        }
        what = "does not run";
    } else if (status_process_is(node, "silent")) {
        what = "does not answer";
    } else if (status_process_is(node, "ended")) {
        what = "has ended";
    }
    return g_strconcat(program, " ", what, error ? ": " : NULL, error, NULL);
}

static char *tell_without_report(const StatusNode *node)
{
    if (node->heard) {
        return g_strdup_printf("%s is there, but its supervisor does not "
                               "answer", status_program(node));
    }
    return g_strdup_printf("%s: %s", node->watched ?
                           "is not heard by others" : "does not answer",
                           node->error);
}

static char *tell_leader(const StatusNode *node)
{
    const char *run = colony_json_string(node->guest, "status");

    if (!colony_json_boolean(node->apus, "may-speak", FALSE)) {
        return g_strdup("what the guest says is held");
    }
    return colony_json_boolean(node->guest, "running", TRUE) || !run
        ? g_strdup("the guest runs, and is heard")
        : g_strdup_printf("the guest stands (%s)", run);
}

static char *tell_secondary(const StatusNode *node)
{
    JsonObject *plover = colony_json_object(node->report, "plover");
    gint64 epoch = colony_json_int(plover, "epoch", 0);

    return epoch ? g_strdup_printf("in step, epoch %" G_GINT64_FORMAT, epoch)
                 : g_strdup("in step");
}

static char *tell_deposed(const ColonyStatus *status, const StatusNode *node)
{
    const char *leader = status->leader ? status->leader->node->name : NULL;

    if (status_part_is(node, "leader")) {
        return g_strdup_printf("was cut off, and does not know yet that %s "
                               "leads", leader ? leader : "another");
    }
    return g_strdup("its VM is outdated; a new QEMU will take its place");
}

static char *tell_member(const ColonyStatus *status, const StatusNode *node)
{
    g_autofree char *task = NULL;

    if (!g_strcmp0(colony_json_string(node->apus, "state"), "failed")) {
        return g_strdup("cannot write its state, and counts for nothing");
    }
    if (node->role == STATUS_LEADER) {
        return tell_leader(node);
    } else if (node->role == STATUS_SECONDARY) {
        return tell_secondary(node);
    } else if (node->role == STATUS_DEPOSED) {
        return tell_deposed(status, node);
    }
    if (colony_json_boolean(node->apus, "amnesiac", FALSE)) {
        return g_strdup("was restarted, and does not count yet");
    }
    task = status_task_text(status, node);
    if (task) {
        return g_steal_pointer(&task);
    }
    return g_strdup(node->role == STATUS_WITNESS ? "votes" :
                    "votes, and can become secondary");
}

void status_tell_node(const ColonyStatus *status, StatusNode *node)
{
    if (!node->report) {
        node->text = tell_without_report(node);
    } else if (!node->apus) {
        g_autofree char *task = status_task_text(status, node);

        node->text = task && !status_process_is(node, "silent")
            ? g_steal_pointer(&task) : tell_process(status, node);
    } else {
        node->text = tell_member(status, node);
    }
}
