/*
 * The whole protocol: who leads, syncs, disks, outputs
 *
 * Three members: 0 leads and 1 is its secondary at first, 2 is a witness. Each
 * action is one step of one member, taken whenever its condition holds, so
 * slow, frozen and cut off members need no variables: they are the runs in
 * which a step is not taken. Election and replication are here only as far as
 * roles need them; apus.pml has all of it.
 *
 * A log is told by its newest ROLE, an entry in a table of all that were ever
 * made. A VM is the set of the units of work it has done; each is an input, a
 * page, a block on each of two disks, and an output. Two VMs may do them in any
 * order: they diverge until a sync makes them equal.
 *
 * What must hold (docs/internals/apus-model.rst):
 *
 *   LOST      no output is released whose state can be lost
 *   TOGETHER  memory and disks of a VM are of one epoch
 *   VOICE     there is one voice (not with LEASELESS, where nobody asks for the
 *             lease: nothing but this may depend on it)
 *
 * COMPARE is release=compare. With ALONE the leader begins without one.
 * Values that mean nothing any more are set to 0, so that states that differ in
 * nothing else are one. Every other -D that is not a bound leaves out the
 * rule that it begins with.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TERMS
#define TERMS 3
#endif
#ifndef ENTRIES
#define ENTRIES 4
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef UNITS
#define UNITS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef PARTINGS
#define PARTINGS 1 /* sessions that are given up though both sides live */
#endif
#ifndef REFUSALS
#define REFUSALS 1 /* syncs that the secondary refuses */
#endif

#define ALL ((1 << UNITS) - 1)
#define NOBODY 3
#define ROLE(l, li, s, si) (1 + (l) * 16 + (li) * 8 + (s) * 2 + (si))
#define LEADER(role) (((role) - 1) / 16)
#define LEADER_INC(role) (((role) - 1) / 8 % 2)
#define SECOND(role) (((role) - 1) / 2 % 4)
#define SECOND_INC(role) (((role) - 1) % 2)

#define FOLLOWS 0
#define ASKS 1
#define ELECTED 2
#define LEADS 3

/* All ROLE entries ever made, from 1 on. */
byte eterm[ENTRIES + 1], eindex[ENTRIES + 1], erole[ENTRIES + 1];
byte eacks[ENTRIES + 1]; /* who has it, a bit each */
byte entries;

/* Of a member; its disk keeps the first two. */
byte term[3], log[3];
bool up[3], inc[3];
byte state[3];
byte promised[3]; /* not to vote; to whom, + 1: its grant is in force */

/* Of a leader. */
bool done[3]; /* its newest entry is committed */
byte newest[TERMS + 1]; /* that entry */

/* Of a VM; one that is GONE has no state that could go on. */
bool vm[2];
byte mem[2];
byte disk[4]; /* vm * 2 + disk */
bool torn[2];
bool holds[2]; /* as leader: outputs wait for the other one */
bool bound[2]; /* a ROLE that names it may be in a log */
byte seals, staged; /* of the one that leads: newest epoch sealed, STAGED */
byte said[3]; /* unit: after which seal the leader's guest has said it */
byte spared; /* epochs that are known to have been refused, a bit each */

/* The session: who leads it, since which term; who still is in it. */
byte lead, since;
bool in_lead, in_second;
bool first; /* no sync of it is STAGED yet */
byte open; /* the epoch that the leader waits for, or 0 */
bool stands; /* the leader has stopped, and the secondary has not yet */
/* On the way, for each epoch: memory 1, disks 2 and 4, STAGED 8, REFUSED 16. */
byte fly[EPOCHS + 1];
byte snap[EPOCHS + 1]; /* the leader's VM at its stop */
byte told[EPOCHS + 1]; /* what the secondary has said in that epoch */

/* The secondary's stage. */
byte stage; /* epoch, or 0 */
byte parts; /* that are here */
byte sealed[2]; /* of each disk: not applied, and the leader's */
bool decided;
byte applied;
#ifdef R15_LOOKS_FIRST
bool looked;
#endif

byte released; /* units */
byte spoke; /* the newest term that has spoken */
byte deaths, restarts, partings, refusals;

hidden byte i, j, k;

#define OTHER(n) (1 - (n))
#define FIRST_OF(t) newest[t]
#define NAMES(e, n) (e && ((LEADER(erole[e]) == n && \
                            LEADER_INC(erole[e]) == inc[n]) || \
                           (SECOND(erole[e]) == n && \
                            SECOND_INC(erole[e]) == inc[n])))
