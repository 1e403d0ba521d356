/*
 * apusd's configuration file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "config.h"

#include <string.h>

#include "../../runtime/address.h"
#include "source.h"

#define GROUP "group"
#define MEMBER "member "
#define MILLISECOND (1000 * 1000ull)

/* --- values -------------------------------------------------------------- */

static gboolean get_id(const ApusdSource *source, const char *key, ApusId *id,
                       GError **errp)
{
    uint64_t number;

    if (!apusd_source_number(source, GROUP, key, 1, G_MAXUINT16, &number,
                             errp)) {
        return FALSE;
    }
    *id = number;
    return TRUE;
}

/* A key of milliseconds that may be left out. */
static gboolean get_time(const ApusdSource *source, const char *key,
                         uint64_t *time, GError **errp)
{
    uint64_t number = 0;

    if (apusd_source_has(source, GROUP, key) &&
        !apusd_source_number(source, GROUP, key, 1, 3600000, &number, errp)) {
        return FALSE;
    }
    *time = number * MILLISECOND;
    return TRUE;
}

static gboolean get_log_size(const ApusdSource *source, size_t *size,
                             GError **errp)
{
    uint64_t mebibytes;

    if (!apusd_source_has(source, GROUP, "log-size")) {
        return TRUE;
    }
    if (!apusd_source_number(source, GROUP, "log-size", 4, 1u << 20,
                             &mebibytes, errp)) {
        return FALSE;
    }
    if (mebibytes & (mebibytes - 1)) {
        return apusd_source_refuse(source, GROUP, "log-size", errp,
                                   "has to be a power of two: 4, 8, 16, ... "
                                   "MiB, the same for all members");
    }
    *size = mebibytes << 20;
    return TRUE;
}

static gboolean get_log_level(const ApusdSource *source,
                              GLogLevelFlags *level, GError **errp)
{
    static const GLogLevelFlags levels[] = {
        G_LOG_LEVEL_CRITICAL, G_LOG_LEVEL_WARNING, G_LOG_LEVEL_MESSAGE,
        G_LOG_LEVEL_INFO, G_LOG_LEVEL_DEBUG,
    };
    static const char *const names[] = {
        "error", "warning", "notice", "info", "debug", NULL,
    };
    unsigned choice = 3;

    if (apusd_source_has(source, GROUP, "log-level") &&
        !apusd_source_choice(source, GROUP, "log-level", names, &choice,
                             errp)) {
        return FALSE;
    }
    *level = levels[choice];
    return TRUE;
}

/* --- [group] ------------------------------------------------------------- */

static gboolean get_name(const ApusdSource *source, ApusdConfig *config,
                         GError **errp)
{
    config->name = apusd_source_text(source, GROUP, "name", errp);
    if (!config->name) {
        return FALSE;
    }
    if (strlen(config->name) > APUS_CLUSTER_MAX || strchr(config->name, '/') ||
        config->name[0] == '.') {
        return apusd_source_refuse(source, GROUP, "name", errp,
                                   "has to be 1 to 63 characters, without "
                                   "\"/\", and not to begin with a dot");
    }
    for (const char *at = config->name; *at; at++) {
        if (!g_ascii_isgraph(*at)) {
            return apusd_source_refuse(source, GROUP, "name", errp,
                                       "may have printable ASCII characters "
                                       "only, and no spaces");
        }
    }
    return TRUE;
}

static gboolean check_path(const ApusdSource *source, const char *key,
                           const char *path, GError **errp)
{
    if (!g_path_is_absolute(path)) {
        return apusd_source_refuse(source, GROUP, key, errp,
                                   "has to be a path that begins with \"/\"");
    }
    return TRUE;
}

/* The path at @key, or what is made of @format and the group's name. */
static gboolean get_path(const ApusdSource *source, const char *key,
                         const char *parent, const ApusdConfig *config,
                         const char *child, char **path, GError **errp)
{
    if (!apusd_source_has(source, GROUP, key)) {
        *path = g_build_filename(parent, config->name, child, NULL);
        return TRUE;
    }
    *path = apusd_source_text(source, GROUP, key, errp);
    return *path && check_path(source, key, *path, errp);
}

