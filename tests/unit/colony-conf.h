/*
 * A usual config, and what becomes of it when it is changed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONF_H
#define COLONY_CONF_H

#include "qemu/colony/config.h"

/* Two nodes that can run, one that votes, two disks, two NICs; 26 lines. */
extern const char conf_usual[];

/* @text with @to in the place of @from, which is in it. */
char *conf_changed(const char *text, const char *from, const char *to);

/* The path is "vm.conf". */
ColonyConfig *conf_parse(const char *text, GError **error);
/* The same, and it has to be right. */
ColonyConfig *conf_accepted(const char *text);
/* The usual one, with a change. */
ColonyConfig *conf_accepted_change(const char *from, const char *to);

/*
 * Whether a line of @message begins with the first of @words, which "|" parts,
 * and has the others, each behind the one before it.
 */
gboolean conf_says(const char *message, const char *words);
/* It has to be wrong; the message. */
char *conf_refused(const char *text);
/* And says @words, behind "vm.conf:". */
void conf_assert_refused(const char *text, const char *words);

#endif
