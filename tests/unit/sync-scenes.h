/*
 * What syncs do, in scenes that are played over a connection and over a link
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYNC_SCENES_H
#define SYNC_SCENES_H

#include <glib.h>

typedef struct SyncScene {
    const char *name;
    void (*play)(void);
    /* Short, and without the connection's clock: over a link as well. */
    gboolean timeless;
} SyncScene;

/* The last one has no name. */
extern const SyncScene sync_scenes[];

#endif
