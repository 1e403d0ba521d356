/*
 * What is right by itself, and wrong together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "config-internal.h"

#define CONFLICT COLONY_CONFIG_ERROR_CONFLICT
#define IDE_MAX 4 /* disks; all machines have room for so many */

/* --- [vm] ----------------------------------------------------------------- */

/* Options of QEMU that arguments= must not have, and what there is instead. */
static const struct {
    const char *options, *instead;
} taken[] = {
    { "name", "write name=" },
    { "m", "write memory=" },
    { "smp", "write cpus=" },
    { "machine M", "write machine=" },
    { "accel enable-kvm", "write accel=" },
    { "cpu", "write cpu=" },
    { "kernel", "write kernel=" },
    { "initrd", "write initrd=" },
    { "append", "write append=" },
    { "bios pflash", "write firmware=" },
    /* What it says would be heard before its time. */
    { "nic net netdev", "make a group [nic ID]" },
    { "hda hdb hdc hdd", "make a group [disk ID]" },
    { "incoming daemonize pidfile S loadvm snapshot no-shutdown preconfig",
      "colony decides that" },
};

static const char *find_taken(const char *option)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(taken); i++) {
        g_auto(GStrv) options = g_strsplit(taken[i].options, " ", -1);

        if (g_strv_contains((const char *const *)options, option)) {
            return taken[i].instead;
        }
    }
    return NULL;
}

static void check_arguments(const ColonyConfig *config, ColonyIni *ini)
{
    for (char **word = config->arguments; word && *word; word++) {
        const char *option = *word + strspn(*word, "-");
        const char *instead = option == *word ? NULL : find_taken(option);

        if (instead) {
            colony_ini_refuse(ini, "vm", "arguments", CONFLICT, "%s is not "
                              "possible here; %s", *word, instead);
        }
    }
}

static void check_vm(const ColonyConfig *config, ColonyIni *ini)
{
    static const char *const of_kernel[] = { "initrd", "append" };

    if (config->memory % (1 << 20)) {
        colony_ini_refuse(ini, "vm", "memory", COLONY_CONFIG_ERROR_VALUE,
                          "is no multiple of 1M; write a number with M or "
                          "G");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(of_kernel); i++) {
        if (colony_ini_value(ini, "vm", of_kernel[i]) && !config->kernel) {
            colony_ini_refuse(ini, "vm", of_kernel[i], CONFLICT, "needs a "
                              "kernel; add kernel=, or remove the line");
        }
    }
    check_arguments(config, ini);
}

/* --- nodes ---------------------------------------------------------------- */

static gboolean is_loopback(const char *host)
{
    return g_str_has_prefix(host, "127.") || !strcmp(host, "::1");
}

static gboolean same_host(const ColonyNode *a, const ColonyNode *b)
{
    return a->host && b->host && !strcmp(a->host, b->host);
}

/* Which of several there are is in the file; none has a line for it. */
static void check_numbers(const ColonyConfig *config, ColonyIni *ini)
{
    unsigned n = config->nodes->len;
    const ColonyNode *last = n ? config->nodes->pdata[n - 1] : NULL;
    g_autofree char *group = g_strdup_printf("node %s", last ? last->name :
                                             "NAME");
    unsigned runs = 0;

    for (unsigned i = 0; i < n; i++) {
        runs += ((ColonyNode *)config->nodes->pdata[i])->can_run != FALSE;
    }
    if (n < 3) {
        colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_MISSING,
                          "%u of at least 3 nodes: no majority would be left "
                          "when one fails; add a node, with can-run=no if it "
                          "shall only vote", n);
    } else if (runs < 2) {
        colony_ini_refuse(ini, group, "can-run", CONFLICT, "only %u node%s "
                          "can run the VM: nobody could take over; leave "
                          "can-run=no out of another one", runs,
                          runs == 1 ? "" : "s");
    }
}

/* What listens on a host; @node is NULL for [metrics], which each node has. */
typedef struct Port {
    const char *host, *key;
    const ColonyNode *node;
    unsigned number;
} Port;

static char *port_group(const Port *port)
{
    return port->node ? g_strdup_printf("node %s", port->node->name)
                      : g_strdup("metrics");
}

