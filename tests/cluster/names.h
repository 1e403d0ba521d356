/*
 * The names in a directory, as they are and as they would be after a power cut
 *
 * What is made, renamed and removed counts at once for whoever asks here, but
 * is done on disk only by names_sync(). A new file has another name on disk
 * until then; such files of an earlier process are removed when they are seen.
 *
 * Not thread-safe. Errors are negative errno.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_NAMES_H
#define CLUSTER_NAMES_H

#include <glib.h>

typedef struct Names Names;

Names *names_new(void);
void names_free(Names *names);

/* *@made: the file is new. */
int names_open(Names *names, const char *path, int flags, gboolean *made);
int names_list(Names *names, const char *directory, GPtrArray *found);
int names_rename(Names *names, const char *from, const char *to);
int names_remove(Names *names, const char *path);

/* Do on disk what was asked for since the last time. */
int names_sync(Names *names);

#endif
