/*
 * colony: protects a VM, and keeps it protected
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../colo-net/core/versions.h"
#include "verbs.h"

typedef struct {
    const char *name;
    const char *help;
    int (*function)(int argc, char **argv);
} Verb;

static const Verb verbs[] = {
    { "run", "watch over a node of a VM", colony_verb_run },
    { "check", "say what is wrong in a file", colony_verb_check },
    { "up", "have the VM run, and be protected", colony_verb_up },
    { "down", "have the guest power off", colony_verb_down },
    { "status", "who is what; protected, or why not", colony_verb_status },
    { "monitor", "a live screen", colony_verb_monitor },
    { "events", "what happens, as it happens", colony_verb_events },
    { "switchover", "let the secondary lead, without loss",
      colony_verb_switchover },
    { "restart", "start a node's process again, as it is installed",
      colony_verb_restart },
    { "reprotect", "protect the VM now, not at the next try",
      colony_verb_reprotect },
    { "verify", "compare both replicas", colony_verb_verify },
    { "replace", "another node in the place of one", colony_verb_replace },
    { "failover", "a replica goes on alone, by force",
      colony_verb_failover },
    { NULL },
};

static int show_help(void)
{
    printf("Usage: colony VERB [OPTION]... FILE [ARGUMENT]...\n"
           "\n"
           "Protects the VM that FILE describes (see colony.conf(5)), and "
           "keeps it\nprotected. Verbs:\n\n");
    for (const Verb *verb = verbs; verb->name; verb++) {
        printf("  %-12s %s\n", verb->name, verb->help);
    }
    printf("\n\"colony VERB --help\" tells the options of each; "
           "see colony(1).\n");
    return EXIT_SUCCESS;
}

static int show_version(void)
{
    printf("colony %s\n", colony_version);
    return EXIT_SUCCESS;
}

static int run(const Verb *verb, int argc, char **argv)
{
    g_autofree char *name = g_strdup_printf("colony %s", verb->name);

    g_set_prgname(name);
    argv[0] = name;
    return verb->function(argc, argv);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    /* Only how characters are written: numbers are for programs, too. */
    setlocale(LC_CTYPE, "");
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        return show_help();
    }
    if (!strcmp(word, "--version")) {
        return show_version();
    }
    for (const Verb *verb = verbs; verb->name; verb++) {
        if (!strcmp(verb->name, word)) {
            return run(verb, argc - 1, argv + 1);
        }
    }
    if (*word) {
        fprintf(stderr, "colony: there is no verb \"%s\"; colony --help "
                "lists all\n", word);
    } else {
        fprintf(stderr, "colony: say what to do; colony --help lists all "
                "verbs\n");
    }
    return COLONY_EXIT_USAGE;
}