#define BETTER(a, b) (eterm[log[a]] > eterm[log[b]] || \
                      (eterm[log[a]] == eterm[log[b]] && \
                       eindex[log[a]] > eindex[log[b]]))
#define LEASE(n) (promised[0] == n + 1 || promised[1] == n + 1 || \
                  promised[2] == n + 1)

/* --- roles ----------------------------------------------------------------- */

inline append(n, role) {
    entries++;
    eterm[entries] = term[n];
    eindex[entries] = eindex[log[n]] + 1;
    erole[entries] = role;
    eacks[entries] = 1 << n;
    log[n] = entries;
    newest[term[n]] = entries;
    done[n] = 0
}

inline check_vm(n) {
    assert(!torn[n]); /* TOGETHER */
    assert(disk[n * 2] == mem[n] && disk[n * 2 + 1] == mem[n]); /* TOGETHER */
}

inline forget_stage() {
    stage = 0;
    parts = 0;
    decided = 0;
#ifdef R15_LOOKS_FIRST
    looked = 0
#endif
}

/* In one step: memory, and what is sealed of each disk (R16). */
inline apply(n) {
    mem[n] = snap[stage];
    torn[n] = 0;
    disk[n * 2] = snap[applied] | sealed[0];
    disk[n * 2 + 1] = snap[applied] | sealed[1];
    sealed[0] = 0;
    sealed[1] = 0;
    applied = stage;
    forget_stage();
    check_vm(n)
}

inline drop() {
#ifdef R18_NO_MERGE
    sealed[0] = 0;
    sealed[1] = 0;
#endif
    forget_stage()
}

inline settle(n) {
    if
#ifdef R16_STAGE_DROPPED
    :: 0
#else
    :: decided -> apply(n)
#endif
    :: else -> drop()
    fi
}

/* Nothing of a session that is over says anything. */
inline clean() {
    if
    :: !in_lead && !in_second ->
        fly[0] = 0;
        fly[1] = 0;
        fly[EPOCHS] = 0;
        told[0] = 0;
        told[1] = 0;
        told[EPOCHS] = 0;
        snap[0] = 0;
        snap[1] = 0;
        snap[EPOCHS] = 0;
        sealed[0] = 0;
        sealed[1] = 0;
        applied = 0;
        since = 0;
        first = 0;
        spared = 0
    :: else
    fi
}

inline step_down(n) {
    state[n] = FOLLOWS;
    done[n] = 0
}

inline leave_lead(n) {
    holds[n] = 0;
    bound[n] = 0;
    if
    :: lead == n -> in_lead = 0; open = 0; stands = 0; clean()
    :: else
    fi
}

/* n sees a newer term. The session was of an older one. */
inline see_term(n, t) {
    if
    :: state[n] >= ELECTED && n < 2 -> leave_lead(n)
    :: else
    fi;
    step_down(n);
    term[n] = t
}

/* Its ROLE is committed: the new leader settles, and goes to work (R3). */
inline go_to_work(n) {
    state[n] = LEADS;
    if
    :: lead == OTHER(n) && (in_second || stage) ->
#ifdef R20_SEALED_APPLIED
        if
        :: !decided && stage ->
            disk[n * 2] = disk[n * 2] | sealed[0];
            disk[n * 2 + 1] = disk[n * 2 + 1] | sealed[1]
        :: else
        fi;
#endif
#ifdef R23_OLD_SESSION
        if
        :: decided -> apply(n)
        :: else
        fi
#else
        settle(n);
        in_second = 0;
        clean()
#endif
    :: else
    fi;
    holds[n] = 0;
    bound[n] = 0;
    check_vm(n);
    assert((mem[n] & released) == released) /* LOST */
}

inline win(c, v) {
    term[v] = term[c];
    if
    :: state[v] >= ELECTED && v < 2 -> leave_lead(v)
    :: else
    fi;
    step_down(v);
#ifdef R2_TESTED_FIRST
    k = NAMES(log[c], c);
#endif
#ifndef R2_NOT_ADOPTED
    if
    :: BETTER(v, c) -> log[c] = log[v]
    :: else
    fi;
#endif
#ifndef R2_TESTED_FIRST
    k = NAMES(log[c], c);
#endif
#ifdef R1_INCARNATION
    k = LEADER(erole[log[c]]) == c || SECOND(erole[log[c]]) == c;
#endif
    if
    :: k && entries < ENTRIES ->
        k = 0;
        assert(vm[c]); /* LOST: it has a VM that may go on */
        append(c, ROLE(c, inc[c], NOBODY, 0));
        state[c] = ELECTED;
#ifdef R3_EARLY
        go_to_work(c)
#endif
    :: else -> k = 0; step_down(c)
    fi
}

