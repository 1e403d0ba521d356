/*
 * What a VM whose nodes are on one host consists of
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <string.h>

#include "control-wire.h"
#include "local.h"

char *colony_local_name(const ColonyConfig *config, const ColonyNode *node)
{
    /* Names have no dots: no two of them come to the same. */
    return node ? g_strdup_printf("colony.%s.%s", config->name, node->name)
                : g_strdup_printf("colony.%s", config->name);
}

GPtrArray *colony_local_networks(const ColonyConfig *config)
{
    GPtrArray *networks = g_ptr_array_new();

    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        if (nic->bridge &&
            !g_ptr_array_find_with_equal_func(networks, nic->bridge,
                                              g_str_equal, NULL)) {
            g_ptr_array_add(networks, nic->bridge);
        }
    }
    return networks;
}

char *colony_local_mark(const ColonyConfig *config)
{
    g_autofree char *digest = colony_wire_digest(config);

    return g_strconcat("colony-", digest, NULL);
}

/* --- what cannot be ------------------------------------------------------- */

static gboolean refuse(const ColonyConfig *config, GError **error,
                       const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean refuse(const ColonyConfig *config, GError **error,
                       const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list list;

    va_start(list, format);
    text = g_strdup_vprintf(format, list);
    va_end(list);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "%s: --local: %s",
                config->path, text);
    return FALSE;
}

static gboolean check_disks(const ColonyConfig *config, const ColonyNode *a,
                            const ColonyNode *b, GError **error)
{
    for (guint i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = g_ptr_array_index(config->disks, i);
        const char *file = g_hash_table_lookup(disk->files, a->name);
        const char *other = g_hash_table_lookup(disk->files, b->name);

        if (!g_strcmp0(file, other)) {
            return refuse(config, error, "[disk %s] file: nodes %s and %s "
                          "would write to the same %s; write file.%s= and "
                          "file.%s= instead", disk->id, a->name, b->name, file,
                          a->name, b->name);
        }
    }
    return TRUE;
}

static gboolean check_pair(const ColonyConfig *config, const ColonyNode *a,
                           const ColonyNode *b, GError **error)
{
    if (!strcmp(a->host, b->host)) {
        return refuse(config, error, "[node %s] host: %s is the address of "
                      "node %s, too; each needs one of its own", b->name,
                      b->host, a->name);
    }
    if (!strcmp(a->directory, b->directory)) {
        return refuse(config, error, "[node %s] directory: %s is that of node "
                      "%s, too; each needs one of its own", b->name,
                      b->directory, a->name);
    }
    return !a->can_run || !b->can_run || check_disks(config, a, b, error);
}

static gboolean check_nics(const ColonyConfig *config, GError **error)
{
    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        if (!nic->bridge) {
            return refuse(config, error, "[nic %s] tap: no two nodes can have "
                          "the device %s; write bridge= instead", nic->id,
                          nic->tap);
        }
    }
    return TRUE;
}

gboolean colony_local_check(const ColonyConfig *config, GError **error)
{
    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);
        g_autoptr(GInetAddress) address = g_inet_address_new_from_string(
            node->host);

        if (g_inet_address_get_is_loopback(address)) {
            return refuse(config, error, "[node %s] host: nodes cannot reach "
                          "each other at %s; take other addresses, such as "
                          "192.0.2.%u", node->name, node->host, i + 1);
        }
        for (guint n = 0; n < i; n++) {
            if (!check_pair(config, g_ptr_array_index(config->nodes, n), node,
                            error)) {
                return FALSE;
            }
        }
    }
    return check_nics(config, error);
}

/* --- what is to be made --------------------------------------------------- */

typedef struct Plan {
    const ColonyConfig *config;
    GPtrArray *networks, *steps;
    char *switches; /* a namespace */
} Plan;

