/*
 * colony run: the main loop of a node
 *
 * Whatever happens, an event, an answer, a process that ends, the next second,
 * leads to the same: the process is looked at, then the starter and the
 * protector decide what there is to do. So nothing depends on what was seen
 * before this supervisor was started.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "command.h"
#include "line.h"
#include "notify.h"
#include "supervisor-internal.h"
#include "text.h"

#define LOOK_MS 1000
#define PEERS_BUSY_MS 1000 /* while something is to be decided */
#define PEERS_CALM_MS 5000
#define STOP_MS 50

/* --- what happens --------------------------------------------------------- */

static void tell_systemd(ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    const char *text = "no process";

    if (view->part == COLONY_PART_LEADER) {
        text = view->protected ? "leader, protected" : "leader, not protected";
    } else if (view->part == COLONY_PART_SECONDARY) {
        text = "secondary";
    } else if (view->part == COLONY_PART_DEPOSED) {
        text = "deposed";
    } else if (view->known) {
        text = "witness";
    } else if (colony_machine_is_running(supervisor->machine)) {
        text = "the process does not answer";
    }
    colony_notify_status(text);
}

/* Who has the VM together with this node; 0: nobody. */
static unsigned get_mate(const ColonyView *view)
{
    if (view->part == COLONY_PART_LEADER && view->protected) {
        return view->secondary;
    }
    return view->part == COLONY_PART_SECONDARY ? view->leader : 0;
}

static void note_roles(ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    ColonyRecord *record = supervisor->record;
    unsigned mate = get_mate(view) ?: record->mate;

    if (view->leader && colony_view_counts(view, view->leader)) {
        supervisor->led = g_get_monotonic_time();
    }
    if (view->known && view->leader && view->term >= record->term &&
        (view->term != record->term || view->leader != record->leader ||
         view->secondary != record->secondary || mate != record->mate)) {
        record->term = view->term;
        record->leader = view->leader;
        record->secondary = view->secondary;
        record->mate = mate;
        colony_supervisor_save(supervisor, NULL);
    }
}

/* Does the node seem to have the VM, and has none that can ever be heard? */
static gboolean is_hollow(const ColonyView *view)
{
    switch (view->part) {
    case COLONY_PART_LEADER:
        return !colony_view_leads(view) || view->hopeless;
    case COLONY_PART_SECONDARY:
        return view->hopeless;
    default:
        return FALSE;
    }
}

static void note_hollow(ColonySupervisor *supervisor)
{
    if (!is_hollow(colony_supervisor_view(supervisor))) {
        supervisor->hollow = 0;
    } else if (!supervisor->hollow) {
        supervisor->hollow = g_get_monotonic_time();
    }
}

static void note_epoch(ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    JsonObject *plover = view->plover && JSON_NODE_HOLDS_OBJECT(view->plover)
                         ? json_node_get_object(view->plover) : NULL;
    guint64 epoch = colony_json_int(plover, "epoch", 0);

    if (epoch != supervisor->epoch) {
        supervisor->epoch = epoch;
        supervisor->epoch_seen = g_get_monotonic_time();
    }
}

static void set_pace(ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);
    gboolean calm = view->known && view->leader &&
                    (view->part != COLONY_PART_LEADER || view->protected);

    colony_peers_set_interval(supervisor->peers,
                              calm ? PEERS_CALM_MS : PEERS_BUSY_MS);
    if (supervisor->calm && !calm) {
        colony_peers_ask(supervisor->peers);
    }
    supervisor->calm = calm;
}

static void update_metrics(ColonySupervisor *supervisor)
{
    g_autoptr(JsonObject) report = NULL;

    if (supervisor->metrics) {
        report = colony_report_new(supervisor);
        colony_metrics_update(supervisor->metrics, report);
    }
}