inline conclude(n) {
    done[n] = 1;
    eacks[newest[term[n]]] = 7;
    k = erole[newest[term[n]]];
    if
    :: state[n] == ELECTED -> go_to_work(n)
    :: else ->
        if
        :: SECOND(k) == NOBODY -> bound[n] = 0; holds[n] = 0
        :: else -> holds[n] = 1
        fi
    fi;
    k = 0
}

#define ASK(c) \
:: d_step { up[c] && state[c] < ELECTED && !promised[c] && \
            term[c] < TERMS -> \
    see_term(c, term[c] + 1); \
    state[c] = ASKS }

#define FREE(v) (!promised[v] && !(state[v] == LEADS && LEASE(v)))

#define WIN(c, v) \
:: d_step { up[c] && up[v] && state[c] == ASKS && term[v] < term[c] && \
            FREE(v) -> \
    win(c, v) }

/* The newest entry of term t. */
#define TAKE(f, t) \
:: d_step { newest[t] && up[f] && t >= term[f] && log[f] != newest[t] && \
            state[f] < ELECTED + 4 * (t > term[f]) -> \
    if \
    :: t > term[f] -> see_term(f, t) \
    :: else -> step_down(f) \
    fi; \
    log[f] = newest[t]; \
    eacks[newest[t]] = eacks[newest[t]] | (1 << f) }

#define LEARN(n, p) \
:: d_step { up[n] && up[p] && term[p] > term[n] -> see_term(n, term[p]) }

#define COMMIT(n) \
:: d_step { up[n] && state[n] >= ELECTED && !done[n] && \
            (eacks[newest[term[n]]] & (7 - (1 << n))) -> \
    conclude(n) }

/* Promise and grant end in one step: the one assumption about time (R9). */
#ifdef LEASELESS
#define BEAT(n, f)
#define EXPIRE(f)
#define MAY_SPEAK(n) 1
#else
#define BEAT(n, f) \
:: d_step { up[n] && up[f] && state[n] >= ELECTED && state[f] == FOLLOWS && \
            term[f] == term[n] && !promised[f] -> \
    promised[f] = n + 1 }
#define EXPIRE(f) \
:: d_step { promised[f] -> promised[f] = 0 }
#ifdef R9_UNASKED
#define MAY_SPEAK(n) 1
#else
#define MAY_SPEAK(n) LEASE(n)
#endif
#endif

/* --- the guest and its outputs ------------------------------------------------ */

inline work(n, u) {
    mem[n] = mem[n] | (1 << u);
    disk[n * 2] = disk[n * 2] | (1 << u);
    disk[n * 2 + 1] = disk[n * 2 + 1] | (1 << u);
    if
    :: state[n] == LEADS -> said[u] = (released & (1 << u) -> 0 : seals)
    :: else ->
        if
        :: in_second && lead == OTHER(n) ->
            told[applied] = told[applied] | (1 << u)
        :: else
        fi
    fi
}

/* A leader's stands between its stop and its copy, a secondary's from its own
 * stop until it has applied or dropped. */
#define RUNS(n) (up[n] && vm[n] && !(state[n] == LEADS && lead == n && \
                                     in_lead && stands) && \
                 !(in_second && lead == OTHER(n) && stage))

#define WORK(n, u) \
:: d_step { RUNS(n) && (state[n] == LEADS || COMPARES) && \
            !(mem[n] & (1 << u)) -> \
    work(n, u) }

#ifdef COMPARE
#define COMPARES 1
/* The sync point that counts for what was said after @s: one that was refused
 * was none. */
#ifdef R12_OLD_REPORT
#define SAME(u) ((told[said[u]] & (1 << u)) || \
                 (said[u] && (told[said[u] - 1] & (1 << u))))
