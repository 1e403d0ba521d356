/*
 * What the reports of all nodes come to
 *
 * Who leads is what the group says, and of all that tell of it who knows the
 * newest term is right; about itself a leader knows best. Who does not answer
 * may still be known to the others, as a member that they hear.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "status-internal.h"

const char *status_role_name(StatusRole role)
{
    static const char *const names[] = {
        [STATUS_LEADER] = "leader",
        [STATUS_SECONDARY] = "secondary",
        [STATUS_CANDIDATE] = "candidate",
        [STATUS_WITNESS] = "witness",
        [STATUS_DEPOSED] = "deposed",
        [STATUS_OFF] = "off",
        [STATUS_MISSING] = "missing",
        [STATUS_UNKNOWN] = "unknown",
    };

    return names[role];
}

const char *status_health_name(ColonyHealth health)
{
    static const char *const names[] = {
        [COLONY_PROTECTED] = "protected",
        [COLONY_UNPROTECTED] = "unprotected",
        [COLONY_HELD] = "held",
        [COLONY_DOWN] = "down",
        [COLONY_UNKNOWN] = "unknown",
    };

    return names[health];
}

/* --- what a report says -------------------------------------------------- */

StatusNode *status_member(const ColonyStatus *status, gint64 id)
{
    for (unsigned i = 0; i < status->count; i++) {
        if (status->nodes[i].node->id == id) {
            return &status->nodes[i];
        }
    }
    return NULL;
}

gboolean status_part_is(const StatusNode *node, const char *part)
{
    return !g_strcmp0(colony_json_string(node->apus, "part"), part);
}

gboolean status_process_is(const StatusNode *node, const char *state)
{
    return !g_strcmp0(colony_json_string(node->process, "state"), state);
}