/* Among @ports, which are all different. */
static void add_port(GArray *ports, ColonyIni *ini, const Port *port)
{
    g_autofree char *group = port_group(port);

    if (port->number > G_MAXUINT16) {
        colony_ini_refuse(ini, group, port->key, CONFLICT, "is too high for "
                          "that many disks, each of which has a port; take a "
                          "lower one");
        return;
    }
    for (unsigned i = 0; i < ports->len; i++) {
        const Port *other = &g_array_index(ports, Port, i);
        g_autofree char *before = port_group(other);

        if (other->number != port->number || strcmp(other->host, port->host)) {
            continue;
        }
        colony_ini_refuse(ini, group, port->key, CONFLICT, "port %u of %s "
                          "is taken by [%s] %s; take another one",
                          port->number, port->host, before, other->key);
        return;
    }
    g_array_append_val(ports, *port);
}

static void add_ports(GArray *ports, const ColonyConfig *config,
                      ColonyIni *ini, const ColonyNode *node)
{
    const Port all[] = {
        { node->host, "group-port", node, node->group_port },
        { node->host, "control-port", node, node->control_port },
        { node->host, "migration-port", node, node->migration_port },
    };

    for (unsigned i = 0; i < (node->can_run ? 3 : 2); i++) {
        add_port(ports, ini, &all[i]);
    }
    for (unsigned i = 0; node->can_run && i < config->disks->len; i++) {
        add_port(ports, ini, &(Port) { node->host, "disk-port", node,
                                        node->disk_port + i });
    }
    if (config->metrics_host) {
        add_port(ports, ini, &(Port) { node->host, "port", NULL,
                                        config->metrics_port });
    }
}

static void check_directories(const ColonyConfig *config, ColonyIni *ini,
                              const ColonyNode *node, unsigned number)
{
    for (unsigned i = 0; i < number; i++) {
        const ColonyNode *other = config->nodes->pdata[i];
        g_autofree char *group = g_strdup_printf("node %s", node->name);

        if (same_host(node, other) &&
            !strcmp(node->directory, other->directory)) {
            colony_ini_refuse(ini, group, "directory", CONFLICT, "is that "
                              "of [node %s], on the same host; take another "
                              "one", other->name);
        }
    }
}

static void check_id(const ColonyConfig *config, ColonyIni *ini,
                     const ColonyNode *node)
{
    const ColonyNode *other = colony_config_member(config, node->id);
    g_autofree char *group = g_strdup_printf("node %s", node->name);

    if (other != node) {
        colony_ini_refuse(ini, group, "id", CONFLICT, "%u is that of [node "
                          "%s], too; give each node another id= (without "
                          "one it is the node's place in the file)",
                          node->id, other->name);
    }
}

static void check_nodes(const ColonyConfig *config, ColonyIni *ini)
{
    g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(Port));
    const char *first = NULL;

    check_numbers(config, ini);
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];
        g_autofree char *group = g_strdup_printf("node %s", node->name);

        check_id(config, ini, node);
        if (!node->host) {
            continue;
        }
        first = first ?: node->host;
        if (is_loopback(node->host) != is_loopback(first)) {
            colony_ini_refuse(ini, group, "host", CONFLICT, "%s and %s "
                              "cannot reach each other; give addresses of "
                              "one network", node->host, first);
        }
        add_ports(ports, config, ini, node);
        check_directories(config, ini, node, i);
    }
}

/* --- disks ---------------------------------------------------------------- */

/* @node's file of @disk must be no other one's on that host. */
static void check_file(ColonyIni *ini, const ColonyDisk *disk,
                       const ColonyNode *node, GHashTable *seen)
{
    const char *file = g_hash_table_lookup(disk->files, node->name);
    g_autofree char *group = g_strdup_printf("disk %s", disk->id);
    g_autofree char *own = g_strdup_printf("file.%s", node->name);
    g_autofree char *user = NULL;
    g_autofree char *place = NULL;
    const char *before;

    if (!file || !node->host) {
        return;
    }
    place = g_strdup_printf("%s %s", node->host, file);
    before = g_hash_table_lookup(seen, place);
    if (before) {
        colony_ini_refuse(ini, group,
                          colony_ini_value(ini, group, own) ? own : "file",
                          CONFLICT, "%s of node %s is %s already; give each "
                          "disk of each node a file of its own (file.%s=)",
                          file, node->name, before, node->name);
        return;
    }
    user = g_strdup_printf("[disk %s] of node %s", disk->id, node->name);
    g_hash_table_insert(seen, g_steal_pointer(&place), g_steal_pointer(&user));
}

static void check_disks(const ColonyConfig *config, ColonyIni *ini)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, g_free);
    unsigned ides = 0;

    for (unsigned i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = config->disks->pdata[i];
        g_autofree char *group = g_strdup_printf("disk %s", disk->id);

        for (unsigned n = 0; n < config->nodes->len; n++) {
            check_file(ini, disk, config->nodes->pdata[n], seen);
        }
        ides += !strcmp(disk->interface, "ide");
        if (ides > IDE_MAX) {
            colony_ini_refuse(ini, group, "interface", CONFLICT, "%d disks "
                              "can be ide; write virtio or scsi", IDE_MAX);
        }
    }
}

