/*
 * Links between two hosts of this process over a real device: what they have
 * to do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/verbs-scenes.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    verbs_scenes_add("/verbs/events", VERBS_SCENE_EVENTS, "10.0.0.1", NULL,
                     NULL);
    verbs_scenes_add("/verbs/soak/silent", VERBS_SCENE_SILENT, "10.0.0.1",
                     NULL, NULL);
    return g_test_run();
}
