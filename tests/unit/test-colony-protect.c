/*
 * The leader comes to be protected, whatever its candidates do
 *
 * QEMU, the other nodes, the group and the clock are played here: the test
 * defines the functions by which protect.c sees them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/line.h"
#include "qemu/colony/supervisor-internal.h"
#include "tests/unit/colony-conf.h"

#define NODES 3

static const char conf[] =
    "[vm]\nname=web\nmemory=256M\n"
    "[disk root]\nfile=/disks/web.img\n"
    "[node a]\nhost=192.0.2.1\n[node b]\nhost=192.0.2.2\n"
    "[node c]\nhost=192.0.2.3\n[policy]\ntimeout=300ms\n";

/* Something that was asked for, and has no answer yet. */
typedef struct Asked {
    const ColonyNode *node; /* NULL: of QEMU */
    char *what;
    JsonObject *arguments; /* or NULL */
    ColonyQmpReply *reply;
    ColonyCallDone *done;
    void *opaque;
} Asked;

typedef struct World {
    ColonyConfig *config;
    ColonySupervisor supervisor;
    ColonyRecord record;
    ColonyView view;
    ColonyPeer peers[NODES];
    gboolean heard[NODES];
    GQueue asked; /* Asked */
    gint64 now;
    gboolean hangs; /* QEMU: query-migrate is not answered */
    const char *migration; /* its status */
    gint64 transferred, rate; /* bytes, and in a second */
} World;

static World *world; /* of the functions below, which are told of none */

/* --- what protect.c sees -------------------------------------------------- */

gint64 g_get_monotonic_time(void)
{
    return world ? world->now : G_TIME_SPAN_SECOND;
}

ColonyQmp *colony_machine_qmp(const ColonyMachine *machine G_GNUC_UNUSED)
{
    return (ColonyQmp *)world;
}

const ColonyView *colony_viewer_view(const ColonyViewer *viewer G_GNUC_UNUSED)
{
    return &world->view;
}

gboolean colony_view_leads(const ColonyView *view)
{
    return view->part == COLONY_PART_LEADER;
}

gboolean colony_view_counts(const ColonyView *view G_GNUC_UNUSED,
                            unsigned member)
{
    return world->heard[member - 1];
}

const ColonyPeer *colony_peers_get(const ColonyPeers *peers G_GNUC_UNUSED,
                                   const ColonyNode *node)
{
    return &world->peers[node->id - 1];
}

void colony_peers_ask(ColonyPeers *peers G_GNUC_UNUSED)
{
}

void colony_supervisor_wake(ColonySupervisor *supervisor G_GNUC_UNUSED)
{
}

