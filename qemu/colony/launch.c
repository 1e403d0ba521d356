/*
 * A node's process is started
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "key-file.h"
#include "store.h"
#include "supervisor-internal.h"

#define FOUND_MS 20000

/* apusd's state is being made. */
typedef struct Founding {
    ColonySupervisor *supervisor;
    ColonyLaunched *done;
    void *opaque;
    GCancellable *late;
    guint timer;
} Founding;

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR) &&
            !g_file_test(child, G_FILE_TEST_IS_SYMLINK)) {
            remove_tree(child);
        } else {
            g_unlink(child);
        }
    }
    g_rmdir(path);
}

/* The member of a founding before is kept once, as "member.old". */
static gboolean put_aside(const ColonyNode *node, GError **error)
{
    g_autofree char *path = colony_path_member(node);
    g_autofree char *old = g_strconcat(path, ".old", NULL);
    int number;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return TRUE;
    }
    remove_tree(old);
    if (g_rename(path, old) == 0) {
        return TRUE;
    }
    number = errno;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
                "cannot rename %s: %s", path, g_strerror(number));
    return FALSE;
}

/* Without that the folder was left behind by one that was being made. */
static gboolean has_state(const char *member)
{
    g_autofree char *state = g_build_filename(member, "state", NULL);

    return g_file_test(state, G_FILE_TEST_EXISTS);
}

/* Who founded the group may have been replaced; then it does not matter who. */
static const ColonyNode *get_founder(const ColonyConfig *config,
                                     const ColonyNode *boot)
{
    for (guint i = 0; !boot && i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        boot = node->can_run ? node : NULL;
    }
    return boot;
}

static ColonyStartOptions get_options(ColonySupervisor *supervisor)
{
    const ColonyRecord *record = supervisor->record;
    g_autofree char *member = colony_path_member(supervisor->node);
    const ColonyNode *boot = colony_config_node(supervisor->config,
                                                record->boot);
    /* A member that was there before has a VM that must not boot again. */
    gboolean first = record->founding &&
                     !has_state(member);

    return (ColonyStartOptions) {
        .start = first && boot == supervisor->node ? COLONY_START_BOOT
                                                   : COLONY_START_WAIT,
        .found = record->founding,
        .generation = record->generation,
        .id = record->id,
        .leader = get_founder(supervisor->config, boot),
        .taps = colony_taps_names(supervisor->taps),
    };
}

