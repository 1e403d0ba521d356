/*
 * colony up: have the VM run, and be protected
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ask.h"
#include "check-host.h"
#include "command.h"
#include "local.h"
#include "operate.h"
#include "verbs.h"

#define CALL_MS 10000

typedef struct Options {
    gboolean dry_run, force, local;
    char *disk_of;
    int wait; /* seconds; 0: do not */
} Options;

/* --- --dry-run ----------------------------------------------------------- */

/* Names of tap devices, as the supervisor may make them. */
static char **tap_names(const ColonyConfig *config)
{
    char **names = g_new0(char *, config->nics->len + 1);

    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        names[i] = nic->tap ? g_strdup(nic->tap)
                            : g_strdup_printf("TAP%u", i);
    }
    return names;
}

static void print_command(char **argv)
{
    g_auto(GStrv) owned = argv;
    g_autofree char *text = colony_command_print(
        (const char *const *)owned);

    printf("%s", text);
}

static void print_start(const ColonyConfig *config, const ColonyNode *node,
                        const ColonyNode *leader)
{
    g_auto(GStrv) taps = tap_names(config);
    const ColonyStartOptions options = {
        .start = node == leader ? COLONY_START_BOOT : COLONY_START_WAIT,
        .found = TRUE,
        .generation = 1,
        .id = "0",
        .leader = leader,
        .taps = (const char *const *)taps,
    };

    printf("# on %s (%s)\n", node->name, node->host);
    if (node->can_run) {
        print_command(colony_command_qemu(config, node, &options));
    } else {
        g_autofree char *text = colony_command_apusd_config(config, node,
                                                            &options);
        g_autofree char *file = g_build_filename(node->directory,
                                                 "apusd.conf", NULL);

        printf("# %s:\n%s\n", file, text);
        print_command(colony_command_apusd(config, node, file, TRUE));
        print_command(colony_command_apusd(config, node, file, FALSE));
    }
}

static void print_qmp(const ColonyNode *node, GPtrArray *commands)
{
    g_autoptr(GPtrArray) owned = commands;

    printf("# QMP of %s\n", node->name);
    for (guint i = 0; i < owned->len; i++) {
        g_autofree char *text = json_to_string(g_ptr_array_index(owned, i),
                                               FALSE);

        printf("%s\n", text);
    }
}

static const ColonyNode *first_to_run(const ColonyConfig *config)
{
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        if (node->can_run) {
            return node;
        }
    }
    return NULL;
}

static const ColonyNode *next_to_run(const ColonyConfig *config,
                                     const ColonyNode *leader)
{
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        if (node->can_run && node != leader) {
            return node;
        }
    }
    return NULL;
}

static int dry_run(const ColonyConfig *config, gboolean local)
{
    const ColonyNode *leader = first_to_run(config);
    const ColonyNode *second = next_to_run(config, leader);
    g_autoptr(GError) error = NULL;

    if (local && !colony_local_print(config, &error)) {
        g_printerr("%s\n", error->message);
        return COLONY_EXIT_FAILED;
    }
    for (guint i = 0; i < config->nodes->len; i++) {
        print_start(config, g_ptr_array_index(config->nodes, i), leader);
        printf("\n");
    }
    if (second) {
        print_qmp(second, colony_command_prepare(config, second, leader));
        print_qmp(leader, colony_command_resync(config, second, FALSE));
        print_qmp(leader, colony_command_protect(config, second));
    }
    return EXIT_SUCCESS;
}

/* --- really -------------------------------------------------------------- */

/* What nodes would look for in vain is told before anything is made. */
static gboolean has_all(const ColonyConfig *config)
{
    gboolean good = TRUE;

    if (geteuid() != 0 || colony_local_is_there(config)) {
        return TRUE;
    }
    good &= colony_check_host_vm(config->path, config);
    for (guint i = 0; i < config->nodes->len; i++) {
        good &= colony_check_host_disks(config->path, config,
                                        g_ptr_array_index(config->nodes, i));
    }
    good &= colony_check_host_tls(config->path, config);
    good &= colony_check_host_key(config->path, config);
    return good;
}

/* All nodes on this host, if that is wanted. */
static gboolean begin(const ColonyConfig *config, const Options *options)
{
    g_autoptr(GError) error = NULL;

    if (!options->local) {
        return TRUE;
    }
    if (!has_all(config)) {
        return FALSE;
    }
    if (!colony_local_begin(config, &error)) {
        g_printerr("%s: %s\n", g_get_prgname(), error->message);
        return FALSE;
    }
    return TRUE;
}

