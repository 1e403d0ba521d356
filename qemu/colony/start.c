/*
 * A node begins
 *
 * start-rules.c decides; here is found out how things are, and done what was
 * decided. Where a process has to end first that is waited for, and then looked
 * again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "situation.h"

#define POWERDOWN_MS 5000
#define END_MS 5000 /* for a process to end by itself */
#define FOUND_MS 20000 /* for another node to be ready for it */
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define SETTLE_MS 3000
#define INSIST_US (60 * G_TIME_SPAN_SECOND) /* for which "force" counts */
#define SILENT_US (30 * G_TIME_SPAN_SECOND) /* then others are believed */
#define STABLE_US (10 * G_TIME_SPAN_SECOND) /* then failures are forgotten */

/* A founding that this node is to belong to. */
typedef struct Adoption {
    guint64 generation; /* 0: none */
    char *id;
    const ColonyNode *boot;
    ColonyRequest *request; /* who wants to know, or NULL */
    char **absent; /* nodes that were not told; or NULL */
    gboolean own; /* this node has begun it, and goes on with it */
} Adoption;

struct ColonyStarter {
    ColonySupervisor *supervisor;
    ColonyTask task;
    ColonyInsist insist;
    gint64 insist_end; /* when that is forgotten, monotonic */
    Adoption adoption;
    gint64 quiet; /* since when nobody had the VM, monotonic; 0: not so */
    gboolean launching;
    gboolean ending; /* the process was told to end */
    unsigned failures; /* of starts, one after the other */
    gint64 next; /* when one may be tried again, monotonic */
    gint64 heard; /* when the process answered last, monotonic */
    gint64 launched; /* when the process was started or found, monotonic */
    guint timer;
    /* A founding that this node has begun: */
    guint64 found; /* its generation; 0: none */
    char *id;
    const ColonyNode *boot;
    unsigned left; /* nodes that have not answered */
    char **absent; /* nodes that are off for certain, and are not told */
    char *refused; /* why one refused, or NULL */
};

/* --- how things are ------------------------------------------------------- */

static gboolean is_quiet(ColonyStarter *starter, const ColonySituation *nodes,
                         unsigned count)
{
    gint64 settle = MAX(SETTLE_MS, 10 * starter->supervisor->config->timeout);

    for (unsigned i = 0; i < count; i++) {
        if (nodes[i].process == COLONY_PROCESS_VM ||
            nodes[i].process == COLONY_PROCESS_BOOTS) {
            starter->insist = (ColonyInsist) { .disk_of = -1 };
            starter->quiet = 0;
            return FALSE;
        }
    }
    if (!starter->quiet) {
        starter->quiet = g_get_monotonic_time();
    }
    return g_get_monotonic_time() - starter->quiet > settle * 1000;
}

static ColonyDecision decide(ColonyStarter *starter)
{
    GPtrArray *nodes = starter->supervisor->config->nodes;
    g_autofree ColonySituation *all = g_new0(ColonySituation, nodes->len);
    unsigned self;

    if (g_get_monotonic_time() > starter->insist_end) {
        starter->insist = (ColonyInsist) { .disk_of = -1 };
    }
    self = colony_situation_gather(starter->supervisor, all);
    return colony_start_decide(all, nodes->len, self,
                               is_quiet(starter, all, nodes->len),
                               &starter->insist);
}

gboolean colony_starter_is_idle(const ColonyStarter *starter)
{
    return !starter->ending &&
           colony_situation_process(starter->supervisor) == COLONY_PROCESS_IDLE;
}

/* --- what is done --------------------------------------------------------- */

static gboolean on_timer(void *opaque)
{
    ColonyStarter *starter = opaque;

    starter->timer = 0;
    colony_supervisor_wake(starter->supervisor);
    return G_SOURCE_REMOVE;
}