static void on_looked(void *opaque)
{
    ColonySupervisor *supervisor = opaque;

    if (supervisor->ending) {
        return; /* the parts are being freed */
    }
    supervisor->looking = FALSE;
    supervisor->looked = g_get_monotonic_time();
    note_roles(supervisor);
    note_hollow(supervisor);
    note_epoch(supervisor);
    colony_supervisor_serve_early(supervisor);
    colony_starter_look(supervisor->starter);
    colony_preparer_look(supervisor->preparer);
    colony_protector_look(supervisor->protector);
    colony_verifier_look(supervisor->verifier);
    set_pace(supervisor);
    tell_systemd(supervisor);
    update_metrics(supervisor);
    if (supervisor->look_again) {
        colony_supervisor_wake(supervisor);
    }
}

static gboolean on_idle(void *opaque)
{
    ColonySupervisor *supervisor = opaque;

    supervisor->idle = 0;
    colony_viewer_look(supervisor->viewer, on_looked, supervisor);
    return G_SOURCE_REMOVE;
}

void colony_supervisor_wake(ColonySupervisor *supervisor)
{
    if (supervisor->looking || supervisor->ending) {
        supervisor->look_again = TRUE;
        return;
    }
    supervisor->look_again = FALSE;
    supervisor->looking = TRUE;
    supervisor->idle = g_idle_add(on_idle, supervisor);
}

static gboolean on_timer(void *opaque)
{
    colony_supervisor_wake(opaque);
    return G_SOURCE_CONTINUE;
}

static void on_news(void *opaque)
{
    colony_supervisor_wake(opaque);
}

static gboolean on_watchdog(void *opaque G_GNUC_UNUSED)
{
    colony_notify("WATCHDOG=1");
    return G_SOURCE_CONTINUE;
}

static gboolean on_signal(void *opaque)
{
    colony_supervisor_stop(opaque);
    return G_SOURCE_CONTINUE;
}

/* --- the process ---------------------------------------------------------- */

static void on_ready(void *opaque)
{
    colony_supervisor_wake(opaque);
}

static void on_event(void *opaque, const char *name, JsonObject *data,
                     gint64 time G_GNUC_UNUSED)
{
    ColonySupervisor *supervisor = opaque;

    if (!strcmp(name, "SHUTDOWN") &&
        !g_strcmp0(colony_json_string(data, "reason"), "guest-shutdown")) {
        supervisor->guest_off = TRUE;
    }
    colony_supervisor_emit(supervisor, name,
                           data ? json_object_ref(data) : NULL);
    colony_protector_event(supervisor->protector, name, data);
    colony_verifier_event(supervisor->verifier, name, data);
    colony_supervisor_wake(supervisor);
}

/* A hint of QEMU's as to what to read, or what follows from the line before. */
static gboolean says_nothing(const char *line)
{
    return g_str_has_prefix(line, "Use -") ||
           strstr(line, "error while loading state") ||
           strstr(line, "load of migration failed");
}

/* Of @text, which is changed. */
static const char *last_line(char *text)
{
    for (;;) {
        char *line;

        g_strchomp(text);
        line = strrchr(text, '\n');
        if (!line || !says_nothing(line + 1)) {
            return line ? line + 1 : text;
        }
        *line = '\0';
    }
}

/* What the process has said last may be the reason. */
static char *tell_end(ColonySupervisor *supervisor, const char *why)
{
    g_autofree char *path = colony_path_output(supervisor->node);
    g_autofree char *words = NULL;
    char text[4096] = "";
    const char *line;
    FILE *file = fopen(path, "re");

    if (file) {
        (void)!fseek(file, -(long)(sizeof(text) - 1), SEEK_END);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        fclose(file);
    }
    line = last_line(text);
    if (!*line || !g_utf8_validate(line, -1, NULL)) {
        return g_strdup(why);
    }
    words = colony_text_of_qemu(line);
    return g_strdup_printf("%s; its last message: %s", why, words);
}

