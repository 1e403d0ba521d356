/*
 * colony check: is the file right?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check-host.h"
#include "operate.h"
#include "verbs.h"

/* "a, b" of the nodes that can run the VM, or of those that cannot. */
static char *list_nodes(const ColonyConfig *config, gboolean can_run)
{
    GString *names = g_string_new(NULL);

    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        if (!node->can_run == !can_run) {
            g_string_append_printf(names, "%s%s", names->len ? ", " : "",
                                   node->name);
        }
    }
    return g_string_free(names, FALSE);
}

static void show_summary(const ColonyConfig *config, const char *file)
{
    g_autofree char *run = list_nodes(config, TRUE);
    g_autofree char *vote = list_nodes(config, FALSE);
    unsigned disks = config->disks->len, nics = config->nics->len;

    printf("%s: ok: %s: %u MiB, %u CPU%s, %u disk%s, %u NIC%s; runs on "
           "%s%s%s; preset %s\n", file, config->name,
           (unsigned)(config->memory >> 20), config->cpus,
           config->cpus == 1 ? "" : "s", disks, disks == 1 ? "" : "s", nics,
           nics == 1 ? "" : "s", run, *vote ? "; votes: " : "", vote,
           config->preset == COLONY_PRESET_PLOVER ? "plover" : "hybrid");
}

/* The first node on the host of @node; it may be the same. */
static const ColonyNode *first_on_host(const ColonyConfig *config,
                                       const ColonyNode *node)
{
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *other = config->nodes->pdata[i];

        if (!strcmp(other->host, node->host)) {
            return other;
        }
    }
    g_assert_not_reached();
}

/* What keeps others out, and what does not. */
static void show_trust(const ColonyConfig *config, const char *file)
{
    if (config->tls_directory) {
        return;
    }
    if (config->key_file) {
        printf("%s: note: key-file= says who takes part in the group, and "
               "encrypts nothing; nobody else may be in the nodes' network\n",
               file);
    } else if (!strcmp(config->transport, "rdma")) {
        printf("%s: note: with transport=rdma, nothing is encrypted, and "
               "without key-file=, anybody can pass for a node; nobody else "
               "may be in the nodes' network\n", file);
    } else {
        printf("%s: note: without [tls], anybody on the nodes' network can "
               "pass for one of them\n", file);
    }
}

/* What is possible, and seldom meant. */
static void show_advice(const ColonyConfig *config, const char *file)
{
    if (config->nodes->len % 2 == 0) {
        printf("%s: note: %u nodes survive no more failures than %u; have an "
               "odd number, but while one is replaced\n", file,
               config->nodes->len, config->nodes->len - 1);
    }
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];
        const ColonyNode *first = first_on_host(config, node);

        if (first != node) {
            printf("%s: note: nodes %s and %s are on one host, and die with "
                   "it\n", file, first->name, node->name);
        }
    }
    show_trust(config, file);
}

static gboolean check_host(const char *file, const ColonyConfig *config,
                           const ColonyNode *node)
{
    gboolean good = TRUE;

    if (node->can_run) {
        good &= colony_check_host_vm(file, config);
        good &= colony_check_host_disks(file, config, node);
        good &= colony_check_host_nics(file, config);
    }
    good &= colony_check_host_tls(file, config);
    good &= colony_check_host_key(file, config);
    return good;
}

/* --- with others ---------------------------------------------------------- */

/* @others: files, or NULL */
static int check_beside(const char *file, const ColonyConfig *config,
                        char **others)
{
    int status = EXIT_SUCCESS;

    for (char **path = others; path && *path; path++) {
        g_autoptr(ColonyConfig) other = colony_operate_load(*path);
        g_autoptr(GPtrArray) texts = NULL;

        if (!other) {
            return COLONY_EXIT_FILE;
        }
        texts = colony_config_beside(config, other);
        for (guint i = 0; i < texts->len; i++) {
            g_printerr("%s: %s\n", file, (char *)texts->pdata[i]);
            status = COLONY_EXIT_FAILED;
        }
    }
    return status;
}

static int check(const char *file, const char *name, char **others)
{
    g_autoptr(ColonyConfig) config = colony_operate_load(file);
    const ColonyNode *node = NULL;
    int status;

    if (!config) {
        return COLONY_EXIT_FILE;
    }
    if (name) {
        node = colony_operate_node(config, name);
        if (!node) {
            return COLONY_EXIT_USAGE;
        }
    }
    status = check_beside(file, config, others);
    if (node && !check_host(file, config, node)) {
        status = MAX(status, COLONY_EXIT_FAILED);
    }
    if (status == EXIT_SUCCESS) {
        show_summary(config, file);
        show_advice(config, file);
    }
    return status;
}

int colony_verb_check(int argc, char **argv)
{
    g_auto(GStrv) others = NULL;
    const GOptionEntry entries[] = {
        { "beside", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &others,
          "of another VM, which is to be on the same hosts (may be repeated)",
          "OTHER" },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE [NODE]",
        .text = "Say what is wrong in a FILE, or that nothing is; with NODE, "
                "also whether all that the\nnode needs is on this host.",
        .min = 1,
        .max = 2,
        .entries = entries,
    };

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    return check(argv[1], argc > 2 ? argv[2] : NULL, others);
}