/* The next start is tried later, and ever later. */
static void back_off(ColonyStarter *starter, const char *why)
{
    unsigned delay = 0;

    if (starter->failures) {
        delay = RETRY_MIN_MS << MIN(starter->failures - 1, 10u);
    }
    delay = MIN(delay, RETRY_MAX_MS);
    starter->failures++;
    starter->next = g_get_monotonic_time() + delay * 1000;
    colony_task_set(starter->supervisor, &starter->task, "start", NULL);
    colony_task_error(&starter->task, why);
    starter->task.next = starter->next;
    starter->task.attempt = starter->failures;
    g_clear_handle_id(&starter->timer, g_source_remove);
    starter->timer = g_timeout_add(delay, on_timer, starter);
}

static gboolean must_wait(const ColonyStarter *starter)
{
    return g_get_monotonic_time() < starter->next;
}

static void on_launched(void *opaque, const GError *error)
{
    ColonyStarter *starter = opaque;
    ColonySupervisor *supervisor = starter->supervisor;
    JsonObject *data;

    starter->launching = FALSE;
    if (error) {
        g_warning("%s", error->message);
        back_off(starter, error->message);
        return;
    }
    starter->launched = g_get_monotonic_time();
    data = json_object_new();
    json_object_set_string_member(data, "kind", supervisor->node->can_run
                                                ? "qemu" : "apusd");
    json_object_set_int_member(data, "pid",
                               colony_machine_pid(supervisor->machine));
    colony_supervisor_emit(supervisor, "COLONY_STARTED", data);
    colony_supervisor_wake(supervisor);
}

static void launch(ColonyStarter *starter)
{
    if (!must_wait(starter)) {
        colony_task_set(starter->supervisor, &starter->task, "start", NULL);
        starter->launching = TRUE;
        colony_launch(starter->supervisor, on_launched, starter);
    }
}

static void end_process(ColonyStarter *starter)
{
    if (!starter->supervisor->ending && !starter->ending &&
        colony_machine_is_running(starter->supervisor->machine)) {
        starter->ending = TRUE;
        colony_machine_end(starter->supervisor->machine, END_MS);
    }
}

void colony_starter_renew(ColonyStarter *starter)
{
    end_process(starter);
}

static void answer(ColonyRequest **request, const GError *error)
{
    if (*request && error) {
        colony_request_fail(*request, error);
    } else if (*request) {
        colony_request_return(*request, NULL);
    }
    *request = NULL;
}

static void found_on_boot(ColonyStarter *starter);
static void found_end(ColonyStarter *starter, const char *why);

/* The process of before is gone. */
static void adopt(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    Adoption adoption = starter->adoption;
    g_autoptr(GError) error = NULL;

    memset(&starter->adoption, 0, sizeof(starter->adoption));
    starter->insist = (ColonyInsist) { .disk_of = -1 };
    colony_record_found(supervisor->record, adoption.generation, adoption.id,
                        adoption.boot->name,
                        (const char *const *)adoption.absent, &error);
    answer(&adoption.request, error);
    starter->failures = 0;
    starter->next = 0;
    if (error && adoption.own) {
        found_end(starter, error->message);
    } else if (error) {
        back_off(starter, error->message);
    } else if (adoption.own) {
        found_on_boot(starter);
    }
    g_free(adoption.id);
    g_strfreev(adoption.absent);
    colony_supervisor_wake(supervisor);
}

static void begin_adoption(ColonyStarter *starter, guint64 generation,
                           const char *id, const ColonyNode *boot,
                           gboolean own, ColonyRequest *request)
{
    starter->adoption = (Adoption) {
        .generation = generation,
        .id = g_strdup(id),
        .boot = boot,
        .own = own,
        .request = request,
        .absent = g_steal_pointer(&starter->absent),
    };
    if (colony_machine_is_running(starter->supervisor->machine)) {
        end_process(starter);
    } else {
        adopt(starter);
    }
}

/* It becomes a part of the group's name. */
static gboolean is_id(const char *id)
{
    return id && *id && strlen(id) <= 8 &&
           strspn(id, "0123456789abcdef") == strlen(id);
}

