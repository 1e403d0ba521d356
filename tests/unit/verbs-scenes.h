/*
 * What a link has to do, over whatever fabric
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VERBS_SCENES_H
#define VERBS_SCENES_H

#include "tests/unit/verbs-pair.h"

typedef enum {
    VERBS_SCENE_EVENTS, /* both sides sleep */
    VERBS_SCENE_MIXED, /* one of them */
    VERBS_SCENE_SILENT, /* none */
} VerbsSceneMode;

/*
 * Adds each as a test below "@prefix/"; @set_up and @tear_down are called
 * around each, and @address is what both sides listen on.
 */
void verbs_scenes_add(const char *prefix, VerbsSceneMode mode,
                      const char *address, void (*set_up)(void),
                      void (*tear_down)(void));

#endif
