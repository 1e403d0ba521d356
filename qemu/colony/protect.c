/*
 * The leader comes to be protected
 *
 * protect-rules.c decides; here is found out how things are, and done what was
 * decided. Whether a stage is done is read from what QEMU is, not from events,
 * which may have come while no supervisor was there; events only tell that
 * something has failed, and why.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "command.h"
#include "line.h"
#include "protect-rules.h"
#include "report.h"
#include "sequence.h"
#include "supervisor-internal.h"

#define COMMAND_MS 10000
#define PREPARE_MS 30000
/* Without progress for so long it has failed: a stage, and memory's copy. */
#define STILL_US (60 * G_TIME_SPAN_SECOND)
#define STUCK_US (5 * G_TIME_SPAN_SECOND)
#define SILENT_US (2 * G_TIME_SPAN_SECOND) /* a QEMU that is busy */

struct ColonyProtector {
    ColonySupervisor *supervisor;
    ColonyTask task;
    ColonyStage stage;
    const ColonyNode *peer; /* since PREPARE */
    const ColonyNode *asked; /* by an operator, or NULL: whichever */
    gboolean wanted; /* by an operator */
    gboolean done; /* what the stage was to do; of PREPARE */
    gboolean sent; /* the stage's commands */
    char *failure; /* of the stage, or NULL */
    unsigned failures; /* in a row */
    unsigned round; /* of stages: answers to the ones before are late */
    gint64 next; /* WAIT's end, monotonic */
    guint64 amount; /* how far the stage is */
    gint64 moved; /* when that had changed, monotonic */
    gboolean moving; /* a migration is under way */
    gint64 flows; /* when it last told that bytes are sent, monotonic; or 0 */
    gboolean asking; /* for that */
    gboolean informed; /* that was answered */
    unsigned idle; /* answers in a row that there is none */
    guint timer;
};

/* The answer to something that a stage has asked for. */
typedef struct Asked {
    ColonyProtector *protector;
    unsigned round;
} Asked;

static void *asked_new(ColonyProtector *protector)
{
    Asked *asked = g_new(Asked, 1);

    *asked = (Asked) { protector, protector->round };
    return asked;
}

/* NULL: it comes too late. */
static ColonyProtector *take_asked(void *opaque)
{
    g_autofree Asked *asked = opaque;

    return asked->round == asked->protector->round ? asked->protector : NULL;
}

static void set_stage(ColonyProtector *protector, ColonyStage stage)
{
    static const char *const kinds[] = {
        [COLONY_STAGE_PREPARE] = "ask",
        [COLONY_STAGE_RESYNC] = "resync",
        [COLONY_STAGE_MIGRATE] = "migrate",
        [COLONY_STAGE_WAIT] = "retry",
    };

    protector->stage = stage;
    protector->round++;
    protector->sent = protector->done = FALSE;
    protector->amount = 0;
    protector->idle = 0;
    protector->flows = 0;
    protector->moved = g_get_monotonic_time();
    g_clear_pointer(&protector->failure, g_free);
    colony_task_set(protector->supervisor, &protector->task, kinds[stage],
                    stage == COLONY_STAGE_IDLE ? NULL : protector->peer);
    protector->task.attempt = protector->failures + 1;
}

static void fail(ColonyProtector *protector, const char *why)
{
    if (!protector->failure) {
        protector->failure = g_strdup(why);
        colony_supervisor_wake(protector->supervisor);
    }
}

/* --- how things are ------------------------------------------------------- */

static gboolean is_candidate(ColonyProtector *protector,
                             const ColonyNode *node)
{
    ColonySupervisor *supervisor = protector->supervisor;
    JsonObject *start;

    if (node == supervisor->node || !node->can_run) {
        return FALSE;
    }
    start = colony_json_object(
        colony_peers_get(supervisor->peers, node)->report, "start");
    return colony_view_counts(colony_supervisor_view(supervisor), node->id) &&
           !g_strcmp0(colony_json_string(start, "process"), "idle") &&
           (guint64)colony_json_int(start, "generation", 0) ==
           supervisor->record->generation;
}

