/*
 * Text for terminals
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "text.h"

#define MORE "..."
#define MORE_COLUMNS 3

char *colony_text_clean(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);

    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (c == '\n' || c == '\t') {
            g_string_append_c(clean, ' ');
        } else {
            g_string_append_unichar(clean, g_unichar_isprint(c) ? c : '?');
        }
    }
    return g_string_free(clean, FALSE);
}

char *colony_text_cut(const char *text, unsigned columns)
{
    glong length = g_utf8_strlen(text, -1);
    g_autofree char *begin = NULL;

    if (length <= columns) {
        return g_strdup(text);
    }
    if (columns <= MORE_COLUMNS) {
        return g_utf8_substring(text, 0, columns);
    }
    begin = g_utf8_substring(text, 0, columns - MORE_COLUMNS);
    return g_strconcat(begin, MORE, NULL);
}

char *colony_text_pad(const char *text, unsigned columns)
{
    g_autofree char *cut = colony_text_cut(text, columns);
    glong length = g_utf8_strlen(cut, -1);

    return g_strdup_printf("%s%*s", cut, (int)(columns - length), "");
}

/* How many bytes of @text fit into @columns; a word that is too long breaks. */
static gsize fitting(const char *text, unsigned columns)
{
    const char *end = text, *space = NULL;

    for (unsigned i = 0; i <= columns && *end; i++) {
        if (*end == ' ') {
            space = end;
        }
        if (i < columns) {
            end = g_utf8_next_char(end);
        }
    }
    return !*end || !space || space == text ? end - text : space - text;
}

void colony_text_wrap(GPtrArray *lines, const char *first, const char *text,
                      unsigned columns, unsigned max)
{
    g_autofree char *clean = colony_text_clean(text);
    unsigned indent = g_utf8_strlen(first, -1);
    unsigned width = columns > indent + 10 ? columns - indent : 10;
    const char *rest = clean;

    for (unsigned i = 0; i < max && (*rest || i == 0); i++) {
        gsize length = fitting(rest, width);
        g_autofree char *part = i + 1 == max
            ? colony_text_cut(rest, width) : g_strndup(rest, length);

        g_ptr_array_add(lines, g_strdup_printf(
            "%*s%s", i ? (int)indent : (int)strlen(first), i ? "" : first,
            part));
        rest += length;
        rest += strspn(rest, " ");
    }
}

char *colony_text_of_qemu(const char *line)
{
    g_autoptr(GRegex) origin = g_regex_new(
        "^(<[0-7]>)?([0-9-]{10}T[0-9:.]+Z )?(qemu-system-\\w+: )?", 0, 0, NULL);
    g_autoptr(GRegex) option = g_regex_new("^(-[a-z]+ \\S{36})\\S+: ", 0, 0,
                                           NULL);
    g_autofree char *words = g_regex_replace_literal(origin, line, -1, 0, "",
                                                     0, NULL);
    char *text = g_regex_replace(option, words ? words : line, -1, 0,
                                 "\\1...: ", 0, NULL);

    return text ? text : g_strdup(line);
}
