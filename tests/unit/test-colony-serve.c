/*
 * A supervisor that has just been started answers when it knows what is so
 *
 * What the verbs do is played here, and so is the process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/situation.h"
#include "qemu/colony/supervisor-internal.h"

struct ColonyRequest {
    unsigned answers;
    char *error; /* or NULL */
};

typedef struct World {
    ColonySupervisor supervisor;
    ColonyView view;
    gboolean running;
    ColonyProcess process;
    gboolean hears; /* the leader */
    unsigned renewed;
    gint64 now;
    ColonyRequest request;
    JsonObject *arguments;
} World;

static World *world; /* of the functions below, which are told of none */

/* --- what serve.c sees ---------------------------------------------------- */

gint64 g_get_monotonic_time(void)
{
    return world ? world->now : G_TIME_SPAN_SECOND;
}

const ColonyView *colony_viewer_view(const ColonyViewer *viewer G_GNUC_UNUSED)
{
    return &world->view;
}

gboolean colony_machine_is_running(const ColonyMachine *machine G_GNUC_UNUSED)
{
    return world->running;
}

ColonyQmp *colony_machine_qmp(const ColonyMachine *machine G_GNUC_UNUSED)
{
    return world->view.known ? (ColonyQmp *)world : NULL;
}

void colony_qmp_command(ColonyQmp *qmp G_GNUC_UNUSED,
                        const char *name G_GNUC_UNUSED,
                        JsonObject *arguments,
                        unsigned timeout_ms G_GNUC_UNUSED,
                        ColonyQmpReply *reply, void *opaque)
{
    g_clear_pointer(&arguments, json_object_unref);
    reply(opaque, NULL, NULL);
}

const ColonyNode *colony_config_member(
    const ColonyConfig *config G_GNUC_UNUSED, unsigned id G_GNUC_UNUSED)
{
    return NULL;
}

const ColonyNode *colony_config_node(const ColonyConfig *config G_GNUC_UNUSED,
                                     const char *name G_GNUC_UNUSED)
{
    return NULL;
}

GQuark colony_control_error_quark(void)
{
    return g_quark_from_static_string("error");
}

void colony_request_return(ColonyRequest *request, JsonObject *result)
{
    request->answers++;
    g_clear_pointer(&result, json_object_unref);
}

void colony_request_fail(ColonyRequest *request, const GError *error)
{
    request->answers++;
    request->error = g_strdup(error->message);
}

JsonObject *colony_report_new(ColonySupervisor *supervisor G_GNUC_UNUSED)
{
    return NULL;
}

