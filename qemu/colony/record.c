/*
 * What a node remembers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "record.h"

#define VERSION 1

static guint64 get_number(GKeyFile *file, const char *group, const char *key,
                          GError **error)
{
    return *error ? 0 : g_key_file_get_uint64(file, group, key, error);
}

static gboolean get_boolean(GKeyFile *file, const char *group,
                            const char *key, GError **error)
{
    return *error ? FALSE : g_key_file_get_boolean(file, group, key, error);
}

static char *get_text(GKeyFile *file, const char *group, const char *key)
{
    char *text = g_key_file_get_string(file, group, key, NULL);

    if (text && !*text) {
        g_clear_pointer(&text, g_free);
    }
    return text;
}

static void parse(ColonyRecord *record, GKeyFile *file, GError **error)
{
    guint64 version = get_number(file, "state", "version", error);

    if (!*error && version != VERSION) {
        g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_PARSE,
                    "version %" G_GUINT64_FORMAT " is not known", version);
    }
    record->wanted = get_boolean(file, "state", "wanted", error);
    record->off = get_boolean(file, "state", "off", error);
    record->generation = get_number(file, "group", "generation", error);
    record->founding = get_boolean(file, "group", "founding", error);
    record->forget = get_boolean(file, "group", "forget", error);
    record->id = get_text(file, "group", "id");
    record->boot = get_text(file, "group", "boot");
    record->disks = g_key_file_has_key(file, "group", "disks", NULL)
                    ? get_number(file, "group", "disks", error) : G_MAXINT64;
    record->absent = g_key_file_get_string_list(file, "group", "absent", NULL,
                                                NULL);
    record->term = get_number(file, "roles", "term", error);
    record->leader = get_number(file, "roles", "leader", error);
    record->secondary = get_number(file, "roles", "secondary", error);
    record->mate = get_number(file, "roles", "mate", error);
    if (!*error && record->generation && (!record->id || !record->boot)) {
        g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_PARSE,
                    "id or boot is missing");
    }
}

ColonyRecord *colony_record_load(const char *directory, GError **error)
{
    g_autoptr(ColonyRecord) record = g_new0(ColonyRecord, 1);
    g_autoptr(GKeyFile) file = g_key_file_new();
    GError *local = NULL;

    record->path = g_build_filename(directory, "node.state", NULL);
    if (!g_key_file_load_from_file(file, record->path, 0, &local)) {
        if (g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
            g_clear_error(&local);
            return g_steal_pointer(&record);
        }
    } else {
        parse(record, file, &local);
    }
    if (local) {
        g_propagate_prefixed_error(
            error, local, "%s cannot be used; repair it, or if it is lost, "
            "replace this node by one with another place in the file: ",
            record->path);
        return NULL;
    }
    return g_steal_pointer(&record);
}

gboolean colony_record_save(const ColonyRecord *record, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autofree char *text = NULL;
    gsize length;

    g_key_file_set_uint64(file, "state", "version", VERSION);
    g_key_file_set_boolean(file, "state", "wanted", record->wanted);
    g_key_file_set_boolean(file, "state", "off", record->off);
    g_key_file_set_uint64(file, "group", "generation", record->generation);
    g_key_file_set_boolean(file, "group", "founding", record->founding);
    g_key_file_set_boolean(file, "group", "forget", record->forget);
    g_key_file_set_string(file, "group", "id", record->id ?: "");
    g_key_file_set_string(file, "group", "boot", record->boot ?: "");
    g_key_file_set_uint64(file, "group", "disks", record->disks);
    if (record->absent) {
        g_key_file_set_string_list(file, "group", "absent",
                                   (const char *const *)record->absent,
                                   g_strv_length(record->absent));
    }
    g_key_file_set_uint64(file, "roles", "term", record->term);
    g_key_file_set_uint64(file, "roles", "leader", record->leader);
    g_key_file_set_uint64(file, "roles", "secondary", record->secondary);
    g_key_file_set_uint64(file, "roles", "mate", record->mate);
    text = g_key_file_to_data(file, &length, NULL);
    return g_file_set_contents_full(
        record->path, text, length,
        G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
        error);
}

static void clear_founding(ColonyRecord *record)
{
    g_free(record->id);
    g_free(record->boot);
    g_strfreev(record->absent);
}

gboolean colony_record_found(ColonyRecord *record, guint64 generation,
                             const char *id, const char *boot, guint64 disks,
                             const char *const *absent, GError **error)
{
    ColonyRecord before = *record;

    *record = (ColonyRecord) {
        .path = before.path,
        .wanted = TRUE,
        .generation = generation,
        .id = g_strdup(id),
        .boot = g_strdup(boot),
        .disks = disks,
        .absent = g_strdupv((char **)absent),
        .founding = TRUE,
        .forget = TRUE,
        .mate = before.mate,
    };
    if (!colony_record_save(record, error)) {
        clear_founding(record);
        *record = before;
        return FALSE;
    }
    clear_founding(&before);
    return TRUE;
}

void colony_record_expect(ColonyRecord *record, const char *node, gboolean on)
{
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();

    for (char **name = record->absent; name && *name; name++) {
        if (strcmp(*name, node)) {
            g_strv_builder_add(names, *name);
        }
    }
    if (on) {
        g_strv_builder_add(names, node);
    }
    g_strfreev(record->absent);
    record->absent = g_strv_builder_end(names);
}

gboolean colony_record_expects(const ColonyRecord *record, const char *node)
{
    return record->absent &&
           g_strv_contains((const char *const *)record->absent, node);
}

void colony_record_free(ColonyRecord *record)
{
    if (record) {
        clear_founding(record);
        g_free(record->path);
        g_free(record);
    }
}