static JsonObject *element(JsonArray *array, guint i)
{
    JsonNode *node = json_array_get_element(array, i);

    return JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonObject *status_entry(JsonObject *apus, const StatusNode *node)
{
    JsonArray *members = colony_json_array(apus, "members");

    for (guint i = 0; members && i < json_array_get_length(members); i++) {
        JsonObject *entry = element(members, i);

        if (colony_json_int(entry, "id", 0) == node->node->id) {
            return entry;
        }
    }
    return NULL;
}

static gboolean hears(JsonObject *entry)
{
    return colony_json_boolean(entry, "connected", FALSE) &&
           !colony_json_boolean(entry, "suspected", FALSE) &&
           !colony_json_boolean(entry, "dead", FALSE);
}

/* What its supervisor says of its process goes before what others hear. */
static gboolean process_is_gone(const StatusNode *node)
{
    return status_process_is(node, "absent") ||
           status_process_is(node, "ended") ||
           status_process_is(node, "starting");
}

/* As far as it is known by itself, which may be newer than what others know. */
static gboolean can_count(const StatusNode *node)
{
    return !process_is_gone(node) &&
           !colony_json_boolean(node->apus, "amnesiac", FALSE) &&
           g_strcmp0(colony_json_string(node->apus, "state"), "failed");
}

/* Are both the same process? Not every report has its number. */
static gboolean is_same(const StatusNode *node, JsonObject *entry)
{
    const char *own = colony_json_string(node->apus, "incarnation");
    const char *known = colony_json_string(entry, "incarnation");

    return !own || !known || !strcmp(own, known);
}

/* Does a member count for a majority? @node: NULL if the file has it not. */
static gboolean counts(JsonObject *entry, const StatusNode *node)
{
    return hears(entry) && !colony_json_boolean(entry, "amnesiac", FALSE) &&
           (!node || (can_count(node) && is_same(node, entry)));
}

gboolean status_counts(const ColonyStatus *status, const StatusNode *node)
{
    if (!status->leader || !status->leader->apus) {
        return (node->apus || node->heard) && can_count(node);
    }
    return node == status->leader ||
           counts(status_entry(status->newest, node), node);
}

/* How often the group was founded: its cluster is NAME.NUMBER, and more. */
static gint64 founding(JsonObject *apus)
{
    const char *cluster = colony_json_string(apus, "cluster");
    const char *dot = cluster ? strchr(cluster, '.') : NULL;

    return dot ? g_ascii_strtoll(dot + 1, NULL, 10) : 0;
}

/* Is what @a says of the group newer than what @b says? */
static gboolean is_newer(JsonObject *a, JsonObject *b)
{
    const gint64 of_a[] = {
        founding(a), colony_json_int(a, "generation", 0),
        colony_json_int(a, "term", 0),
    };
    const gint64 of_b[] = {
        founding(b), colony_json_int(b, "generation", 0),
        colony_json_int(b, "term", 0),
    };

    for (unsigned i = 0; b && i < G_N_ELEMENTS(of_a); i++) {
        if (of_a[i] != of_b[i]) {
            return of_a[i] > of_b[i];
        }
    }
    return !b;
}

/* --- who leads ----------------------------------------------------------- */

/*
 * Of those who say that they lead the newest, unless somebody knows of another
 * leader in a newer term. Who was named and is but a witness now is a new
 * process, without the VM.
 */
static void find_leader(ColonyStatus *status)
{
    JsonObject *known = NULL;

    for (unsigned i = 0; i < status->count; i++) {
        StatusNode *node = &status->nodes[i];

        if (node->apus && is_newer(node->apus, status->newest)) {
            status->newest = node->apus;
        }
        if (node->apus && json_object_has_member(node->apus, "leader") &&
            colony_json_int(node->apus, "leader", 0) &&
            (is_newer(node->apus, known) ||
             (status_part_is(node, "leader") && !is_newer(known,
                                                          node->apus)))) {
            known = node->apus;
        }
    }
    if (known) {
        StatusNode *node = status_member(status,
                                         colony_json_int(known, "leader", 0));

        if (node && (!node->apus || status_part_is(node, "leader"))) {
            status->leader = node;
            status->newest = node->apus ? node->apus : known;
            status->secondary = status_member(
                status, colony_json_int(status->newest, "secondary", 0));
        }
    }
}

static void look_at_hearing(ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        StatusNode *node = &status->nodes[i];

        for (unsigned j = 0; j < status->count; j++) {
            JsonObject *entry = i == j ? NULL : status_entry(
                status->nodes[j].apus, node);

            node->watched |= entry != NULL;
            node->heard |= hears(entry);
            node->dead |= colony_json_boolean(entry, "dead", FALSE);
        }
        if (process_is_gone(node)) {
            node->heard = FALSE;
            node->dead = TRUE;
        }
    }
}

static void count_members(ColonyStatus *status)
{
    JsonArray *members = colony_json_array(status->newest, "members");
    gboolean leader_tells = status->leader && status->leader->apus;

    status->members = members ? json_array_get_length(members) : 0;
    for (guint i = 0; leader_tells && i < status->members; i++) {
        JsonObject *entry = element(members, i);
        const StatusNode *node = status_member(
            status, colony_json_int(entry, "id", 0));

        status->reached += node ? status_counts(status, node)
                                : counts(entry, NULL);
    }
    for (unsigned i = 0; !leader_tells && i < status->count; i++) {
        status->reached += status_counts(status, &status->nodes[i]);
    }
    if (!status->members) {
        status->members = status->count;
    }
    status->majority = status->members / 2 + 1;
}

/* --- how it is with the VM ----------------------------------------------- */

/* Both VMs may die, but with this many members nobody could decide it. */
gboolean status_is_fragile(const ColonyStatus *status)
{
    return status->reached > 0 && status->reached - 1 < status->majority;
}