static void on_ended(void *opaque, const char *why)
{
    ColonySupervisor *supervisor = opaque;
    JsonObject *data = json_object_new();
    gboolean off = supervisor->guest_off;

    supervisor->guest_off = FALSE;
    g_free(supervisor->end);
    supervisor->end = tell_end(supervisor, why);
    json_object_set_string_member(data, "reason", why);
    colony_supervisor_emit(supervisor, "COLONY_ENDED", data);
    colony_viewer_forget(supervisor->viewer);
    colony_protector_lost(supervisor->protector, why);
    if (!colony_starter_ended(supervisor->starter, off)) {
        supervisor->ended++;
        g_message("the process is gone: %s", why);
    }
    colony_supervisor_wake(supervisor);
}

/* --- what the parts ask for ----------------------------------------------- */

void colony_supervisor_emit(ColonySupervisor *supervisor, const char *event,
                            JsonObject *data)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "node", supervisor->node->name);
    json_object_set_double_member(
        object, "time", g_get_real_time() / (double)G_TIME_SPAN_SECOND);
    json_object_set_string_member(object, "event", event);
    json_object_set_object_member(object, "data", data ?: json_object_new());
    if (supervisor->server) {
        colony_server_emit(supervisor->server, object);
    }
    json_object_unref(object);
}

static gboolean on_stop(void *opaque)
{
    g_main_loop_quit(opaque);
    return G_SOURCE_REMOVE;
}

/* In a moment: an answer may be on its way. */
void colony_supervisor_stop(ColonySupervisor *supervisor)
{
    colony_notify("STOPPING=1");
    g_timeout_add(STOP_MS, on_stop, supervisor->loop);
}

gboolean colony_supervisor_save(ColonySupervisor *supervisor, GError **error)
{
    GError *local = NULL;

    g_clear_pointer(&supervisor->warning, g_free);
    if (colony_record_save(supervisor->record, &local)) {
        return TRUE;
    }
    supervisor->warning = g_strdup(local->message);
    g_warning("%s", local->message);
    g_propagate_error(error, local);
    return FALSE;
}

/* --- begin and end -------------------------------------------------------- */

/* Two supervisors of a node would end each other's processes. */
static gboolean lock_directory(ColonySupervisor *supervisor, GError **error)
{
    const char *directory = supervisor->node->directory;
    g_autofree char *path = g_build_filename(directory, "node.lock", NULL);
    int fd, number;

    if (g_mkdir_with_parents(directory, 0700) < 0) {
        number = errno;
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
                    "cannot make %s: %s", directory, g_strerror(number));
        return FALSE;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        supervisor->lock = fd;
        (void)!ftruncate(fd, 0);
        dprintf(fd, "%d\n", (int)getpid()); /* for humans and agents */
        return TRUE;
    }
    number = errno;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
                number == EWOULDBLOCK
                ? "%s: another supervisor of this node runs" : "%s: %s",
                path, g_strerror(number));
    if (fd >= 0) {
        close(fd);
    }
    return FALSE;
}

static gboolean prepare(ColonySupervisor *supervisor, GError **error)
{
    static const ColonyMachineOps ops = {
        .ready = on_ready,
        .event = on_event,
        .ended = on_ended,
    };
    const ColonyConfig *config = supervisor->config;
    const ColonyNode *node = supervisor->node;
    GError *local = NULL;

    if (!lock_directory(supervisor, error)) {
        return FALSE;
    }
    supervisor->record = colony_record_load(node->directory, error);
    if (!supervisor->record) {
        return FALSE;
    }
    supervisor->taps = colony_taps_new(config, node);
    supervisor->machine = colony_machine_new(node, &ops, supervisor);
    supervisor->viewer = colony_viewer_new(node, supervisor->machine);
    supervisor->peers = colony_peers_new(config, node, on_news, supervisor);
    supervisor->starter = colony_starter_new(supervisor);
    supervisor->preparer = colony_preparer_new(supervisor);
    supervisor->protector = colony_protector_new(supervisor);
    supervisor->verifier = colony_verifier_new(supervisor);
    if (colony_machine_find(supervisor->machine, &local)) {
        g_message("process %d goes on",
                  (int)colony_machine_pid(supervisor->machine));
    } else if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    supervisor->server = colony_server_new(config, node,
                                           colony_supervisor_serve,
                                           supervisor, error);
    return supervisor->server != NULL;
}

