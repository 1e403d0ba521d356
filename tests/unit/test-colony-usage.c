/*
 * The options of a verb: what is wrong is said, in a line
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/verbs.h"

static gboolean force;

static const GOptionEntry entries[] = {
    { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Whatever is lost", NULL },
    { NULL, 0, 0, 0, NULL, NULL, NULL },
};

static const ColonyUsage usage = {
    .arguments = "FILE NODE [MORE]",
    .text = "Does something.",
    .min = 2,
    .max = 3,
    .entries = entries,
};

/* @line: as a user types it. What is left of it, or NULL. */
static char *parse(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    int argc = g_strv_length(words);

    force = FALSE;
    /* Words are taken out of it, but stay ours. */
    for (int i = 0; i <= argc; i++) {
        g_ptr_array_add(argv, words[i]);
    }
    if (!colony_usage_parse(&usage, &argc, (char **)argv->pdata)) {
        return NULL;
    }
    argv->pdata[argc] = NULL;
    return g_strjoinv(" ", (char **)argv->pdata + 1);
}

static void options_are_taken_out(void)
{
    g_autofree char *plain = parse("colony f n");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *dashes = NULL;

    g_assert_cmpstr(plain, ==, "f n");
    g_assert_false(force);
    before = parse("colony --force f n");
    g_assert_cmpstr(before, ==, "f n");
    g_assert_true(force);
    after = parse("colony f -f n");
    g_assert_cmpstr(after, ==, "f n");
    g_assert_true(force);
    dashes = parse("colony -- --force n");
    g_assert_cmpstr(dashes, ==, "--force n");
    g_assert_false(force);
}

static void assert_refused(const char *line, const char *why)
{
    if (g_test_subprocess()) {
        g_set_prgname("colony test");
        g_assert_null(parse(line));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr(why);
}

static void no_arguments(void)
{
    assert_refused("colony", "colony test: FILE is missing; see "
                   "colony test --help\n");
}

static void too_few(void)
{
    assert_refused("colony f", "colony test: NODE is missing; see "
                   "colony test --help\n");
}

static void too_many(void)
{
    assert_refused("colony f n m x", "colony test: \"x\" is too much; see "
                   "colony test --help\n");
}

static void unknown(void)
{
    assert_refused("colony f --forec", "colony test: *--forec*; see "
                   "colony test --help\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/colony/usage/options-are-taken-out",
                    options_are_taken_out);
    g_test_add_func("/colony/usage/no-arguments", no_arguments);
    g_test_add_func("/colony/usage/too-few", too_few);
    g_test_add_func("/colony/usage/too-many", too_many);
    g_test_add_func("/colony/usage/unknown", unknown);
    return g_test_run();
}