/* Who is taken to be off: nobody else is, whoever does not hear whom. */
static JsonArray *list_off(const ColonyConfig *config,
                           const ColonyStatus *status)
{
    JsonArray *names = json_array_new();

    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        if (!colony_operate_answers(status, node)) {
            json_array_add_string_element(names, node->name);
        }
    }
    return names;
}

/* FALSE, and says so: a node that does not answer is there all the same. */
static gboolean are_off(const ColonyConfig *config, const ColonyStatus *status)
{
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        if (!colony_operate_answers(status, node) &&
            colony_operate_is_alive(status, node)) {
            g_printerr("%s: %s does not answer, but other nodes hear its "
                       "QEMU or apusd: it is not off; start \"colony run\" "
                       "there\n", g_get_prgname(), node->name);
            return FALSE;
        }
    }
    return TRUE;
}

/* Whoever names a disk has to know what the others may have. */
static gboolean is_meant(const ColonyConfig *config, const Options *options,
                         const ColonyStatus *status)
{
    const ColonyNode *leader = colony_status_leader(status);
    g_autofree char *silent = NULL;

    if (leader && colony_operate_is_alive(status, leader)) {
        g_printerr("%s: %s leads already; there is nothing to choose\n",
                   g_get_prgname(), leader->name);
        return FALSE;
    }
    silent = colony_operate_silent(config, status);
    if (!options->force) {
        colony_operate_ask_force(
            "the VM would start with the disks of %s; what is newer on other "
            "disks would be lost for ever%s%s%s", options->disk_of,
            *silent ? ", and nobody can tell what " : "", silent,
            *silent ? " has: make sure that no VM runs there" : "");
        return FALSE;
    }
    if (!are_off(config, status)) {
        return FALSE;
    }
    if (*silent) {
        fprintf(stderr, "%s: %s is taken to be off, and what only that has, to "
                "be lost\n", g_get_prgname(), silent);
    }
    return TRUE;
}

static gboolean is_protected(const ColonyStatus *status,
                             void *opaque G_GNUC_UNUSED)
{
    return colony_status_health(status) == COLONY_PROTECTED;
}

static int up(const ColonyConfig *config, const Options *options)
{
    g_autoptr(ColonyStatus) status = NULL;
    JsonObject *arguments;
    unsigned failed;

    if (options->disk_of && !colony_operate_node(config, options->disk_of)) {
        return COLONY_EXIT_USAGE;
    }
    if (!begin(config, options)) {
        return COLONY_EXIT_FAILED;
    }
    if (options->disk_of || options->force) {
        status = colony_ask(config, COLONY_ASK_MS);
        if (!is_meant(config, options, status)) {
            return COLONY_EXIT_FAILED;
        }
    }
    arguments = json_object_new();
    if (options->disk_of) {
        json_object_set_string_member(arguments, "disk-of", options->disk_of);
    }
    if (options->force) {
        json_object_set_array_member(arguments, "off",
                                     list_off(config, status));
    }
    failed = colony_operate_call_all(config, status, "up", arguments,
                                     CALL_MS);
    if (failed == config->nodes->len) {
        return COLONY_EXIT_FAILED;
    }
    if (options->wait > 0) {
        return colony_operate_wait(config, options->wait, is_protected, NULL)
            ? EXIT_SUCCESS : COLONY_EXIT_FAILED;
    }
    return failed ? COLONY_EXIT_FAILED : EXIT_SUCCESS;
}

int colony_verb_up(int argc, char **argv)
{
    Options options = { 0 };
    const GOptionEntry entries[] = {
        { "dry-run", 'n', 0, G_OPTION_ARG_NONE, &options.dry_run,
          "only print what would be run", NULL },
        { "local", 'l', 0, G_OPTION_ARG_NONE, &options.local,
          "all nodes on this host, in network namespaces; for trying out",
          NULL },
        { "wait", 'w', 0, G_OPTION_ARG_INT, &options.wait,
          "wait until it is protected", "SECONDS" },
        { "disk-of", 0, 0, G_OPTION_ARG_STRING, &options.disk_of,
          "start with the disks of NODE; with --force only", "NODE" },
        { "force", 0, 0, G_OPTION_ARG_NONE, &options.force,
          "nodes that do not answer are off for certain", NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Have the VM of FILE run, and be protected; colony run has to "
                "run on each node, unless\n--local does it. Exit status: 0 "
                "every node was told, and with --wait the VM is\nprotected.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;
    g_autofree char *disk_of = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    disk_of = options.disk_of;
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    return options.dry_run ? dry_run(config, options.local)
                           : up(config, &options);
}
