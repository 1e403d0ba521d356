/*
 * Lines of JSON, as others have sent them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <string.h>

#include "line.h"

#define MAX_DEPTH 64

/* --- is it JSON at all? --------------------------------------------------- */

typedef struct {
    unsigned depth;
    gboolean in_string, escaped;
} Scan;

static gboolean scan_string(Scan *scan, unsigned char c)
{
    if (scan->escaped) {
        scan->escaped = FALSE;
    } else if (c == '\\') {
        scan->escaped = TRUE;
    } else if (c == '"') {
        scan->in_string = FALSE;
    }
    return c >= ' ';
}

static gboolean scan_structure(Scan *scan, unsigned char c)
{
    switch (c) {
    case '"':
        scan->in_string = TRUE;
        return TRUE;
    case '{':
    case '[':
        return ++scan->depth <= MAX_DEPTH;
    case '}':
    case ']':
        return scan->depth-- > 0;
    case '\0':
        return FALSE;
    default:
        return g_ascii_isalnum(c) || strchr(" \t\r\n,:+-.", c);
    }
}

/* Of the form of JSON as far as the parser's stack depends on it. */
static gboolean is_harmless(const char *text, gsize length)
{
    Scan scan = { 0 };

    for (gsize i = 0; i < length; i++) {
        if (!(scan.in_string ? scan_string : scan_structure)(&scan, text[i])) {
            return FALSE;
        }
    }
    return g_utf8_validate(text, length, NULL);
}

/* The four hexadecimal digits at @at; -1: there are none. */
static int read_hex4(const char *at, const char *end)
{
    int unit = 0;

    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isxdigit(at[i])) {
            return -1;
        }
        unit = unit << 4 | g_ascii_xdigit_value(at[i]);
    }
    return unit;
}

/*
 * What follows a backslash and a u at @at: where it ends. NULL: it is no
 * character, or half of one.
 */
static const char *skip_unicode(const char *at, const char *end)
{
    int unit = read_hex4(at, end);

    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
        return NULL;
    }
    at += 4;
    if (unit < 0xd800 || unit > 0xdfff) {
        return at;
    }
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return NULL;
    }
    unit = read_hex4(at + 2, end);
    return unit >= 0xdc00 && unit <= 0xdfff ? at + 6 : NULL;
}

/*
 * json-glib takes C's escapes, too, and halves of characters, and comes to text
 * that is not UTF-8.
 */
static gboolean escapes_are_sound(const char *text, gsize length)
{
    const char *at = text, *end = text + length;

    while ((at = memchr(at, '\\', end - at))) {
        if (++at == end || !*at || !strchr("\"\\/bfnrtu", *at)) {
            return FALSE;
        }
        at = *at == 'u' ? skip_unicode(at + 1, end) : at + 1;
        if (!at) {
            return FALSE;
        }
    }
    return TRUE;
}

JsonObject *colony_line_parse(const char *text, gsize length, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonNode *root = NULL;

    if (length <= G_MAXSSIZE && is_harmless(text, length) &&
        escapes_are_sound(text, length) &&
        json_parser_load_from_data(parser, text, length, NULL)) {
        root = json_parser_get_root(parser);
    }
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "not a JSON object");
        return NULL;
    }
    return json_object_ref(json_node_get_object(root));
}

/* --- members -------------------------------------------------------------- */

static JsonNode *member(JsonObject *object, const char *name, GType type)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && json_node_get_value_type(node) == type ? node : NULL;
}

const char *colony_json_string(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name, G_TYPE_STRING);

    return node ? json_node_get_string(node) : NULL;
}

JsonObject *colony_json_object(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name, JSON_TYPE_OBJECT);

    return node ? json_node_get_object(node) : NULL;
}

JsonArray *colony_json_array(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name, JSON_TYPE_ARRAY);

    return node ? json_node_get_array(node) : NULL;
}

gint64 colony_json_int(JsonObject *object, const char *name, gint64 otherwise)
{
    JsonNode *node = member(object, name, G_TYPE_INT64);

    return node ? json_node_get_int(node) : otherwise;
}

gboolean colony_json_boolean(JsonObject *object, const char *name,
                             gboolean otherwise)
{
    JsonNode *node = member(object, name, G_TYPE_BOOLEAN);

    return node ? json_node_get_boolean(node) : otherwise;
}
