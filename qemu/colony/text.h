/*
 * Text for terminals
 *
 * What is shown may come from other hosts: control characters never reach the
 * terminal. One character is taken to be one column wide.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TEXT_H
#define COLONY_TEXT_H

#include <glib.h>

/* A copy without control characters, and valid UTF-8. */
char *colony_text_clean(const char *text);

/*
 * Appends to @lines (of char *) @text, broken at spaces: @first is before the
 * first line, as many spaces before the others; at most @max lines, of which
 * the last ends in "..." when there would be more.
 */
void colony_text_wrap(GPtrArray *lines, const char *first, const char *text,
                      unsigned columns, unsigned max);

/* At most @columns of @text; "..." at the end when that is not all. */
char *colony_text_cut(const char *text, unsigned columns);

/* The same, and spaces behind it. */
char *colony_text_pad(const char *text, unsigned columns);

/*
 * A message of QEMU without when and by whom, and without the long option that
 * it is about.
 */
char *colony_text_of_qemu(const char *line);

#endif