static void join(ColonyStarter *starter, const ColonyNode *node)
{
    const ColonyConfig *config = starter->supervisor->config;
    JsonObject *start = colony_json_object(
        colony_peers_get(starter->supervisor->peers, node)->report, "start");
    const char *id = colony_json_string(start, "id");
    const ColonyNode *boot = NULL;

    if (colony_json_string(start, "boot")) {
        boot = colony_config_node(config, colony_json_string(start, "boot"));
    }
    if (is_id(id) && boot) {
        begin_adoption(starter, colony_json_int(start, "generation", 0), id,
                       boot, FALSE, NULL);
    }
}

static void switch_off(ColonyStarter *starter)
{
    ColonyRecord *record = starter->supervisor->record;

    record->off = TRUE;
    record->wanted = FALSE;
    colony_supervisor_save(starter->supervisor, NULL);
    end_process(starter);
}

/* --- founding ------------------------------------------------------------- */

static void found_end(ColonyStarter *starter, const char *why)
{
    starter->found = 0;
    g_clear_pointer(&starter->id, g_free);
    g_clear_pointer(&starter->refused, g_free);
    g_clear_pointer(&starter->absent, g_strfreev);
    starter->insist = (ColonyInsist) { .disk_of = -1 };
    if (why) {
        back_off(starter, why);
    }
}

static void ask_to_found(ColonyStarter *starter, const ColonyNode *node,
                         ColonyCallDone *done)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "generation", starter->found);
    json_object_set_string_member(arguments, "id", starter->id);
    json_object_set_string_member(arguments, "leader", starter->boot->name);
    colony_call_async(starter->supervisor->config, node, FALSE, "found",
                      arguments, FOUND_MS, done, starter);
}

static void on_boot_answer(void *opaque,
                           JsonObject *result G_GNUC_UNUSED,
                           const GError *error)
{
    found_end(opaque, error ? error->message : NULL);
}

/* All others have let go of the group of before. */
static void found_on_boot(ColonyStarter *starter)
{
    ask_to_found(starter, starter->boot, on_boot_answer);
}

static void found_here(ColonyStarter *starter)
{
    ColonyStarter copy = *starter;

    if (copy.boot == copy.supervisor->node) {
        starter->id = NULL;
        starter->absent = NULL;
        found_end(starter, NULL);
        starter->absent = copy.absent;
        begin_adoption(starter, copy.found, copy.id, copy.boot, FALSE, NULL);
        g_free(copy.id);
    } else {
        begin_adoption(starter, copy.found, copy.id, copy.boot, TRUE, NULL);
    }
}

static void on_answer(void *opaque, JsonObject *result G_GNUC_UNUSED,
                      const GError *error)
{
    ColonyStarter *starter = opaque;
    g_autofree char *refused = NULL;

    if (error && !starter->refused) {
        starter->refused = g_strdup(error->message);
    }
    if (--starter->left) {
        return;
    }
    if (starter->refused) {
        refused = g_steal_pointer(&starter->refused);
        found_end(starter, refused);
    } else {
        found_here(starter);
    }
}

static void found(ColonyStarter *starter, guint64 generation,
                  const ColonyNode *boot)
{
    ColonySupervisor *supervisor = starter->supervisor;
    GPtrArray *nodes = supervisor->config->nodes;
    g_autoptr(GStrvBuilder) absent = g_strv_builder_new();

    if (must_wait(starter)) {
        return;
    }
    colony_task_set(supervisor, &starter->task, "start", boot);
    starter->found = generation;
    starter->id = g_strdup_printf("%08x", g_random_int());
    starter->boot = boot;
    starter->left = 1;
    for (guint i = 0; i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);

        if (node == supervisor->node) {
            continue;
        }
        if (!colony_peers_get(supervisor->peers, node)->report) {
            g_strv_builder_add(absent, node->name);
        } else if (node != boot) {
            starter->left++;
            ask_to_found(starter, node, on_answer);
        }
    }
    starter->absent = g_strv_builder_end(absent);
    on_answer(starter, NULL, NULL);
}

/* --- the whole ------------------------------------------------------------ */