void colony_preparer_serve(ColonyPreparer *preparer G_GNUC_UNUSED,
                           ColonyRequest *request,
                           JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

void colony_verifier_serve(ColonyVerifier *verifier G_GNUC_UNUSED,
                           ColonyRequest *request)
{
    colony_request_return(request, NULL);
}

void colony_starter_up(ColonyStarter *starter G_GNUC_UNUSED,
                       ColonyRequest *request,
                       JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

void colony_starter_down(ColonyStarter *starter G_GNUC_UNUSED,
                         ColonyRequest *request,
                         JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

void colony_starter_found(ColonyStarter *starter G_GNUC_UNUSED,
                          ColonyRequest *request,
                          JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

void colony_starter_renew(ColonyStarter *starter G_GNUC_UNUSED)
{
    world->renewed++;
}

ColonyProcess colony_situation_process(
    const ColonySupervisor *supervisor G_GNUC_UNUSED)
{
    return world->process;
}

gboolean colony_view_counts(const ColonyView *view G_GNUC_UNUSED,
                            unsigned member)
{
    g_assert_cmpuint(member, ==, 7);
    return world->hears;
}

void colony_protector_now(ColonyProtector *protector G_GNUC_UNUSED,
                          const ColonyNode *node G_GNUC_UNUSED)
{
}

void colony_record_expect(ColonyRecord *record G_GNUC_UNUSED,
                          const char *node G_GNUC_UNUSED,
                          gboolean on G_GNUC_UNUSED)
{
}

gboolean colony_supervisor_save(ColonySupervisor *supervisor G_GNUC_UNUSED,
                                GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

void colony_supervisor_stop(ColonySupervisor *supervisor G_GNUC_UNUSED)
{
}

/* --- tests ---------------------------------------------------------------- */

/* A process was found, and has not told how it is. */
static void set_up(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    static ColonyNode node = { .name = (char *)"a", .can_run = TRUE };

    world = it;
    it->now = 1000 * G_TIME_SPAN_SECOND;
    it->running = TRUE;
    it->arguments = json_object_new();
    it->view.run_state = "";
    it->supervisor.began = it->now;
    it->supervisor.node = &node;
}

static void tear_down(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    g_assert_cmpuint(it->request.answers, ==, 1);
    g_assert_cmpuint(g_queue_get_length(&it->supervisor.early), ==, 0);
    json_object_unref(it->arguments);
    g_free(it->request.error);
    world = NULL;
}

static void ask(World *it, const char *verb)
{
    colony_supervisor_serve(&it->supervisor, &it->request, verb,
                            it->arguments);
}

static void look(World *it)
{
    it->now += G_TIME_SPAN_SECOND;
    colony_supervisor_serve_early(&it->supervisor);
}

static void test_waits(World *it, gconstpointer verb)
{
    ask(it, verb);
    look(it);
    g_assert_cmpuint(it->request.answers, ==, 0);
    it->view.known = TRUE;
    it->view.part = COLONY_PART_LEADER;
    look(it);
    g_assert_cmpstr(it->request.error, ==, NULL);
}

static void test_at_once(World *it, gconstpointer verb)
{
    ask(it, verb);
    g_assert_cmpstr(it->request.error, ==, NULL);
}

static void test_has_ended(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    ask(it, "reprotect");
    it->running = FALSE;
    look(it);
    g_assert_cmpstr(it->request.error, ==, "this node does not lead");
}

static void test_deadline(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    ask(it, "reprotect");
    for (unsigned i = 0; i < 4; i++) {
        look(it);
        g_assert_cmpuint(it->request.answers, ==, 0);
    }
    look(it);
    g_assert_cmpstr(it->request.error, ==, "this node does not lead");
}

static void test_ends(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    ask(it, "reprotect");
    it->supervisor.ending = TRUE;
    colony_supervisor_serve_early(&it->supervisor);
    g_assert_cmpstr(it->request.error, ==, "the supervisor was ended");
}

/* One that is silent later has been seen. */
static void test_later(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    it->view.known = TRUE;
    look(it);
    it->view.known = FALSE;
    look(it);
    ask(it, "reprotect");
    g_assert_cmpstr(it->request.error, ==, "this node does not lead");
}

/* A process that @it has is told to restart. */
static void restart(World *it, gboolean known, ColonyPart part,
                    ColonyProcess process, const char *error)
{
    it->view.known = known;
    it->view.part = part;
    it->view.leader = 7;
    it->process = process;
    it->now += 100 * G_TIME_SPAN_SECOND;
    ask(it, "restart");
    if (error) {
        g_assert_nonnull(it->request.error);
        g_assert_nonnull(strstr(it->request.error, error));
    } else {
        g_assert_cmpstr(it->request.error, ==, NULL);
    }
    g_assert_cmpuint(it->renewed, ==, !error);
}

static void test_restart_idle(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    restart(it, TRUE, COLONY_PART_WITNESS, COLONY_PROCESS_IDLE, NULL);
}

static void test_restart_secondary(World *it,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    it->hears = TRUE;
    restart(it, TRUE, COLONY_PART_SECONDARY, COLONY_PROCESS_VM, NULL);
}

static void test_restart_heir(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    restart(it, TRUE, COLONY_PART_SECONDARY, COLONY_PROCESS_VM,
            "may be the only one");
}

static void test_restart_silent(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    restart(it, FALSE, COLONY_PART_UNKNOWN, COLONY_PROCESS_VM,
            "does not answer");
}

static void test_restart_boots(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    restart(it, TRUE, COLONY_PART_WITNESS, COLONY_PROCESS_BOOTS,
            "may be the only one");
}

static void test_restart_forced(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    json_object_set_boolean_member(it->arguments, "force", TRUE);
    restart(it, FALSE, COLONY_PART_UNKNOWN, COLONY_PROCESS_VM, NULL);
}

static void test_restart_leader(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    json_object_set_boolean_member(it->arguments, "force", TRUE);
    restart(it, TRUE, COLONY_PART_LEADER, COLONY_PROCESS_VM,
            "this node leads");
}

static void add(const char *name, gconstpointer data,
                void (*test)(World *it, gconstpointer data))
{
    g_autofree char *path = g_strconcat("/colony/serve/", name, NULL);

    g_test_add(path, World, data, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    static const char *const waiting[] = {
        "switchover", "reprotect", "verify", "replace", "down", "prepare",
        "found",
    };
    static const char *const others[] = {
        "report", "events", "up", "stop",
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(waiting); i++) {
        g_autofree char *name = g_strconcat("waits-for-a-look/", waiting[i],
                                            NULL);

        add(name, waiting[i], test_waits);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *name = g_strconcat("at-once/", others[i], NULL);

        add(name, others[i], test_at_once);
    }
    add("its-end-is-a-look-too", NULL, test_has_ended);
    add("not-for-ever", NULL, test_deadline);
    add("nor-is-it-left-without-an-answer", NULL, test_ends);
    add("only-once", NULL, test_later);
    add("restart/idle", NULL, test_restart_idle);
    add("restart/secondary", NULL, test_restart_secondary);
    add("restart/secondary-without-a-leader", NULL, test_restart_heir);
    add("restart/silent", NULL, test_restart_silent);
    add("restart/boots", NULL, test_restart_boots);
    add("restart/forced", NULL, test_restart_forced);
    add("restart/leader", NULL, test_restart_leader);
    return g_test_run();
}
