/*
 * Rules of what stands above the core that can be broken
 *
 * The core leaves out its own rules (core/mutation.h); these are left out by
 * the replicas that the simulator puts on top of it: guard, sync, disks,
 * sessions. Each has the name of the rule that it leaves out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_RULES_H
#define SIM_RULES_H

/* name, what is left out */
#define SIM_RULE_LIST(X) \
    X(R4_NOT_FENCED, "a leader of the past still writes into a voter's log"), \
    X(R5_TORN_TAKEN, "a record that was written in part is taken"), \
    X(R9_LEASE_UNASKED, "an output leaves without a look at the lease"), \
    X(R11_PENDING_KEPT, "frames not consumed are not part of the state"), \
    X(R12_SEAL_IGNORED, "STAGED releases what was said after the stop, too"), \
    X(R12_EPOCH_UNTAGGED, "reports are compared across epochs"), \
    X(R12_OLD_REPORT, "reports of before an open sync release what follows"), \
    X(R12_NONE_EARLY, "ROLE(none) frees outputs before it is committed"), \
    X(R13_BARRIER_AHEAD, "the leader stops before it has reached the SYNC"), \
    X(R13_BASE_ASSUMED, "the leader believes that each sync was applied"), \
    X(R14_MAP_FORGOTTEN, "a secondary forgets its map when a sync fails"), \
    X(R14_OWN_PAGES, "the secondary's pages are not part of the union"), \
    X(R14_COPY_LATE, "the leader resumes before it has copied the union"), \
    X(R15_STAGED_EARLY, "STAGED is sent before the disks are sealed"), \
    X(R15_STANDING, "a candidate decides, and drops the stage if elected"), \
    X(R16_IN_PARTS, "pages are written as they come"), \
    X(R16_OUTPUTS_KEPT, "the secondary keeps its outputs when it applies"), \
    X(R16_STAGE_DROPPED, "who takes over drops a stage that was decided"), \
    X(R17_LATE_STAGED, "STAGED of an earlier sync counts for this one"), \
    X(R18_NO_MERGE, "what was sealed goes when a sync fails"), \
    X(R18_NO_SEAL, "an apply takes what was written after the stop, too"), \
    X(R18_NEXT_COMMIT, "the next COMMIT is taken before this one is applied"), \
    X(R19_WHILE_SEALED, "blocks are committed early, an epoch is sealed"), \
    X(R20_SEALED_APPLIED, "a takeover applies disks that were only sealed"), \
    X(R21_NO_INTENT, "a resync leaves out what a dead leader wrote last"), \
    X(R22_DISK_ALONE, "one disk of two is enough"), \
    X(R23_OLD_SESSION, "a new leader still takes its old leader's syncs"), \
    X(R24_ROLE_EARLY, "a secondary is named before its first STAGED"), \
    X(R24_HELD_LATE, "outputs are held only when the ROLE is committed"), \
    X(R24_REPLICATED_LATE, "writes are replicated once blocks are copied")

typedef enum {
    SIM_RULE_NONE,
#define SIM_RULE_ENUM(name, text) SIM_RULE_##name
    SIM_RULE_LIST(SIM_RULE_ENUM),
#undef SIM_RULE_ENUM
    SIM_RULES_END,
} SimRule;

/* The one that is broken; set before a simulation. */
extern SimRule sim_rule;
#define SIM_BROKEN(name) (sim_rule == SIM_RULE_##name)

#endif
