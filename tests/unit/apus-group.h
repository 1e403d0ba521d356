/*
 * A group of real members in one process, on loopback, in folders of their own
 *
 * What handlers say is noted under one lock; tests wait for it with a
 * deadline.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_GROUP_H
#define APUS_GROUP_H

#include <pthread.h>

#include "colo-net/apus/apus.h"

#define GROUP_MAX 5

typedef struct Group Group;

typedef struct {
    Group *group;
    ApusId id; /* its place + 1 */
    Apus *apus; /* or NULL: it does not run */
    ApusConfig config;
    /* Under the group's lock */
    ApusStatus status; /* as changed() said last */
    GByteArray *delivered; /* payloads of INPUT entries */
    GByteArray *told; /* notes */
    uint64_t term; /* as term_rises() has said */
    uint64_t last; /* index of the newest entry that was delivered */
    GError *failure;
    ApusEntryKind pause_at; /* deliver() pauses there; 0: nowhere */
    void (*also)(void *opaque, Apus *apus, const ApusStatus *status);
    void *also_opaque; /* called by changed(), without the lock */
} GroupMember;

struct Group {
    char *directory;
    unsigned count;
    ApusMembers members;
    GroupMember member[GROUP_MAX];
    pthread_mutex_t lock; /* not GLib's: TSan does not see those */
    pthread_cond_t cond; /* something was noted */
};

/*
 * @count members; the first two can run the VM, and deliver. Founded, not
 * started. A test may change member[].config before it starts one.
 */
void group_up(Group *group, unsigned count);
void group_down(Group *group);

void group_start(Group *group, ApusId id);
void group_start_all(Group *group);
void group_stop(Group *group, ApusId id);

/* Wait, under the lock, until something is noted; fails after a while. */
void group_wait(Group *group, time_t deadline);
time_t group_deadline(void);

/* As @id said last, under the lock: is it connected with @peer? */
gboolean group_connected(Group *group, ApusId id, ApusId peer);

/* Wait until one of the members that run leads and accepts; who. */
ApusId group_wait_leader(Group *group);
/* Until @secondary is named by a committed ROLE, as @leader sees it. */
void group_protect(Group *group, ApusId leader, ApusId secondary);
/* Until member @id has delivered at least @bytes of INPUT. */
void group_wait_delivered(Group *group, ApusId id, size_t bytes);

/* For fates: counts them, under the group's lock. */
typedef struct {
    Group *group;
    unsigned committed, unknown;
    uint64_t last; /* index */
} Fates;

ApusDone fates_done;
/* Wait for @count fates in all. */
void fates_wait(Fates *fates, unsigned count);

#endif