/* Words of names, numbers and addresses: none has a space. */
static void step(Plan *plan, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void step(Plan *plan, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list list;

    va_start(list, format);
    text = g_strdup_vprintf(format, list);
    va_end(list);
    g_ptr_array_add(plan->steps, g_strsplit(text, " ", -1));
}

/* A switch for what nodes say to each other, and one for each network. */
static void make_switches(Plan *plan)
{
    step(plan, "ip netns add %s", plan->switches);
    step(plan, "ip -n %s link add nodes up type bridge mcast_snooping 0",
         plan->switches);
    for (guint i = 0; i < plan->networks->len; i++) {
        step(plan, "ip -n %s link add net%u up type bridge mcast_snooping 0",
             plan->switches, i);
    }
}

/* The host's way to a network. */
static void connect_host(Plan *plan, guint network, gboolean has_bridge)
{
    const char *name = g_ptr_array_index(plan->networks, network);
    g_autofree char *end = has_bridge
        ? g_strdup_printf("cl%08x%u", g_str_hash(plan->config->name), network)
        : g_strdup(name);

    step(plan, "ip link add %s type veth peer name host%u netns %s", end,
         network, plan->switches);
    step(plan, "ip -n %s link set host%u master net%u up", plan->switches,
         network, network);
    if (has_bridge) {
        step(plan, "ip link set %s master %s up", end, name);
    } else {
        step(plan, "ip link set %s up", end);
    }
}

/* Other nodes are beyond eth0, whatever their addresses. */
static void make_node(Plan *plan, const ColonyNode *node, const char *where)
{
    gboolean six = strchr(node->host, ':') != NULL;

    step(plan, "ip netns add %s", where);
    step(plan, "ip -n %s link set lo up", where);
    step(plan, "ip -n %s link add eth0 type veth peer name node%u netns %s",
         where, node->id, plan->switches);
    step(plan, "ip -n %s link set node%u master nodes up", plan->switches,
         node->id);
    step(plan, "ip -n %s address add %s dev eth0%s", where, node->host,
         six ? " nodad" : "");
    step(plan, "ip -n %s link set eth0 up", where);
    step(plan, "ip -%c -n %s route add default dev eth0", six ? '6' : '4',
         where);
}

/* The bridge that the VM's taps are put into, on a node. */
static void make_bridge(Plan *plan, const ColonyNode *node, const char *where,
                        guint network)
{
    const char *name = g_ptr_array_index(plan->networks, network);

    step(plan, "ip -n %s link add %s up type bridge mcast_snooping 0", where,
         name);
    step(plan, "ip -n %s link add eth%u type veth peer name node%u.%u netns "
         "%s", where, network + 1, node->id, network, plan->switches);
    step(plan, "ip -n %s link set node%u.%u master net%u up", plan->switches,
         node->id, network, network);
    step(plan, "ip -n %s link set eth%u master %s up", where, network + 1,
         name);
}

static void make_nodes(Plan *plan)
{
    for (guint i = 0; i < plan->config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(plan->config->nodes, i);
        g_autofree char *where = colony_local_name(plan->config, node);

        make_node(plan, node, where);
        for (guint n = 0; node->can_run && n < plan->networks->len; n++) {
            make_bridge(plan, node, where, n);
        }
    }
}

GPtrArray *colony_local_plan(const ColonyConfig *config,
                             const char *const *bridges)
{
    g_autoptr(GPtrArray) networks = colony_local_networks(config);
    g_autofree char *switches = colony_local_name(config, NULL);
    g_autofree char *mark = colony_local_mark(config);
    Plan plan = {
        .config = config,
        .networks = networks,
        .steps = g_ptr_array_new_with_free_func(
            (GDestroyNotify)g_strfreev),
        .switches = switches,
    };

    make_switches(&plan);
    for (guint i = 0; i < networks->len; i++) {
        connect_host(&plan, i, g_strv_contains(
            bridges, g_ptr_array_index(networks, i)));
    }
    make_nodes(&plan);
    step(&plan, "ip -n %s link set lo alias %s up", switches, mark);
    return plan.steps;
}

char **colony_local_supervisor(const ColonyConfig *config,
                               const ColonyNode *node, const char *program)
{
    g_autofree char *where = colony_local_name(config, node);
    const char *const argv[] = {
        "ip", "netns", "exec", where, program, "run", config->path, node->name,
        NULL
    };

    return g_strdupv((char **)argv);
}