#elif defined(R12_UNTAGGED)
#define SAME(u) ((told[0] | told[1] | told[EPOCHS]) & (1 << u))
#else
#define SAME(u) ((told[said[u]] & (1 << u)) || \
                 (said[u] && (spared & (1 << said[u])) && \
                  (told[said[u] - 1] & (1 << u))))
#endif
#else
#define COMPARES 0
#define SAME(u) 0
#endif

#define RELEASE(n, u) \
:: d_step { up[n] && state[n] == LEADS && (mem[n] & (1 << u)) && \
            !(released & (1 << u)) && MAY_SPEAK(n) && \
            (!holds[n] || said[u] < staged || \
             (lead == n && in_lead && !first && SAME(u))) -> \
    released = released | (1 << u); \
    said[u] = 0; \
    speak(n); \
    assert(!(state[OTHER(n)] == LEADS && term[OTHER(n)] > term[n]) || \
           (mem[OTHER(n)] & (1 << u))) /* LOST */ }

inline speak(n) {
#ifndef LEASELESS
    assert(spoke <= term[n]); /* VOICE */
#endif
    if
    :: spoke < term[n] -> spoke = term[n]
    :: else
    fi
}

/* --- the leader's side of a session ------------------------------------------- */

#define IN_LEAD(n) (up[n] && state[n] == LEADS && lead == n && in_lead)

/* Asked for, delivered, and the leader stops: its disks are sealed. */
#define STOP(n) \
:: d_step { IN_LEAD(n) && !open && seals < EPOCHS && \
            (!first || !bound[n]) -> \
    seals++; \
    open = seals; \
    snap[open] = mem[n]; \
    fly[open] = 6; \
    stands = 1; \
    HOLD(n) }
#ifdef R24_HELD_LATE
#define HOLD(n) skip
#else
#define HOLD(n) holds[n] = 1
#endif

/* The secondary has stopped, too, and said so; the leader goes on (R14). */
#define GO_ON(n) \
:: d_step { IN_LEAD(n) && open && stands && in_second && up[OTHER(n)] && \
            !stage -> \
    stands = 0; \
    stage = open; \
    parts = 6 & (255 - fly[open]); /* what is here already */ \
    fly[open] = fly[open] | 1; \
    COPY_LATE(n) }
#ifdef R14_COPY_LATE
#define COPY_LATE(n) snap[open] = mem[n] | ALL
#else
#define COPY_LATE(n) skip
#endif

/* Output commit, and a ROLE after the first one (R24). */
#define STAGED(n, e) \
:: d_step { IN_LEAD(n) && since == term[n] && (fly[e] & 8) -> \
    fly[0] = 0; fly[e - 1] = 0; fly[e] = 0; \
    told[0] = 0; told[e - 1] = 0; \
    staged = e; \
    open = (open == e -> 0 : open); \
    SEALS_IGNORED(n); \
    first = 0 }
#ifdef R12_SEAL_IGNORED
#define SEALS_IGNORED(n) said[0] = 0; said[1] = 0; said[2] = 0
#else
#define SEALS_IGNORED(n) skip
#endif

#define REFUSED(n, e) \
:: d_step { IN_LEAD(n) && since == term[n] && (fly[e] & 16) -> \
    fly[e] = fly[e] & 15; \
    spared = spared | (1 << e); \
    open = (open == e -> 0 : open); \
    stands = 0 }

#ifdef R24_ROLE_EARLY
#define SYNCED 1
#else
#define SYNCED (!first)
#endif
#define NAME(n) \
:: d_step { IN_LEAD(n) && done[n] && SYNCED && !bound[n] && \
            entries < ENTRIES -> \
    bound[n] = 1; \
    append(n, ROLE(n, inc[n], OTHER(n), inc[OTHER(n)])) }

/* It is given up; if no ROLE was submitted the leader is alone as before. */
#define GIVE_UP(n) \
:: d_step { IN_LEAD(n) && (!in_second || !up[OTHER(n)] || \
                           partings < PARTINGS) -> \
    if \
    :: in_second && up[OTHER(n)] -> partings++ \
    :: else \
    fi; \
    in_lead = 0; \
    open = 0; \
    stands = 0; \
    if \
    :: !bound[n] -> holds[n] = 0 \
    :: else \
    fi; \
    clean() }

#define GO_ALONE(n) \
:: d_step { up[n] && state[n] == LEADS && bound[n] && done[n] && \
            !(lead == n && in_lead) && entries < ENTRIES && \
            SECOND(erole[newest[term[n]]]) != NOBODY -> \
    append(n, ROLE(n, inc[n], NOBODY, 0)); \
    NONE_EARLY(n) }
