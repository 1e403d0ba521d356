/*
 * The command line of a member under test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_OPTIONS_H
#define CLUSTER_OPTIONS_H

#include "colo-net/apus/apus.h"

typedef struct {
    ApusConfig config; /* points into what follows */
    ApusMembers members;
    gboolean found; /* make the state directory, and begin */
    ApusId leader; /* of the founded group */
    gboolean joins; /* a group that exists */
    gboolean power_cut; /* what is not synced dies with the process */
    char *records; /* folder of the tapes */
    char *meet; /* of protect.h */
    char *load;
    char **strikes;
    char **past; /* folders of the tapes of earlier processes, oldest first */

    char *cluster, *directory, *listen, *durability, *transport;
    char *members_text;
    uint8_t *key;
} Options;

/* FALSE, with @errp set, when they make no sense. */
gboolean options_read(Options *options, int argc, char **argv, GError **errp);
void options_clear(Options *options);

/* ID:run:HOST:PORT or ID:witness:HOST:PORT. */
gboolean options_member(ApusMember *member, const char *text, GError **errp);

#endif