/* Without them the VM is protected all the same. */
static void begin_metrics(ColonySupervisor *supervisor)
{
    g_autoptr(GError) error = NULL;

    if (supervisor->config->metrics_host) {
        supervisor->metrics = colony_metrics_new(supervisor->config,
                                                 supervisor->node, &error);
        if (!supervisor->metrics) {
            g_warning("no metrics: %s", error->message);
        }
    }
}

static void run(ColonySupervisor *supervisor)
{
    unsigned watchdog = colony_notify_watchdog();

    supervisor->signals[0] = g_unix_signal_add(SIGTERM, on_signal, supervisor);
    supervisor->signals[1] = g_unix_signal_add(SIGINT, on_signal, supervisor);
    supervisor->timer = g_timeout_add(LOOK_MS, on_timer, supervisor);
    if (watchdog) {
        supervisor->watchdog = g_timeout_add(watchdog, on_watchdog, NULL);
    }
    begin_metrics(supervisor);
    colony_peers_set_interval(supervisor->peers, PEERS_BUSY_MS);
    colony_peers_ask(supervisor->peers);
    colony_supervisor_wake(supervisor);
    colony_notify("READY=1");
    g_main_loop_run(supervisor->loop);
}

/* The machine first: who has asked QEMU something is told that it failed. */
static void finish(ColonySupervisor *supervisor)
{
    supervisor->ending = TRUE;
    if (supervisor->server) {
        colony_supervisor_serve_early(supervisor);
    }
    g_clear_handle_id(&supervisor->timer, g_source_remove);
    g_clear_handle_id(&supervisor->watchdog, g_source_remove);
    for (size_t i = 0; i < G_N_ELEMENTS(supervisor->signals); i++) {
        g_clear_handle_id(&supervisor->signals[i], g_source_remove);
    }
    g_clear_pointer(&supervisor->machine, colony_machine_free);
    g_clear_pointer(&supervisor->metrics, colony_metrics_free);
    g_clear_pointer(&supervisor->server, colony_server_free);
    g_clear_handle_id(&supervisor->idle, g_source_remove);
    g_clear_pointer(&supervisor->viewer, colony_viewer_free);
    g_clear_pointer(&supervisor->peers, colony_peers_free);
    g_clear_pointer(&supervisor->protector, colony_protector_free);
    g_clear_pointer(&supervisor->verifier, colony_verifier_free);
    g_clear_pointer(&supervisor->preparer, colony_preparer_free);
    g_clear_pointer(&supervisor->starter, colony_starter_free);
    g_clear_pointer(&supervisor->taps, colony_taps_free);
    g_clear_pointer(&supervisor->record, colony_record_free);
    g_main_loop_unref(supervisor->loop);
    g_free(supervisor->end);
    g_free(supervisor->warning);
    if (supervisor->lock >= 0) {
        close(supervisor->lock);
    }
}

int colony_supervise(const ColonyConfig *config, const ColonyNode *node,
                     GError **error)
{
    ColonySupervisor supervisor = {
        .config = config,
        .node = node,
        .began = g_get_monotonic_time(),
        .led = g_get_monotonic_time(),
        .loop = g_main_loop_new(NULL, FALSE),
        .lock = -1,
    };
    gboolean ok = prepare(&supervisor, error);

    if (ok) {
        run(&supervisor);
    }
    finish(&supervisor);
    return ok ? 0 : 1;
}
