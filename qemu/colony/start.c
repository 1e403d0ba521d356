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
#include "start-internal.h"

#define POWERDOWN_MS 5000
#define END_MS 5000 /* for a process to end by itself */
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define INSIST_US (60 * G_TIME_SPAN_SECOND) /* for which "force" counts */
/* Then others are believed: of one that led, and of any other. */
#define SILENT_LEADER_US (3 * G_TIME_SPAN_SECOND)
#define SILENT_US (30 * G_TIME_SPAN_SECOND)
#define STABLE_US (10 * G_TIME_SPAN_SECOND) /* then failures are forgotten */
#define USEFUL_US G_TIME_SPAN_SECOND /* then, too, if the group counts on it */

/* --- how things are ------------------------------------------------------- */

static gboolean is_quiet(ColonyStarter *starter, const ColonySituation *nodes,
                         unsigned count)
{
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
    return g_get_monotonic_time() - starter->quiet >
           colony_situation_settle_us(starter->supervisor);
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

void colony_starter_back_off(ColonyStarter *starter, const char *why)
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

gboolean colony_starter_must_wait(const ColonyStarter *starter)
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
        colony_starter_back_off(starter, error->message);
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
    if (!colony_starter_must_wait(starter)) {
        colony_task_set(starter->supervisor, &starter->task, "start", NULL);
        starter->launching = TRUE;
        colony_launch(starter->supervisor, on_launched, starter);
    }
}

/* One that hangs is not asked: SIGTERM would be the last that it hears of. */
static void end_process(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;

    if (!supervisor->ending && !starter->ending &&
        colony_machine_is_running(supervisor->machine)) {
        starter->ending = TRUE;
        colony_machine_end(supervisor->machine,
                           supervisor->given_up ? 0 : END_MS);
    }
}

void colony_starter_renew(ColonyStarter *starter)
{
    end_process(starter);
}

static void switch_off(ColonyStarter *starter)
{
    ColonyRecord *record = starter->supervisor->record;

    record->off = TRUE;
    record->wanted = FALSE;
    colony_supervisor_save(starter->supervisor, NULL);
    end_process(starter);
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

/* Whom the member here does not hear, "b and c". */
static char *unheard(const ColonySupervisor *supervisor)
{
    GPtrArray *nodes = supervisor->config->nodes;
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);

        if (node != supervisor->node && !colony_view_counts(
                colony_supervisor_view(supervisor), node->id)) {
            g_string_append_printf(names, "%s%s", names->len ? " and " : "",
                                   node->name);
        }
    }
    return g_string_free(names, FALSE);
}

/* The VM is to boot here: it does as soon as a majority votes for that. */
static void wait_for_votes(ColonyStarter *starter)
{
    g_autofree char *names = unheard(starter->supervisor);
    g_autofree char *why = g_strdup_printf("%s %s not heard", names,
                                           strstr(names, " and ") ? "are"
                                                                  : "is");

    colony_task_set(starter->supervisor, &starter->task, "elect", NULL);
    colony_task_error(&starter->task, *names ? why : NULL);
}

static void rest(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    gint64 now = g_get_monotonic_time();

    if (colony_situation_process(supervisor) != COLONY_PROCESS_BOOTS) {
        starter->boots = 0;
    } else if (!starter->boots) {
        starter->boots = now;
    } else if (now - starter->boots > colony_situation_settle_us(supervisor)) {
        wait_for_votes(starter);
        return;
    }
    if (starter->task.kind && !colony_starter_must_wait(starter)) {
        colony_task_error(&starter->task, NULL);
        colony_task_set(supervisor, &starter->task, NULL, NULL);
    }
}

static void act(ColonyStarter *starter, const ColonyDecision *decision)
{
    GPtrArray *nodes = starter->supervisor->config->nodes;
    const ColonyNode *node = g_ptr_array_index(nodes, decision->node);

    switch (decision->what) {
    case COLONY_DO_NOTHING:
        rest(starter);
        break;
    case COLONY_DO_START:
        starter->supervisor->record->off = FALSE;
        launch(starter);
        break;
    case COLONY_DO_END:
        end_process(starter);
        break;
    case COLONY_DO_JOIN:
        colony_founding_join(starter, node);
        break;
    case COLONY_DO_STOP:
        switch_off(starter);
        break;
    case COLONY_DO_FOUND:
        colony_founding_begin(starter, decision);
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
    gint64 now = g_get_monotonic_time(), patience = SILENT_US;

    if (supervisor->record->leader == supervisor->node->id) {
        /* Its lease has run out long since: it is not heard any more. */
        patience = MAX(SILENT_LEADER_US,
                       5 * 1000 * (gint64)supervisor->config->timeout);
    }
    if (colony_supervisor_view(supervisor)->known ||
        !colony_machine_is_running(supervisor->machine)) {
        starter->heard = now;
    }
    supervisor->given_up = now - starter->heard > patience &&
                           colony_situation_is_left_out(supervisor);
}

/* Who counted in the group was started well, however soon it ends. */
static void note_success(ColonyStarter *starter)
{
    const ColonyView *view = colony_supervisor_view(starter->supervisor);

    if (view->known && view->leader && !view->amnesiac &&
        g_get_monotonic_time() - starter->launched > USEFUL_US) {
        starter->failures = 0;
    }
}

void colony_starter_look(ColonyStarter *starter)
{
    ColonySupervisor *supervisor = starter->supervisor;
    ColonyDecision decision;

    if (starter->adopted.generation) {
        colony_founding_look(starter);
        return;
    }
    if (starter->launching || starter->ending ||
        colony_founding_is_busy(starter)) {
        return;
    }
    if (supervisor->record->founding &&
        colony_supervisor_view(supervisor)->known) {
        supervisor->record->founding = FALSE;
        colony_supervisor_save(supervisor, NULL);
    }
    colony_situation_note_members(supervisor);
    note_silence(starter);
    note_success(starter);
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
        colony_starter_back_off(starter, supervisor->end);
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
        colony_founding_clear(&starter->adopted);
        colony_founding_clear(&starter->found);
        g_free(starter->refused);
        g_free(starter);
    }
}

/* --- verbs ---------------------------------------------------------------- */

void colony_starter_refuse(ColonyRequest *request, ColonyControlError code,
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
        colony_starter_refuse(request, COLONY_CONTROL_ERROR_REFUSED,
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
