/*
 * The file that describes one protected VM: which groups and keys there are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "config-internal.h"

#define DIRECTORY_MAX 88 /* 107 are possible for a socket below it */
#define NAME_BYTES 32
#define DEVICE_BYTES 15 /* its name is a part of longer ones */
#define FILE_KEY "file"
#define FILE_PREFIX "file."

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

/* --- keys ----------------------------------------------------------------- */

static const char *const accels[] = { "kvm", "tcg", NULL };
static const char *const transports[] = { "tcp", "rdma", NULL };
static const char *const durabilities[] = { "memory", "disk", NULL };
static const char *const formats[] = { "raw", "qcow2", NULL };
static const char *const interfaces[] = { "virtio", "scsi", "ide", NULL };
static const char *const no_yes[] = { "no", "yes", NULL };
static const char *const presets[] = { "hybrid", "plover", NULL };
static const char *const unprotecteds[] = { "serve", "hold", NULL };

/* Of the struct, the key NAME, which is in FIELD and of type TYPE. */
#define KEY(STRUCT, NAME, FIELD, TYPE, ...)                                   \
    { .name = NAME, .type = &colony_type_##TYPE,                              \
      .offset = G_STRUCT_OFFSET(STRUCT, FIELD), __VA_ARGS__ }
#define CONFIG_KEY(...) KEY(ColonyConfig, __VA_ARGS__)
#define DISK_KEY(...) KEY(ColonyDisk, __VA_ARGS__)
#define NIC_KEY(...) KEY(ColonyNic, __VA_ARGS__)
#define NODE_KEY(...) KEY(ColonyNode, __VA_ARGS__)

static const ColonyKey vm_keys[] = {
    CONFIG_KEY("name", name, name, .required = TRUE, .max = NAME_BYTES),
    CONFIG_KEY("memory", memory, size, .required = TRUE, .min = MIB,
               .max = 16 * TIB),
    CONFIG_KEY("cpus", cpus, number, .fallback = "1", .min = 1, .max = 255),
    CONFIG_KEY("machine", machine, word, .fallback = "q35"),
    CONFIG_KEY("accel", accel, option, .fallback = "kvm", .choices = accels),
    CONFIG_KEY("cpu", cpu_model, word, .fallback = "Nehalem"),
    CONFIG_KEY("kernel", kernel, path),
    CONFIG_KEY("initrd", initrd, path),
    CONFIG_KEY("append", append, text),
    CONFIG_KEY("firmware", firmware, path),
    CONFIG_KEY("arguments", arguments, words),
    CONFIG_KEY("emulator", emulator, path, .local = TRUE),
    { NULL },
};

static const ColonyKey disk_keys[] = {
    { .name = FILE_KEY },
    DISK_KEY("format", format, option, .fallback = "raw", .choices = formats),
    DISK_KEY("interface", interface, option, .fallback = "virtio",
             .choices = interfaces),
    DISK_KEY("buffer", buffer, size, .min = 128 * MIB, .max = 256 * GIB),
    { NULL },
};

static const ColonyKey nic_keys[] = {
    NIC_KEY("bridge", bridge, interface),
    NIC_KEY("tap", tap, interface),
    NIC_KEY("mac", mac, mac),
    NIC_KEY("model", model, word, .fallback = "virtio-net-pci"),
    { NULL },
};

static const ColonyKey node_keys[] = {
    NODE_KEY("id", id, number, .min = 1, .max = G_MAXUINT16),
    NODE_KEY("host", host, address, .required = TRUE),
    NODE_KEY("can-run", can_run, choice, .fallback = "yes",
             .choices = no_yes),
    NODE_KEY("group-port", group_port, port, .fallback = "7000", .min = 1,
             .max = G_MAXUINT16),
    NODE_KEY("migration-port", migration_port, port, .fallback = "7001",
             .min = 1, .max = G_MAXUINT16),
    NODE_KEY("control-port", control_port, port, .fallback = "7002", .min = 1,
             .max = G_MAXUINT16),
    NODE_KEY("disk-port", disk_port, port, .fallback = "7010", .min = 1,
             .max = G_MAXUINT16),
    NODE_KEY("directory", directory, path, .max = DIRECTORY_MAX),
    { NULL },
};

