/*
 * What is not as it should be, though it may not matter at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "../../colo-net/core/versions.h"
#include "line.h"
#include "status-internal.h"

/* A process that ends more often than this has something the matter. */
#define ENDED_OFTEN 3
#define ENDED_LATELY_S 600 /* whoever runs for so long is well again */
/* Beyond three intervals: a sync may be long when there is much to send. */
#define SYNC_SLACK_S 2

void status_warning_free(gpointer opaque)
{
    StatusWarning *warning = opaque;

    g_free(warning->text);
    g_free(warning);
}

/* Takes @text over. */
static void warn(ColonyStatus *status, const char *code,
                 const StatusNode *node, char *text)
{
    StatusWarning *warning = g_new0(StatusWarning, 1);

    *warning = (StatusWarning) { code, node, text };
    g_ptr_array_add(status->warnings, warning);
}

/* --- the group ----------------------------------------------------------- */

static void warn_group(ColonyStatus *status)
{
    const StatusNode *leader = status->leader;

    if (!leader || !leader->apus) {
        return;
    }
    if (status->reached < status->majority) {
        warn(status, "majority", leader, g_strdup_printf(
            "%s reaches %u of %u members, which is no majority",
            leader->node->name, status->reached, status->members));
    } else if (status_is_fragile(status) && status->members > 1 &&
               !status->secondary) {
        warn(status, "fragile", NULL, g_strdup_printf(
            "one more loss, and there is no majority (%u of %u members)",
            status->reached, status->members));
    }
    if (colony_json_boolean(leader->apus, "changing", FALSE)) {
        warn(status, "changing", NULL, g_strdup(
            "a member is being replaced"));
    }
}

static void warn_member(ColonyStatus *status, const StatusNode *node)
{
    const char *name = node->node->name;

    if (colony_json_boolean(node->apus, "amnesiac", FALSE)) {
        warn(status, "amnesiac", node, g_strdup_printf(
            "%s was restarted, and does not count until the leader has "
            "brought it up to date", name));
    }
    if (!g_strcmp0(colony_json_string(node->apus, "state"), "failed")) {
        warn(status, "storage", node, g_strdup_printf(
            "%s cannot write to %s: it counts for nothing until it is "
            "started again", name, node->node->directory));
    }
    if (node->role == STATUS_DEPOSED && status_part_is(node, "leader")) {
        warn(status, "two-leaders", node, g_strdup_printf(
            "%s was cut off, and does not know yet that it leads no more; what "
            "its guest says is not heard", name));
    } else if (node->role == STATUS_DEPOSED) {
        warn(status, "deposed", node, g_strdup_printf(
            "the old QEMU on %s is still there", name));
    }
}

/* --- a node -------------------------------------------------------------- */

static void warn_process(ColonyStatus *status, const StatusNode *node)
{
    const char *program = node->node->can_run ? "QEMU" : "apusd";
    gint64 ended = colony_json_int(node->process, "ended", 0);
    double uptime = status_process_is(node, "running")
        ? status_number(node->process, "uptime", 0) : 0;
    const char *error = colony_json_string(node->process, "error");

    if (status_process_is(node, "silent")) {
        warn(status, "process", node, g_strdup_printf(
            "%s on %s is there, but does not answer", program,
            node->node->name));
    } else if (ended >= ENDED_OFTEN && uptime < ENDED_LATELY_S) {
        warn(status, "process", node, g_strdup_printf(
            "%s on %s has ended %d times%s%s", program, node->node->name,
            (int)MIN(ended, G_MAXINT), error ? ", last: " : "",
            error ? error : ""));
    }
}

static void warn_absent(ColonyStatus *status, const StatusNode *node)
{
    if (node->heard) {
        warn(status, "supervisor", node, g_strdup_printf(
            "the supervisor of %s does not answer (%s), its %s does; start "
            "colony run there", node->node->name, node->error,
            node->node->can_run ? "QEMU" : "apusd"));
    } else {
        warn(status, "missing", node, g_strdup_printf(
            "%s is missing: %s", node->node->name, node->error));
    }
}

