/*
 * What colony can be told to do
 *
 * Each verb is a function in a file of its own, verb-NAME.c, and a row of the
 * table in main.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_H
#define COLONY_VERBS_H

#include <glib.h>

/* Exit statuses; colony status has its own besides, see report.h. */
#define COLONY_EXIT_FAILED 1
#define COLONY_EXIT_USAGE 64
#define COLONY_EXIT_FILE 65 /* FILE is wrong, or cannot be read */

/*
 * @argv[0] is "colony NAME", what follows is the user's. Errors are said on
 * stderr, by g_printerr("%s: ...", g_get_prgname()). Returns the exit status.
 */
int colony_verb_run(int argc, char **argv);
int colony_verb_up(int argc, char **argv);
int colony_verb_down(int argc, char **argv);
int colony_verb_status(int argc, char **argv);
int colony_verb_events(int argc, char **argv);
int colony_verb_failover(int argc, char **argv);
int colony_verb_switchover(int argc, char **argv);
int colony_verb_restart(int argc, char **argv);
int colony_verb_reprotect(int argc, char **argv);
int colony_verb_verify(int argc, char **argv);
int colony_verb_replace(int argc, char **argv);
int colony_verb_check(int argc, char **argv);
int colony_verb_monitor(int argc, char **argv);

/* What "colony NAME --help" says, and how many arguments are right. */
typedef struct ColonyUsage {
    const char *arguments; /* such as "FILE [NODE]", a word for each */
    const char *text; /* a sentence or two */
    int min, max; /* of arguments; @max -1: any number */
    const GOptionEntry *entries; /* NULL: no options but --help */
} ColonyUsage;

/*
 * Takes the options out of @argv, so that @argv[1] to @argv[*argc - 1] are the
 * arguments; --help ends the program. FALSE: something is wrong and was said;
 * return COLONY_EXIT_USAGE.
 */
gboolean colony_usage_parse(const ColonyUsage *usage, int *argc, char **argv);

#endif