/* While it is made equal, or copied, a VM stands for an instant. */
static gboolean guest_runs(const StatusNode *node)
{
    static const char *const as_good_as[] = {
        "colo", "finish-migrate", "save-vm", "restore-vm", NULL,
    };
    const char *status = colony_json_string(node->guest, "status");

    return colony_json_boolean(node->guest, "running", TRUE) ||
           (status && g_strv_contains(as_good_as, status));
}

static void judge(ColonyStatus *status, ColonyHealth health, char *why)
{
    status->health = health;
    status->why = why;
}

static void judge_secondary(ColonyStatus *status, gboolean protected)
{
    if (protected && !status_is_fragile(status) &&
        !(status->secondary && process_is_gone(status->secondary))) {
        judge(status, COLONY_PROTECTED, NULL);
    } else {
        judge(status, COLONY_UNPROTECTED, status_why_unprotected(status));
    }
}

static void judge_by_leader(ColonyStatus *status)
{
    JsonObject *apus = status->leader->apus;

    if (!colony_json_boolean(apus, "may-speak", FALSE) ||
        !guest_runs(status->leader)) {
        judge(status, COLONY_HELD, status_why_held(status));
    } else {
        judge_secondary(status, colony_json_boolean(apus, "protected", FALSE));
    }
}

static gboolean has_vm(const StatusNode *node)
{
    return status_part_is(node, "leader") ||
           status_part_is(node, "secondary") ||
           status_part_is(node, "deposed");
}

static gboolean may_have_vm(const StatusNode *node)
{
    return node && !node->dead && (!node->apus || has_vm(node));
}

static gboolean too_few_answer(const ColonyStatus *status)
{
    unsigned answers = 0;

    for (unsigned i = 0; i < status->count; i++) {
        answers += status->nodes[i].report != NULL;
    }
    return answers < status->count / 2 + 1;
}

/* The leader's supervisor, or QEMU itself, tells nothing. */
static void judge_by_others(ColonyStatus *status)
{
    const StatusNode *secondary = status->secondary;

    if (status->leader->heard) {
        judge_secondary(status, secondary &&
                        (secondary->heard ||
                         status_part_is(secondary, "secondary")));
    } else if (too_few_answer(status)) {
        judge(status, COLONY_UNKNOWN, status_why_unknown(status));
    } else if (may_have_vm(status->leader) || may_have_vm(secondary)) {
        judge(status, COLONY_HELD, status_why_held(status));
    } else {
        judge(status, COLONY_DOWN, status_why_leaderless(status));
    }
}

static void judge_leaderless(ColonyStatus *status)
{
    gboolean somewhere = FALSE;

    for (unsigned i = 0; i < status->count; i++) {
        somewhere |= has_vm(&status->nodes[i]);
    }
    if (too_few_answer(status)) {
        judge(status, COLONY_UNKNOWN, status_why_unknown(status));
    } else {
        judge(status, somewhere ? COLONY_HELD : COLONY_DOWN,
              status_why_leaderless(status));
    }
}

/*
 * The group has decided that the guest is off; or, when nothing runs any more,
 * a node of the newest group remembers it.
 */
static gboolean is_off(const ColonyStatus *status)
{
    gint64 newest = -1;
    gboolean off = FALSE;

    if (colony_json_boolean(status->newest, "stopped", FALSE)) {
        return TRUE;
    }
    for (unsigned i = 0; i < status->count && !status->leader; i++) {
        JsonObject *start = colony_json_object(status->nodes[i].report,
                                               "start");
        gint64 generation = colony_json_int(start, "generation", -1);

        if (generation >= newest) {
            off = colony_json_boolean(start, "off", FALSE) ||
                  (off && generation == newest);
            newest = generation;
        }
    }
    return off;
}

static void judge_all(ColonyStatus *status)
{
    if (is_off(status)) {
        judge(status, COLONY_DOWN, g_strdup("the guest has powered off, or "
                                            "was ended with colony down"));
    } else if (!status->leader) {
        judge_leaderless(status);
    } else if (status->leader->apus) {
        judge_by_leader(status);
    } else {
        judge_by_others(status);
    }
    if (status->health == COLONY_DOWN) {
        status->leader = status->secondary = NULL; /* they were */
    }
}