static const ColonyKey policy_keys[] = {
    CONFIG_KEY("preset", preset, choice, .fallback = "hybrid",
               .choices = presets),
    CONFIG_KEY("unprotected", hold_unprotected, choice, .fallback = "serve",
               .choices = unprotecteds),
    CONFIG_KEY("reprotect", reprotect, choice, .fallback = "yes",
               .choices = no_yes),
    CONFIG_KEY("timeout", timeout, time, .fallback = "100", .min = 30,
               .max = 60000),
    CONFIG_KEY("interval", interval, time, .min = 10, .max = 60000),
    CONFIG_KEY("compare-timeout", compare_timeout, time, .fallback = "50",
               .min = 1, .max = 10000),
    CONFIG_KEY("held-limit", held_limit, size, .fallback = "32M",
               .min = 256 * KIB, .max = 64 * GIB),
    CONFIG_KEY("log-size", log_size, size, .fallback = "64M", .min = 4 * MIB,
               .max = TIB),
    CONFIG_KEY("transport", transport, option, .added = TRUE,
              .fallback = "tcp", .choices = transports),
    CONFIG_KEY("durability", durability, option, .fallback = "memory",
               .choices = durabilities),
    CONFIG_KEY("key-file", key_file, path, .added = TRUE),
    { NULL },
};

static const ColonyKey tls_keys[] = {
    CONFIG_KEY("directory", tls_directory, path, .required = TRUE),
    { NULL },
};

static const ColonyKey metrics_keys[] = {
    CONFIG_KEY("host", metrics_host, listen, .fallback = "127.0.0.1"),
    CONFIG_KEY("port", metrics_port, port, .fallback = "7003", .min = 1,
               .max = G_MAXUINT16),
    { NULL },
};

/* --- groups --------------------------------------------------------------- */

typedef struct Kind {
    const char *name; /* of the group, or its first word */
    const ColonyKey *keys;
    gboolean optional; /* its defaults do not count if it is not there */
    unsigned name_max; /* bytes of the second word; 0: there is none */
    unsigned max; /* number of such groups */
} Kind;

enum { KIND_VM, KIND_DISK, KIND_NIC, KIND_NODE, KIND_POLICY, KIND_TLS,
       KIND_METRICS, N_KINDS };

static const Kind kinds[N_KINDS] = {
    [KIND_VM] = { "vm", vm_keys },
    [KIND_DISK] = { "disk", disk_keys, .name_max = DEVICE_BYTES, .max = 16 },
    [KIND_NIC] = { "nic", nic_keys, .name_max = DEVICE_BYTES, .max = 8 },
    [KIND_NODE] = { "node", node_keys, .name_max = NAME_BYTES,
                    .max = COLONY_NODES_MAX },
    [KIND_POLICY] = { "policy", policy_keys },
    [KIND_TLS] = { "tls", tls_keys, .optional = TRUE },
    [KIND_METRICS] = { "metrics", metrics_keys, .optional = TRUE },
};

static const ColonyKey *find_key(const Kind *kind, const char *name)
{
    for (const ColonyKey *key = kind->keys; key->name; key++) {
        if (!strcmp(key->name, name) ||
            (!key->type && g_str_has_prefix(name, FILE_PREFIX) &&
             name[strlen(FILE_PREFIX)])) {
            return key;
        }
    }
    return NULL;
}

/* Where a key that is unknown here may belong to. */
static char *key_hint(const Kind *kind, const char *name)
{
    const char *known[16];
    unsigned n = 0;
    g_autofree char *near = NULL;

    for (const ColonyKey *key = kind->keys; key->name; key++) {
        g_assert(n < G_N_ELEMENTS(known) - 1);
        known[n++] = key->name;
    }
    known[n] = NULL;
    near = colony_ini_suggest(name, known);
    for (unsigned i = 0; !*near && i < N_KINDS; i++) {
        if (find_key(&kinds[i], name)) {
            return g_strdup_printf("; it belongs to [%s%s]", kinds[i].name,
                                   kinds[i].name_max ? " NAME" : "");
        }
    }
    if (!*near) {
        g_autofree char *all = g_strjoinv(", ", (char **)known);

        return g_strdup_printf("; there are: %s", all);
    }
    return g_steal_pointer(&near);
}

