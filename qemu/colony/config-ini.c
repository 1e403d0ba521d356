/*
 * The config as lines: groups, keys, values, and what is wrong with them
 *
 * What is accepted here, GKeyFile reads in the same way; but escapes mean
 * nothing: a backslash is a backslash.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "config-internal.h"

#define ERRORS_SHOWN 20
#define QUOTE_MAX 60 /* characters */
#define SUGGEST_MAX 32 /* longer ones look like nothing that there is */

typedef struct Refusal {
    unsigned line, number;
    ColonyConfigError code;
    char *message;
} Refusal;

GQuark colony_config_error_quark(void)
{
    return g_quark_from_static_string("colony-config-error-quark");
}

/* --- memory --------------------------------------------------------------- */

static void entry_free(gpointer data)
{
    ColonyIniEntry *entry = data;

    g_free(entry->key);
    g_free(entry->value);
    g_free(entry);
}

static void group_free(gpointer data)
{
    ColonyIniGroup *group = data;

    g_hash_table_unref(group->entries);
    g_free(group->name);
    g_free(group);
}

static void refusal_free(gpointer data)
{
    Refusal *refusal = data;

    g_free(refusal->message);
    g_free(refusal);
}

void colony_ini_free(ColonyIni *ini)
{
    if (ini) {
        g_hash_table_unref(ini->names);
        g_hash_table_unref(ini->refused);
        g_ptr_array_unref(ini->groups);
        g_ptr_array_unref(ini->errors);
        g_free(ini->path);
        g_free(ini);
    }
}

/* --- errors --------------------------------------------------------------- */

static void add_refusal(ColonyIni *ini, unsigned line,
                        ColonyConfigError code, char *message)
{
    Refusal *refusal = g_new(Refusal, 1);

    refusal->line = line;
    refusal->number = ini->errors->len;
    refusal->code = code;
    refusal->message = message;
    g_ptr_array_add(ini->errors, refusal);
}

static void refuse_line(ColonyIni *ini, unsigned line, const char *format,
                        ...) G_GNUC_PRINTF(3, 4);

static void refuse_line(ColonyIni *ini, unsigned line, const char *format,
                        ...)
{
    va_list args;

    va_start(args, format);
    add_refusal(ini, line, COLONY_CONFIG_ERROR_FILE,
                g_strdup_vprintf(format, args));
    va_end(args);
}

void colony_ini_refuse(ColonyIni *ini, const char *group, const char *key,
                       ColonyConfigError code, const char *format, ...)
{
    const ColonyIniGroup *at = colony_ini_group(ini, group);
    const ColonyIniEntry *entry = NULL;
    g_autofree char *what = NULL;
    va_list args;

    if (!g_hash_table_add(ini->refused, g_strdup_printf("%s\n%s", group,
                                                        key ?: ""))) {
        return;
    }
    if (at && key) {
        entry = g_hash_table_lookup(at->entries, key);
    }
    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    add_refusal(ini, entry ? entry->line : at ? at->line : 1, code,
                g_strdup_printf("[%s]%s%s: %s", group, key ? " " : "",
                                key ?: "", what));
}

static gint compare_refusals(gconstpointer a, gconstpointer b)
{
    const Refusal *first = *(Refusal *const *)a;
    const Refusal *second = *(Refusal *const *)b;

    if (first->line != second->line) {
        return first->line < second->line ? -1 : 1;
    }
    return first->number < second->number ? -1 : 1;
}

gboolean colony_ini_finish(ColonyIni *ini, GError **error)
{
    g_autoptr(GString) all = g_string_new(NULL);
    GPtrArray *errors = ini->errors;

    if (errors->len == 0) {
        return TRUE;
    }
    g_ptr_array_sort(errors, compare_refusals);
    for (unsigned i = 0; i < errors->len && i < ERRORS_SHOWN; i++) {
        const Refusal *refusal = errors->pdata[i];

        g_string_append_printf(all, "%s%s:%u: %s", i ? "\n" : "", ini->path,
                               refusal->line, refusal->message);
    }
    if (errors->len > ERRORS_SHOWN) {
        g_string_append_printf(all, "\n%s: and %u more", ini->path,
                               errors->len - ERRORS_SHOWN);
    }
    g_set_error_literal(error, COLONY_CONFIG_ERROR,
                        ((Refusal *)errors->pdata[0])->code, all->str);
    return FALSE;
}

char *colony_ini_quote(const char *value)
{
    g_autofree char *start = NULL;

    if (g_utf8_strlen(value, -1) <= QUOTE_MAX) {
        return g_strdup_printf("\"%s\"", value);
    }
    start = g_utf8_substring(value, 0, QUOTE_MAX);
    return g_strdup_printf("\"%s...\"", start);
}

/* How many bytes have to be changed, added or removed to come from a to b. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[SUGGEST_MAX + 1];

    for (unsigned j = 0; j <= strlen(b); j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= strlen(a); i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned j = 1; j <= strlen(b); j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[strlen(b)];
}

char *colony_ini_suggest(const char *name, const char *const *names)
{
    const char *nearest = NULL;
    unsigned best = strlen(name) / 3 + 2;

    for (; strlen(name) <= SUGGEST_MAX && *names; names++) {
        unsigned far = strlen(*names) <= SUGGEST_MAX ? distance(name, *names)
                                                  : G_MAXUINT;

        if (far < best && far < strlen(*names)) {
            best = far;
            nearest = *names;
        }
    }
    return nearest ? g_strdup_printf("; did you mean %s?", nearest)
                   : g_strdup("");
}

/* --- lines ---------------------------------------------------------------- */

