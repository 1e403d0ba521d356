/*
 * A usual config, and what becomes of it when it is changed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/colony-conf.h"

/* The tests count the lines. */
const char conf_usual[] =
    "[vm]\n" /* 1 */
    "name=vm1\n"
    "memory=2G\n"
    "cpus=2\n"
    "# a comment\n" /* 5 */
    "[disk vda]\n"
    "file=/srv/a.img\n"
    "format=raw\n"
    "[disk vdb]\n"
    "file.a=/srv/b.img\n" /* 10 */
    "file.b=/srv/c.img\n"
    "[nic net0]\n"
    "bridge=br0\n"
    "[nic net1]\n"
    "tap=tap1\n" /* 15 */
    "[node a]\n"
    "host=192.0.2.1\n"
    "can-run=yes\n"
    "[node b]\n"
    "host=192.0.2.2\n" /* 20 */
    "[node c]\n"
    "host=192.0.2.3\n"
    "can-run=no\n"
    "[policy]\n"
    "preset=hybrid\n" /* 25 */
    "interval=1s\n";

char *conf_changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);

    if (!at) {
        g_error("there is no \"%s\"", from);
    }
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, to,
                           at + strlen(from));
}

ColonyConfig *conf_parse(const char *text, GError **error)
{
    return colony_config_parse("vm.conf", text, strlen(text), error);
}

ColonyConfig *conf_accepted(const char *text)
{
    g_autoptr(GError) error = NULL;
    ColonyConfig *config = conf_parse(text, &error);

    g_assert_no_error(error);
    return config;
}

ColonyConfig *conf_accepted_change(const char *from, const char *to)
{
    g_autofree char *text = conf_changed(conf_usual, from, to);

    return conf_accepted(text);
}

gboolean conf_says(const char *message, const char *words)
{
    g_auto(GStrv) lines = g_strsplit(message, "\n", -1);
    g_auto(GStrv) word = g_strsplit(words, "|", -1);

    for (unsigned i = 0; lines[i]; i++) {
        const char *at = g_str_has_prefix(lines[i], word[0]) ? lines[i] : NULL;

        for (unsigned n = 0; at && word[n]; n++) {
            at = strstr(at, word[n]);
            at = at ? at + strlen(word[n]) : NULL;
        }
        if (at) {
            return TRUE;
        }
    }
    return FALSE;
}

char *conf_refused(const char *text)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(conf_parse(text, &error));
    g_assert_nonnull(error);
    g_assert_true(error->domain == COLONY_CONFIG_ERROR);
    return g_strdup(error->message);
}

void conf_assert_refused(const char *text, const char *words)
{
    g_autofree char *message = conf_refused(text);
    g_autofree char *all = g_strconcat("vm.conf:", words, NULL);

    if (!conf_says(message, all)) {
        g_error("\"%s\" does not say \"%s\"", message, all);
    }
}
