/*
 * QMP commands: what a VM is protected with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "command.h"
#include "command-internal.h"

/* @arguments: taken over */
static void add(GPtrArray *commands, const char *name, JsonObject *arguments)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *command = json_object_new();

    json_object_set_string_member(command, "execute", name);
    json_object_set_object_member(command, "arguments", arguments);
    json_node_take_object(node, command);
    g_ptr_array_add(commands, node);
}

static GPtrArray *commands_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)json_node_unref);
}

static void add_capabilities(GPtrArray *commands)
{
    static const char *const names[] = { "events", "x-colo", "x-plover" };
    JsonObject *arguments = json_object_new();
    JsonArray *list = json_array_new();

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        JsonObject *capability = json_object_new();

        json_object_set_string_member(capability, "capability", names[i]);
        json_object_set_boolean_member(capability, "state", TRUE);
        json_array_add_object_element(list, capability);
    }
    json_object_set_array_member(arguments, "capabilities", list);
    add(commands, "migrate-set-capabilities", arguments);
}

/* @endpoint: of the credentials */
static void add_parameters(GPtrArray *commands, const ColonyConfig *config,
                           const char *endpoint)
{
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "x-checkpoint-delay",
                               config->interval);
    if (config->tls_directory) {
        json_object_set_string_member(arguments, "tls-creds", endpoint);
    }
    add(commands, "migrate-set-parameters", arguments);
}

static void add_move(GPtrArray *commands, const char *name,
                     const ColonyNode *to)
{
    g_autofree char *address = colony_address(to, to->migration_port);
    g_autofree char *uri = g_strconcat("tcp:", address, NULL);
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "uri", uri);
    add(commands, name, arguments);
}

GPtrArray *colony_command_prepare(const ColonyConfig *config,
                                  const ColonyNode *node,
                                  const ColonyNode *leader)
{
    GPtrArray *commands = commands_new();

    (void)leader;
    add_capabilities(commands);
    add_parameters(commands, config, "tls-server");
    add_move(commands, "migrate-incoming", node);
    return commands;
}

/* Where @node listens for the writes to disk number @number. */
static JsonObject *disk_address(const ColonyNode *node, guint number)
{
    g_autofree char *port = g_strdup_printf("%u", node->disk_port + number);
    JsonObject *address = json_object_new();

    json_object_set_string_member(address, "type", "inet");
    json_object_set_string_member(address, "host", node->host);
    json_object_set_string_member(address, "port", port);
    return address;
}

GPtrArray *colony_command_resync(const ColonyConfig *config,
                                 const ColonyNode *node, gboolean whole)
{
    GPtrArray *commands = commands_new();

    for (guint i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = config->disks->pdata[i];
        JsonObject *arguments = json_object_new();

        json_object_set_string_member(arguments, "node-name", disk->id);
        json_object_set_object_member(arguments, "peer",
                                      disk_address(node, i));
        json_object_set_string_member(arguments, "mode",
                                      whole ? "full" : "changed");
        add(commands, "gannet-resync", arguments);
    }
    return commands;
}

GPtrArray *colony_command_protect(const ColonyConfig *config,
                                  const ColonyNode *node)
{
    GPtrArray *commands = commands_new();

    add_capabilities(commands);
    add_parameters(commands, config, "tls-client");
    add_move(commands, "migrate", node);
    return commands;
}