const ColonyIniGroup *colony_ini_group(const ColonyIni *ini,
                                       const char *group)
{
    return g_hash_table_lookup(ini->names, group);
}

const char *colony_ini_value(const ColonyIni *ini, const char *group,
                             const char *key)
{
    const ColonyIniGroup *at = colony_ini_group(ini, group);
    const ColonyIniEntry *entry = at ? g_hash_table_lookup(at->entries, key)
                                      : NULL;

    return entry ? entry->value : NULL;
}

static unsigned line_of(const char *text, const char *at)
{
    unsigned line = 1;

    for (; text < at; text++) {
        line += *text == '\n';
    }
    return line;
}

static gboolean check_characters(ColonyIni *ini, const char *content,
                                 gsize length)
{
    const char *bad;

    if (!g_utf8_validate(content, length, &bad)) {
        refuse_line(ini, line_of(content, bad), "byte 0x%02x is no text; "
                    "write the file in UTF-8", (unsigned char)*bad);
        return FALSE;
    }
    for (const char *at = content; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        gboolean ends = c == '\n' || (c == '\r' && at[1] == '\n');

        if (g_unichar_iscntrl(c) && c != '\t' && !ends) {
            refuse_line(ini, line_of(content, at), "control character 0x%02x; "
                        "remove it", c);
            return FALSE;
        }
    }
    return TRUE;
}

static ColonyIniGroup *add_group(ColonyIni *ini, unsigned line,
                                 const char *name)
{
    const ColonyIniGroup *before = colony_ini_group(ini, name);
    ColonyIniGroup *group = g_new(ColonyIniGroup, 1);

    group->line = line;
    group->name = g_strdup(name);
    group->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                           entry_free);
    g_ptr_array_add(ini->groups, group);
    if (before) {
        refuse_line(ini, line, "[%s]: is in line %u already; leave one of "
                    "the two", name, before->line);
    } else {
        g_hash_table_insert(ini->names, group->name, group);
    }
    return group;
}

static void add_entry(ColonyIni *ini, ColonyIniGroup *group, unsigned line,
                      const char *key, const char *value)
{
    const ColonyIniEntry *before = g_hash_table_lookup(group->entries, key);
    ColonyIniEntry *entry;

    if (before) {
        refuse_line(ini, line, "[%s] %s: is in line %u already; leave one of "
                    "the two", group->name, key, before->line);
        return;
    }
    entry = g_new(ColonyIniEntry, 1);
    entry->line = line;
    entry->key = g_strdup(key);
    entry->value = g_strdup(value);
    g_hash_table_insert(group->entries, entry->key, entry);
}

/* @group: where we are; NULL before the first. Returns where we are then. */
static ColonyIniGroup *read_line(ColonyIni *ini, ColonyIniGroup *group,
                                 unsigned number, char *line)
{
    g_autofree char *quoted = NULL;
    char *end;

    g_strstrip(line);
    if (!*line || *line == '#') {
        return group;
    }
    if (*line == '[') {
        end = strchr(line, ']');
        if (end && !end[1] && end > line + 1 && !strchr(line + 1, '[')) {
            *end = '\0';
            return add_group(ini, number, line + 1);
        }
    } else {
        end = strchr(line, '=');
        if (end && end > line) {
            *end = '\0';
            if (group) {
                add_entry(ini, group, number, g_strchomp(line),
                          g_strchug(end + 1));
            } else {
                refuse_line(ini, number, "%s: belongs to no group; write "
                            "[vm] or another one above it", line);
            }
            return group;
        }
    }
    quoted = colony_ini_quote(line);
    refuse_line(ini, number, "%s is no [GROUP], KEY=VALUE or #COMMENT",
                quoted);
    return group;
}

/* A group that was there already has been told of, and does not count. */
static void drop_duplicates(ColonyIni *ini)
{
    for (unsigned i = ini->groups->len; i > 0; i--) {
        ColonyIniGroup *group = ini->groups->pdata[i - 1];

        if (colony_ini_group(ini, group->name) != group) {
            g_ptr_array_remove_index(ini->groups, i - 1);
        }
    }
}

ColonyIni *colony_ini_new(const char *path, const char *content,
                          gsize length)
{
    ColonyIni *ini = g_new0(ColonyIni, 1);
    g_autofree char *copy = g_strndup(content, length);
    g_auto(GStrv) lines = NULL;
    ColonyIniGroup *group = NULL;

    ini->path = g_strdup(path);
    ini->groups = g_ptr_array_new_with_free_func(group_free);
    ini->errors = g_ptr_array_new_with_free_func(refusal_free);
    ini->names = g_hash_table_new(g_str_hash, g_str_equal);
    ini->refused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         NULL);
    ini->is_text = check_characters(ini, copy, length);
    if (!ini->is_text) {
        return ini;
    }
    lines = g_strsplit(copy, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        group = read_line(ini, group, i + 1, lines[i]);
    }
    drop_duplicates(ini);
    return ini;
}