static gboolean get_paths(const ApusdSource *source, ApusdConfig *config,
                          GError **errp)
{
    if (!get_path(source, "directory", "/var/lib/apusd", config, NULL,
                  &config->directory, errp) ||
        !get_path(source, "socket", "/run/apusd", config, "socket",
                  &config->socket, errp)) {
        return FALSE;
    }
    if (strlen(config->socket) >= 108) { /* sun_path */
        return apusd_source_refuse(source, GROUP, "socket", errp,
                                   "is too long for a socket: 107 bytes are "
                                   "the most");
    }
    if (apusd_source_has(source, GROUP, "key-file")) {
        config->key_file = apusd_source_text(source, GROUP, "key-file", errp);
        return config->key_file &&
               check_path(source, "key-file", config->key_file, errp);
    }
    return TRUE;
}

static gboolean get_security(const ApusdSource *source, ApusdConfig *config,
                             GError **errp)
{
    static const char *const choices[] = { "off", "psk", NULL };
    unsigned choice = 0;

    if (apusd_source_has(source, GROUP, "tls") &&
        !apusd_source_choice(source, GROUP, "tls", choices, &choice, errp)) {
        return FALSE;
    }
    config->apus.tls = choice == 1;
    if (config->apus.tls && !config->key_file) {
        return apusd_source_refuse(source, GROUP, "tls", errp,
                                   "needs a key: add key-file=, the same key "
                                   "for all members");
    }
    return TRUE;
}

/* A number that may be left out, and then is 0. */
static gboolean get_optional(const ApusdSource *source, const char *key,
                             uint64_t least, uint64_t most, uint64_t *number,
                             GError **errp)
{
    *number = 0;
    return !apusd_source_has(source, GROUP, key) ||
           apusd_source_number(source, GROUP, key, least, most, number, errp);
}

static gboolean get_rdma(const ApusdSource *source, ApusConfig *apus,
                         GError **errp)
{
    static const char *const keys[] = { "rdma-ring", "rdma-ack-timeout" };
    uint64_t kibibytes, milliseconds;

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (apusd_source_has(source, GROUP, keys[i]) &&
            apus->transport != APUS_TRANSPORT_RDMA) {
            return apusd_source_refuse(source, GROUP, keys[i], errp,
                                       "is for transport=rdma only");
        }
    }
    if (!get_optional(source, keys[0], APUS_RDMA_RING_MIN >> 10,
                      APUS_RDMA_RING_MAX >> 10, &kibibytes, errp) ||
        !get_optional(source, keys[1], 1, 60000, &milliseconds, errp)) {
        return FALSE;
    }
    if (kibibytes & (kibibytes - 1)) {
        return apusd_source_refuse(source, GROUP, keys[0], errp,
                                   "has to be a power of two: 64, 128, 256, "
                                   "... KiB");
    }
    apus->rdma_ring = kibibytes << 10;
    apus->rdma_ack_timeout = milliseconds * MILLISECOND;
    return TRUE;
}

static gboolean get_transport(const ApusdSource *source, ApusConfig *apus,
                              GError **errp)
{
    static const char *const choices[] = { "tcp", "rdma", NULL };
    unsigned choice = 0;
    uint64_t microseconds;

    if (apusd_source_has(source, GROUP, "transport") &&
        !apusd_source_choice(source, GROUP, "transport", choices, &choice,
                             errp)) {
        return FALSE;
    }
    apus->transport = choice ? APUS_TRANSPORT_RDMA : APUS_TRANSPORT_TCP;
    if (choice && apus->tls) {
        return apusd_source_refuse(source, GROUP, "transport", errp,
                                   "has no TLS: the key says who takes part, "
                                   "and nothing is encrypted; say tls=off, or "
                                   "transport=tcp");
    }
    if (!get_optional(source, "busy-poll", 0, 1000000, &microseconds, errp)) {
        return FALSE;
    }
    apus->busy_poll = microseconds * 1000;
    return get_rdma(source, apus, errp);
}

static gboolean get_durability(const ApusdSource *source, ApusdConfig *config,
                               GError **errp)
{
    static const char *const choices[] = { "memory", "disk", NULL };
    unsigned choice = 0;

    if (apusd_source_has(source, GROUP, "durability") &&
        !apusd_source_choice(source, GROUP, "durability", choices, &choice,
                             errp)) {
        return FALSE;
    }
    config->apus.durability = choice ? APUS_DURABILITY_DISK
                                     : APUS_DURABILITY_MEMORY;
    return TRUE;
}