static void parse_key(ColonyIni *ini, const char *group,
                      const ColonyKey *key, const char *name,
                      const char *value, void *to)
{
    g_autofree char *wrong = NULL;

    if (!*value) {
        colony_ini_refuse(ini, group, name, COLONY_CONFIG_ERROR_VALUE,
                          "has no value; give one, or remove the line");
        return;
    }
    wrong = key->type->parse(key, value, to);
    if (wrong) {
        colony_ini_refuse(ini, group, name, COLONY_CONFIG_ERROR_VALUE, "%s",
                          wrong);
    }
}

/* Of all keys that have one. */
static void set_fallbacks(const Kind *kind, void *to)
{
    for (const ColonyKey *key = kind->keys; key->name; key++) {
        if (key->fallback) {
            char *wrong = key->type->parse(key, key->fallback,
                                           (char *)to + key->offset);

            g_assert(!wrong);
        }
    }
}

static void check_keys_known(ColonyIni *ini, const Kind *kind,
                             const ColonyIniGroup *group)
{
    GHashTableIter all;
    gpointer name;

    g_hash_table_iter_init(&all, group->entries);
    while (g_hash_table_iter_next(&all, &name, NULL)) {
        if (!find_key(kind, name)) {
            g_autofree char *hint = key_hint(kind, name);

            colony_ini_refuse(ini, group->name, name,
                              COLONY_CONFIG_ERROR_UNKNOWN,
                              "there is no such key%s", hint);
        }
    }
}

static void parse_group(ColonyIni *ini, const Kind *kind,
                        const ColonyIniGroup *group, void *to)
{
    set_fallbacks(kind, to);
    check_keys_known(ini, kind, group);
    for (const ColonyKey *key = kind->keys; key->name; key++) {
        const ColonyIniEntry *entry = g_hash_table_lookup(group->entries,
                                                          key->name);

        if (!key->type) {
            continue;
        }
        if (entry) {
            parse_key(ini, group->name, key, key->name, entry->value,
                      (char *)to + key->offset);
        } else if (key->required) {
            colony_ini_refuse(ini, group->name, key->name,
                              COLONY_CONFIG_ERROR_MISSING,
                              "is missing; add %s=", key->name);
        }
    }
}

/* --- disks, NICs, nodes --------------------------------------------------- */

static void *add_disk(ColonyConfig *config, const char *id)
{
    ColonyDisk *disk = g_new0(ColonyDisk, 1);

    disk->id = g_strdup(id);
    disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        g_free);
    g_ptr_array_add(config->disks, disk);
    return disk;
}

static void *add_nic(ColonyConfig *config, const char *id)
{
    ColonyNic *nic = g_new0(ColonyNic, 1);

    nic->id = g_strdup(id);
    g_ptr_array_add(config->nics, nic);
    return nic;
}

static void *add_node(ColonyConfig *config, const char *name)
{
    ColonyNode *node = g_new0(ColonyNode, 1);

    node->name = g_strdup(name);
    g_ptr_array_add(config->nodes, node);
    node->id = config->nodes->len;
    return node;
}

/* Whose file it is turns out when all nodes are known. */
static void parse_files(ColonyIni *ini, const ColonyIniGroup *group,
                        ColonyDisk *disk)
{
    static const ColonyKey path = { .type = &colony_type_path };
    GHashTableIter all;
    gpointer name, entry;

    g_hash_table_iter_init(&all, group->entries);
    while (g_hash_table_iter_next(&all, &name, &entry)) {
        const char *value = ((ColonyIniEntry *)entry)->value;
        char *file = NULL;

        if (!strcmp(name, FILE_KEY) || g_str_has_prefix(name, FILE_PREFIX)) {
            parse_key(ini, group->name, &path, name, value, &file);
        }
        if (file) {
            g_hash_table_insert(disk->files, g_strdup(name), file);
        }
    }
}

static gboolean can_run(const ColonyConfig *config, const char *name)
{
    const ColonyNode *node = colony_config_node(config, name);

    return node && node->can_run;
}

static void refuse_file(ColonyIni *ini, const ColonyConfig *config,
                        const char *group, const char *key)
{
    const char *name = key + strlen(FILE_PREFIX);
    g_autoptr(GString) nodes = g_string_new(NULL);

    if (colony_config_node(config, name)) {
        colony_ini_refuse(ini, group, key, COLONY_CONFIG_ERROR_CONFLICT,
                          "%s has can-run=no, and needs no disks; remove the "
                          "line", name);
        return;
    }
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        g_string_append_printf(nodes, "%s%s", i ? ", " : "", node->name);
    }
    colony_ini_refuse(ini, group, key, COLONY_CONFIG_ERROR_UNKNOWN,
                      "there is no such node; there are: %s", nodes->str);
}

