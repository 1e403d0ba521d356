/*
 * Lines of JSON: what is none is refused, however it was meant
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <string.h>

#include "qemu/colony/line.h"
#include "tests/unit/library-leaks.h"

#define DEEP (4 << 20)

static JsonObject *parse(const char *text)
{
    return colony_line_parse(text, strlen(text), NULL);
}

static void test_members(void)
{
    g_autoptr(JsonObject) object = parse(
        "{\"s\": \"a[\\\"]{\", \"i\": -3, \"b\": true, \"n\": null, "
        "\"o\": {\"x\": []}, \"d\": 1.5e+3}\r\n");
    JsonObject *inner;

    g_assert_nonnull(object);
    g_assert_cmpstr(colony_json_string(object, "s"), ==, "a[\"]{");
    g_assert_cmpint(colony_json_int(object, "i", 7), ==, -3);
    g_assert_true(colony_json_boolean(object, "b", FALSE));
    inner = colony_json_object(object, "o");
    g_assert_nonnull(colony_json_array(inner, "x"));
    /* Of another type, or not there. */
    g_assert_null(colony_json_string(object, "i"));
    g_assert_null(colony_json_string(object, "n"));
    g_assert_null(colony_json_string(object, "none"));
    g_assert_null(colony_json_object(object, "s"));
    g_assert_null(colony_json_array(object, "o"));
    g_assert_cmpint(colony_json_int(object, "d", 7), ==, 7);
    g_assert_cmpint(colony_json_int(object, "s", 7), ==, 7);
    g_assert_true(colony_json_boolean(object, "i", TRUE));
    g_assert_null(colony_json_string(NULL, "s"));
    g_assert_cmpint(colony_json_int(NULL, "s", 7), ==, 7);
}

static void test_refused(void)
{
    static const char *const lines[] = {
        "", " ", "{", "}", "[]", "1", "null", "\"x\"", "{\"a\": }",
        "{\"a\": 1} {", "{\"a\" 1}", "x{}", "{\"a\": \"\xff\"}",
        "{\"a\": \"\x01\"}", "/* c */ {}", "// c", "# c", "{'a': 1}",
        "{\"a\": 1", "{]", "HTTP/1.1 400 Bad Request",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(colony_line_parse(lines[i], strlen(lines[i]), &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    }
    g_assert_null(colony_line_parse("{\"a\0\": 1}", 9, NULL));
}

/* Of whatever is accepted, text is UTF-8. */
static void test_escapes(void)
{
    static const struct {
        const char *escaped, *text; /* NULL: refused */
    } strings[] = {
        { "\\\" \\\\ \\/ \\b\\f\\n\\r\\t", "\" \\ / \b\f\n\r\t" },
        { "\\u00e9\\u00E9", "\xc3\xa9\xc3\xa9" },
        { "\\ud83d\\ude00", "\xf0\x9f\x98\x80" }, { "\\\\u12", "\\u12" },
        { "\\666", NULL }, { "\\0", NULL }, { "\\x41", NULL }, { "\\u", NULL },
        { "\\u12", NULL }, { "\\u12g4", NULL }, { "\\ud800", NULL },
        { "\\ud800x", NULL }, { "\\ud800\\n", NULL }, { "\\ud800\\u", NULL },
        { "\\ud800\\ud800", NULL }, { "\\udc00", NULL },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++) {
        g_autofree char *line = g_strdup_printf("{\"a\": \"%s\"}",
                                                strings[i].escaped);
        g_autoptr(JsonObject) object = parse(line);

        g_assert_cmpint(!object, ==, !strings[i].text);
        g_assert_cmpstr(colony_json_string(object, "a"), ==, strings[i].text);
    }
}

/* The parser's stack would not be enough. */
static void test_depth(void)
{
    static const char *const units[] = { "[", "{\"a\":", "/*\"*/[", "'\"'[" };

    for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
        g_autoptr(GString) text = g_string_sized_new(DEEP + 8);

        g_string_append(text, "{\"a\":");
        while (text->len < DEEP) {
            g_string_append(text, units[i]);
        }
        g_assert_null(colony_line_parse(text->str, text->len, NULL));
    }
}

static void test_depth_allowed(void)
{
    g_autoptr(GString) text = g_string_new("{\"a\":");
    g_autoptr(JsonObject) object = NULL;

    for (unsigned i = 0; i < 60; i++) {
        g_string_append_c(text, '[');
    }
    for (unsigned i = 0; i < 60; i++) {
        g_string_append_c(text, ']');
    }
    g_string_append_c(text, '}');
    object = colony_line_parse(text->str, text->len, NULL);
    g_assert_nonnull(object);
}

/* Of the pieces of JSON, and of what is near it. */
static void test_random(void)
{
    static const char *const pieces[] = {
        "{", "}", "[", "]", ":", ",", "\"a\"", "\"", "\\", "1", "-", "e",
        "true", "null", " ", "/*", "*/", "'", "#", "\n", "\t", "\xc3\xa9",
    };

    for (unsigned round = 0; round < 20000; round++) {
        g_autoptr(GString) text = g_string_new("{");
        g_autoptr(JsonObject) object = NULL;
        int length = g_test_rand_int_range(0, 12);

        while (length--) {
            g_string_append(text, pieces[g_test_rand_int_range(
                0, G_N_ELEMENTS(pieces))]);
        }
        object = colony_line_parse(text->str, text->len, NULL);
        if (object) {
            g_assert_null(colony_json_string(object, "none"));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/colony/line/members", test_members);
    g_test_add_func("/colony/line/refused", test_refused);
    g_test_add_func("/colony/line/escapes", test_escapes);
    g_test_add_func("/colony/line/depth", test_depth);
    g_test_add_func("/colony/line/depth-allowed", test_depth_allowed);
    g_test_add_func("/colony/line/random", test_random);
    return g_test_run();
}
