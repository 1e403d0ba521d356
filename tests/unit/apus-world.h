/*
 * A world in which messages arrive and disks write: three members' cores, and
 * a clock that is turned by hand
 *
 * What has to hold when that is not so is the simulator's matter.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_WORLD_H
#define APUS_WORLD_H

#include "colo-net/apus/core/core.h"

#define WORLD_MS 1000000ull
#define WORLD_MEMBERS 3
#define WORLD_RING 65536

typedef struct World World;

typedef struct {
    World *world;
    ApusId id;
    uint64_t life;
    ApusCore *core;
    gboolean dead, silent, deaf;
    gboolean pauses; /* after each INPUT that is delivered to it */
    uint64_t ticket;
    ApusHardState saved;
    uint64_t term; /* as term_rises() has said */
    GString *delivered; /* payloads of INPUTs, one after another */
    GString *told; /* notes, one after another */
    unsigned committed, unknown, skipped, barriers;
    unsigned sent[WORLD_MEMBERS + 1]; /* messages, by id of the receiver */
    ApusStatus status;
} WorldMember;

struct World {
    uint64_t now;
    WorldMember member[WORLD_MEMBERS + 1]; /* by id, from 1 */
    GQueue mail; /* GByteArray */
    gboolean idle[WORLD_MEMBERS + 1]; /* set before: does not deliver */
};

/*
 * 1 and 2 can run the VM, and 1 is to lead first. @world is 0 but for what is
 * set before.
 */
void apus_world_new(World *world);
void apus_world_free(World *world);

/* A member, as a process of life and incarnation @life. */
void apus_world_start(World *world, ApusId id, uint64_t life,
                 const ApusHardState *state);
void apus_world_forget(World *world, ApusId id); /* before another start */

/* Let @time go by, in steps of a tenth of a millisecond. */
void apus_world_run(World *world, uint64_t time);

/* Have @text ordered as an INPUT. */
gboolean apus_world_submit(World *world, ApusId id, const char *text,
                      GError **errp);
void apus_world_protect(World *world, ApusId leader, ApusId secondary);
/* It is dead, and that is known. */
void apus_world_kill(World *world, ApusId id);
ApusState apus_world_state(World *world, ApusId id);

#endif