/* file= and file.NODE=, as written, become one file for each node. */
static void settle_files(ColonyIni *ini, const ColonyConfig *config,
                         ColonyDisk *disk)
{
    g_autofree char *group = g_strdup_printf("disk %s", disk->id);
    g_autoptr(GHashTable) written = g_steal_pointer(&disk->files);
    GHashTableIter all;
    gpointer key;

    disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        g_free);
    g_hash_table_iter_init(&all, written);
    while (g_hash_table_iter_next(&all, &key, NULL)) {
        if (strcmp(key, FILE_KEY) &&
            !can_run(config, (char *)key + strlen(FILE_PREFIX))) {
            refuse_file(ini, config, group, key);
        }
    }
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];
        g_autofree char *own = g_strconcat(FILE_PREFIX, node->name, NULL);
        const char *file = g_hash_table_lookup(written, own) ?:
                           g_hash_table_lookup(written, FILE_KEY);

        if (!node->can_run) {
            continue;
        }
        if (file) {
            g_hash_table_insert(disk->files, g_strdup(node->name),
                                g_strdup(file));
        } else {
            colony_ini_refuse(ini, group,
                              g_hash_table_size(written) ? own : FILE_KEY,
                              COLONY_CONFIG_ERROR_MISSING, "is missing; add "
                              "file=PATH, the same for all nodes, or "
                              "%s=PATH and so on", own);
        }
    }
}

/* --- the whole file ------------------------------------------------------- */

static const Kind *find_kind(const char *word, gsize length)
{
    for (unsigned i = 0; i < N_KINDS; i++) {
        if (strlen(kinds[i].name) == length &&
            !memcmp(kinds[i].name, word, length)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static void refuse_kind(ColonyIni *ini, const char *group, const char *word)
{
    const char *names[N_KINDS + 1] = { NULL };
    g_autofree char *hint = NULL;

    for (unsigned i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
    }
    hint = colony_ini_suggest(word, names);
    colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_UNKNOWN,
                      "there is no such group%s", *hint ? hint : "; there "
                      "are [vm], [disk ID], [nic ID], [node NAME], [policy], "
                      "[tls], [metrics]");
}

/* Whether a group of @kind may have @name, and be one more. */
static gboolean check_named(ColonyIni *ini, const Kind *kind,
                            const char *group, const char *name,
                            unsigned count)
{
    const ColonyKey rule = { .max = kind->name_max };
    g_autofree char *copy = NULL;
    g_autofree char *wrong = colony_type_name.parse(&rule, name, &copy);

    if (!*name) {
        colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_VALUE,
                          "has no name; write [%s NAME]", kind->name);
    } else if (wrong) {
        colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_VALUE, "%s",
                          wrong);
    } else if (count == kind->max) {
        colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_CONFLICT,
                          "is one too many; there can be %u", kind->max);
    } else {
        return TRUE;
    }
    return FALSE;
}

/* What the group's keys are set in; NULL: it was refused. */
static void *find_target(ColonyIni *ini, ColonyConfig *config,
                         const Kind *kind, const char *group,
                         const char *name)
{
    GPtrArray *all = kind == &kinds[KIND_DISK] ? config->disks :
                     kind == &kinds[KIND_NIC] ? config->nics :
                     kind == &kinds[KIND_NODE] ? config->nodes : NULL;

    if (!all) {
        if (*name) {
            colony_ini_refuse(ini, group, NULL, COLONY_CONFIG_ERROR_UNKNOWN,
                              "cannot have a name; write [%s]", kind->name);
        }
        return *name ? NULL : config;
    }
    if (!check_named(ini, kind, group, name, all->len)) {
        return NULL;
    }
    return all == config->disks ? add_disk(config, name) :
           all == config->nics ? add_nic(config, name) :
                                 add_node(config, name);
}

static void parse_one(ColonyIni *ini, const ColonyIniGroup *group,
                      ColonyConfig *config)
{
    gsize length = strcspn(group->name, " ");
    const char *name = group->name + length + (group->name[length] == ' ');
    const Kind *kind = find_kind(group->name, length);
    void *target;

    if (!kind) {
        g_autofree char *word = g_strndup(group->name, length);

        refuse_kind(ini, group->name, word);
        return;
    }
    target = find_target(ini, config, kind, group->name, name);
    if (target) {
        parse_group(ini, kind, group, target);
    }
    if (target && kind == &kinds[KIND_DISK]) {
        parse_files(ini, group, target);
    }
}

