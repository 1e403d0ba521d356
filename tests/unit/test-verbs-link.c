/*
 * Links between two hosts over the fake fabric: what they have to do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/fake-verbs.h"
#include "tests/unit/verbs-scenes.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    verbs_scenes_add("/verbs/link/events", VERBS_SCENE_EVENTS, "127.0.0.1",
                     fake_verbs_begin, fake_verbs_end);
    verbs_scenes_add("/verbs/link/mixed", VERBS_SCENE_MIXED, "127.0.0.1",
                     fake_verbs_begin, fake_verbs_end);
    verbs_scenes_add("/verbs/link/silent", VERBS_SCENE_SILENT, "127.0.0.1",
                     fake_verbs_begin, fake_verbs_end);
    return g_test_run();
}