/* A disk's side file that is not there yet: nothing is known of the disk. */
static gboolean make_metadata(const ColonyConfig *config,
                              const ColonyNode *node, GError **error)
{
    g_autofree char *zeroes = g_malloc0(COLONY_METADATA_SIZE);

    for (guint i = 0; i < config->disks->len; i++) {
        g_autofree char *path = colony_path_metadata(
            node, g_ptr_array_index(config->disks, i));

        if (!g_file_test(path, G_FILE_TEST_EXISTS) &&
            !g_file_set_contents_full(path, zeroes, COLONY_METADATA_SIZE,
                                      G_FILE_SET_CONTENTS_CONSISTENT |
                                      G_FILE_SET_CONTENTS_DURABLE, 0600,
                                      error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void launch_qemu(ColonySupervisor *supervisor, GError **error)
{
    ColonyStartOptions options = get_options(supervisor);
    g_auto(GStrv) argv = NULL;
    g_autofree char *qmp = colony_path_qmp(supervisor->node);

    /* QEMU takes any; apusd looks for itself. */
    if (!colony_key_file_check(supervisor->config->key_file, error) ||
        !colony_taps_make(supervisor->taps, error) ||
        !make_metadata(supervisor->config, supervisor->node, error)) {
        return;
    }
    g_unlink(qmp); /* nobody is to connect to one that is gone */
    argv = colony_command_qemu(supervisor->config, supervisor->node, &options);
    colony_machine_start(supervisor->machine, argv, error);
}

static char *config_file(const ColonyNode *node)
{
    return g_build_filename(node->directory, "apusd.conf", NULL);
}

static void launch_apusd(ColonySupervisor *supervisor, GError **error)
{
    g_autofree char *file = config_file(supervisor->node);
    g_auto(GStrv) argv = colony_command_apusd(supervisor->config,
                                              supervisor->node, file, FALSE);

    colony_machine_start(supervisor->machine, argv, error);
}

static gboolean on_late(void *opaque)
{
    Founding *founding = opaque;

    founding->timer = 0;
    g_cancellable_cancel(founding->late);
    return G_SOURCE_REMOVE;
}

/* As systemd wants it: "<3>text". */
static const char *without_level(const char *text)
{
    return text[0] == '<' && g_ascii_isdigit(text[1]) && text[2] == '>'
           ? text + 3 : text;
}

static void on_founded(GObject *source, GAsyncResult *result, void *opaque)
{
    g_autofree Founding *founding = opaque;
    GSubprocess *process = G_SUBPROCESS(source);
    g_autoptr(GError) error = NULL;
    g_autofree char *output = NULL;

    g_subprocess_communicate_utf8_finish(process, result, &output, NULL,
                                         &error);
    if (error) {
        g_subprocess_force_exit(process);
        g_prefix_error(&error, "apusd --found: ");
    } else if (!g_subprocess_get_successful(process)) {
        g_set_error(&error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "apusd --found: %s", without_level(g_strstrip(output)));
    } else {
        launch_apusd(founding->supervisor, &error);
    }
    g_clear_handle_id(&founding->timer, g_source_remove);
    g_object_unref(founding->late);
    founding->done(founding->opaque, error);
}

/* An even number is that of a group with one that joins it. */
static char **found_argv(const ColonySupervisor *supervisor, const char *file)
{
    g_auto(GStrv) argv = colony_command_apusd(supervisor->config,
                                              supervisor->node, file, TRUE);
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();

    g_strv_builder_addv(words, (const char **)argv);
    if (supervisor->config->nodes->len % 2 == 0) {
        g_strv_builder_add(words, "--join");
    }
    return g_strv_builder_end(words);
}

static gboolean found_apusd(ColonySupervisor *supervisor, const char *file,
                            ColonyLaunched *done, void *opaque,
                            GError **error)
{
    g_auto(GStrv) argv = found_argv(supervisor, file);
    g_autoptr(GSubprocess) process = NULL;
    Founding *founding;

    process = g_subprocess_newv((const char *const *)argv,
                                G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                G_SUBPROCESS_FLAGS_STDERR_MERGE, error);
    if (!process) {
        return FALSE;
    }
    founding = g_new0(Founding, 1);
    founding->supervisor = supervisor;
    founding->done = done;
    founding->opaque = opaque;
    founding->late = g_cancellable_new();
    founding->timer = g_timeout_add(FOUND_MS, on_late, founding);
    g_subprocess_communicate_utf8_async(process, NULL, founding->late,
                                        on_founded, founding);
    return TRUE;
}

/* TRUE: @done comes later. */
static gboolean begin_apusd(ColonySupervisor *supervisor, ColonyLaunched *done,
                            void *opaque, GError **error)
{
    ColonyStartOptions options = get_options(supervisor);
    g_autofree char *file = config_file(supervisor->node);
    g_autofree char *member = colony_path_member(supervisor->node);
    g_autofree char *text = colony_command_apusd_config(
        supervisor->config, supervisor->node, &options);

    if (!g_file_set_contents_full(file, text, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT, 0600,
                                  error)) {
        return FALSE;
    }
    if (options.found && !has_state(member)) {
        return found_apusd(supervisor, file, done, opaque, error);
    }
    launch_apusd(supervisor, error);
    return FALSE;
}

/* Disks that the founding has renounced would be refused for ever. */
static gboolean forget_disks(ColonySupervisor *supervisor, GError **error)
{
    const ColonyRecord *record = supervisor->record;
    JsonObject *data;
    g_autofree char *names = NULL, *text = NULL;
    GError *local = NULL;

    if (!strcmp(record->boot, supervisor->node->name)) {
        return TRUE;
    }
    names = colony_store_put_aside(supervisor->config, supervisor->node,
                                   record->disks, &local);
    if (names) {
        text = g_strdup_printf("newer than what %s was started with, so that "
                               "it is copied anew: %s", record->boot, names);
        g_message("%s", text);
        data = json_object_new();
        json_object_set_string_member(data, "text", text);
        colony_supervisor_emit(supervisor, "COLONY_WARNING", data);
    }
    if (local) {
        g_propagate_error(error, local);
    }
    return !local;
}

/*
 * Only after the record says so, and before anything is started: whatever is
 * interrupted is done again.
 */
static gboolean forget_before(ColonySupervisor *supervisor, GError **error)
{
    ColonyRecord *record = supervisor->record;

    if (!record->forget) {
        return TRUE;
    }
    if (!put_aside(supervisor->node, error) ||
        !forget_disks(supervisor, error)) {
        return FALSE;
    }
    record->forget = FALSE;
    if (!colony_supervisor_save(supervisor, error)) {
        record->forget = TRUE;
        return FALSE;
    }
    return TRUE;
}

void colony_launch(ColonySupervisor *supervisor, ColonyLaunched *done,
                   void *opaque)
{
    g_autoptr(GError) error = NULL;

    if (!forget_before(supervisor, &error)) {
        done(opaque, error);
        return;
    }
    if (supervisor->node->can_run) {
        launch_qemu(supervisor, &error);
    } else if (begin_apusd(supervisor, done, opaque, &error)) {
        return;
    }
    done(opaque, error);
}