/* Values that depend on others, unless they were given. */
static void settle(ColonyIni *ini, ColonyConfig *config)
{
    config->emulator = config->emulator ?: colony_config_emulator();
    if (!config->interval) {
        config->interval = config->preset == COLONY_PRESET_PLOVER ? 100 : 1000;
    }
    for (unsigned i = 0; i < config->disks->len; i++) {
        settle_files(ini, config, config->disks->pdata[i]);
    }
    for (unsigned i = 0; i < config->nics->len; i++) {
        ColonyNic *nic = config->nics->pdata[i];

        if (!nic->mac) {
            g_autofree char *whole = g_strdup_printf("%s/%s", config->name,
                                                     nic->id);
            g_autofree char *sum = g_compute_checksum_for_string(
                G_CHECKSUM_SHA256, whole, -1);

            nic->mac = g_strdup_printf("52:54:00:%.2s:%.2s:%.2s", sum, sum + 2,
                                       sum + 4);
        }
    }
    for (unsigned i = 0; i < config->nodes->len; i++) {
        ColonyNode *node = config->nodes->pdata[i];

        if (!node->directory) {
            node->directory = g_build_filename("/var/lib/colony",
                                               config->name ?: "",
                                               node->name, NULL);
        }
    }
}

static void parse_all(ColonyIni *ini, ColonyConfig *config)
{
    for (unsigned i = 0; i < N_KINDS; i++) {
        if (!kinds[i].name_max && !kinds[i].optional) {
            set_fallbacks(&kinds[i], config);
        }
    }
    for (unsigned i = 0; i < ini->groups->len; i++) {
        parse_one(ini, ini->groups->pdata[i], config);
    }
    if (!colony_ini_group(ini, kinds[KIND_VM].name)) {
        colony_ini_refuse(ini, kinds[KIND_VM].name, NULL,
                          COLONY_CONFIG_ERROR_MISSING, "is missing; add it, "
                          "with name= and memory=");
    }
    settle(ini, config);
    colony_config_check(config, ini);
}

ColonyConfig *colony_config_parse(const char *path, const char *text,
                                  gsize length, GError **error)
{
    g_autoptr(ColonyIni) ini = colony_ini_new(path, text, length);
    g_autoptr(ColonyConfig) config = colony_config_new(path);

    if (ini->is_text) {
        parse_all(ini, config);
    }
    return colony_ini_finish(ini, error) ? g_steal_pointer(&config) : NULL;
}

/* --- the same contents as the same text ----------------------------------- */

static void print_group(GString *all, const Kind *kind, const char *name,
                        const void *from)
{
    g_string_append_printf(all, "[%s %s]\n", kind->name, name);
    for (const ColonyKey *key = kind->keys; key->name; key++) {
        if (key->type && !key->local) {
            g_autofree char *value = key->type->print((const char *)from +
                                                      key->offset);

            if (key->added && !strcmp(value, key->fallback ?: "")) {
                continue;
            }
            g_string_append_printf(all, "%s=%s\n", key->name, value);
        }
    }
}

static void print_disk(GString *all, const ColonyConfig *config,
                       const ColonyDisk *disk)
{
    print_group(all, &kinds[KIND_DISK], disk->id, disk);
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];
        const char *file = g_hash_table_lookup(disk->files, node->name);

        g_string_append_printf(all, FILE_PREFIX "%s=%s\n", node->name,
                               file ?: "");
    }
}

char *colony_config_print(const ColonyConfig *config)
{
    GString *all = g_string_new(NULL);

    for (unsigned i = 0; i < N_KINDS; i++) {
        if (!kinds[i].name_max) {
            print_group(all, &kinds[i], "", config);
        }
    }
    for (unsigned i = 0; i < config->disks->len; i++) {
        print_disk(all, config, config->disks->pdata[i]);
    }
    for (unsigned i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];

        print_group(all, &kinds[KIND_NIC], nic->id, nic);
    }
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        print_group(all, &kinds[KIND_NODE], node->name, node);
    }
    return g_string_free(all, FALSE);
}
