/*
 * What a node's process says of itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>

#include "command.h"
#include "line.h"
#include "view.h"

#define LOOK_MS 2000

typedef struct Waiter {
    ColonyViewDone *done;
    void *opaque;
} Waiter;

typedef struct Query {
    const char *command;
    size_t offset; /* of the answer in ColonyView */
} Query;

static const Query queries[] = {
    { "query-apus", offsetof(ColonyView, apus) },
    { "query-status", offsetof(ColonyView, status) },
    { "query-plover", offsetof(ColonyView, plover) },
    { "query-gannet", offsetof(ColonyView, gannet) },
};

struct ColonyViewer {
    const ColonyNode *node;
    const ColonyMachine *machine;
    ColonyView view;
    ColonyView next; /* of the look under way */
    unsigned left; /* of its answers, each of which has a reference */
    gboolean gone; /* freed, but for these */
    gboolean ending; /* all have come, and are about to be told */
    gboolean stale; /* they are of a process that has ended */
    GArray *waiting, *coming; /* Waiter: of this look, and of the next */
};

/* An answer to come. */
typedef struct Asked {
    ColonyViewer *viewer;
    const Query *query;
} Asked;

static void clear_view(ColonyView *view)
{
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        JsonNode **node = (void *)((char *)view + queries[i].offset);

        g_clear_pointer(node, json_node_unref);
    }
    memset(view, 0, sizeof(*view));
    view->run_state = "";
}

static JsonObject *object_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node)
                                                : NULL;
}

static ColonyPart parse_part(const char *name)
{
    static const char *const names[] = {
        [COLONY_PART_UNKNOWN] = "",
        [COLONY_PART_WITNESS] = "witness",
        [COLONY_PART_LEADER] = "leader",
        [COLONY_PART_SECONDARY] = "secondary",
        [COLONY_PART_DEPOSED] = "deposed",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!g_strcmp0(name, names[i])) {
            return i;
        }
    }
    return COLONY_PART_UNKNOWN;
}

static void digest_qemu(ColonyView *view)
{
    JsonObject *apus = object_of(view->apus);
    JsonObject *status = object_of(view->status);

    view->known = apus && status;
    view->part = parse_part(colony_json_string(apus, "part"));
    view->protected = colony_json_boolean(apus, "protected", FALSE);
    view->failed = !g_strcmp0(colony_json_string(apus, "state"), "failed");
    view->amnesiac = colony_json_boolean(apus, "amnesiac", FALSE);
    view->term = colony_json_int(apus, "term", 0);
    view->leader = colony_json_int(apus, "leader", 0);
    view->secondary = colony_json_int(apus, "secondary", 0);
    view->hopeless = colony_json_boolean(apus, "hopeless", FALSE);
    view->running = colony_json_boolean(status, "running", FALSE);
    view->run_state = colony_json_string(status, "status") ?: "";
}

static void digest_apusd(ColonyView *view)
{
    JsonObject *apus = object_of(view->apus);
    JsonObject *role = colony_json_object(apus, "role");

    view->known = apus != NULL;
    view->part = apus ? COLONY_PART_WITNESS : COLONY_PART_UNKNOWN;
    view->failed = !g_strcmp0(colony_json_string(apus, "state"), "failed");
    view->amnesiac = colony_json_boolean(apus, "amnesiac", FALSE);
    view->term = colony_json_int(apus, "term", 0);
    view->leader = colony_json_int(role, "leader", 0);
    view->secondary = colony_json_int(role, "secondary", 0);
    view->run_state = "";
}

gboolean colony_view_leads(const ColonyView *view)
{
    return view->part == COLONY_PART_LEADER &&
           strcmp(view->run_state, "inmigrate") != 0;
}

gboolean colony_view_counts(const ColonyView *view, unsigned member)
{
    JsonArray *members = colony_json_array(object_of(view->apus), "members");

    for (guint i = 0; members && i < json_array_get_length(members); i++) {
        JsonObject *entry = object_of(json_array_get_element(members, i));

        if (colony_json_int(entry, "id", 0) == member) {
            return colony_json_boolean(entry, "connected", FALSE) &&
                   !colony_json_boolean(entry, "suspected", TRUE) &&
                   !colony_json_boolean(entry, "amnesiac", FALSE);
        }
    }
    return FALSE;
}

static void tell(GArray *waiters)
{
    for (guint i = 0; i < waiters->len; i++) {
        Waiter *waiter = &g_array_index(waiters, Waiter, i);

        waiter->done(waiter->opaque);
    }
}

static void begin(ColonyViewer *viewer);

static void clear_viewer(void *opaque)
{
    ColonyViewer *viewer = opaque;

    clear_view(&viewer->view);
    clear_view(&viewer->next);
    g_array_unref(viewer->waiting);
    g_array_unref(viewer->coming);
}

static ColonyViewer *expect(ColonyViewer *viewer)
{
    viewer->left++;
    return g_rc_box_acquire(viewer);
}

static void finish(ColonyViewer *viewer)
{
    g_autoptr(GArray) told = g_steal_pointer(&viewer->waiting);

    if (viewer->stale) {
        clear_view(&viewer->next);
        viewer->stale = FALSE;
    }
    if (viewer->node->can_run) {
        digest_qemu(&viewer->next);
    } else {
        digest_apusd(&viewer->next);
    }
    clear_view(&viewer->view);
    viewer->view = viewer->next;
    memset(&viewer->next, 0, sizeof(viewer->next));
    viewer->waiting = g_steal_pointer(&viewer->coming);
    viewer->coming = g_array_new(FALSE, FALSE, sizeof(Waiter));
    if (viewer->waiting->len) {
        begin(viewer);
    }
    tell(told);
}