static void wait_for(ColonyStarter *starter, const ColonyDecision *decision)
{
    GPtrArray *nodes = starter->supervisor->config->nodes;
    const ColonyNode *node = g_ptr_array_index(nodes, decision->node);
    g_autoptr(GString) why = g_string_new(decision->why);

    g_string_replace(why, "%s", node->name, 0);
    colony_task_set(starter->supervisor, &starter->task, "cold", NULL);
    starter->task.force = decision->what == COLONY_DO_ASK;
    colony_task_error(&starter->task, why->str);
}

static void act(ColonyStarter *starter, const ColonyDecision *decision)
{
    GPtrArray *nodes = starter->supervisor->config->nodes;
    const ColonyNode *node = g_ptr_array_index(nodes, decision->node);

    switch (decision->what) {
    case COLONY_DO_NOTHING:
        if (starter->task.kind && !must_wait(starter)) {
            colony_task_error(&starter->task, NULL);
            colony_task_set(starter->supervisor, &starter->task, NULL, NULL);
        }
        break;
    case COLONY_DO_START:
        starter->supervisor->record->off = FALSE;
        launch(starter);
        break;
    case COLONY_DO_END:
        end_process(starter);
        break;
    case COLONY_DO_JOIN:
        join(starter, node);
        break;
    case COLONY_DO_STOP:
        switch_off(starter);
        break;
    case COLONY_DO_FOUND:
        found(starter, decision->generation, node);
        break;
    case COLONY_DO_WAIT:
    case COLONY_DO_ASK:
        wait_for(starter, decision);
        break;
    }
}

/* A QEMU that hangs for good, and has been left out, makes room for another. */
static void note_silence(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    gint64 now = g_get_monotonic_time();

    if (colony_supervisor_view(supervisor)->known ||
        !colony_machine_is_running(supervisor->machine)) {
        starter->heard = now;
    }
    supervisor->given_up = now - starter->heard > SILENT_US &&
                           colony_situation_is_left_out(supervisor);
}

void colony_starter_look(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyDecision decision;

    if (starter->adoption.generation &&
        !colony_machine_is_running(supervisor->machine)) {
        adopt(starter);
        return;
    }
    if (starter->launching || starter->found || starter->ending ||
        starter->adoption.generation) {
        return;
    }
    if (supervisor->record->founding &&
        colony_supervisor_view(supervisor)->known) {
        supervisor->record->founding = FALSE;
        colony_supervisor_save(supervisor, NULL);
    }
    colony_situation_note_members(supervisor);
    note_silence(starter);
    decision = decide(starter);
    act(starter, &decision);
}

gboolean colony_starter_ended(ColonyStarter *starter, gboolean off)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyRecord *record = supervisor->record;
    gboolean meant = starter->ending || off;

    starter->ending = FALSE;
    if (off) {
        record->off = TRUE;
        record->wanted = FALSE;
        colony_supervisor_save(supervisor, NULL);
    }
    if (!record->wanted) {
        colony_taps_remove(supervisor->taps);
    }
    if (meant || g_get_monotonic_time() - starter->launched > STABLE_US) {
        starter->failures = 0;
        starter->next = 0;
    }
    if (!meant) {
        back_off(starter, supervisor->end);
    }
    return meant;
}

const ColonyTask *colony_starter_task(const ColonyStarter *starter)
{
    return &starter->task;
}

ColonyStarter *colony_starter_new(ColonySupervisor *supervisor)
{
    ColonyStarter *starter = g_new0(ColonyStarter, 1);

    starter->supervisor = supervisor;
    starter->insist.disk_of = -1;
    starter->heard = g_get_monotonic_time();
    return starter;
}

void colony_starter_free(ColonyStarter *starter)
{
    if (starter) {
        g_clear_handle_id(&starter->timer, g_source_remove);
        g_free(starter->task.error);
        g_free(starter->adoption.id);
        g_strfreev(starter->adoption.absent);
        g_strfreev(starter->absent);
        g_free(starter->id);
        g_free(starter->refused);
        g_free(starter);
    }
}

/* --- verbs ---------------------------------------------------------------- */