/* An upgrade is not done before all processes have been started again. */
static void warn_program(ColonyStatus *status, const StatusNode *node)
{
    const char *supervisor = colony_json_string(node->report, "program");
    const char *process = colony_json_string(node->apus, "program");

    if (supervisor && strcmp(supervisor, colony_version)) {
        warn(status, "program", node, g_strdup_printf(
            "%s has Colony %s, here it is %s", node->node->name, supervisor,
            colony_version));
    }
    if (supervisor && node->apus && g_strcmp0(process, supervisor)) {
        warn(status, "old-process", node, g_strdup_printf(
            "the %s on %s is of Colony %s, not %s: %s",
            node->node->can_run ? "QEMU" : "apusd", node->node->name,
            process ? process : "0.1", supervisor, node == status->leader
            ? "colony switchover replaces it" : "colony restart replaces it"));
    }
}

static void warn_versions(ColonyStatus *status, const StatusNode *node)
{
    g_autofree char *ours = g_strdup_printf(
        "%016" G_GINT64_MODIFIER "x", colony_config_digest(status->config));
    const char *config = colony_json_string(node->report, "config");

    if (config && strcmp(config, ours)) {
        warn(status, "config", node, g_strdup_printf(
            "the file on %s says something else than %s", node->node->name,
            status->config->path));
    }
    warn_program(status, node);
}

static void warn_own(ColonyStatus *status, const StatusNode *node)
{
    JsonArray *own = colony_json_array(node->report, "warnings");

    for (guint i = 0; own && i < json_array_get_length(own); i++) {
        JsonNode *text = json_array_get_element(own, i);

        if (JSON_NODE_HOLDS_VALUE(text) &&
            json_node_get_value_type(text) == G_TYPE_STRING) {
            warn(status, "node", node, g_strdup_printf(
                "%s: %s", node->node->name, json_node_get_string(text)));
        }
    }
}

/* The VM runs, and this node does not get on without an operator. */
static void warn_stuck(ColonyStatus *status, const StatusNode *node)
{
    const char *error = colony_json_string(node->task, "error");

    if (status->leader && error &&
        colony_json_boolean(node->task, "force", FALSE)) {
        g_autofree char *text = status_with_names(status, node, error);

        warn(status, "stuck", node, g_strdup_printf("%s: %s", node->node->name,
                                                    text));
    }
}

/* --- syncs, disks, verification ------------------------------------------ */

/* Asked for, and not had: @what goes over TCP. */
static void warn_rdma(ColonyStatus *status, const StatusNode *node,
                      JsonObject *part, const char *what)
{
    const char *error = colony_json_string(part, "rdma-error");

    if (error) {
        warn(status, "rdma", node, g_strdup_printf(
            "%s of %s: not by RDMA: %s", what, node->node->name, error));
    }
}

static void warn_sync(ColonyStatus *status, const StatusNode *node)
{
    JsonObject *plover = colony_json_object(node->report, "plover");
    const char *error = colony_json_string(plover, "error");
    double age = status_number(plover, "age", 0);

    warn_rdma(status, node, plover, "syncs");
    if (node != status->leader || !status->secondary) {
        return;
    }
    if (age > 3 * status->config->interval / 1000.0 + SYNC_SLACK_S) {
        g_autofree char *ago = status_seconds(age);

        warn(status, "last-sync", node, g_strdup_printf(
            "the last sync was %s ago; one is to come every %u ms", ago,
            status->config->interval));
    }
    if (error) {
        g_autofree char *text = status_with_names(status, node, error);

        warn(status, "sync-failed", node, g_strdup_printf(
            "a sync was not completed: %s", text));
    }
}