static gboolean on_finish(void *opaque)
{
    ColonyViewer *viewer = opaque;

    viewer->ending = FALSE;
    if (!viewer->gone) {
        finish(viewer);
    }
    g_rc_box_release_full(viewer, clear_viewer);
    return G_SOURCE_REMOVE;
}

/*
 * An answer has come, or never will, maybe because the machine is just being
 * taken apart: so whoever waits is told later.
 */
static void answered(ColonyViewer *viewer)
{
    if (--viewer->left == 0) {
        viewer->ending = TRUE;
        g_idle_add(on_finish, g_rc_box_acquire(viewer));
    }
    g_rc_box_release_full(viewer, clear_viewer);
}

static void on_reply(void *opaque, JsonNode *result,
                     const GError *error G_GNUC_UNUSED)
{
    g_autofree Asked *asked = opaque;
    JsonNode **node = (void *)((char *)&asked->viewer->next +
                               asked->query->offset);

    if (result && !*node) {
        *node = json_node_ref(result);
    }
    answered(asked->viewer);
}

static void ask_qemu(ColonyViewer *viewer, ColonyQmp *qmp)
{
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        Asked *asked = g_new(Asked, 1);

        *asked = (Asked) { expect(viewer), &queries[i] };
        colony_qmp_command(qmp, queries[i].command, NULL, LOOK_MS, on_reply,
                           asked);
    }
}

/* --- apusd ---------------------------------------------------------------- */

typedef struct Call {
    ColonyViewer *viewer;
    GSocketConnection *connection;
    GDataInputStream *input;
} Call;

static void call_end(Call *call, const char *line, gsize length)
{
    ColonyViewer *viewer = call->viewer;
    g_autoptr(JsonObject) answer = NULL;
    JsonObject *result;

    answer = line ? colony_line_parse(line, length, NULL) : NULL;
    result = colony_json_object(answer, "return");
    if (result) {
        viewer->next.apus = json_node_init_object(json_node_alloc(), result);
    }
    g_clear_object(&call->input);
    g_clear_object(&call->connection);
    g_free(call);
    answered(viewer);
}

static void on_line(GObject *source, GAsyncResult *result, void *opaque)
{
    gsize length = 0;
    g_autofree char *line = g_data_input_stream_read_line_finish(
        G_DATA_INPUT_STREAM(source), result, &length, NULL);

    call_end(opaque, line, length);
}

static void on_connected(GObject *source, GAsyncResult *result, void *opaque)
{
    static const char request[] = "{\"command\": \"status\"}\n";
    Call *call = opaque;
    GIOStream *stream;

    call->connection = g_socket_client_connect_finish(
        G_SOCKET_CLIENT(source), result, NULL);
    stream = G_IO_STREAM(call->connection);
    /* So few bytes fit into the socket's buffer: this does not wait. */
    if (!stream || !g_output_stream_write_all(
            g_io_stream_get_output_stream(stream), request,
            sizeof(request) - 1, NULL, NULL, NULL)) {
        call_end(call, NULL, 0);
        return;
    }
    call->input = g_data_input_stream_new(
        g_io_stream_get_input_stream(stream));
    g_data_input_stream_read_line_async(call->input, G_PRIORITY_DEFAULT, NULL,
                                        on_line, call);
}

static void ask_apusd(ColonyViewer *viewer)
{
    g_autofree char *path = colony_path_witness(viewer->node);
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocketClient) client = g_socket_client_new();
    Call *call = g_new0(Call, 1);

    call->viewer = expect(viewer);
    g_socket_client_set_timeout(client, LOOK_MS / 1000);
    g_socket_client_connect_async(client, G_SOCKET_CONNECTABLE(address), NULL,
                                  on_connected, call);
}

/* --- the whole ------------------------------------------------------------ */

static gboolean on_nothing(void *opaque)
{
    answered(opaque);
    return G_SOURCE_REMOVE;
}

static void begin(ColonyViewer *viewer)
{
    ColonyQmp *qmp = colony_machine_qmp(viewer->machine);

    if (!viewer->node->can_run) {
        ask_apusd(viewer);
    } else if (qmp) {
        ask_qemu(viewer, qmp);
    } else {
        g_idle_add(on_nothing, expect(viewer));
    }
}

void colony_viewer_look(ColonyViewer *viewer, ColonyViewDone *done,
                        void *opaque)
{
    Waiter waiter = { done, opaque };

    if (viewer->left || viewer->ending) {
        g_array_append_val(viewer->coming, waiter);
        return;
    }
    g_array_append_val(viewer->waiting, waiter);
    begin(viewer);
}

void colony_viewer_forget(ColonyViewer *viewer)
{
    viewer->stale = viewer->left || viewer->ending;
    clear_view(&viewer->view);
}

const ColonyView *colony_viewer_view(const ColonyViewer *viewer)
{
    return &viewer->view;
}

ColonyViewer *colony_viewer_new(const ColonyNode *node,
                                const ColonyMachine *machine)
{
    ColonyViewer *viewer = g_rc_box_new0(ColonyViewer);

    viewer->node = node;
    viewer->machine = machine;
    viewer->view.run_state = "";
    viewer->waiting = g_array_new(FALSE, FALSE, sizeof(Waiter));
    viewer->coming = g_array_new(FALSE, FALSE, sizeof(Waiter));
    return viewer;
}

void colony_viewer_free(ColonyViewer *viewer)
{
    if (viewer) {
        viewer->gone = TRUE;
        g_rc_box_release_full(viewer, clear_viewer);
    }
}