/* Rather the one whose disks were in step last: they need least. */
static const ColonyNode *get_candidate(ColonyProtector *protector)
{
    ColonySupervisor *supervisor = protector->supervisor;
    GPtrArray *nodes = supervisor->config->nodes;
    const ColonyNode *first = NULL;

    for (guint i = 0; i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);

        if ((!protector->asked || node == protector->asked) &&
            is_candidate(protector, node) &&
            (!first || node->id == supervisor->record->mate)) {
            first = node;
        }
    }
    return first;
}

typedef struct Disks {
    guint count, synced, alone;
    guint linked; /* to another node's, or about to be */
    guint64 done, total;
} Disks;

static Disks get_disks(const ColonyView *view)
{
    static const char *const linked[] = {
        "connecting", "copying", "synced", NULL,
    };
    JsonArray *array = view->gannet && JSON_NODE_HOLDS_ARRAY(view->gannet)
                       ? json_node_get_array(view->gannet) : NULL;
    Disks disks = { .count = array ? json_array_get_length(array) : 0 };

    for (guint i = 0; i < disks.count; i++) {
        JsonNode *node = json_array_get_element(array, i);
        JsonObject *disk = JSON_NODE_HOLDS_OBJECT(node)
                           ? json_node_get_object(node) : NULL;
        JsonObject *primary = colony_json_object(disk, "primary");
        const char *state = colony_json_string(disk, "state");

        disks.synced += !g_strcmp0(state, "synced");
        disks.alone += !g_strcmp0(state, "alone") ||
                       !g_strcmp0(state, "survivor");
        disks.linked += state && g_strv_contains(linked, state);
        disks.done += colony_json_int(primary, "copy-done", 0);
        disks.total += colony_json_int(primary, "copy-total", 0);
    }
    return disks;
}

static void note_amount(ColonyProtector *protector, guint64 done,
                        guint64 total)
{
    protector->task.done = done;
    protector->task.total = total;
    if (done != protector->amount) {
        protector->amount = done;
        protector->moved = g_get_monotonic_time();
    }
}

static gboolean is_flowing(const ColonyProtector *protector)
{
    return g_get_monotonic_time() - protector->flows < SILENT_US;
}

/*
 * What comes before and after the copy may take its time, and of a QEMU that
 * is busy with the end of it nothing is heard.
 */
static void note_flow(ColonyProtector *protector, const char *status)
{
    gboolean flows = !g_strcmp0(status, "active") ||
                     !g_strcmp0(status, "device");

    if (flows && !is_flowing(protector)) {
        protector->moved = g_get_monotonic_time();
    }
    protector->flows = flows ? g_get_monotonic_time() : 0;
}

static void on_migrate_info(void *opaque, JsonNode *result,
                            const GError *error G_GNUC_UNUSED)
{
    static const char *const moving[] = {
        "setup", "active", "device", "colo", "pre-switchover", "wait-unplug",
        NULL,
    };
    ColonyProtector *protector = opaque;
    JsonObject *info = result && JSON_NODE_HOLDS_OBJECT(result)
                       ? json_node_get_object(result) : NULL;
    JsonObject *ram = colony_json_object(info, "ram");
    const char *status = colony_json_string(info, "status");

    protector->asking = FALSE;
    if (!info) {
        return;
    }
    protector->informed = TRUE;
    protector->moving = status && g_strv_contains(moving, status);
    protector->idle = protector->moving ? 0 : protector->idle + 1;
    if (protector->stage == COLONY_STAGE_MIGRATE) {
        colony_task_set(protector->supervisor, &protector->task,
                        !g_strcmp0(status, "colo") ? "protect" : "migrate",
                        protector->peer);
        note_flow(protector, status);
        /* One may have been on its way when the migration was begun. */
        if (protector->sent && protector->idle > 2) {
            fail(protector, "the migration has ended");
        }
        note_amount(protector, colony_json_int(ram, "transferred", 0),
                    colony_json_int(ram, "total", 0));
    }
}

