/*
 * A key file whose every key is accounted for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "source.h"

#include <string.h>

#include "colo-net/apus/core/types.h"

struct ApusdSource {
    char *file;
    GKeyFile *keys;
    char **groups;
};

static gboolean refuse(const char *file, GError **errp, const char *format,
                       ...) G_GNUC_PRINTF(3, 4);

static gboolean refuse(const char *file, GError **errp, const char *format,
                       ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG, "%s: %s", file, text);
    return FALSE;
}

/* What GKeyFile would merge: groups and keys that are there twice. */
static gboolean check_once(const char *file, const char *text, GError **errp)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *group = g_strdup("");

    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        char *end = strchr(line, line[0] == '[' ? ']' : '=');
        char *name;

        if (line[0] == '\0' || line[0] == '#' || !end) {
            continue;
        }
        *end = '\0';
        if (line[0] == '[') {
            g_free(group);
            group = g_strdup_printf("%s]", line);
            name = g_strdup(group);
        } else {
            name = g_strdup_printf("%s %s", group, g_strchomp(line));
        }
        if (!g_hash_table_add(seen, name)) {
            return refuse(file, errp, "line %u: %s is there twice: leave one "
                          "of the two", i + 1, name);
        }
    }
    return TRUE;
}

ApusdSource *apusd_source_new(const char *file, const char *text, size_t size,
                              GError **errp)
{
    g_autofree char *copy = g_strndup(text, size);
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_autoptr(GError) error = NULL;
    ApusdSource *source;

    if (memchr(text, '\0', size) || !g_utf8_validate(text, size, NULL)) {
        refuse(file, errp, "this is no text file");
        return NULL;
    }
    if (!check_once(file, copy, errp)) {
        return NULL;
    }
    if (size == 0 ||
        !g_key_file_load_from_data(keys, copy, size, 0, &error)) {
        refuse(file, errp, "%s", error ? error->message : "it is empty");
        return NULL;
    }
    source = g_new0(ApusdSource, 1);
    source->file = g_strdup(file);
    source->groups = g_key_file_get_groups(keys, NULL);
    source->keys = g_steal_pointer(&keys);
    return source;
}

void apusd_source_free(ApusdSource *source)
{
    if (source) {
        g_free(source->file);
        g_strfreev(source->groups);
        g_key_file_free(source->keys);
        g_free(source);
    }
}

gboolean apusd_source_refuse(const ApusdSource *source, const char *group,
                             const char *key, GError **errp,
                             const char *format, ...)
{
    g_autoptr(GString) text = g_string_new(NULL);
    va_list args;

    if (group) {
        g_string_append_printf(text, "[%s]", group);
    }
    if (key) {
        g_autofree char *value = g_key_file_get_value(source->keys, group,
                                                      key, NULL);

        g_string_append_printf(text, " %s", key);
        if (value) {
            g_string_append_printf(text, "=%.200s", value);
        }
    }
    g_string_append(text, group ? ": " : "");
    va_start(args, format);
    g_string_append_vprintf(text, format, args);
    va_end(args);
    return refuse(source->file, errp, "%s", text->str);
}

char **apusd_source_groups(const ApusdSource *source)
{
    return source->groups;
}

gboolean apusd_source_check_keys(const ApusdSource *source, const char *group,
                                 const char *const *known, GError **errp)
{
    g_auto(GStrv) keys = g_key_file_get_keys(source->keys, group, NULL, NULL);

    for (unsigned i = 0; keys && keys[i]; i++) {
        if (!g_strv_contains(known, keys[i])) {
            g_autofree char *all = g_strjoinv(", ", (char **)known);

            return apusd_source_refuse(source, group, keys[i], errp,
                                       "is unknown here: there are %s", all);
        }
    }
    return TRUE;
}

gboolean apusd_source_has(const ApusdSource *source, const char *group,
                          const char *key)
{
    return g_key_file_has_key(source->keys, group, key, NULL);
}

char *apusd_source_text(const ApusdSource *source, const char *group,
                        const char *key, GError **errp)
{
    g_autofree char *text = NULL;

    if (!apusd_source_has(source, group, key)) {
        apusd_source_refuse(source, group, key, errp,
                            "is missing: add %s=", key);
        return NULL;
    }
    text = g_key_file_get_string(source->keys, group, key, NULL);
    if (!text || !text[0]) {
        apusd_source_refuse(source, group, key, errp,
                            "has to have a value");
        return NULL;
    }
    return g_steal_pointer(&text);
}

gboolean apusd_source_number(const ApusdSource *source, const char *group,
                             const char *key, uint64_t min, uint64_t max,
                             uint64_t *number, GError **errp)
{
    g_autofree char *text = apusd_source_text(source, group, key, errp);

    if (!text) {
        return FALSE;
    }
    if (!g_ascii_string_to_unsigned(text, 10, min, max, number, NULL)) {
        return apusd_source_refuse(source, group, key, errp,
                                   "has to be a whole number from "
                                   "%" G_GUINT64_FORMAT " to "
                                   "%" G_GUINT64_FORMAT, min, max);
    }
    return TRUE;
}

gboolean apusd_source_choice(const ApusdSource *source, const char *group,
                             const char *key, const char *const *names,
                             unsigned *choice, GError **errp)
{
    g_autofree char *text = apusd_source_text(source, group, key, errp);
    g_autofree char *all = g_strjoinv(", ", (char **)names);

    if (!text) {
        return FALSE;
    }
    for (unsigned i = 0; names[i]; i++) {
        if (!strcmp(names[i], text)) {
            *choice = i;
            return TRUE;
        }
    }
    return apusd_source_refuse(source, group, key, errp,
                               "has to be one of %s", all);
}

gboolean apusd_source_boolean(const ApusdSource *source, const char *group,
                              const char *key, gboolean *value, GError **errp)
{
    static const char *const names[] = { "no", "yes", NULL };
    unsigned choice;

    if (!apusd_source_choice(source, group, key, names, &choice, errp)) {
        return FALSE;
    }
    *value = choice;
    return TRUE;
}