static gboolean get_times(const ApusdSource *source, ApusdConfig *config,
                          GError **errp)
{
    ApusConfig *apus = &config->apus;
    uint64_t timeout, heartbeat;

    if (!get_time(source, "heartbeat", &apus->heartbeat, errp) ||
        !get_time(source, "timeout", &apus->timeout, errp) ||
        !get_time(source, "lease", &apus->lease, errp)) {
        return FALSE;
    }
    timeout = apus->timeout ?: 100 * MILLISECOND;
    heartbeat = apus->heartbeat ?: 10 * MILLISECOND;
    if (apus->heartbeat && heartbeat > timeout / 3) {
        return apusd_source_refuse(source, GROUP, "heartbeat", errp,
                                   "has to be at most a third of the timeout "
                                   "(%g ms), or one lost beat looks like a "
                                   "death", (double)timeout / MILLISECOND);
    }
    if (apus->lease && (apus->lease < heartbeat ||
                        apus->lease > timeout - timeout / 100)) {
        return apusd_source_refuse(source, GROUP, "lease", errp,
                                   "has to be at least a heartbeat (%g ms) "
                                   "and less than the timeout (%g ms); leave "
                                   "it out for 80 %% of that",
                                   (double)heartbeat / MILLISECOND,
                                   (double)timeout / MILLISECOND);
    }
    return !apusd_source_has(source, GROUP, "lease-strict") ||
           apusd_source_boolean(source, GROUP, "lease-strict",
                                &apus->lease_strict, errp);
}

static gboolean check_address(const ApusdSource *source, const char *group,
                              const char *key, const char *address,
                              GError **errp)
{
    ApusAddress parsed;
    g_autoptr(GError) error = NULL;

    if (!apus_address_parse(&parsed, address, FALSE, &error)) {
        return apusd_source_refuse(source, group, key, errp, "%s",
                                   error->message);
    }
    return TRUE;
}

static gboolean get_group(const ApusdSource *source, ApusdConfig *config,
                          GError **errp)
{
    if (!get_name(source, config, errp) ||
        !get_id(source, "id", &config->apus.id, errp) ||
        !get_paths(source, config, errp) ||
        !get_security(source, config, errp) ||
        !get_transport(source, &config->apus, errp) ||
        !get_durability(source, config, errp) ||
        !get_log_size(source, &config->apus.log_size, errp) ||
        !get_times(source, config, errp) ||
        !get_log_level(source, &config->log_level, errp)) {
        return FALSE;
    }
    if (!apusd_source_has(source, GROUP, "listen")) {
        return TRUE;
    }
    config->listen = apusd_source_text(source, GROUP, "listen", errp);
    return config->listen &&
           check_address(source, GROUP, "listen", config->listen, errp);
}

/* --- [member N] ---------------------------------------------------------- */

static gboolean get_member(const ApusdSource *source, const char *group,
                           ApusMembers *members, GError **errp)
{
    g_autofree char *address = NULL;
    ApusMember *member = &members->member[members->count];
    uint64_t id;

    if (!g_ascii_string_to_unsigned(group + strlen(MEMBER), 10, 1,
                                    G_MAXUINT16, &id, NULL) ||
        group[strlen(MEMBER)] == '0') {
        return apusd_source_refuse(source, group, NULL, errp,
                                   "a member's id is a whole number from 1 "
                                   "to %d: [member 1]", G_MAXUINT16);
    }
    if (members->count == APUS_MAX_MEMBERS) {
        return apusd_source_refuse(source, group, NULL, errp,
                                   "is one member too many: a group has 3 or "
                                   "5");
    }
    address = apusd_source_text(source, group, "address", errp);
    if (!address || !check_address(source, group, "address", address, errp)) {
        return FALSE;
    }
    *member = (ApusMember) { .id = id };
    g_strlcpy(member->address, address, sizeof(member->address));
    if (apusd_source_has(source, group, "can-run") &&
        !apusd_source_boolean(source, group, "can-run", &member->can_run,
                              errp)) {
        return FALSE;
    }
    members->count++;
    return TRUE;
}

