/*
 * Why it is so with the VM, in words for humans; see status-words.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "start-rules.h"
#include "status-internal.h"

/* --- the VM -------------------------------------------------------------- */

/* Names of the members that do not count for a majority. */
static char *lost_members(const ColonyStatus *status)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!status_counts(status, node) &&
            (!status->newest || node == status->leader ||
             status_entry(status->newest, node))) {
            g_string_append_printf(text, "%s%s", text->len ? " and " : "",
                                   node->node->name);
        }
    }
    return g_string_free(text, FALSE);
}

static char *why_fragile(const ColonyStatus *status)
{
    g_autofree char *lost = lost_members(status);

    if (status->members == 1) {
        return g_strdup_printf(
            "%s is the group's only member since it was forced to go on "
            "alone; add others with colony replace",
            status->leader->node->name);
    }
    return g_strdup_printf("%s cannot vote now: should %s die, the others "
                           "would be no majority", *lost ? lost : "a member",
                           status->leader->node->name);
}

static char *why_no_candidate(const ColonyStatus *status)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (node == status->leader || !node->node->can_run) {
            continue;
        }
        g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "",
                               node->node->name, node->text);
    }
    if (!text->len) {
        g_string_append(text, "no other node can run the VM");
    } else if (!status->config->reprotect) {
        g_string_append_printf(text, "; the policy is to protect by command "
                               "only: colony reprotect %s",
                               status->config->path);
    }
    return g_string_free(text, FALSE);
}

char *status_why_unprotected(const ColonyStatus *status)
{
    const StatusNode *leader = status->leader;
    const char *said = colony_json_string(leader->apus, "error");
    gboolean secondary = status->secondary &&
                         status->secondary->role == STATUS_SECONDARY;
    g_autofree char *error = NULL, *task = NULL, *rest = NULL;

    if ((secondary || status->members == 1) && status_is_fragile(status)) {
        return why_fragile(status);
    }
    error = said ? status_with_names(status, leader, said) : NULL;
    task = status_task_text(status, leader);
    rest = task ? NULL : why_no_candidate(status);
    return g_strconcat(error ? error : "", error ? "; " : "",
                       task ? task : rest, NULL);
}

static const StatusNode *with_task(const ColonyStatus *status,
                                   const char *kind)
{
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!g_strcmp0(colony_json_string(node->task, "kind"), kind)) {
            return node;
        }
    }
    return NULL;
}

static char *why_leader_lost(const ColonyStatus *status)
{
    const StatusNode *leader = status->leader, *next = status->secondary;
    const char *lost = leader->dead ? "is gone" : "is not heard";
    const StatusNode *cold = with_task(status, "cold");
    g_autofree char *said = NULL;

    if (next && (next->apus || next->heard)) {
        return g_strdup_printf("the leader %s %s; %s is about to take over",
                               leader->node->name, lost, next->node->name);
    }
    if (cold) { /* which tells what can be done */
        const char *error = colony_json_string(cold->task, "error");

        said = error ? status_with_names(status, cold, error) : NULL;
    }
    return g_strdup_printf("the leader %s %s, and nobody else %s%s%s",
                           leader->node->name, lost, next ?
                           "that has the VM is there" : "has the VM",
                           said ? "; " : "", said ? said : "");
}

char *status_why_held(const ColonyStatus *status)
{
    const StatusNode *leader = status->leader;
    const char *said = colony_json_string(leader->apus, "error");
    g_autofree char *lost = NULL, *error = NULL;

    if (!leader->apus) {
        return why_leader_lost(status);
    }
    if (colony_json_boolean(leader->apus, "may-speak", FALSE)) {
        const char *run = colony_json_string(leader->guest, "status");

        return g_strdup_printf("the guest on %s does not run (%s)",
                               leader->node->name, run ? run : "stopped");
    }
    if (status->reached < status->majority) {
        lost = lost_members(status);
        return g_strdup_printf("%s reaches no majority of the %u members: %s "
                               "%s not heard", leader->node->name,
                               status->members, *lost ? lost : "others",
                               strstr(lost, " and ") ? "are" : "is");
    }
    error = said ? status_with_names(status, leader, said) : NULL;
    if (!status->secondary && status->config->hold_unprotected) {
        g_autofree char *rest = why_no_candidate(status);

        return g_strconcat("there is no secondary, and the policy is "
                           "unprotected=hold; ", error ? error : rest, NULL);
    }
    return g_strdup_printf("%s may not speak yet%s%s", leader->node->name,
                           error ? ": " : "", error ? error : "");
}

