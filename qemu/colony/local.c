/*
 * All nodes of a VM on one host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ask.h"
#include "command.h"
#include "control.h"
#include "local.h"

#define NAMESPACES "/run/netns"
#define POLL_US (50 * 1000)
#define BEGIN_MS 10000 /* until a supervisor answers */
#define TERM_MS 5000 /* what a process has to end by itself */
#define KILL_MS 5000

static gboolean fail(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
static gboolean fail(GError **error, const char *format, ...)
{
    va_list list;

    if (error) {
        va_start(list, format);
        *error = g_error_new_valist(G_IO_ERROR, G_IO_ERROR_FAILED, format,
                                    list);
        va_end(list);
    }
    return FALSE;
}

/* --- ip ------------------------------------------------------------------- */

/* @output: NULL: nobody wants to know */
static gboolean run(const char *const *argv, char **output, GError **error)
{
    g_autofree char *ignored = NULL, *errors = NULL;
    g_autoptr(GError) why = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                      NULL, output ?: &ignored, &errors, &status, &why)) {
        return fail(error, "%s; --local needs ip, of the package iproute2",
                    why->message);
    }
    if (!g_spawn_check_wait_status(status, &why)) {
        g_autofree char *line = g_strjoinv(" ", (char **)argv);

        g_strstrip(errors);
        return fail(error, "%s: %s", line, *errors ? errors : why->message);
    }
    return TRUE;
}

/* Whether ip says @word of something; no, if it is not there. */
static gboolean ip_says(const char *const *argv, const char *word)
{
    g_autofree char *output = NULL;
    g_auto(GStrv) words = NULL;

    if (!run(argv, &output, NULL)) {
        return FALSE;
    }
    words = g_strsplit_set(output, "\n \\", -1);
    return g_strv_contains((const char *const *)words, word);
}

static gboolean is_bridge(const char *name)
{
    const char *const argv[] = {
        "ip", "-d", "-o", "link", "show", "dev", name, NULL
    };

    return ip_says(argv, "bridge");
}

/* Those of the file's bridges that this host has. */
static char **find_bridges(const ColonyConfig *config)
{
    g_autoptr(GPtrArray) networks = colony_local_networks(config);
    GPtrArray *found = g_ptr_array_new();

    for (guint i = 0; i < networks->len; i++) {
        const char *name = g_ptr_array_index(networks, i);

        if (is_bridge(name)) {
            g_ptr_array_add(found, g_strdup(name));
        }
    }
    g_ptr_array_add(found, NULL);
    return (char **)g_ptr_array_free(found, FALSE);
}

/* --- what is there -------------------------------------------------------- */

