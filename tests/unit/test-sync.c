/*
 * Syncs between a leader and a secondary, over a connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/sync-scenes.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (const SyncScene *scene = sync_scenes; scene->name; scene++) {
        g_autofree char *path = g_strdup_printf("/plover/sync/%s",
                                                scene->name);

        g_test_add_func(path, scene->play);
    }
    return g_test_run();
}