#ifdef R12_NONE_EARLY
#define NONE_EARLY(n) holds[n] = 0
#else
#define NONE_EARLY(n) skip
#endif

/* Migration: the other one's VM is the same; it is not named yet. */
#define PROTECT(n) \
:: d_step { up[n] && state[n] == LEADS && done[n] && !bound[n] && \
            !(lead == n && in_lead) && up[OTHER(n)] && \
            !(in_second && lead == n) && state[OTHER(n)] == FOLLOWS && \
            term[OTHER(n)] == term[n] && seals < EPOCHS -> \
    lead = n; \
    since = term[n]; \
    in_lead = 1; \
    in_second = 1; \
    first = 1; \
    open = 0; \
    stands = 0; \
    forget_stage(); \
    vm[OTHER(n)] = 1; \
    mem[OTHER(n)] = mem[n]; \
    torn[OTHER(n)] = 0; \
    disk[OTHER(n) * 2] = mem[n]; \
    disk[OTHER(n) * 2 + 1] = mem[n]; \
    applied = seals; \
    snap[seals] = mem[n]; \
    sealed[0] = 0; \
    sealed[1] = 0 }

/* --- the secondary's side -------------------------------------------------------- */

#define IN_SECOND(n) (up[n] && lead == OTHER(n) && in_second)
#ifdef R23_OLD_SESSION
#define CURRENT(n) 1
#define FOLLOWING(n) 1
#else
#define CURRENT(n) (state[n] == FOLLOWS && term[n] == since)
#define FOLLOWING(n) (state[n] < ELECTED)
#endif

/* Disks have what was written since the seal before. What is decided is applied
 * before the next seal is taken (R18). */
#ifdef R18_NEXT_COMMIT
#define DISK_WAITS(e) 0
#else
#define DISK_WAITS(e) (decided && stage < e)
#endif
#define DISK(n, e, d) \
:: d_step { IN_SECOND(n) && FOLLOWING(n) && !DISK_WAITS(e) && \
            (fly[e] & (2 << d)) && (e == 1 || !(fly[e - 1] & (2 << d))) -> \
    fly[e] = fly[e] & (31 - (2 << d)); \
    sealed[d] = sealed[d] | (snap[e] & (255 - snap[e - 1])); \
    parts = (stage == e -> parts | (2 << d) : parts) }

#define MEMORY(n, e) \
:: d_step { IN_SECOND(n) && stage == e && (fly[e] & 1) -> \
    fly[e] = fly[e] & 30; \
    parts = parts | 1; \
    IN_PARTS(n) }
#ifdef R16_IN_PARTS
#define IN_PARTS(n) torn[n] = 1
#else
#define IN_PARTS(n) skip
#endif

#ifdef R22_DISK_ALONE
#define ENOUGH ((parts & 3) == 3)
#elif defined(R15_MEMORY_ALONE)
#define ENOUGH (parts & 1)
#else
#define ENOUGH (parts == 7)
#endif

/* The point of no return (R15). */
#ifdef R15_LOOKS_FIRST
#define DECIDE(n) \
:: d_step { IN_SECOND(n) && stage && ENOUGH && !looked && !decided && \
            CURRENT(n) -> looked = 1 } \
:: d_step { IN_SECOND(n) && looked && !decided -> \
    decided = (state[n] < ELECTED); \
    fly[stage] = fly[stage] | 8; looked = 0 } \
:: d_step { up[n] && lead == OTHER(n) && looked && state[n] >= ELECTED -> \
    skip }
#elif defined(R15_STANDING)
#define DECIDE(n) \
:: d_step { IN_SECOND(n) && stage && ENOUGH && !decided && \
            state[n] < ELECTED && !(fly[stage] & 8) -> \
    decided = CURRENT(n); \
    fly[stage] = fly[stage] | 8 }
#else
#define DECIDE(n) \
:: d_step { IN_SECOND(n) && stage && ENOUGH && !decided && CURRENT(n) -> \
    decided = 1; \
    fly[stage] = fly[stage] | 8 }
#endif

#define APPLY(n) \
:: d_step { IN_SECOND(n) && decided && (FOLLOWING(n) || state[n] < LEADS) -> \
    apply(n) }