/* --- each node ----------------------------------------------------------- */

static StatusRole role_of_member(const ColonyStatus *status,
                                 const StatusNode *node)
{
    if (node == status->leader) {
        return STATUS_LEADER;
    }
    if (node == status->secondary && !status_part_is(node, "witness")) {
        return STATUS_SECONDARY;
    }
    if (status_part_is(node, "deposed") || status_part_is(node, "leader")) {
        return STATUS_DEPOSED;
    }
    if (status_part_is(node, "secondary") && !status->leader) {
        return STATUS_SECONDARY;
    }
    return node->node->can_run ? STATUS_CANDIDATE : STATUS_WITNESS;
}

static StatusRole role_of(const ColonyStatus *status, const StatusNode *node)
{
    if (node->apus || node->heard) {
        return role_of_member(status, node);
    }
    if (node->report) {
        return status_process_is(node, "silent") ? STATUS_UNKNOWN
                                                 : STATUS_OFF;
    }
    return node->watched ? STATUS_MISSING : STATUS_UNKNOWN;
}

/* --- from outside -------------------------------------------------------- */

static void take_report(StatusNode *node, JsonObject *report,
                        const char *error)
{
    if (!report) {
        node->error = g_strdup(error ? error : "it does not answer");
        return;
    }
    node->report = json_object_ref(report);
    node->process = colony_json_object(report, "process");
    node->task = colony_json_object(report, "task");
    node->apus = colony_json_object(report, "apus");
    node->guest = colony_json_object(report, "guest");
}

ColonyStatus *colony_status_new(const ColonyConfig *config,
                                JsonObject *const *reports,
                                const char *const *errors)
{
    ColonyStatus *status = g_new0(ColonyStatus, 1);

    status->config = config;
    status->time = g_get_real_time();
    status->count = config->nodes->len;
    status->nodes = g_new0(StatusNode, status->count);
    status->warnings = g_ptr_array_new_with_free_func(status_warning_free);
    for (unsigned i = 0; i < status->count; i++) {
        status->nodes[i].node = g_ptr_array_index(config->nodes, i);
        take_report(&status->nodes[i], reports[i],
                    errors ? errors[i] : NULL);
    }
    find_leader(status);
    look_at_hearing(status);
    count_members(status);
    for (unsigned i = 0; i < status->count; i++) {
        status->nodes[i].role = role_of(status, &status->nodes[i]);
        status_tell_node(status, &status->nodes[i]);
    }
    judge_all(status);
    status_warn_all(status);
    return status;
}

void colony_status_free(ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        StatusNode *node = &status->nodes[i];

        g_clear_pointer(&node->report, json_object_unref);
        g_free(node->error);
        g_free(node->text);
    }
    g_free(status->nodes);
    g_free(status->why);
    g_ptr_array_unref(status->warnings);
    g_free(status);
}

ColonyHealth colony_status_health(const ColonyStatus *status)
{
    return status->health;
}

const char *colony_status_why(const ColonyStatus *status)
{
    return status->why;
}

const ColonyNode *colony_status_leader(const ColonyStatus *status)
{
    return status->leader ? status->leader->node : NULL;
}

const ColonyNode *colony_status_secondary(const ColonyStatus *status)
{
    return status->secondary ? status->secondary->node : NULL;
}

int colony_status_exit(const ColonyStatus *status)
{
    static const int statuses[] = {
        [COLONY_PROTECTED] = 0,
        [COLONY_UNPROTECTED] = 1,
        [COLONY_HELD] = 2,
        [COLONY_DOWN] = 2,
        [COLONY_UNKNOWN] = 3,
    };

    return statuses[status->health];
}