/* Before anything is begun, and while it is under way. */
static void ask_migration(ColonyProtector *protector)
{
    ColonyQmp *qmp = colony_machine_qmp(protector->supervisor->machine);

    if (qmp && !protector->asking) {
        protector->asking = TRUE;
        colony_qmp_command(qmp, "query-migrate", NULL, COMMAND_MS,
                           on_migrate_info, protector);
    }
}

/* The disks have a peer that is not the one that is to take the VM. */
static gboolean is_astray(const ColonyProtector *protector, const Disks *disks)
{
    return disks->linked && protector->peer &&
           protector->peer->id != protector->supervisor->record->mate;
}

static gboolean is_done(ColonyProtector *protector, const Disks *disks)
{
    return protector->stage == COLONY_STAGE_RESYNC
           ? protector->sent && disks->synced ==
             protector->supervisor->config->disks->len
           : protector->done && !is_astray(protector, disks);
}

/* How a stage that makes no progress is noticed. */
static void check_progress(ColonyProtector *protector)
{
    gint64 still = g_get_monotonic_time() - protector->moved;
    gint64 patience = STILL_US;
    g_autofree char *text = NULL;

    if (protector->stage == COLONY_STAGE_IDLE ||
        protector->stage == COLONY_STAGE_WAIT) {
        return;
    }
    if (is_flowing(protector)) {
        patience = MAX(STUCK_US, 10 * 1000 *
                       (gint64)protector->supervisor->config->timeout);
    }
    if (still > patience) {
        text = g_strdup_printf("there was no progress for %d s",
                               (int)(patience / G_TIME_SPAN_SECOND));
        fail(protector, text);
    }
}

static ColonyStep decide(ColonyProtector *protector)
{
    ColonySupervisor *supervisor = protector->supervisor;
    const ColonyView *view = colony_supervisor_view(supervisor);
    Disks disks = get_disks(view);
    ColonyProgress progress = {
        .stage = protector->stage,
        .known = view->known && view->gannet,
        .leads = colony_view_leads(view),
        .protected = view->protected,
        .wanted = supervisor->record->wanted &&
                  (supervisor->config->reprotect || protector->wanted),
        .moving = protector->moving,
        .candidate = protector->informed && get_candidate(protector),
        .due = g_get_monotonic_time() >= protector->next,
        .done = is_done(protector, &disks),
        .disks = disks.synced < supervisor->config->disks->len,
    };

    if (protector->stage == COLONY_STAGE_RESYNC) {
        note_amount(protector, disks.done, disks.total);
        if (protector->sent && disks.alone) {
            fail(protector, "a disk has lost its peer");
        }
    }
    check_progress(protector);
    progress.failed = protector->failure != NULL;
    return colony_protect_decide(&progress);
}

/* --- what is done --------------------------------------------------------- */

static void on_sent(void *opaque, const GError *error)
{
    ColonyProtector *protector = take_asked(opaque);

    if (!protector) {
        return;
    }
    protector->sent = TRUE;
    protector->moved = g_get_monotonic_time();
    if (error) {
        fail(protector, error->message);
    }
    colony_supervisor_wake(protector->supervisor);
}

static void send_commands(ColonyProtector *protector, GPtrArray *commands)
{
    ColonyQmp *qmp = colony_machine_qmp(protector->supervisor->machine);

    if (qmp) {
        colony_sequence_run(qmp, commands, COMMAND_MS, on_sent,
                            asked_new(protector));
    } else {
        g_ptr_array_unref(commands);
        fail(protector, "QEMU does not answer");
    }
}

