/*
 * The verbs that a supervisor serves; supervisor.h lists them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "line.h"
#include "situation.h"
#include "supervisor-internal.h"

#define SHORT_MS 10000
#define SWITCHOVER_MS 30000
#define EARLY_US (5 * G_TIME_SPAN_SECOND) /* for the first look */

typedef void Verb(ColonySupervisor *supervisor, ColonyRequest *request,
                  JsonObject *arguments);

static void refuse(ColonyRequest *request, ColonyControlError code,
                   const char *text)
{
    g_autoptr(GError) error = g_error_new_literal(COLONY_CONTROL_ERROR, code,
                                                  text);

    colony_request_fail(request, error);
}

static void on_reply(void *opaque, JsonNode *result G_GNUC_UNUSED,
                     const GError *error)
{
    ColonyRequest *request = opaque;

    if (error) {
        refuse(request, COLONY_CONTROL_ERROR_FAILED, error->message);
    } else {
        colony_request_return(request, NULL);
    }
}

/* Have QEMU do it, and tell what it says. */
static void pass_on(ColonySupervisor *supervisor, ColonyRequest *request,
                    const char *command, JsonObject *arguments,
                    unsigned timeout_ms)
{
    ColonyQmp *qmp = colony_machine_qmp(supervisor->machine);

    if (qmp) {
        colony_qmp_command(qmp, command, arguments, timeout_ms, on_reply,
                           request);
        return;
    }
    g_clear_pointer(&arguments, json_object_unref);
    refuse(request, COLONY_CONTROL_ERROR_REFUSED,
           supervisor->node->can_run ? "no QEMU answers on this node"
                                     : "this node only votes");
}

/* FALSE, and says so: this node does not lead. */
static gboolean check_leads(ColonySupervisor *supervisor,
                            ColonyRequest *request)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    const ColonyNode *leader = colony_config_member(supervisor->config,
                                                    view->leader);
    g_autofree char *text = NULL;

    if (view->part == COLONY_PART_LEADER) {
        return TRUE;
    }
    text = leader ? g_strdup_printf("%s leads: ask that", leader->name)
                  : g_strdup("this node does not lead");
    refuse(request, COLONY_CONTROL_ERROR_REFUSED, text);
    return FALSE;
}

/* A node that an argument names; NULL: none is named. FALSE: unknown. */
static gboolean get_node(ColonySupervisor *supervisor, ColonyRequest *request,
                         JsonObject *arguments, const char *name,
                         const ColonyNode **node)
{
    const char *text = colony_json_string(arguments, name);
    g_autofree char *error = NULL;

    *node = text ? colony_config_node(supervisor->config, text) : NULL;
    if (text && !*node) {
        error = g_strdup_printf("%s: there is no node %s", name, text);
        refuse(request, COLONY_CONTROL_ERROR_REFUSED, error);
        return FALSE;
    }
    return TRUE;
}

/* --- the verbs ------------------------------------------------------------ */

static void serve_report(ColonySupervisor *supervisor, ColonyRequest *request,
                         JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, colony_report_new(supervisor));
}

/* Control sends what is emitted from now on. */
static void serve_events(ColonySupervisor *supervisor G_GNUC_UNUSED,
                         ColonyRequest *request,
                         JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

static void serve_up(ColonySupervisor *supervisor, ColonyRequest *request,
                     JsonObject *arguments)
{
    colony_starter_up(supervisor->starter, request, arguments);
}

static void serve_down(ColonySupervisor *supervisor, ColonyRequest *request,
                       JsonObject *arguments)
{
    colony_starter_down(supervisor->starter, request, arguments);
}

static void serve_found(ColonySupervisor *supervisor, ColonyRequest *request,
                        JsonObject *arguments)
{
    colony_starter_found(supervisor->starter, request, arguments);
}

static void serve_prepare(ColonySupervisor *supervisor, ColonyRequest *request,
                          JsonObject *arguments)
{
    colony_preparer_serve(supervisor->preparer, request, arguments);
}

static void serve_failover(ColonySupervisor *supervisor,
                           ColonyRequest *request, JsonObject *arguments)
{
    JsonObject *more = json_object_new();

    if (!colony_json_boolean(arguments, "force", FALSE)) {
        json_object_unref(more);
        refuse(request, COLONY_CONTROL_ERROR_DANGEROUS,
               "the group decides by itself as long as it has a majority; "
               "with --force this replica goes on alone, and what only the "
               "others have is lost");
        return;
    }
    json_object_set_boolean_member(more, "force", TRUE);
    pass_on(supervisor, request, "x-colo-lost-heartbeat", more, SHORT_MS);
}

static void serve_switchover(ColonySupervisor *supervisor,
                             ColonyRequest *request,
                             JsonObject *arguments G_GNUC_UNUSED)
{
    if (check_leads(supervisor, request)) {
        pass_on(supervisor, request, "apus-switchover", NULL, SWITCHOVER_MS);
    }
}

static void serve_reprotect(ColonySupervisor *supervisor,
                            ColonyRequest *request, JsonObject *arguments)
{
    const ColonyNode *node;

    if (check_leads(supervisor, request) &&
        get_node(supervisor, request, arguments, "node", &node)) {
        colony_protector_now(supervisor->protector, node);
        colony_request_return(request, NULL);
    }
}

static void serve_verify(ColonySupervisor *supervisor, ColonyRequest *request,
                         JsonObject *arguments G_GNUC_UNUSED)
{
    if (check_leads(supervisor, request)) {
        colony_verifier_serve(supervisor->verifier, request);
    }
}

static void serve_replace(ColonySupervisor *supervisor, ColonyRequest *request,
                          JsonObject *arguments)
{
    const ColonyNode *old, *new;
    JsonObject *more, *member;
    g_autofree char *address = NULL;

    if (!check_leads(supervisor, request) ||
        !get_node(supervisor, request, arguments, "old", &old) ||
        !get_node(supervisor, request, arguments, "new", &new)) {
        return;
    }
    more = json_object_new();
    if (old) {
        json_object_set_int_member(more, "old", old->id);
    }
    if (new) {
        address = g_strdup_printf(strchr(new->host, ':') ? "[%s]:%u" : "%s:%u",
                                  new->host, new->group_port);
        member = json_object_new();
        json_object_set_int_member(member, "id", new->id);
        json_object_set_string_member(member, "address", address);
        json_object_set_boolean_member(member, "can-run", new->can_run);
        json_object_set_object_member(more, "new", member);
        /* It joins when it hears that it may. */
        colony_record_expect(supervisor->record, new->name, TRUE);
        colony_supervisor_save(supervisor, NULL);
    }
    pass_on(supervisor, request, "apus-replace", more, SHORT_MS);
}

/* May the VM be nowhere but in this node's process? */
static gboolean may_be_alone(const ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);

    switch (colony_situation_process(supervisor)) {
    case COLONY_PROCESS_NONE:
    case COLONY_PROCESS_IDLE:
    case COLONY_PROCESS_OUTDATED:
        return FALSE;
    default:
        return !view->known || view->part != COLONY_PART_SECONDARY ||
               !colony_view_counts(view, view->leader);
    }
}