/* Names of all namespaces of the VM, be it of an older file. */
static char **find_namespaces(const ColonyConfig *config)
{
    g_autofree char *own = colony_local_name(config, NULL);
    g_autofree char *prefix = g_strconcat(own, ".", NULL);
    g_autoptr(GDir) folder = g_dir_open(NAMESPACES, 0, NULL);
    GPtrArray *names = g_ptr_array_new();
    const char *name;

    while (folder && (name = g_dir_read_name(folder))) {
        if (!strcmp(name, own) || g_str_has_prefix(name, prefix)) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

gboolean colony_local_is_there(const ColonyConfig *config)
{
    g_auto(GStrv) names = find_namespaces(config);

    return *names != NULL;
}

static gboolean is_complete(const ColonyConfig *config)
{
    g_autofree char *name = colony_local_name(config, NULL);
    g_autofree char *mark = colony_local_mark(config);
    const char *const argv[] = {
        "ip", "-n", name, "-o", "link", "show", "dev", "lo", NULL
    };

    return ip_says(argv, mark);
}

/* --- the network ---------------------------------------------------------- */

static gboolean remove_network(const ColonyConfig *config, GError **error)
{
    g_auto(GStrv) names = find_namespaces(config);
    g_autoptr(GPtrArray) networks = colony_local_networks(config);
    g_autofree char *switches = colony_local_name(config, NULL);

    /*
     * The namespaces take their devices along, but later; those that this
     * host sees are gone at once. One that was not made cannot be removed.
     */
    for (guint i = 0; i < networks->len; i++) {
        g_autofree char *port = g_strdup_printf("host%u", i);
        const char *const argv[] = {
            "ip", "-n", switches, "link", "delete", port, NULL
        };

        run(argv, NULL, NULL);
    }
    for (guint i = 0; names[i]; i++) {
        const char *const argv[] = {
            "ip", "netns", "delete", names[i], NULL
        };

        if (!run(argv, NULL, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* The host's own names are not taken by others. */
static gboolean check_names(const ColonyConfig *config,
                            const char *const *bridges, GError **error)
{
    g_autoptr(GPtrArray) networks = colony_local_networks(config);

    for (guint i = 0; i < networks->len; i++) {
        const char *name = g_ptr_array_index(networks, i);

        if (!g_strv_contains(bridges, name) && if_nametoindex(name)) {
            return fail(error, "bridge=%s: this host has a device of this "
                        "name that is no bridge; take another name, or make a "
                        "bridge for all who are to share it", name);
        }
    }
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);
        g_autoptr(JsonObject) report = colony_call(
            config, node, TRUE, "report", NULL, COLONY_ASK_MS, NULL);

        if (report) {
            return fail(error, "\"colony run\" of node %s runs on this host "
                        "already, and not for --local; end it first",
                        node->name);
        }
    }
    return TRUE;
}

static gboolean make_network(const ColonyConfig *config, GError **error)
{
    g_auto(GStrv) bridges = find_bridges(config);
    g_autoptr(GPtrArray) plan = colony_local_plan(
        config, (const char *const *)bridges);
    gboolean ok = check_names(config, (const char *const *)bridges, error);

    for (guint i = 0; ok && i < plan->len; i++) {
        ok = run(g_ptr_array_index(plan, i), NULL, error);
        if (!ok) {
            remove_network(config, NULL);
        }
    }
    return ok;
}

static gboolean need_network(const ColonyConfig *config, GError **error)
{
    g_autofree char *name = colony_local_name(config, NULL);

    if (!colony_local_is_there(config)) {
        return make_network(config, error);
    }
    return is_complete(config) ||
           fail(error, "there are network namespaces of a VM %s (%s) that are "
                "of another file, of this one as it was before, or not "
                "complete; \"colony down --local\" of that file removes them",
                config->name, name);
}

/* --- the supervisors ------------------------------------------------------ */

static char *log_path(const ColonyNode *node)
{
    return g_build_filename(node->directory, "supervisor.log", NULL);
}

static void in_child(void *opaque G_GNUC_UNUSED)
{
    setsid();
}

static gboolean spawn(const ColonyConfig *config, const ColonyNode *node,
                      GPid *pid, GError **error)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", error);
    g_autofree char *path = log_path(node);
    g_auto(GStrv) argv = NULL;
    int output;
    gboolean ok;

    if (!program) {
        return FALSE;
    }
    output = g_mkdir_with_parents(node->directory, 0700) < 0 ? -1 :
             open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
                  0600);
    if (output < 0) {
        return fail(error, "cannot make %s: %s", path, g_strerror(errno));
    }
    argv = colony_local_supervisor(config, node, program);
    ok = g_spawn_async_with_fds(
        NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
        in_child, NULL, pid, -1, output, output, error);
    close(output);
    return ok;
}

/* What it has said last. */
static char *last_line(const char *path)
{
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return g_strdup("");
    }
    g_strchomp(text);
    line = strrchr(text, '\n');
    return g_utf8_make_valid(line ? line + 1 : text, -1);
}

static gboolean answers(const ColonyConfig *config, const ColonyNode *node)
{
    g_autoptr(JsonObject) report = colony_call(
        config, node, TRUE, "report", NULL, COLONY_ASK_MS, NULL);

    return report != NULL;
}

static gboolean wait_answer(const ColonyConfig *config, const ColonyNode *node,
                            GPid pid, GError **error)
{
    gint64 end = g_get_monotonic_time() + BEGIN_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *path = log_path(node);
    int status;

    while (!answers(config, node)) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            g_autofree char *line = last_line(path);

            return fail(error, "node %s: \"colony run\" has ended at once: "
                        "%s (%s)", node->name, line, path);
        }
        if (g_get_monotonic_time() >= end) {
            return fail(error, "node %s: \"colony run\" has not begun to "
                        "answer in %u s; see %s", node->name, BEGIN_MS / 1000,
                        path);
        }
        g_usleep(POLL_US);
    }
    return TRUE;
}

