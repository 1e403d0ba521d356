/*
 * Rules that can be broken, to show that the simulator notices
 *
 * Built with APUS_MUTATIONS, as only the simulator is, the core leaves out the
 * rule that apus_mutation names; else APUS_BROKEN() is false and costs nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_MUTATION_H
#define APUS_MUTATION_H

/* name, what is left out */
#define APUS_MUTATION_LIST(X) \
    X(VOTE_UNSAVED, "a vote is given before it is safe"), \
    X(TERM_UNSAVED, "an entry is acknowledged before the term is safe"), \
    X(ROLE_UNSAVED, "a ROLE is acknowledged before it is safe (R4)"), \
    X(APPEND_UNSAVED, "an entry is acknowledged before it is on disk"), \
    X(ELIGIBLE_FIRST, "eligibility is tested before the log is adopted"), \
    X(NO_ADOPTION, "the best log among the voters is not adopted"), \
    X(EACH_VOTER, "each voter's log is required to be no better"), \
    X(COMMIT_UNSAFE, "a follower commits what is not safe yet"), \
    X(COMMIT_BY_TWO, "a follower takes itself and the leader for a majority"), \
    X(OLD_TERM_COMMIT, "entries of older terms are counted"), \
    X(OFFSET_COMPARED, "places in the ring are compared, not indices"), \
    X(AMNESIAC_VOTES, "an amnesiac votes"), \
    X(OWN_TERM_ADOPTED, "a candidate adopts entries of its own term"), \
    X(AMNESIAC_ACKS, "an amnesiac's acknowledgement counts"), \
    X(AMNESIAC_ECHOES, "an amnesiac's answer counts for the lease"), \
    X(BLANK_UNCONFIRMED, "a leader of the past cures who has lost its disk"), \
    X(LIFE_IGNORED, "what was sent to an earlier life is accepted"), \
    X(INCARNATION_IGNORED, "a role names members, not incarnations"), \
    X(WITNESS_LEADS, "whoever asks may lead"), \
    X(LEASE_FROM_ANSWER, "the lease counts from the answer's arrival"), \
    X(LEASE_UNPROMISED, "a granter votes before its promise has run out"), \
    X(NO_QUARANTINE, "a member votes right after its start"), \
    X(SPEAKS_EARLY, "a leader acts before its ROLE is committed (R3)"), \
    X(CUT_MATCHING, "entries that match are cut off before they come again"), \
    X(NO_PREV_CHECK, "entries are taken without the one before them"), \
    X(TRIM_EARLY, "the log is trimmed beyond what the secondary has"), \
    X(BARRIER_IGNORED, "entries behind a SYNC are delivered at once (R11)"), \
    X(TWO_CHANGES, "a change of members does not wait for the last one"), \
    X(OLD_MEMBERS_ELECT, "votes are not counted by the adopted members"), \
    X(STUCK_LEADS, "a leader whose main loop is stuck goes on (R8)"), \
    X(FATE_EARLY, "a submission is said to be committed before it is (R10)")

typedef enum {
    APUS_MUTATION_NONE,
#define APUS_MUTATION_ENUM(name, text) APUS_MUTATION_##name
    APUS_MUTATION_LIST(APUS_MUTATION_ENUM),
#undef APUS_MUTATION_ENUM
    APUS_MUTATIONS_END,
} ApusMutation;

#ifdef APUS_MUTATIONS
extern ApusMutation apus_mutation;
#define APUS_BROKEN(name) (apus_mutation == APUS_MUTATION_##name)
#else
#define APUS_BROKEN(name) 0
#endif

#endif
