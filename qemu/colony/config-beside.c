/*
 * Can the VMs of two files be on the same hosts?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "config.h"

/* What a file says of something that no two VMs can have. */
typedef struct Claim {
    char *what; /* "port 7000 of 10.0.0.1": the same for both */
    char *where; /* "[node a] group-port" */
} Claim;

static void claim_clear(void *opaque)
{
    Claim *claim = opaque;

    g_free(claim->what);
    g_free(claim->where);
}

static void add(GArray *claims, char *what, char *where)
{
    Claim claim = { what, where };

    g_array_append_val(claims, claim);
}

static void add_port(GArray *claims, const ColonyNode *node, unsigned port,
                     char *where)
{
    add(claims, g_strdup_printf("port %u of %s", port, node->host), where);
}

static void add_node(GArray *claims, const ColonyConfig *config,
                     const ColonyNode *node)
{
    const char *name = node->name;

    add_port(claims, node, node->group_port,
             g_strdup_printf("[node %s] group-port", name));
    add_port(claims, node, node->control_port,
             g_strdup_printf("[node %s] control-port", name));
    add(claims, g_strdup_printf("directory %s of %s", node->directory,
                                node->host),
        g_strdup_printf("[node %s] directory", name));
    if (config->metrics_host) {
        add_port(claims, node, config->metrics_port,
                 g_strdup("[metrics] port"));
    }
    if (!node->can_run) {
        return;
    }
    add_port(claims, node, node->migration_port,
             g_strdup_printf("[node %s] migration-port", name));
    for (guint i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = g_ptr_array_index(config->disks, i);

        add_port(claims, node, node->disk_port + i,
                 g_strdup_printf("[node %s] disk-port", name));
        add(claims, g_strdup_printf(
                "file %s of %s",
                (char *)g_hash_table_lookup(disk->files, name), node->host),
            g_strdup_printf("[disk %s]", disk->id));
    }
    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        if (nic->tap) {
            add(claims, g_strdup_printf("tap %s of %s", nic->tap, node->host),
                g_strdup_printf("[nic %s] tap", nic->id));
        }
    }
}

static GArray *get_claims(const ColonyConfig *config)
{
    GArray *claims = g_array_new(FALSE, FALSE, sizeof(Claim));

    g_array_set_clear_func(claims, claim_clear);
    add(claims, g_strdup_printf("name %s", config->name),
        g_strdup("[vm] name"));
    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        add(claims, g_strdup_printf("MAC address %s", nic->mac),
            g_strdup_printf("[nic %s] mac", nic->id));
    }
    for (guint i = 0; i < config->nodes->len; i++) {
        add_node(claims, config, g_ptr_array_index(config->nodes, i));
    }
    return claims;
}

GPtrArray *colony_config_beside(const ColonyConfig *config,
                                const ColonyConfig *other)
{
    g_autoptr(GArray) own = get_claims(config), theirs = get_claims(other);
    GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < own->len; i++) {
        const Claim *claim = &g_array_index(own, Claim, i);

        for (guint n = 0; n < theirs->len; n++) {
            const Claim *before = &g_array_index(theirs, Claim, n);

            if (!strcmp(claim->what, before->what)) {
                g_ptr_array_add(texts, g_strdup_printf(
                    "%s: %s is taken by %s of %s; take another one",
                    claim->where, claim->what, before->where, other->path));
            }
        }
    }
    return texts;
}