gboolean colony_local_begin(const ColonyConfig *config, GError **error)
{
    GPid pids[COLONY_NODES_MAX] = { 0 };
    gboolean ok;

    if (!colony_local_check(config, error)) {
        return FALSE;
    }
    if (geteuid() != 0) {
        return fail(error, "--local makes network namespaces: only root can");
    }
    ok = need_network(config, error);
    for (guint i = 0; ok && i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        ok = answers(config, node) || spawn(config, node, &pids[i], error);
    }
    for (guint i = 0; ok && i < config->nodes->len; i++) {
        ok = !pids[i] || wait_answer(config, g_ptr_array_index(config->nodes,
                                                               i),
                                     pids[i], error);
    }
    return ok;
}

/* --- the end -------------------------------------------------------------- */

/* All processes in the namespaces; 0: they are asked for only. */
static unsigned signal_all(const ColonyConfig *config, int number)
{
    g_auto(GStrv) names = find_namespaces(config);
    unsigned count = 0;

    for (guint i = 0; names[i]; i++) {
        const char *const argv[] = { "ip", "netns", "pids", names[i], NULL };
        g_autofree char *output = NULL;
        g_auto(GStrv) words = NULL;

        if (run(argv, &output, NULL)) {
            words = g_strsplit(output, "\n", -1);
        }
        for (guint n = 0; words && words[n]; n++) {
            pid_t pid = atoi(words[n]);

            count += pid > 1 && pid != getpid() && kill(pid, number) == 0;
        }
    }
    return count;
}

static gboolean wait_gone(const ColonyConfig *config, unsigned ms)
{
    gint64 end = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;

    while (signal_all(config, 0) > 0) {
        if (g_get_monotonic_time() >= end) {
            return FALSE;
        }
        g_usleep(POLL_US);
    }
    return TRUE;
}

gboolean colony_local_is_busy(const ColonyConfig *config)
{
    return signal_all(config, 0) > 0;
}

gboolean colony_local_end(const ColonyConfig *config, GError **error)
{
    if (geteuid() != 0) {
        return fail(error, "--local removes network namespaces: only root "
                    "can");
    }
    signal_all(config, SIGTERM);
    if (!wait_gone(config, TERM_MS)) {
        signal_all(config, SIGKILL);
        if (!wait_gone(config, KILL_MS)) {
            return fail(error, "processes of %s do not end, though killed; "
                        "\"ip netns pids\" lists them", config->name);
        }
    }
    return remove_network(config, error);
}

/* --- --dry-run ------------------------------------------------------------ */

gboolean colony_local_print(const ColonyConfig *config, GError **error)
{
    g_auto(GStrv) bridges = find_bridges(config);
    g_autoptr(GPtrArray) plan = NULL;

    if (!colony_local_check(config, error)) {
        return FALSE;
    }
    plan = colony_local_plan(config, (const char *const *)bridges);
    printf("# on this host\n");
    for (guint i = 0; i < plan->len; i++) {
        g_autofree char *line = g_strjoinv(" ", g_ptr_array_index(plan, i));

        printf("%s\n", line);
    }
    for (guint i = 0; i < config->nodes->len; i++) {
        g_auto(GStrv) argv = colony_local_supervisor(
            config, g_ptr_array_index(config->nodes, i), "colony");
        g_autofree char *line = g_strjoinv(" ", argv);

        printf("%s &\n", line);
    }
    printf("\n");
    return TRUE;
}
