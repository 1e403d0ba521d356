/*
 * Reports of three nodes: "a" leads, "b" is secondary, "c" votes
 *
 * All is well with them, and then a test changes something.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TRIO_H
#define COLONY_TRIO_H

#include "qemu/colony/report.h"

typedef struct ColonyTrio {
    ColonyConfig *config;
    JsonObject *reports[3];
    const char *errors[3];
} ColonyTrio;

/* @policy: lines of [policy], may be "" */
void colony_trio_init(ColonyTrio *trio, const char *policy);
/*
 * The file is @directory/web.conf, the nodes' directories are in it, and their
 * hosts are this one.
 */
void colony_trio_init_in(ColonyTrio *trio, const char *directory);
void colony_trio_clear(ColonyTrio *trio);

/*
 * Sets what is at @path in @node's report, such as "apus.members.2.dead", to
 * @json; NULL: takes it away. With @path "" the report itself: the node does
 * not answer then, and @json is why.
 */
void colony_trio_set(ColonyTrio *trio, char node, const char *path,
                     const char *json);

ColonyStatus *colony_trio_status(ColonyTrio *trio);

#endif