static void warn_disk(ColonyStatus *status, const StatusNode *node,
                      JsonObject *disk)
{
    const char *error = colony_json_string(disk, "error");
    const char *id = colony_json_string(disk, "disk");

    warn_rdma(status, node, disk, id ? id : "a disk");

    /* While it is brought up to date, and written back, that is normal. */
    if (colony_json_boolean(disk, "partial", FALSE) &&
        !g_strcmp0(colony_json_string(disk, "state"), "alone")) {
        warn(status, "disk", node, g_strdup_printf(
            "%s of %s has a part of a state only, until it was brought up to "
            "date", id ? id : "a disk", node->node->name));
    }
    if (error) {
        warn(status, "disk", node, g_strdup_printf(
            "%s of %s: %s", id ? id : "a disk", node->node->name, error));
    }
}

static void warn_disks(ColonyStatus *status, const StatusNode *node)
{
    JsonArray *disks = node->role == STATUS_DEPOSED ? NULL :
        colony_json_array(node->report, "gannet");

    for (guint i = 0; disks && i < json_array_get_length(disks); i++) {
        JsonNode *disk = json_array_get_element(disks, i);

        if (JSON_NODE_HOLDS_OBJECT(disk)) {
            warn_disk(status, node, json_node_get_object(disk));
        }
    }
}

static void warn_verified(ColonyStatus *status, const StatusNode *node)
{
    JsonObject *verified = colony_json_object(node->report, "verified");
    const char *state = colony_json_string(verified, "state");
    const char *error = colony_json_string(verified, "error");
    g_autofree char *bytes = NULL;

    if (!g_strcmp0(state, "different")) {
        bytes = status_bytes(colony_json_int(verified, "differing-bytes", 0));
        warn(status, "verify", node, g_strdup_printf(
            "the last verification has found differences: %" G_GINT64_FORMAT
            " pages, %s of the disks", colony_json_int(verified, "differing",
                                                       0), bytes));
    } else if (!g_strcmp0(state, "failed")) {
        warn(status, "verify", node, g_strdup_printf(
            "the last verification was not completed%s%s",
            error ? ": " : "", error ? error : ""));
    }
}

/* --- what the guest hears and says --------------------------------------- */

static void warn_guest(ColonyStatus *status, const StatusNode *node)
{
    const char *run = colony_json_string(node->guest, "status");
    JsonObject *supervisor = colony_json_object(node->report, "supervisor");

    if (node == status->leader && node->apus &&
        !g_strcmp0(colony_json_string(supervisor, "wanted"), "down")) {
        warn(status, "down", node, g_strdup_printf(
            "the guest was asked to power off, and has not yet; colony up %s "
            "takes that back", status->config->path));
    }
    if (node == status->leader && status->health == COLONY_HELD && run &&
        !colony_json_boolean(node->guest, "running", TRUE)) {
        warn(status, "guest", node, g_strdup_printf(
            "the guest on %s does not run: %s", node->node->name, run));
    }
}

static void warn_dropped(ColonyStatus *status, const StatusNode *node)
{
    JsonObject *counters = colony_json_object(node->apus, "counters");
    JsonObject *outputs = colony_json_object(node->apus, "outputs");
    double dropped = (double)colony_json_int(counters, "strange", 0) +
                     colony_json_int(outputs, "dropped", 0);

    if (node == status->leader && dropped > 0) {
        warn(status, "dropped", node, g_strdup_printf(
            "%s has dropped %.0f frames: there was no room, or no network card",
            node->node->name, dropped));
    }
}

void status_warn_all(ColonyStatus *status)
{
    warn_group(status);
    for (unsigned i = 0; i < status->count; i++) {
        const StatusNode *node = &status->nodes[i];

        if (!node->report) {
            warn_absent(status, node);
            continue;
        }
        warn_member(status, node);
        warn_process(status, node);
        warn_stuck(status, node);
        warn_guest(status, node);
        warn_sync(status, node);
        warn_disks(status, node);
        warn_verified(status, node);
        warn_dropped(status, node);
        warn_versions(status, node);
        warn_own(status, node);
    }
}
