/*
 * A small world for compare.h and echo.h: two guests, clients, a network
 *
 * Two replicas run a guest each. Both guests are given the same inputs from a
 * log, and say the same bytes, in other segments, with other sequence numbers,
 * at other times, and send some again. A leader's Compare lets out what
 * clients hear; what clients say gets into the log. Frames and notes get lost.
 * Syncs succeed, fail, or end without anyone knowing how; guests diverge; the
 * leader dies, and the secondary goes on with the same clients.
 *
 * What has to be true is asserted where it happens:
 *  - nothing is let out that not every possible successor has said;
 *  - a connection says nothing before it has said what is in front of it;
 *  - a guest is not given an acknowledgement of what it has not said;
 *  - clients get the bytes that the guest who goes on has said.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_COMPARE_WORLD_H
#define TESTS_COMPARE_WORLD_H

#include "colo-net/core/compare.h"
#include "colo-net/core/echo.h"

typedef struct CompareWorld CompareWorld;

typedef struct CompareWorldOptions {
    gboolean frames_lost; /* between leader and clients */
    gboolean notes_lost;
    gboolean syncs;
    gboolean failures; /* of syncs */
    gboolean divergence;
    gboolean takeovers;
} CompareWorldOptions;

CompareWorld *compare_world_new(const CompareWorldOptions *options);
void compare_world_free(CompareWorld *world);

/* Let something happen. */
void compare_world_step(CompareWorld *world);

/*
 * Let nothing new be asked for, and everything that was be done, without a
 * sync if that is possible; assert that it is where it should be.
 */
void compare_world_settle(CompareWorld *world);

/* How often things have happened: a test that sees none tests nothing. */
typedef struct CompareWorldStats {
    uint64_t bytes; /* that clients got */
    uint64_t syncs;
    uint64_t reverts;
    uint64_t takeovers;
    uint64_t diverged; /* noticed */
    uint64_t connections;
    uint64_t alone; /* of all Compares */
    uint64_t equal;
    uint64_t staged;
    uint64_t cut;
    uint64_t waits;
    uint64_t learned;
} CompareWorldStats;

void compare_world_stats(const CompareWorld *world, CompareWorldStats *stats);

#endif
