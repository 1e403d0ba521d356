/*
 * APUS: the words that all parts of the library share
 *
 * Nothing here keeps state; the structures are plain values, copied by
 * assignment. Times are nanoseconds on the clock that the caller passes in,
 * which must count while the host sleeps (CLOCK_BOOTTIME).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_TYPES_H
#define APUS_TYPES_H

#include <glib.h>
#include <stdint.h>

#include "record.h"

/* A member's number within its group: from 1, chosen by the operator. */
typedef uint16_t ApusId;
#define APUS_NOBODY 0

/*
 * Three or five members; one more while one is replaced. Arrays of members
 * have this size.
 */
#define APUS_MAX_MEMBERS 6

/* HOST:PORT or [IPv6]:PORT, with its terminating 0. */
#define APUS_MAX_ADDRESS 128

typedef struct {
    ApusId id;
    /*
     * Can run the VM, and so be named leader or secondary; else it is a
     * witness, which votes and never leads.
     */
    gboolean can_run;
    char address[APUS_MAX_ADDRESS];
} ApusMember;

/* Who belongs to the group. Ids differ, and so do addresses. */
typedef struct {
    unsigned count;
    ApusMember member[APUS_MAX_MEMBERS];
    /* This one goes as soon as the list is committed; or APUS_NOBODY. */
    ApusId leaving;
} ApusMembers;

/*
 * Who may lead: the leader, and after it the secondary, each only as the
 * incarnation that is named (R1). An incarnation is a random number that
 * belongs to what a member runs, the VM: what was started anew has another
 * one. 0 stands for any, and occurs only in the role that a group is founded
 * with, and where there is no secondary.
 */
typedef struct {
    ApusId leader;
    ApusId secondary; /* or APUS_NOBODY: unprotected */
    uint64_t leader_incarnation;
    uint64_t secondary_incarnation;
    gboolean stopped; /* the VM was switched off: nobody may lead */
} ApusRole;

/* The time between two sync points; never reused. */
typedef struct {
    uint64_t term;
    uint64_t number;
} ApusEpoch;

/* A sync point, the payload of a SYNC entry. */
typedef struct {
    ApusEpoch epoch;
    ApusEpoch base; /* what the secondary last applied */
} ApusSync;

/*
 * What a log says up to and with an entry, in place of the entries: those that
 * were trimmed, or, where only the newest of everything is of interest, all.
 */
typedef struct {
    uint64_t index; /* of the last entry that it stands for; 0: of none */
    uint64_t term; /* of that entry */
    uint64_t position; /* in bytes, where the next entry begins: see log.h */
    ApusRole role;
    ApusMembers members;
    ApusEpoch epoch; /* of the newest SYNC */
} ApusSnapshot;

/*
 * What has to survive the death of the process (R4): saved as a whole, and
 * before anything that follows from it is said to others.
 */
typedef struct {
    uint64_t generation; /* raised by apus_core_force() only */
    uint64_t term; /* the newest one seen */
    ApusId vote; /* for whom in that term, or APUS_NOBODY */
    /* The log does not hold all that this member has acknowledged. */
    gboolean amnesiac;
    /*
     * It does not know what it has voted for, either: a member that joins, or
     * has lost its disk. Only a leader that is confirmed can cure it.
     */
    gboolean blank;
    ApusSnapshot base; /* stands for the entries that the log no longer has */
    ApusSnapshot newest; /* the newest ROLE and MEMBER, committed or not */
} ApusHardState;

typedef enum {
    APUS_DURABILITY_MEMORY, /* INPUT and SYNC entries are in memory only */
    APUS_DURABILITY_DISK, /* every entry is on disk before it counts */
} ApusDurability;

/* Is @id in @members? Its place there, or -1. */
int apus_members_find(const ApusMembers *members, ApusId id);

/* How many of @members are a majority. */
unsigned apus_members_majority(const ApusMembers *members);

typedef enum {
    APUS_ERROR_MEMBERS, /* a list of members that cannot be */
    APUS_ERROR_ROLE, /* a role that cannot be */
    APUS_ERROR_NOT_LEADER, /* only the leader can do that */
    APUS_ERROR_BUSY, /* one such thing is under way already */
    APUS_ERROR_FULL, /* the log, or a queue, is full: try again later */
    APUS_ERROR_TOO_LONG, /* a payload of more than APUS_RECORD_MAX_PAYLOAD */
    APUS_ERROR_CORRUPT, /* bytes that no version of this library wrote */
    APUS_ERROR_VERSION, /* written by another version */
    APUS_ERROR_FOREIGN, /* another group's, or another member's */
    APUS_ERROR_MISSING, /* there is no state to start from */
    APUS_ERROR_IN_USE, /* by another process */
    APUS_ERROR_IO, /* the system refused */
    APUS_ERROR_CONFIG, /* a setting that cannot be */
    APUS_ERROR_STOPPED, /* the member is stopping, or has failed */
    APUS_ERROR_MAJORITY, /* the group can decide by itself */
    APUS_ERROR_SUPERSEDED, /* by a new generation, without this member */
} ApusError;

#define APUS_ERROR (apus_error_quark())
GQuark apus_error_quark(void);

/* Set @errp; always FALSE, for whoever returns that. */
gboolean apus_refuse(GError **errp, ApusError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/*
 * Can a group consist of @members? Refused are none or too many, an id of 0 or
 * one that occurs twice, an address that is empty, does not end, occurs twice
 * or has other than visible ASCII characters, nobody who can run the VM, and a
 * @leaving that is not a member.
 */
gboolean apus_members_check(const ApusMembers *members, GError **errp);

/*
 * Can @members fill @role? Whoever is named has to be able to run the VM; a
 * leader has to be named, and is not the secondary as well.
 */
gboolean apus_role_check(const ApusRole *role, const ApusMembers *members,
                         GError **errp);

#define APUS_CLUSTER_MAX 63 /* characters of a cluster's name */

/* May a cluster have that name? APUS_ERROR_CONFIG if not. */
gboolean apus_cluster_check(const char *name, GError **errp);

#endif