static gboolean get_members(const ApusdSource *source, ApusMembers *members,
                            GError **errp)
{
    char **groups = apusd_source_groups(source);

    for (; *groups; groups++) {
        if (g_str_has_prefix(*groups, MEMBER) &&
            !get_member(source, *groups, members, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean check_members(const ApusdSource *source,
                              const ApusdConfig *config, ApusdPurpose purpose,
                              GError **errp)
{
    const ApusMembers *members = &config->members;
    g_autofree char *group = g_strdup_printf(MEMBER "%u", config->apus.id);
    g_autoptr(GError) error = NULL;
    int at = apus_members_find(members, config->apus.id);

    if (at < 0) {
        return apusd_source_refuse(source, GROUP, "id", errp,
                                   "is none of the members: add [%s], with "
                                   "its address", group);
    }
    if (purpose == APUSD_FOUND && members->count != 3 && members->count != 5) {
        return apusd_source_refuse(source, group, NULL, errp,
                                   "is one of %u members: a group is founded "
                                   "with 3 or 5", members->count);
    }
    if (members->count < 3) {
        return apusd_source_refuse(source, group, NULL, errp,
                                   "is one of %u members: with fewer than 3 "
                                   "none could be lost", members->count);
    }
    if (!apus_members_check(members, &error)) {
        return apusd_source_refuse(source, NULL, NULL, errp, "%s",
                                   error->message);
    }
    if (purpose == APUSD_RUN && members->member[at].can_run) {
        return apusd_source_refuse(source, group, "can-run", errp,
                                   "but apusd runs no VM: it can be a witness "
                                   "only; say can-run=no, or start what runs "
                                   "the VM");
    }
    return TRUE;
}

/* Whoever has the lowest id and can run the VM, unless the file says who. */
static gboolean get_leader(const ApusdSource *source, ApusdConfig *config,
                           GError **errp)
{
    const ApusMembers *members = &config->members;
    int at;

    if (!apusd_source_has(source, GROUP, "leader")) {
        for (unsigned i = 0; i < members->count; i++) {
            const ApusMember *member = &members->member[i];

            if (member->can_run && (config->leader == APUS_NOBODY ||
                                    member->id < config->leader)) {
                config->leader = member->id;
            }
        }
        return TRUE;
    }
    if (!get_id(source, "leader", &config->leader, errp)) {
        return FALSE;
    }
    at = apus_members_find(members, config->leader);
    if (at < 0 || !members->member[at].can_run) {
        return apusd_source_refuse(source, GROUP, "leader", errp,
                                   "has to be a member with can-run=yes");
    }
    return TRUE;
}

/* --- the whole ----------------------------------------------------------- */

static const char *const group_keys[] = {
    "name", "id", "directory", "listen", "durability", "tls", "key-file",
    "transport", "busy-poll", "rdma-ring", "rdma-ack-timeout",
    "log-size", "heartbeat", "timeout", "lease", "lease-strict", "leader",
    "socket", "log-level", NULL,
};

static const char *const member_keys[] = { "address", "can-run", NULL };

static gboolean check_names(const ApusdSource *source, GError **errp)
{
    char **groups = apusd_source_groups(source);

    for (; *groups; groups++) {
        gboolean member = g_str_has_prefix(*groups, MEMBER);

        if (!member && strcmp(*groups, GROUP) != 0) {
            return apusd_source_refuse(source, *groups, NULL, errp,
                                       "is unknown here: there are [group] "
                                       "and [member N]");
        }
        if (!apusd_source_check_keys(source, *groups,
                                     member ? member_keys : group_keys,
                                     errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

ApusdConfig *apusd_config_parse(const char *file, const char *text,
                                size_t size, ApusdPurpose purpose,
                                GError **errp)
{
    g_autoptr(ApusdSource) source = apusd_source_new(file, text, size, errp);
    g_autoptr(ApusdConfig) config = g_new0(ApusdConfig, 1);
    g_autoptr(GError) error = NULL;

    if (!source || !check_names(source, errp) ||
        !get_group(source, config, errp) ||
        !get_members(source, &config->members, errp) ||
        !check_members(source, config, purpose, errp) ||
        !get_leader(source, config, errp)) {
        return NULL;
    }
    config->apus.cluster = config->name;
    config->apus.directory = config->directory;
    config->apus.listen = config->listen;
    /* TLS was checked to have a key file; the key comes later. */
    config->apus.key = config->apus.tls ? config->key : NULL;
    config->apus.key_size = config->apus.tls ? APUS_KEY_MAX : 0;
    if (!apus_config_check(&config->apus, NULL, &error)) {
        apusd_source_refuse(source, GROUP, NULL, errp, "%s", error->message);
        return NULL;
    }
    config->apus.key = NULL;
    config->apus.key_size = 0;
    return g_steal_pointer(&config);
}

void apusd_config_free(ApusdConfig *config)
{
    if (config) {
        explicit_bzero(config->key, sizeof(config->key));
        g_free(config->name);
        g_free(config->directory);
        g_free(config->listen);
        g_free(config->key_file);
        g_free(config->socket);
        g_free(config);
    }
}
