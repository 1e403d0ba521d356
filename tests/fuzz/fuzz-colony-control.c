/*
 * Fuzzing of the lines that supervisors exchange
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <string.h>

#include "qemu/colony/control-wire.h"
#include "qemu/colony/line.h"
#include "tests/fuzz/fuzz.h"

/* What was understood can be said, and is understood again. */
static void say_again(JsonObject *message)
{
    g_autoptr(JsonNode) root = json_node_init_object(json_node_alloc(),
                                                     message);
    g_autofree char *text = json_to_string(root, FALSE);
    g_autofree char *line = colony_wire_format(message, NULL);
    g_autoptr(JsonObject) again = NULL;
    g_autofree char *same = NULL;

    g_assert_true(g_utf8_validate(text, -1, NULL));
    if (!line) {
        return; /* too long, or an infinite number */
    }
    g_assert_true(g_str_has_suffix(line, "\n"));
    g_assert_true(strchr(line, '\n') == line + strlen(line) - 1);
    again = colony_line_parse(line, strlen(line) - 1, NULL);
    g_assert_nonnull(again);
    same = colony_wire_format(again, NULL);
    g_assert_cmpstr(line, ==, same);
}

static void look_at_error(JsonObject *message)
{
    g_autoptr(GError) error = NULL, again = NULL;
    g_autoptr(JsonObject) said = NULL;

    colony_wire_take_error(message, &error);
    g_assert_true(error->domain == COLONY_CONTROL_ERROR);
    said = colony_wire_error(error);
    colony_wire_take_error(said, &again);
    g_assert_error(again, COLONY_CONTROL_ERROR, error->code);
    g_assert_cmpstr(again->message, ==, error->message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) message = colony_line_parse((const char *)data, size,
                                                      &error);

    fuzz_outcome(message != NULL, error, G_IO_ERROR);
    if (message) {
        say_again(message);
        look_at_error(message);
    }
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const lines[] = {
        "{\"verb\": \"up\", \"vm\": \"web\", \"version\": 1, \"force\": true}",
        "{\"return\": {\"number\": -1.5e3, \"list\": [null, [], {}]}}",
        "{\"error\": {\"class\": \"refused\", \"desc\": \"\\u00e9\\n\\\"\"}}",
        "{\"event\": {\"time\": 18446744073709551615}}",
        "{\"return\": {\"name\": \"\\ud83d\\ude00 \\u0000\\/\"}}",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        fuzz_seed(lines[i], strlen(lines[i]));
    }
}