#define REFUSE(n) \
:: d_step { IN_SECOND(n) && stage && !decided && parts == 7 && \
            refusals < REFUSALS && state[n] < ELECTED -> \
    refusals++; \
    fly[stage] = fly[stage] | 16; \
    drop() }

/* The session ends here; nobody has said who goes on. Before the first sync
 * nobody can have named it. */
#define LEAVE(n) \
:: d_step { IN_SECOND(n) && state[n] < ELECTED && \
            (!in_lead || !up[OTHER(n)]) -> \
    if \
    :: first && !decided -> vm[n] = EARLY_VM \
    :: else \
    fi; \
    settle(n); \
    in_second = 0; \
    clean() }
#ifdef R24_ROLE_EARLY
#define EARLY_VM 1
#else
#define EARLY_VM 0
#endif

/* --- deaths ------------------------------------------------------------------------ */

inline die(n) {
    deaths++;
    up[n] = 0;
    step_down(n);
    if
    :: n < 2 ->
        vm[n] = 0;
        mem[n] = 0;
        torn[n] = 0;
        disk[n * 2] = 0;
        disk[n * 2 + 1] = 0;
        leave_lead(n);
        if
        :: lead != n -> in_second = 0; forget_stage(); clean()
        :: else
        fi
    :: else
    fi;
    if
    :: restarts == RESTARTS -> term[n] = 0; log[n] = 0
    :: else
    fi
}

#define DIE(n) \
:: d_step { up[n] && deaths < DEATHS -> die(n) }
#define RESTART(n) \
:: d_step { !up[n] && restarts < RESTARTS && !inc[n] -> \
    restarts++; up[n] = 1; inc[n] = 1 }

#if TERMS > 2
#define TERMS_OF(n) TAKE(n, 1) TAKE(n, 2) TAKE(n, 3)
#else
#define TERMS_OF(n) TAKE(n, 1) TAKE(n, 2)
#endif
#define EACH(n) \
    TERMS_OF(n) EXPIRE(n) DIE(n) RESTART(n)
#if EPOCHS > 1
#define EPOCHS_OF(n, what) what(n, 1) what(n, 2)
#define DISKS_OF(n) DISK(n, 1, 0) DISK(n, 1, 1) DISK(n, 2, 0) DISK(n, 2, 1)
#else
#define EPOCHS_OF(n, what) what(n, 1)
#define DISKS_OF(n) DISK(n, 1, 0) DISK(n, 1, 1)
#endif
#if UNITS > 2
#define UNITS_OF(n, what) what(n, 0) what(n, 1) what(n, 2)
#elif UNITS > 1
#define UNITS_OF(n, what) what(n, 0) what(n, 1)
#else
#define UNITS_OF(n, what) what(n, 0)
#endif
#define EACH_RUNNER(n) \
    LEARN(n, OTHER(n)) LEARN(n, 2) \
    ASK(n) WIN(n, OTHER(n)) WIN(n, 2) COMMIT(n) \
    BEAT(n, OTHER(n)) BEAT(n, 2) \
    UNITS_OF(n, WORK) UNITS_OF(n, RELEASE) \
    STOP(n) GO_ON(n) EPOCHS_OF(n, STAGED) EPOCHS_OF(n, REFUSED) \
    NAME(n) GIVE_UP(n) GO_ALONE(n) PROTECT(n) \
    DISKS_OF(n) EPOCHS_OF(n, MEMORY) DECIDE(n) APPLY(n) REFUSE(n) LEAVE(n)

active proctype group() {
    d_step {
        entries = 1;
        eterm[1] = 1;
        eindex[1] = 1;
#ifdef ALONE
        erole[1] = ROLE(0, 0, NOBODY, 0);
#else
        erole[1] = ROLE(0, 0, 1, 0);
#endif
        eacks[1] = 7;
        newest[1] = 1;
        i = 0;
        do
        :: i < 3 -> up[i] = 1; term[i] = 1; log[i] = 1; i++
        :: else -> break
        od;
        i = 0;
        vm[0] = 1;
        state[0] = LEADS;
        done[0] = 1;
#ifndef ALONE
        vm[1] = 1;
        holds[0] = 1;
        bound[0] = 1;
        lead = 0;
        since = 1;
        in_lead = 1;
        in_second = 1
#endif
    }
    do
    EACH(0)
    EACH(1)
    EACH(2)
    EACH_RUNNER(0)
    EACH_RUNNER(1)
    od
}