static void refuse(ColonyRequest *request, ColonyControlError code,
                   const char *text)
{
    g_autoptr(GError) error = g_error_new_literal(COLONY_CONTROL_ERROR, code,
                                                  text);

    colony_request_fail(request, error);
}

/* "off" of the arguments: a bit for each node. */
static guint64 get_off(const ColonyConfig *config, JsonObject *arguments)
{
    JsonArray *names = colony_json_array(arguments, "off");
    guint64 off = 0;

    for (guint i = 0; names && i < json_array_get_length(names); i++) {
        JsonNode *element = json_array_get_element(names, i);
        const char *name = JSON_NODE_HOLDS_VALUE(element)
                           ? json_node_get_string(element) : NULL;
        const ColonyNode *node = name ? colony_config_node(config, name)
                                      : NULL;

        if (node) {
            off |= G_GUINT64_CONSTANT(1) <<
                   (colony_situation_place(config, node) - 1);
        }
    }
    return off;
}

void colony_starter_up(ColonyStarter *starter, ColonyRequest *request,
                       JsonObject *arguments)
{
    ColonySupervisor *supervisor = starter->supervisor;
    const char *name = colony_json_string(arguments, "disk-of");
    const ColonyNode *disk_of = NULL;
    g_autoptr(GError) error = NULL;

    if (name) {
        disk_of = colony_config_node(supervisor->config, name);
    }
    if (name && (!disk_of || !disk_of->can_run)) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "disk-of: no node of this name can run the VM");
        return;
    }
    supervisor->record->wanted = TRUE;
    if (!colony_supervisor_save(supervisor, &error)) {
        colony_request_fail(request, error);
        return;
    }
    starter->insist_end = g_get_monotonic_time() + INSIST_US;
    starter->insist.off = get_off(supervisor->config, arguments);
    starter->insist.disk_of = (int)colony_situation_place(
        supervisor->config, disk_of) - 1;
    starter->failures = 0;
    starter->next = 0;
    colony_peers_ask(supervisor->peers);
    colony_supervisor_wake(supervisor);
    colony_request_return(request, NULL);
}

static gboolean has_vm(const ColonySupervisor *supervisor)
{
    ColonyProcess process = colony_situation_process(supervisor);

    return process == COLONY_PROCESS_VM || process == COLONY_PROCESS_BOOTS;
}

void colony_starter_found(ColonyStarter *starter, ColonyRequest *request,
                          JsonObject *arguments)
{
    ColonySupervisor *supervisor = starter->supervisor;
    gint64 generation = colony_json_int(arguments, "generation", 0);
    const char *id = colony_json_string(arguments, "id");
    const char *name = colony_json_string(arguments, "leader");
    const ColonyNode *boot = NULL;

    if (name) {
        boot = colony_config_node(supervisor->config, name);
    }
    if (!is_id(id) || !boot || generation <= 0) {
        refuse(request, COLONY_CONTROL_ERROR_FAILED,
               "found: generation, id or leader is missing or wrong");
    } else if ((guint64)generation <= supervisor->record->generation) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "the group was founded again meanwhile");
    } else if (starter->found || starter->launching ||
               starter->adoption.generation) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "another founding is under way");
    } else if (has_vm(supervisor)) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "the VM may be running here");
    } else {
        begin_adoption(starter, generation, id, boot, FALSE, request);
    }
}

/*
 * Who only votes goes on until the guest is off: that is an output, which takes
 * a majority.
 */
void colony_starter_down(ColonyStarter *starter, ColonyRequest *request,
                         JsonObject *arguments)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyQmp *qmp = colony_machine_qmp(supervisor->machine);

    supervisor->record->wanted = FALSE;
    colony_supervisor_save(supervisor, NULL);
    if (colony_json_boolean(arguments, "force", FALSE)) {
        switch_off(starter);
    } else if (qmp && colony_supervisor_view(supervisor)->part ==
               COLONY_PART_LEADER) {
        colony_qmp_command(qmp, "system_powerdown", NULL, POWERDOWN_MS, NULL,
                           NULL);
    }
    colony_request_return(request, NULL);
}