/* --- nobody leads -------------------------------------------------------- */

static char *why_missing(const ColonyStatus *status)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!node->report) {
            g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "",
                                   node->node->name, node->error);
        }
    }
    return g_string_free(text, FALSE);
}

char *status_why_unknown(const ColonyStatus *status)
{
    g_autofree char *missing = why_missing(status);
    unsigned answers = 0;

    for (unsigned i = 0; i < status->count; i++) {
        answers += status->nodes[i].report != NULL;
    }
    if (!answers) {
        return g_strdup_printf("none of the %u nodes answers; does colony run "
                               "there? %s", status->count, missing);
    }
    return g_strdup_printf("%u of %u nodes %s, which cannot tell; %s", answers,
                           status->count,
                           status_plural(answers, "answers", "answer"),
                           missing);
}

/* Whose disks could be taken; NULL: that is not one node. */
static const char *whole_disks(const ColonyStatus *status)
{
    const char *name = NULL;

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];
        JsonObject *start = colony_json_object(node->report, "start");

        if (node->node->can_run &&
            colony_json_int(start, "store", -1) == COLONY_STORE_CLEAN) {
            if (name) {
                return NULL;
            }
            name = node->node->name;
        }
    }
    return name;
}

static char *why_cold(const ColonyStatus *status, const StatusNode *node)
{
    const char *said = colony_json_string(node->task, "error");
    g_autofree char *error = said ? status_with_names(status, node, said)
                                  : g_strdup("waits for the other nodes");
    const char *whole = whole_disks(status);

    if (!colony_json_boolean(node->task, "force", FALSE)) {
        return g_strdup_printf("nobody has the VM, and %s does not start it "
                               "alone: %s", node->node->name, error);
    }
    return g_strdup_printf("nobody has the VM, and %s does not start it alone: "
                           "%s; if no other disk can be newer: colony up "
                           "--disk-of %s --force %s", node->node->name, error,
                           whole ? whole : "NODE", status->config->path);
}

static gboolean is_wanted(const ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        JsonObject *supervisor = colony_json_object(status->nodes[i].report,
                                                    "supervisor");

        if (!g_strcmp0(colony_json_string(supervisor, "wanted"), "up")) {
            return TRUE;
        }
    }
    return FALSE;
}

static char *why_each(const ColonyStatus *status)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < status->count; i++) {
        g_string_append_printf(text, "; %s: %s", status->nodes[i].node->name,
                               status->nodes[i].text);
    }
    return g_string_free(text, FALSE);
}

/* Whose process ends each time it is started; NULL: nobody's. */
static const StatusNode *who_fails_to_start(const ColonyStatus *status)
{
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!g_strcmp0(colony_json_string(node->task, "kind"), "start") &&
            status_number(node->task, "next", 0) > 0 &&
            colony_json_string(node->task, "error")) {
            return node;
        }
    }
    return NULL;
}

static char *why_not_started(const StatusNode *node)
{
    return g_strdup_printf("%s does not start on %s: %s", status_program(node),
                           node->node->name,
                           colony_json_string(node->task, "error"));
}

static char *why_not_elected(const ColonyStatus *status,
                             const StatusNode *node)
{
    g_autofree char *task = status_task_text(status, node);

    return g_strdup_printf("nobody has the VM: %s %s; it goes on by itself "
                           "when enough of them vote", node->node->name, task);
}

char *status_why_leaderless(const ColonyStatus *status)
{
    const StatusNode *cold = with_task(status, "cold");
    const StatusNode *elect = with_task(status, "elect");
    const StatusNode *fails = who_fails_to_start(status);
    g_autofree char *each = NULL, *words = NULL;

    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!g_strcmp0(colony_json_string(node->apus, "state"), "elected") ||
            !g_strcmp0(colony_json_string(node->apus, "state"), "leader")) {
            return g_strdup_printf("%s was elected, and takes over",
                                   node->node->name);
        }
    }
    if (elect) {
        return why_not_elected(status, elect);
    }
    words = fails ? why_not_started(fails) : NULL;
    if (cold || status->leader) {
        g_autofree char *rest = cold ? why_cold(status, cold)
                                     : why_leader_lost(status);

        return g_strconcat(words ? words : "", words ? "; " : "", rest, NULL);
    }
    if (words) {
        return g_steal_pointer(&words);
    }
    if (!is_wanted(status)) {
        return g_strdup_printf("it was not started, or was ended; start it "
                               "with colony up %s", status->config->path);
    }
    each = why_each(status);
    return g_strconcat("nobody leads", each, NULL);
}
