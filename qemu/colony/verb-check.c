/*
 * colony check: is the file right?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    if (!config->tls_directory) {
        printf("%s: note: without [tls], anybody on the nodes' network can "
               "pass for one of them\n", file);
    }
}

/* --- what has to be on the host of a node --------------------------------- */

/* @path may be NULL: nothing is needed then. */
static gboolean check_access(const char *file, const char *what,
                             const char *path, int mode)
{
    if (path && access(path, mode) < 0) {
        g_printerr("%s: %s: %s: %s\n", file, what, path, strerror(errno));
        return FALSE;
    }
    return TRUE;
}

static gboolean check_device(const char *file, const char *what,
                             const char *name)
{
    g_autofree char *path = g_build_filename("/sys/class/net", name, NULL);

    return check_access(file, what, path, F_OK);
}

static gboolean check_tls(const char *file, const ColonyConfig *config)
{
    static const char *const names[] = {
        "ca-cert.pem", "cert.pem", "key.pem", "keys.psk",
    };
    gboolean good = TRUE;

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(config->tls_directory,
                                                 names[i], NULL);

        good &= check_access(file, "[tls] directory", path, R_OK);
    }
    return good;
}

static gboolean check_vm(const char *file, const ColonyConfig *config,
                         const ColonyNode *node)
{
    gboolean good = TRUE;

    good &= check_access(file, "[vm] emulator", config->emulator, X_OK);
    good &= check_access(file, "[vm] kernel", config->kernel, R_OK);
    good &= check_access(file, "[vm] initrd", config->initrd, R_OK);
    good &= check_access(file, "[vm] firmware", config->firmware, R_OK);
    if (!strcmp(config->accel, "kvm")) {
        good &= check_access(file, "[vm] accel", "/dev/kvm", R_OK | W_OK);
    }
    for (unsigned i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = config->disks->pdata[i];
        g_autofree char *group = g_strdup_printf("[disk %s]", disk->id);

        good &= check_access(file, group,
                             g_hash_table_lookup(disk->files, node->name),
                             R_OK | W_OK);
    }
    for (unsigned i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];
        g_autofree char *group = g_strdup_printf("[nic %s]", nic->id);

        good &= check_device(file, group, nic->bridge ?: nic->tap);
    }
    return good;
}

static gboolean check_host(const char *file, const ColonyConfig *config,
                           const ColonyNode *node)
{
    gboolean good = TRUE;

    if (node->can_run) {
        good &= check_vm(file, config, node);
    }
    if (config->tls_directory) {
        good &= check_tls(file, config);
    }
    return good;
}

int colony_verb_check(int argc, char **argv)
{
    static const ColonyUsage usage = {
        .arguments = "FILE [NODE]",
        .text = "Say what is wrong in a FILE, or that nothing is; with NODE, "
                "also whether all that the\nnode needs is on this host.",
        .min = 1,
        .max = 2,
    };
    g_autoptr(ColonyConfig) config = NULL;
    const ColonyNode *node = NULL;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    if (argc > 2) {
        node = colony_operate_node(config, argv[2]);
        if (!node) {
            return COLONY_EXIT_USAGE;
        }
    }
    if (node && !check_host(argv[1], config, node)) {
        return COLONY_EXIT_FAILED;
    }
    show_summary(config, argv[1]);
    show_advice(config, argv[1]);
    return EXIT_SUCCESS;
}