/* Its end is seen, and another is started: of what is installed by now. */
static void serve_restart(ColonySupervisor *supervisor, ColonyRequest *request,
                          JsonObject *arguments)
{
    if (colony_supervisor_view(supervisor)->part == COLONY_PART_LEADER) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "this node leads: let another one, with colony switchover, "
               "which starts this one's QEMU again, too");
        return;
    }
    if (!colony_machine_is_running(supervisor->machine)) {
        refuse(request, COLONY_CONTROL_ERROR_REFUSED,
               "there is no process on this node");
        return;
    }
    if (may_be_alone(supervisor) &&
        !colony_json_boolean(arguments, "force", FALSE)) {
        refuse(request, COLONY_CONTROL_ERROR_DANGEROUS,
               "its QEMU does not answer, or hears no leader: it may be the "
               "only one that has the VM; with --force it is ended, and what "
               "is in its memory may be lost");
        return;
    }
    colony_starter_renew(supervisor->starter);
    colony_request_return(request, NULL);
}

static void serve_stop(ColonySupervisor *supervisor, ColonyRequest *request,
                       JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
    colony_supervisor_stop(supervisor);
}

/* --- all of them ---------------------------------------------------------- */

typedef struct VerbEntry {
    const char *name;
    Verb *serve;
    gboolean looks; /* at what the process has told */
} VerbEntry;

static const VerbEntry verbs[] = {
    { "report", serve_report, FALSE },
    { "events", serve_events, FALSE },
    { "up", serve_up, FALSE },
    { "down", serve_down, TRUE },
    { "failover", serve_failover, TRUE },
    { "switchover", serve_switchover, TRUE },
    { "reprotect", serve_reprotect, TRUE },
    { "verify", serve_verify, TRUE },
    { "replace", serve_replace, TRUE },
    { "prepare", serve_prepare, TRUE },
    { "found", serve_found, TRUE },
    { "restart", serve_restart, TRUE },
    { "stop", serve_stop, FALSE },
};

/* A request that came before anything was known of the process. */
typedef struct Early {
    const VerbEntry *verb;
    ColonyRequest *request;
    JsonObject *arguments;
} Early;

static gboolean is_early(const ColonySupervisor *supervisor)
{
    return !supervisor->seen && !supervisor->ending &&
           g_get_monotonic_time() - supervisor->began < EARLY_US;
}

void colony_supervisor_serve_early(ColonySupervisor *supervisor)
{
    Early *early;

    if (colony_supervisor_view(supervisor)->known ||
        !colony_machine_is_running(supervisor->machine)) {
        supervisor->seen = TRUE;
    }
    while (!is_early(supervisor) &&
           (early = g_queue_pop_head(&supervisor->early))) {
        if (supervisor->ending) {
            refuse(early->request, COLONY_CONTROL_ERROR_FAILED,
                   "the supervisor was ended");
        } else {
            early->verb->serve(supervisor, early->request, early->arguments);
        }
        g_free(early);
    }
}

static void serve(ColonySupervisor *supervisor, const VerbEntry *verb,
                  ColonyRequest *request, JsonObject *arguments)
{
    Early *early;

    if (verb->looks && is_early(supervisor)) {
        early = g_new(Early, 1);
        *early = (Early) { verb, request, arguments };
        g_queue_push_tail(&supervisor->early, early);
    } else {
        verb->serve(supervisor, request, arguments);
    }
}

void colony_supervisor_serve(void *opaque, ColonyRequest *request,
                             const char *verb, JsonObject *arguments)
{
    g_autofree char *text = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (!strcmp(verbs[i].name, verb)) {
            serve(opaque, &verbs[i], request, arguments);
            return;
        }
    }
    text = g_strdup_printf("there is no verb %s", verb);
    refuse(request, COLONY_CONTROL_ERROR_FAILED, text);
}