gboolean colony_supervisor_save(ColonySupervisor *supervisor G_GNUC_UNUSED,
                                GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

void colony_supervisor_emit(ColonySupervisor *supervisor G_GNUC_UNUSED,
                            const char *event G_GNUC_UNUSED, JsonObject *data)
{
    json_object_unref(data);
}

static Asked *ask(const ColonyNode *node, const char *what,
                  JsonObject *arguments)
{
    Asked *asked = g_new0(Asked, 1);

    asked->node = node;
    asked->what = g_strdup(what);
    asked->arguments = arguments;
    g_queue_push_tail(&world->asked, asked);
    return asked;
}

void colony_call_async(const ColonyConfig *config G_GNUC_UNUSED,
                       const ColonyNode *node, gboolean local G_GNUC_UNUSED,
                       const char *verb, JsonObject *arguments,
                       unsigned timeout_ms G_GNUC_UNUSED, ColonyCallDone *done,
                       void *opaque)
{
    Asked *asked = ask(node, verb, arguments);

    asked->done = done;
    asked->opaque = opaque;
}

void colony_qmp_command(ColonyQmp *qmp G_GNUC_UNUSED, const char *name,
                        JsonObject *arguments,
                        unsigned timeout_ms G_GNUC_UNUSED,
                        ColonyQmpReply *reply, void *opaque)
{
    Asked *asked = ask(NULL, name, arguments);

    asked->reply = reply;
    asked->opaque = opaque;
}

void colony_qmp_run(ColonyQmp *qmp, JsonNode *command, unsigned timeout_ms,
                    ColonyQmpReply *reply, void *opaque)
{
    JsonObject *object = json_node_get_object(command);
    JsonObject *arguments = colony_json_object(object, "arguments");

    colony_qmp_command(qmp, colony_json_string(object, "execute"),
                       arguments ? json_object_ref(arguments) : NULL,
                       timeout_ms, reply, opaque);
}

/* --- the world ------------------------------------------------------------ */

static void free_asked(gpointer opaque)
{
    Asked *asked = opaque;

    g_clear_pointer(&asked->arguments, json_object_unref);
    g_free(asked->what);
    g_free(asked);
}

static void set_json(JsonNode **node, const char *json)
{
    g_clear_pointer(node, json_node_unref);
    *node = json_from_string(json, NULL);
    g_assert_nonnull(*node);
}

static void set_disk(World *it, const char *state)
{
    g_autofree char *json = g_strdup_printf(
        "[{\"node-name\": \"root\", \"state\": \"%s\"}]", state);

    set_json(&it->view.gannet, json);
}

static void set_process(World *it, char node, const char *process)
{
    g_autofree char *json = g_strdup_printf(
        "{\"start\": {\"process\": \"%s\", \"generation\": 1}}", process);
    g_autoptr(JsonNode) report = json_from_string(json, NULL);
    JsonObject **place = &it->peers[node - 'a'].report;

    g_clear_pointer(place, json_object_unref);
    *place = json_object_ref(json_node_get_object(report));
    it->heard[node - 'a'] = strcmp(process, "none") != 0;
}

static void set_up(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    world = it;
    it->config = conf_accepted(conf);
    it->now = 1000 * G_TIME_SPAN_SECOND;
    it->migration = "none";
    it->record = (ColonyRecord) { .wanted = TRUE, .generation = 1 };
    it->view = (ColonyView) {
        .known = TRUE,
        .part = COLONY_PART_LEADER,
        .run_state = "running",
    };
    set_disk(it, "alone");
    set_process(it, 'b', "idle");
    set_process(it, 'c', "none");
    it->supervisor = (ColonySupervisor) {
        .config = it->config,
        .node = g_ptr_array_index(it->config->nodes, 0),
        .record = &it->record,
    };
    it->supervisor.protector = colony_protector_new(&it->supervisor);
}

/* QEMU is gone: what it was asked for fails. */
static void forget_asked(World *it)
{
    g_autoptr(GError) error = g_error_new_literal(
        G_IO_ERROR, G_IO_ERROR_CANCELLED, "it is gone");
    Asked *asked;

    while ((asked = g_queue_pop_head(&it->asked))) {
        if (asked->reply) {
            asked->reply(asked->opaque, NULL, error);
        } else if (asked->done) {
            asked->done(asked->opaque, NULL, error);
        }
        free_asked(asked);
    }
}

static void tear_down(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    forget_asked(it);
    colony_protector_free(it->supervisor.protector);
    for (unsigned i = 0; i < NODES; i++) {
        g_clear_pointer(&it->peers[i].report, json_object_unref);
    }
    g_clear_pointer(&it->view.gannet, json_node_unref);
    colony_config_free(it->config);
    world = NULL;
}

/* The first that was asked so; NULL: nobody was. */
static Asked *find(World *it, const char *what)
{
    for (GList *link = it->asked.head; link; link = link->next) {
        Asked *asked = link->data;

        if (!strcmp(asked->what, what)) {
            return asked;
        }
    }
    return NULL;
}

/* It must have been. @why: NULL: it succeeds. */
static void answer(World *it, const char *what, const char *json,
                   const char *why)
{
    Asked *asked = find(it, what);
    g_autoptr(GError) error = why ? g_error_new_literal(
        G_IO_ERROR, G_IO_ERROR_FAILED, why) : NULL;
    g_autoptr(JsonNode) result = json_from_string(json, NULL);

    g_assert_nonnull(asked);
    g_queue_remove(&it->asked, asked);
    if (asked->reply) {
        asked->reply(asked->opaque, why ? NULL : result, error);
    } else if (asked->done) {
        asked->done(asked->opaque, why ? NULL : json_node_get_object(result),
                    error);
    }
    free_asked(asked);
}

/* A second later. */
static void look(World *it)
{
    g_autofree char *info = NULL;

    it->now += G_TIME_SPAN_SECOND;
    it->transferred += it->rate;
    colony_protector_look(it->supervisor.protector);
    info = g_strdup_printf("{\"status\": \"%s\", \"ram\": {\"transferred\": %"
                           G_GINT64_FORMAT ", \"total\": 268435456}}",
                           it->migration, it->transferred);
    while (!it->hangs && find(it, "query-migrate")) {
        answer(it, "query-migrate", info, NULL);
    }
}

static void wait_seconds(World *it, unsigned seconds)
{
    while (seconds-- > 0) {
        look(it);
    }
}

static const ColonyTask *task(World *it)
{
    return colony_protector_task(it->supervisor.protector);
}

static void happen(World *it, const char *event, const char *json)
{
    g_autoptr(JsonNode) data = json_from_string(json, NULL);

    colony_protector_event(it->supervisor.protector, event,
                           json_node_get_object(data));
}

/* --- stages --------------------------------------------------------------- */

static void assert_kind(World *it, const char *kind, char peer)
{
    g_assert_cmpstr(task(it)->kind, ==, kind);
    if (peer) {
        g_assert_cmpint(task(it)->peer->name[0], ==, peer);
    }
}

/* It has failed, is cleaned up after, and tried again after @seconds. */
static void assert_retry(World *it, const char *why, unsigned seconds)
{
    look(it);
    assert_kind(it, "retry", 0);
    g_assert_nonnull(strstr(task(it)->error, why));
    g_assert_cmpint(task(it)->next - it->now, ==,
                    seconds * G_TIME_SPAN_SECOND);
    it->migration = "none";
    it->rate = 0;
}

static void to_prepare(World *it, char peer)
{
    wait_seconds(it, 2); /* first, whether a migration is under way */
    assert_kind(it, "ask", peer);
    g_assert_cmpint(find(it, "prepare")->node->name[0], ==, peer);
}

static void to_resync(World *it, char peer)
{
    answer(it, "prepare", "{}", NULL);
    look(it);
    assert_kind(it, "resync", peer);
    answer(it, "gannet-resync", "{}", NULL);
    set_disk(it, "copying");
    look(it);
    assert_kind(it, "resync", peer);
}

static void to_migrate(World *it, char peer)
{
    set_disk(it, "synced");
    look(it);
    assert_kind(it, "migrate", peer);
    answer(it, "migrate-set-capabilities", "{}", NULL);
    answer(it, "migrate-set-parameters", "{}", NULL);
    answer(it, "migrate", "{}", NULL);
    it->migration = "active";
    it->rate = 1000;
    look(it);
    assert_kind(it, "migrate", peer);
}

static void to_protected(World *it)
{
    it->migration = "colo";
    it->rate = 0;
    look(it);
    assert_kind(it, "protect", 0);
    it->view.protected = TRUE;
    set_disk(it, "primary");
    look(it);
    assert_kind(it, NULL, 0);
    g_assert_null(task(it)->error);
}

/* --- what goes well ------------------------------------------------------- */

static void test_success(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    wait_seconds(it, 100); /* there is progress */
    assert_kind(it, "migrate", 'b');
    to_protected(it);
    g_assert_cmpuint(it->record.mate, ==, 2);
    g_assert_null(find(it, "migrate_cancel"));
    wait_seconds(it, 100);
    g_assert_cmpuint(g_queue_get_length(&it->asked), ==, 0);
}

static void test_in_step(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    it->record.mate = 2;
    set_disk(it, "synced");
    to_prepare(it, 'b');
    answer(it, "prepare", "{}", NULL);
    look(it);
    assert_kind(it, "migrate", 'b');
    g_assert_null(find(it, "gannet-stop"));
}

static void test_follows(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    it->migration = "active";
    it->rate = 1000;
    wait_seconds(it, 3);
    g_assert_null(find(it, "prepare"));
    assert_kind(it, "migrate", 0);
    to_protected(it);
}

static void test_no_candidate(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    set_process(it, 'b', "vm");
    wait_seconds(it, 100);
    g_assert_cmpuint(g_queue_get_length(&it->asked), ==, 0);
    set_process(it, 'b', "idle");
    to_prepare(it, 'b');
}

/* --- failures ------------------------------------------------------------- */

static void test_refuses(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    static const unsigned seconds[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

    for (size_t i = 0; i < G_N_ELEMENTS(seconds); i++) {
        to_prepare(it, 'b');
        g_assert_cmpuint(task(it)->attempt, ==, i + 1);
        answer(it, "prepare", "{}", "no room");
        assert_retry(it, "no room", seconds[i]);
        wait_seconds(it, seconds[i] - 1);
        assert_kind(it, "retry", 0);
    }
    /* An operator does not wait. */
    colony_protector_now(it->supervisor.protector, NULL);
    to_prepare(it, 'b');
    answer(it, "prepare", "{}", "no room");
    assert_retry(it, "no room", 1);
}

static void test_silent(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    wait_seconds(it, 60);
    assert_kind(it, "ask", 'b');
    assert_retry(it, "no progress", 1);
    wait_seconds(it, 2);
    assert_kind(it, "ask", 'b');
    /* Now it comes. */
    answer(it, "prepare", "{}", NULL);
    look(it);
    assert_kind(it, "ask", 'b');
}

static void test_dies_in_resync(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    happen(it, "GANNET_PEER_LOST",
           "{\"node-name\": \"root\", \"reason\": \"it is gone\"}");
    assert_retry(it, "disk root: it is gone", 1);
    g_assert_null(find(it, "migrate"));
}

/* The event came while no supervisor was there. */
static void test_died_unseen(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    set_disk(it, "alone");
    assert_retry(it, "a disk has lost its peer", 1);
}

static void test_refuses_disks(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    answer(it, "prepare", "{}", NULL);
    look(it);
    answer(it, "gannet-resync", "{}", "it is connected already");
    assert_retry(it, "it is connected already", 1);
}

static void test_dies_in_migrate(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->migration = "failed";
    happen(it, "MIGRATION", "{\"status\": \"failed\"}");
    assert_retry(it, "the migration has failed", 1);
    g_assert_nonnull(find(it, "migrate_cancel"));
}

static void test_ends_unseen(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->migration = "failed";
    wait_seconds(it, 3);
    assert_retry(it, "the migration has ended", 1);
}

static void test_dies_in_sync(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->migration = "colo";
    look(it);
    happen(it, "COLO_EXIT", "{\"reason\": \"error\"}");
    assert_retry(it, "COLO has ended: error", 1);
}

static void test_freezes(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->rate = 0;
    wait_seconds(it, 4);
    assert_kind(it, "migrate", 'b');
    wait_seconds(it, 1);
    assert_retry(it, "no progress for 5 s", 1);
    g_assert_nonnull(find(it, "migrate_cancel"));
}

/* What a slow host takes for its part is no sign of death. */
static void test_is_slow(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->rate = 0;
    it->migration = "setup";
    wait_seconds(it, 30);
    it->migration = "active";
    wait_seconds(it, 4);
    it->migration = "colo";
    wait_seconds(it, 30);
    assert_kind(it, "protect", 'b');
    to_protected(it);
}

/* --- what comes between --------------------------------------------------- */

static void test_leads_no_more(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    it->view.part = COLONY_PART_DEPOSED;
    look(it);
    assert_kind(it, NULL, 0);
    answer(it, "prepare", "{}", NULL);
    wait_seconds(it, 100);
    g_assert_cmpuint(g_queue_get_length(&it->asked), ==, 0);
}

static void test_process_dies(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    set_disk(it, "synced");
    look(it);
    assert_kind(it, "migrate", 'b');
    forget_asked(it);
    colony_protector_lost(it->supervisor.protector, "it has ended");
    assert_kind(it, NULL, 0);
    it->view.part = COLONY_PART_WITNESS;
    wait_seconds(it, 10);
    g_assert_cmpuint(g_queue_get_length(&it->asked), ==, 0);
}

static void test_hangs(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->hangs = TRUE;
    it->view.known = FALSE;
    wait_seconds(it, 60);
    assert_kind(it, "migrate", 'b');
    assert_retry(it, "no progress", 1);
}

/* At the end of the copy QEMU has no time to tell how far it is. */
static void test_is_busy(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->rate = 0;
    wait_seconds(it, 3);
    it->hangs = TRUE;
    it->view.known = FALSE;
    wait_seconds(it, 30);
    it->hangs = FALSE;
    it->view.known = TRUE;
    wait_seconds(it, 4);
    assert_kind(it, "migrate", 'b');
    to_protected(it);
}

static void test_second_failure(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    to_prepare(it, 'b');
    to_resync(it, 'b');
    set_process(it, 'b', "none");
    set_process(it, 'c', "idle");
    set_disk(it, "alone");
    assert_retry(it, "a disk has lost its peer", 1);
    to_prepare(it, 'c');
    to_resync(it, 'c');
    to_migrate(it, 'c');
    to_protected(it);
    g_assert_cmpuint(it->record.mate, ==, 3);
}

/* Disks in step with b are of no use to c. */
static void test_other_node(World *it, gconstpointer unused G_GNUC_UNUSED)
{
    const ColonyNode *c = g_ptr_array_index(it->config->nodes, 2);
    const char *host;

    to_prepare(it, 'b');
    to_resync(it, 'b');
    to_migrate(it, 'b');
    it->migration = "failed";
    happen(it, "MIGRATION", "{\"status\": \"failed\"}");
    assert_retry(it, "the migration has failed", 1);
    set_process(it, 'c', "idle");
    colony_protector_now(it->supervisor.protector, c);
    to_prepare(it, 'c');
    answer(it, "gannet-stop", "{}", NULL);
    answer(it, "prepare", "{}", NULL);
    wait_seconds(it, 3);
    assert_kind(it, "ask", 'c');
    g_assert_null(find(it, "gannet-resync"));
    set_disk(it, "alone");
    look(it);
    assert_kind(it, "resync", 'c');
    host = colony_json_string(colony_json_object(
        find(it, "gannet-resync")->arguments, "peer"), "host");
    g_assert_cmpstr(host, ==, "192.0.2.3");
}

#define ADD(NAME, TEST) \
    g_test_add("/colony/protect/" NAME, World, NULL, set_up, TEST, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("success", test_success);
    ADD("disks-in-step-are-not-copied", test_in_step);
    ADD("what-was-begun-before-is-followed", test_follows);
    ADD("nobody-is-ready", test_no_candidate);
    ADD("candidate-refuses", test_refuses);
    ADD("candidate-is-silent", test_silent);
    ADD("candidate-dies-in-resync", test_dies_in_resync);
    ADD("candidate-died-unseen", test_died_unseen);
    ADD("candidate-refuses-the-disks", test_refuses_disks);
    ADD("candidate-dies-in-migrate", test_dies_in_migrate);
    ADD("migration-ended-unseen", test_ends_unseen);
    ADD("candidate-dies-in-the-first-sync", test_dies_in_sync);
    ADD("candidate-freezes", test_freezes);
    ADD("candidate-is-slow", test_is_slow);
    ADD("leads-no-more", test_leads_no_more);
    ADD("leader-dies", test_process_dies);
    ADD("leader-hangs", test_hangs);
    ADD("leader-is-busy", test_is_busy);
    ADD("second-failure", test_second_failure);
    ADD("disks-of-another-node", test_other_node);
    return g_test_run();
}