/* --- NICs ----------------------------------------------------------------- */

static void check_nic_pair(const ColonyNic *nic, const ColonyNic *other,
                           const char *group, ColonyIni *ini)
{
    if (!strcmp(nic->mac, other->mac)) {
        colony_ini_refuse(ini, group, "mac", CONFLICT, "is that of [nic %s]; "
                          "take another one", other->id);
    }
    if (nic->tap && !g_strcmp0(nic->tap, other->tap)) {
        colony_ini_refuse(ini, group, "tap", CONFLICT, "is that of [nic %s]; "
                          "take another one", other->id);
    }
}

/* A tap device has one user; those that are made have names of their own. */
static gboolean is_shared(const ColonyConfig *config)
{
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        for (unsigned n = 0; node->can_run && n < i; n++) {
            const ColonyNode *other = config->nodes->pdata[n];

            if (other->can_run && same_host(node, other)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

static void check_nic(const ColonyConfig *config, ColonyIni *ini,
                      const ColonyNic *nic)
{
    g_autofree char *group = g_strdup_printf("nic %s", nic->id);

    if (nic->bridge && nic->tap) {
        colony_ini_refuse(ini, group, "tap", CONFLICT, "cannot be together "
                          "with bridge=; remove one of the two");
    } else if (!colony_ini_value(ini, group, "bridge") &&
               !colony_ini_value(ini, group, "tap")) {
        colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_MISSING,
                          "belongs to no network; add bridge=, or tap= if "
                          "there is a tap device on each node");
    } else if (nic->tap && is_shared(config)) {
        colony_ini_refuse(ini, group, "tap", CONFLICT, "cannot be used by "
                          "two nodes on one host; write bridge= instead");
    }
}

static void check_nics(const ColonyConfig *config, ColonyIni *ini)
{
    for (unsigned i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];
        g_autofree char *group = g_strdup_printf("nic %s", nic->id);
        g_autofree char *disk = g_strdup_printf("disk %s", nic->id);

        check_nic(config, ini, nic);
        for (unsigned n = 0; n < i; n++) {
            check_nic_pair(nic, config->nics->pdata[n], group, ini);
        }
        if (colony_ini_group(ini, disk)) {
            colony_ini_refuse(ini, group, NULL, CONFLICT, "there is a "
                              "[%s], too; take another name", disk);
        }
    }
}

/* --- [policy] ------------------------------------------------------------- */

static void check_policy(const ColonyConfig *config, ColonyIni *ini)
{
    if (!g_strcmp0(config->transport, "rdma") && config->tls_directory) {
        colony_ini_refuse(ini, "policy", "transport", CONFLICT, "has no TLS: "
                          "nothing that goes by RDMA is encrypted; remove "
                          "the line, or have key-file= instead of [tls] if "
                          "nobody else is in the nodes' network");
    }
    if (config->key_file && config->tls_directory) {
        colony_ini_refuse(ini, "policy", "key-file", CONFLICT, "is too much: "
                          "keys.psk of [tls] is the group's key; remove the "
                          "line, or [tls] if nobody else is in the nodes' "
                          "network");
    }
    if (config->log_size & (config->log_size - 1)) {
        colony_ini_refuse(ini, "policy", "log-size",
                          COLONY_CONFIG_ERROR_VALUE, "is no power of two; "
                          "write 4M, 8M, 16M and so on");
    }
    if (config->preset == COLONY_PRESET_PLOVER) {
        if (colony_ini_value(ini, "policy", "compare-timeout")) {
            colony_ini_refuse(ini, "policy", "compare-timeout", CONFLICT,
                              "means nothing with preset=plover, which does "
                              "not compare; remove the line");
        }
    } else if (config->compare_timeout >= config->interval) {
        colony_ini_refuse(ini, "policy",
                          colony_ini_value(ini, "policy", "interval")
                          ? "interval" : "compare-timeout", CONFLICT,
                          "with interval=%ums and compare-timeout=%ums there "
                          "is a sync before anybody has waited long enough "
                          "to ask for one; let interval be longer",
                          config->interval, config->compare_timeout);
    }
}

void colony_config_check(const ColonyConfig *config, ColonyIni *ini)
{
    check_vm(config, ini);
    check_nodes(config, ini);
    check_disks(config, ini);
    check_nics(config, ini);
    check_policy(config, ini);
}