static void on_prepared(void *opaque, JsonObject *result G_GNUC_UNUSED,
                        const GError *error)
{
    ColonyProtector *protector = take_asked(opaque);

    if (!protector) {
        return;
    }
    protector->done = !error;
    if (error) {
        fail(protector, error->message);
    }
    colony_supervisor_wake(protector->supervisor);
}

/* The disks let go of their peer; what it lacks from then on is noted. */
static void part_disks(ColonyProtector *protector)
{
    ColonyQmp *qmp = colony_machine_qmp(protector->supervisor->machine);
    JsonObject *arguments;

    if (qmp) {
        arguments = json_object_new();
        json_object_set_boolean_member(arguments, "failover", FALSE);
        colony_qmp_command(qmp, "gannet-stop", arguments, COMMAND_MS, NULL,
                           NULL);
    }
}

static void prepare(ColonyProtector *protector)
{
    ColonySupervisor *supervisor = protector->supervisor;
    JsonObject *arguments = json_object_new();
    Disks disks = get_disks(colony_supervisor_view(supervisor));

    protector->peer = get_candidate(protector);
    set_stage(protector, COLONY_STAGE_PREPARE);
    if (is_astray(protector, &disks)) {
        part_disks(protector);
    }
    json_object_set_string_member(arguments, "leader", supervisor->node->name);
    colony_call_async(supervisor->config, protector->peer, FALSE, "prepare",
                      arguments, PREPARE_MS, on_prepared,
                      asked_new(protector));
}

static void migrate(ColonyProtector *protector)
{
    set_stage(protector, COLONY_STAGE_MIGRATE);
    send_commands(protector, colony_command_protect(
        protector->supervisor->config, protector->peer));
}

static gboolean is_synced(const ColonyView *view, JsonNode *command)
{
    JsonObject *arguments = colony_json_object(json_node_get_object(command),
                                               "arguments");
    const char *name = colony_json_string(arguments, "node-name");
    JsonArray *array = view->gannet && JSON_NODE_HOLDS_ARRAY(view->gannet)
                       ? json_node_get_array(view->gannet) : NULL;

    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        JsonObject *disk = JSON_NODE_HOLDS_OBJECT(node)
                           ? json_node_get_object(node) : NULL;

        if (!g_strcmp0(colony_json_string(disk, "node-name"), name)) {
            return !g_strcmp0(colony_json_string(disk, "state"), "synced");
        }
    }
    return FALSE;
}

/* From here on the disks are in step with that node, or with none. */
static void resync(ColonyProtector *protector)
{
    ColonySupervisor *supervisor = protector->supervisor;
    GPtrArray *commands;

    supervisor->record->mate = protector->peer->id;
    colony_supervisor_save(supervisor, NULL);
    set_stage(protector, COLONY_STAGE_RESYNC);
    commands = colony_command_resync(supervisor->config, protector->peer,
                                     FALSE);
    for (guint i = commands->len; i-- > 0; ) {
        if (is_synced(colony_supervisor_view(supervisor),
                      g_ptr_array_index(commands, i))) {
            g_ptr_array_remove_index(commands, i);
        }
    }
    send_commands(protector, commands);
}

static gboolean on_timer(void *opaque)
{
    ColonyProtector *protector = opaque;

    protector->timer = 0;
    colony_supervisor_wake(protector->supervisor);
    return G_SOURCE_REMOVE;
}

/* What was begun is called off; COLO itself ends by itself. */
static void give_up(ColonyProtector *protector)
{
    ColonyQmp *qmp = colony_machine_qmp(protector->supervisor->machine);
    g_autofree char *why = g_steal_pointer(&protector->failure);
    unsigned delay;

    if (qmp && protector->stage == COLONY_STAGE_MIGRATE) {
        colony_qmp_command(qmp, "migrate_cancel", NULL, COMMAND_MS, NULL,
                           NULL);
    }
    protector->failures++;
    delay = colony_protect_delay(protector->failures);
    g_message("not protected by %s: %s; next try in %u ms",
              protector->peer ? protector->peer->name : "?", why, delay);
    set_stage(protector, COLONY_STAGE_WAIT);
    protector->moving = protector->informed = FALSE;
    protector->next = g_get_monotonic_time() + delay * 1000;
    protector->task.next = protector->next;
    colony_task_error(&protector->task, why);
    g_clear_handle_id(&protector->timer, g_source_remove);
    protector->timer = g_timeout_add(delay, on_timer, protector);
}

