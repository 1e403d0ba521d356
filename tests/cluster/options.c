/*
 * The command line of a member under test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "options.h"

#include <stdio.h>
#include <string.h>

#define MS 1000000

gboolean options_member(ApusMember *member, const char *text, GError **errp)
{
    unsigned id;
    char role[8];
    int rest = 0;

    memset(member, 0, sizeof(*member));
    if (sscanf(text, "%u:%7[a-z]:%n", &id, role, &rest) != 2 || !rest ||
        id > G_MAXUINT16 || strlen(text + rest) >= APUS_MAX_ADDRESS) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "a member is ID:run:HOST:PORT or ID:witness:HOST:PORT, "
                    "not %s", text);
        return FALSE;
    }
    member->id = id;
    member->can_run = strcmp(role, "run") == 0;
    strcpy(member->address, text + rest);
    return TRUE;
}

static gboolean read_members(Options *options, GError **errp)
{
    g_auto(GStrv) words = g_strsplit(options->members_text, ",", -1);

    for (char **word = words; *word; word++) {
        if (options->members.count == APUS_MAX_MEMBERS) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                        "too many members");
            return FALSE;
        }
        if (!options_member(&options->members.member[options->members.count++],
                            *word, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean read_key(Options *options, const char *text, GError **errp)
{
    size_t size = strlen(text) / 2;

    options->key = g_new0(uint8_t, size);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                        "the key is not hexadecimal");
            return FALSE;
        }
        options->key[i] = byte;
    }
    options->config.key = options->key;
    options->config.key_size = size;
    return TRUE;
}

static gboolean check(Options *options, GError **errp)
{
    int self;

    if (!options->members_text || !options->directory || !options->records ||
        !options->meet) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "--members, --directory, --records and --meet are needed");
        return FALSE;
    }
    if (!read_members(options, errp)) {
        return FALSE;
    }
    self = apus_members_find(&options->members, options->config.id);
    if (self < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "--id is not one of --members");
        return FALSE;
    }
    options->config.can_run = options->members.member[self].can_run;
    if (!options->listen) {
        options->listen = g_strdup(options->members.member[self].address);
    }
    return TRUE;
}

gboolean options_read(Options *options, int argc, char **argv, GError **errp)
{
    ApusConfig *config = &options->config;
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autofree char *key = NULL;
    int id = 0, leader = 0, heartbeat = 0, timeout = 0, lease = 0;
    int submit_timeout = 0, alive_timeout = 0, ack_timeout = 0;
    gint64 incarnation = 0, log_size = 0;
    GOptionEntry entries[] = {
        { "id", 0, 0, G_OPTION_ARG_INT, &id, "", "N" },
        { "members", 0, 0, G_OPTION_ARG_STRING, &options->members_text, "",
          "ID:run|witness:HOST:PORT,..." },
        { "cluster", 0, 0, G_OPTION_ARG_STRING, &options->cluster, "", "NAME" },
        { "directory", 0, 0, G_OPTION_ARG_STRING, &options->directory, "",
          "DIR" },
        { "listen", 0, 0, G_OPTION_ARG_STRING, &options->listen, "",
          "HOST:PORT" },
        { "found", 0, 0, G_OPTION_ARG_INT, &leader, "", "LEADER" },
        { "join", 0, 0, G_OPTION_ARG_NONE, &options->joins, "", NULL },
        { "deliver", 0, 0, G_OPTION_ARG_NONE, &config->delivers, "", NULL },
        { "durability", 0, 0, G_OPTION_ARG_STRING, &options->durability, "",
          "memory|disk" },
        { "transport", 0, 0, G_OPTION_ARG_STRING, &options->transport, "",
          "tcp|rdma" },
        { "ack-timeout", 0, 0, G_OPTION_ARG_INT, &ack_timeout, "", "MS" },
        { "key", 0, 0, G_OPTION_ARG_STRING, &key, "", "HEX" },
        { "tls", 0, 0, G_OPTION_ARG_NONE, &config->tls, "", NULL },
        { "incarnation", 0, 0, G_OPTION_ARG_INT64, &incarnation, "", "N" },
        { "log-size", 0, 0, G_OPTION_ARG_INT64, &log_size, "", "BYTES" },
        { "heartbeat", 0, 0, G_OPTION_ARG_INT, &heartbeat, "", "MS" },
        { "timeout", 0, 0, G_OPTION_ARG_INT, &timeout, "", "MS" },
        { "lease", 0, 0, G_OPTION_ARG_INT, &lease, "", "MS" },
        { "lease-strict", 0, 0, G_OPTION_ARG_NONE, &config->lease_strict, "",
          NULL },
        { "submit-timeout", 0, 0, G_OPTION_ARG_INT, &submit_timeout, "",
          "MS" },
        { "alive-timeout", 0, 0, G_OPTION_ARG_INT, &alive_timeout, "", "MS" },
        { "power-cut", 0, 0, G_OPTION_ARG_NONE, &options->power_cut,
          "what is not synced dies with the process", NULL },
        { "records", 0, 0, G_OPTION_ARG_STRING, &options->records,
          "folder of the tapes", "DIR" },
        { "past", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->past,
          "the same of an earlier process of this member", "DIR" },
        { "meet", 0, 0, G_OPTION_ARG_STRING, &options->meet,
          "folder of the sockets for re-protection", "DIR|udp" },
        { "load", 0, 0, G_OPTION_ARG_STRING, &options->load, "",
          "none|closed:N|paced:N[,size=A-B][,sync=N]" },
        { "strike", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->strikes, "",
          "POINT[:N]=kill|stop" },
        { 0 },
    };

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, errp) ||
        (key && !read_key(options, key, errp))) {
        return FALSE;
    }
    config->id = id;
    if (!check(options, errp)) {
        return FALSE;
    }
    options->found = leader != 0 || options->joins;
    options->leader = leader;
    config->cluster = options->cluster ?: "test";
    config->directory = options->directory;
    config->listen = options->listen;
    config->durability = g_strcmp0(options->durability, "disk") == 0 ?
                         APUS_DURABILITY_DISK : APUS_DURABILITY_MEMORY;
    config->transport = g_strcmp0(options->transport, "rdma") == 0 ?
                        APUS_TRANSPORT_RDMA : APUS_TRANSPORT_TCP;
    config->incarnation = incarnation;
    config->log_size = log_size;
    config->heartbeat = (uint64_t)heartbeat * MS;
    config->timeout = (uint64_t)timeout * MS;
    config->lease = (uint64_t)lease * MS;
    config->submit_timeout = (uint64_t)submit_timeout * MS;
    config->alive_timeout = (uint64_t)alive_timeout * MS;
    config->rdma_ack_timeout = (uint64_t)ack_timeout * MS;
    return TRUE;
}

void options_clear(Options *options)
{
    g_free(options->records);
    g_free(options->meet);
    g_free(options->load);
    g_strfreev(options->strikes);
    g_strfreev(options->past);
    g_free(options->cluster);
    g_free(options->directory);
    g_free(options->listen);
    g_free(options->durability);
    g_free(options->transport);
    g_free(options->members_text);
    g_free(options->key);
}