static void rest(ColonyProtector *protector)
{
    set_stage(protector, COLONY_STAGE_IDLE);
    colony_task_error(&protector->task, NULL);
    protector->failures = 0;
    protector->moving = protector->informed = protector->wanted = FALSE;
    protector->asked = NULL;
}

void colony_protector_look(ColonyProtector *protector)
{
    const ColonyView *view = colony_supervisor_view(protector->supervisor);

    switch (decide(protector)) {
    case COLONY_STEP_NONE:
        break;
    case COLONY_STEP_PREPARE:
        prepare(protector);
        break;
    case COLONY_STEP_RESYNC:
        resync(protector);
        break;
    case COLONY_STEP_MIGRATE:
        migrate(protector);
        break;
    case COLONY_STEP_FOLLOW:
        protector->peer = NULL;
        set_stage(protector, COLONY_STAGE_MIGRATE);
        protector->sent = TRUE;
        break;
    case COLONY_STEP_FAIL:
        give_up(protector);
        break;
    case COLONY_STEP_REST:
        rest(protector);
        break;
    }
    if (view->part == COLONY_PART_LEADER && !view->protected) {
        ask_migration(protector);
    }
}

void colony_protector_event(ColonyProtector *protector, const char *event,
                            JsonObject *data)
{
    const char *reason = colony_json_string(data, "reason");
    const char *status = colony_json_string(data, "status");
    g_autofree char *text = NULL;

    if (protector->stage == COLONY_STAGE_RESYNC &&
        !g_strcmp0(event, "GANNET_PEER_LOST")) {
        text = g_strdup_printf("disk %s: %s",
                               colony_json_string(data, "node-name"), reason);
    } else if (protector->stage != COLONY_STAGE_MIGRATE) {
        return;
    } else if (!g_strcmp0(event, "COLO_EXIT")) {
        text = g_strdup_printf("COLO has ended: %s", reason);
    } else if (!g_strcmp0(event, "MIGRATION") &&
               (!g_strcmp0(status, "failed") ||
                !g_strcmp0(status, "cancelled"))) {
        text = g_strdup_printf("the migration has %s",
                               !g_strcmp0(status, "failed")
                               ? "failed" COLONY_SAYS_WHY : "been cancelled");
    }
    if (text) {
        fail(protector, text);
    }
}

void colony_protector_lost(ColonyProtector *protector,
                           const char *why G_GNUC_UNUSED)
{
    protector->informed = FALSE;
    if (protector->stage != COLONY_STAGE_IDLE) {
        rest(protector);
    }
}

void colony_protector_now(ColonyProtector *protector, const ColonyNode *node)
{
    protector->wanted = TRUE;
    protector->asked = node;
    protector->failures = 0;
    protector->next = 0;
    colony_peers_ask(protector->supervisor->peers);
    colony_supervisor_wake(protector->supervisor);
}

const ColonyTask *colony_protector_task(const ColonyProtector *protector)
{
    return &protector->task;
}

ColonyProtector *colony_protector_new(ColonySupervisor *supervisor)
{
    ColonyProtector *protector = g_new0(ColonyProtector, 1);

    protector->supervisor = supervisor;
    return protector;
}

void colony_protector_free(ColonyProtector *protector)
{
    if (protector) {
        g_clear_handle_id(&protector->timer, g_source_remove);
        g_clear_pointer(&protector->failure, g_free);
        g_free(protector->task.error);
        g_free(protector);
    }
}
