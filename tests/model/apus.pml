/*
 * Elections, replication, restricted leadership, lease and restarts
 *
 * Three members: 0 leads and 1 is its secondary at first, 2 is a witness. Each
 * action is one step of one member, taken whenever its condition holds, so
 * slow members, frozen ones and cut links need no variables: they are the runs
 * in which a step is not taken. docs/internals/apus-model.rst says what is
 * covered, with which bounds, and why the following leaves nothing out:
 *
 *   An APPEND is not kept anywhere. A leader's log only grows in its term, so
 *   any part of what it has held, `glog`, may arrive anywhere and at any time:
 *   late, again, out of order, after its sender is dead.
 *   A vote that was given is received when its candidate goes on with it, an
 *   acknowledgement when the leader commits; both may be never.
 *
 * DISK is durability disk, else memory. LIVE looks for runs that get stuck. A
 * -D that names a rule of colo-net/apus/core/mutation.h breaks this rule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* Bounds: of terms, entries in the log, deaths, restarts, INPUT entries, ROLE
 * entries with a secondary and without. */
#ifndef TERMS
#define TERMS 3
#endif
#ifndef ENTRIES
#define ENTRIES 4
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef INPUTS
#define INPUTS 1
#endif
#ifndef PAIRINGS
#define PAIRINGS 0
#endif
#ifndef PARTINGS
#define PARTINGS 1
#endif

#ifdef LOSSES /* restarts without a disk, too; not with DISK */
bool blank[3];
byte sure[3]; /* the term whose leader was confirmed to the blank one */
byte losses;
#define SURE(n, t) (!blank[n] || sure[n] == t)
#else
#define SURE(n, t) 1
#endif

#define NOBODY 3
#define GONE 4 /* given, but the message was lost with the voter's life */

/* An entry is its term and, if it is a ROLE, who it names: leader and
 * secondary with their incarnations. */
#define ENTRY(t, role) ((t) * 50 + (role))
#define TERM(entry) ((entry) / 50)
#define KIND(entry) ((entry) % 50)
#define INPUT 0
#define ROLE(l, li, s, si) (1 + (l) * 16 + (li) * 8 + (s) * 2 + (si))
#define LEADER(role) (((role) - 1) / 16)
#define LEADER_INC(role) (((role) - 1) / 8 % 2)
#define SECOND(role) (((role) - 1) / 2 % 4)
#define SECOND_INC(role) (((role) - 1) % 2)

#define FOLLOWS 0
#define ASKS 1
#define ELECTED 2
#define LEADS 3

/* Of a member; what its disk keeps first. */
byte term[3], vote[3];
byte log[3 * ENTRIES], last[3], role[3]; /* role: the newest in the log */
bool amnesiac[3];
byte inc[3];
bool up[3];
byte state[3];
byte goal[3]; /* an amnesiac has to match the leader's log up to here */
bool promised[3]; /* not to vote */
#ifdef DISK
byte safe[3]; /* the log is on disk up to here; lags behind in leaders only */
#define SAFE(n) safe[n]
#else
#define SAFE(n) last[n]
#endif
#ifdef VOTE_UNSAVED
byte safe_term[3];
#endif

/* Of a leader. */
byte commit[3];
byte match[9]; /* leader * 3 + follower */
byte grants[3]; /* a bit for each follower whose promise counts */
#ifdef LEASE_FROM_ANSWER
byte answers[3]; /* to beats, on their way */
#endif

/* What was ever said, and what must remain true of it. */
byte leads[TERMS + 1]; /* who leads this term, + 1 */
byte glog[(TERMS + 1) * ENTRIES], glast[TERMS + 1];
byte committed[ENTRIES], ncommitted;
byte acted; /* a bit for each term whose leader went to work */
byte spoke; /* the newest term whose leader could speak */
bool vm[3]; /* this member's VM is one that may go on */

byte deaths, restarts, inputs, pairings, partings;

/* Only used within a step. */
hidden byte i, j, k, q;

#ifdef INCARNATION_IGNORED
#define NAMES(r, n) (r && (LEADER(r) == n || SECOND(r) == n))
#elif defined(WITNESS_LEADS)
#define NAMES(r, n) 1
#else
#define NAMES(r, n) (r && ((LEADER(r) == n && LEADER_INC(r) == inc[n]) || \
                           (SECOND(r) == n && SECOND_INC(r) == inc[n])))
#endif

#define LAST_TERM(n) (last[n] -> TERM(log[n * ENTRIES + last[n] - 1]) : 0)
#define BETTER(a, b) (LAST_TERM(a) > LAST_TERM(b) || \
                      (LAST_TERM(a) == LAST_TERM(b) && last[a] > last[b]))
#define SPEAKS(n) (state[n] == LEADS && grants[n])
/* The leader of term t can still be sent an acknowledgement. */
#define HEARS(t) (up[leads[t] - 1] && state[leads[t] - 1] >= ELECTED && \
                  term[leads[t] - 1] == t)

inline shorten(n, length) {
    i = length;
    do
    :: i < ENTRIES -> log[n * ENTRIES + i] = 0; i++
    :: else -> break
    od;
    last[n] = length;
    find_role(n)
}

inline find_role(n) {
    role[n] = 0;
    i = 0;
    do
    :: i < last[n] ->
        if
        :: KIND(log[n * ENTRIES + i]) != INPUT ->
            role[n] = KIND(log[n * ENTRIES + i])
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline step_down(n) {
    state[n] = FOLLOWS;
    commit[n] = 0;
    grants[n] = 0;
    match[n * 3] = 0;
    match[n * 3 + 1] = 0;
    match[n * 3 + 2] = 0
}

/* n sees, and saves, a newer term. */
inline see_term(n, t) {
    step_down(n);
    term[n] = t;
    vote[n] = 0;
    goal[n] = 0
}

#ifdef VOTE_UNSAVED
#define SAVE(n) safe_term[n] = term[n]
#else
#define SAVE(n) skip /* is part of each step */
#endif

/* Single voice (R9): not two at a time, nor an older one after a newer one. */
inline check_voice(n) {
    if
    :: SPEAKS(n) ->
#ifndef ANY_VOICE
        assert(!(SPEAKS(0) && SPEAKS(1)));
        assert(!SPEAKS(2));
        assert(spoke <= term[n]);
#endif
        if
        :: spoke < term[n] -> spoke = term[n]
        :: else
        fi
    :: else
    fi
}

/* The leader n goes to work: from now on it may act for the VM (R3). Whoever
 * did so before has to be part of its history. */
inline go_to_work(n) {
    state[n] = LEADS;
    k = 1;
    do
    :: k < term[n] ->
        if
        :: acted & (1 << k) ->
            i = 0;
            j = 0;
            do
            :: i < last[n] ->
                if
                :: TERM(log[n * ENTRIES + i]) == k -> j = 1
                :: else
                fi;
                i++
            :: else -> break
            od;
            assert(j)
        :: else
        fi;
        k++
    :: else -> break
    od;
    i = 0;
    j = 0;
    k = 0;
    acted = acted | (1 << term[n]);
    check_voice(n)
}

inline append(n, what) {
    log[n * ENTRIES + last[n]] = ENTRY(term[n], what);
    glog[term[n] * ENTRIES + last[n]] = ENTRY(term[n], what);
    last[n]++;
    glast[term[n]] = last[n];
    if
    :: what != INPUT -> role[n] = what
    :: else
    fi
}

/* n is elected, with the log that it has now. */
inline lead(n) {
    assert(leads[term[n]] == 0); /* one leader in each term */
    leads[term[n]] = n + 1;
    assert(n != 2); /* a witness never leads */
    assert(vm[n]); /* nor who runs something else (R1) */
    i = 0;
    do
    :: i < ncommitted -> /* nothing is lost */
        assert(i < last[n] && log[n * ENTRIES + i] == committed[i]);
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < last[n] ->
        glog[term[n] * ENTRIES + i] = log[n * ENTRIES + i];
        i++
    :: else -> break
    od;
    i = 0;
    step_down(n);
    state[n] = ELECTED;
    append(n, ROLE(n, inc[n], NOBODY, 0));
#ifdef SPEAKS_EARLY
    go_to_work(n)
#endif
}

/* c takes the log of v: what is the same is kept on disk. */
inline adopt(c, v) {
    j = 0;
    do
    :: j < last[c] && j < last[v] &&
       log[c * ENTRIES + j] == log[v * ENTRIES + j] -> j++
    :: else -> break
    od;
#ifdef DISK
    if
    :: safe[c] > j -> safe[c] = j
    :: else
    fi;
#endif
    i = j;
    do
    :: i < ENTRIES ->
        log[c * ENTRIES + i] = log[v * ENTRIES + i];
        i++
    :: else -> break
    od;
    last[c] = last[v];
    j = 0;
    find_role(c)
}

/* The candidate c has a majority: itself and v. */
inline win(c, v) {
#ifdef ELIGIBLE_FIRST
    k = NAMES(role[c], c);
#endif
#ifndef NO_ADOPTION
    if
    :: BETTER(v, c) -> adopt(c, v)
    :: else
    fi;
#endif
#ifndef ELIGIBLE_FIRST
    k = NAMES(role[c], c);
#endif
    if
    :: k -> k = 0; lead(c)
    :: else -> step_down(c)
    fi
}

/* f is given the entries of the leader of term t up to number n. */
inline take(f, t, n) {
    if
    :: t > term[f] -> see_term(f, t); SAVE(f)
    :: else
    fi;
    state[f] = FOLLOWS;
    if
    :: amnesiac[f] && goal[f] == 0 && SURE(f, t) ->
#ifdef LIFE_IGNORED
        goal[f] = n /* it was all that the leader had, an earlier life ago */
#else
        goal[f] = glast[t]
#endif
    :: else
    fi;
    /* Is anything cut off? */
#ifdef CUT_MATCHING
    j = 1;
#else
    j = 0;
#endif
#ifdef NO_PREV_CHECK
    i = n - 1;
#else
    i = 0;
#endif
    do
    :: i < n ->
        if
        :: i < last[f] && log[f * ENTRIES + i] == glog[t * ENTRIES + i]
        :: else -> j = 1; log[f * ENTRIES + i] = glog[t * ENTRIES + i]
        fi;
        i++
    :: else -> break
    od;
    if
    :: j -> shorten(f, n)
    :: else
    fi;
    i = 0;
    j = 0;
#if defined(DISK) && !defined(APPEND_UNSAVED) && !defined(ROLE_UNSAVED)
    safe[f] = last[f];
#endif
#ifdef APPEND_UNSAVED
    if
    :: safe[f] > last[f] -> safe[f] = last[f]
    :: else
    fi;
#endif
#ifdef ROLE_UNSAVED
    /* Other entries are saved at once, with all that is before them. */
    if
    :: safe[f] > last[f] || KIND(log[f * ENTRIES + last[f] - 1]) == INPUT ->
        safe[f] = last[f]
    :: else
    fi;
#endif
    if
    :: amnesiac[f] && goal[f] && n >= goal[f] ->
        amnesiac[f] = 0;
        goal[f] = 0;
#ifdef LOSSES
        blank[f] = 0;
        sure[f] = 0
#endif
    :: else
    fi;
    if
#ifdef AMNESIAC_ACKS
    :: HEARS(t) && match[(leads[t] - 1) * 3 + f] < n ->
#else
    :: !amnesiac[f] && HEARS(t) && match[(leads[t] - 1) * 3 + f] < n ->
#endif
        match[(leads[t] - 1) * 3 + f] = n
    :: else
    fi
}

/* The leader n has seen that its entries up to number e are with a majority. */
inline conclude(n, e) {
    commit[n] = e;
    i = 0;
    do
    :: i < e ->
        /* What was committed never changes. */
        assert(committed[i] == 0 || committed[i] == log[n * ENTRIES + i]);
        committed[i] = log[n * ENTRIES + i];
        if
        :: KIND(committed[i]) != INPUT -> k = KIND(committed[i])
        :: else
        fi;
        i++
    :: else -> break
    od;
    if
    :: e > ncommitted ->
        ncommitted = e;
        /* Those whom the newest ROLE does not name fall behind now. */
        i = 0;
        do
        :: i < 3 ->
            if
            :: LEADER(k) != i && SECOND(k) != i -> vm[i] = 0
            :: else
            fi;
            i++
        :: else -> break
        od
    :: else
    fi;
    i = 0;
    k = 0;
    if
    :: state[n] == ELECTED && TERM(log[n * ENTRIES + e - 1]) == term[n] ->
        go_to_work(n)
    :: else
    fi
}

inline die(n) {
    deaths++;
    up[n] = 0;
    step_down(n);
    vm[n] = 0;
    goal[n] = 0;
    if
    :: vote[n] -> vote[n] = GONE
    :: else
    fi;
#ifdef VOTE_UNSAVED
    if
    :: safe_term[n] < term[n] -> term[n] = safe_term[n]; vote[n] = 0
    :: else
    fi;
#endif
#ifdef LEASE_FROM_ANSWER
    answers[n] = 0;
#endif
#ifdef DISK
    shorten(n, safe[n])
#else
    amnesiac[n] = 1;
    shorten(n, 0)
#endif
}

#ifdef LIVE
#define CAN_LEAD(best, n) (up[n] && !amnesiac[n] && NAMES(role[best], n))
#define EXHAUSTED \
    (term[0] == TERMS || term[1] == TERMS || term[2] == TERMS || \
     last[0] == ENTRIES || last[1] == ENTRIES || last[2] == ENTRIES)

/*
 * Nothing more can happen. If two have their memory and the best of their logs
 * names one of them, the group serves, and all have all of it; unless terms or
 * log were too small here.
 */
inline check_end() {
    j = 0; /* how many */
    k = 3; /* with the best log */
    i = 0;
    do
    :: i < 3 ->
        if
        :: up[i] && !amnesiac[i] ->
            j++;
            if
            :: k == 3 -> k = i
            :: k < 3 && BETTER(i, k) -> k = i
            :: else
            fi
        :: else
        fi;
        i++
    :: else -> break
    od;
    if
    :: j < 2 || (!CAN_LEAD(k, 0) && !CAN_LEAD(k, 1)) || EXHAUSTED
    :: else ->
        assert(state[0] == LEADS || state[1] == LEADS);
        i = (state[0] == LEADS -> 0 : 1);
        assert(commit[i] == last[i]);
        j = 0;
        do
        :: j < 3 ->
            assert(!up[j] || (!amnesiac[j] && last[j] == last[i]));
            j++
        :: else -> break
        od
    fi
}
#endif

/* --- what a candidate and its voters do ---------------------------------- */

#ifdef EACH_VOTER
#define HELPS(v, c) (!BETTER(v, c))
#else
#define HELPS(v, c) 1
#endif

/* Is it any use to ask? Pre-votes tell: the better log names the candidate. */
#ifdef LIVE
#define COULD(c, v) (up[v] && !amnesiac[v] && HELPS(v, c) && \
    ((BETTER(v, c) && NAMES(role[v], c)) || \
     (!BETTER(v, c) && NAMES(role[c], c))))
#define USEFUL(c) (COULD(c, (c + 1) % 3) || COULD(c, (c + 2) % 3))
#else
#define USEFUL(c) 1
#endif

#define ASK(c) \
:: d_step { up[c] && state[c] < ELECTED && !amnesiac[c] && !promised[c] && \
            term[c] < TERMS && USEFUL(c) -> \
    see_term(c, term[c] + 1); \
    vote[c] = c + 1; \
    SAVE(c); \
    state[c] = ASKS }

#ifdef AMNESIAC_VOTES
#define REMEMBERS(v) 1
#else
#define REMEMBERS(v) (!amnesiac[v])
#endif
#ifdef LEASE_UNPROMISED
#define FREE(v) (!SPEAKS(v))
#else
#define FREE(v) (!promised[v] && !SPEAKS(v))
#endif

#define GRANT(v, c) \
:: d_step { up[v] && state[c] == ASKS && term[c] > term[v] && \
            REMEMBERS(v) && FREE(v) -> \
    see_term(v, term[c]); \
    vote[v] = c + 1 }

#define WIN(c, v) \
:: d_step { up[c] && up[v] && state[c] == ASKS && term[v] == term[c] && \
            vote[v] == c + 1 && last[c] < ENTRIES && last[v] < ENTRIES && \
            HELPS(v, c) -> \
    win(c, v) }

#define LEARN(n, p) \
:: d_step { up[n] && term[p] > term[n] -> see_term(n, term[p]); SAVE(n) }

/* --- what a leader and its followers do ---------------------------------- */

#ifdef NO_PREV_CHECK
#define FITS(f, e) (last[f] >= e - 1)
#else
#define FITS(f, e) 1
#endif

/* Only what changes something, so that a run that is stuck has an end. An
 * amnesiac takes only what was sent to its present life. */
#define NEWS(f, t, e) (t > term[f] || state[f] == ASKS || last[f] < e || \
    log[f * ENTRIES + e - 1] != glog[t * ENTRIES + e - 1] || \
    (!amnesiac[f] && HEARS(t) && match[(leads[t] - 1) * 3 + f] < e) || \
    (amnesiac[f] && goal[f] == 0 && SURE(f, t)) || \
    (amnesiac[f] && goal[f] && e >= goal[f]))

#ifdef CUT_MATCHING
#define CUTS(f, e) (last[f] > e)
#else
#define CUTS(f, e) 0
#endif

#define TAKE(f, t, e) \
:: d_step { leads[t] && leads[t] != f + 1 && e <= glast[t] && up[f] && \
            t >= term[f] && FITS(f, e) && (!amnesiac[f] || HEARS(t)) && \
            (NEWS(f, t, e) || CUTS(f, e)) -> \
    take(f, t, e) }

#ifdef OLD_TERM_COMMIT
#define OWN_TERM(n, e) 1
#else
#define OWN_TERM(n, e) (TERM(log[n * ENTRIES + e - 1]) == term[n])
#endif
#ifdef APPEND_UNSAVED
#define OWN_MATCH(n) last[n]
#else
#define OWN_MATCH(n) SAFE(n)
#endif

#define COMMIT(n, e) \
:: d_step { up[n] && state[n] >= ELECTED && commit[n] < e && last[n] >= e && \
            OWN_TERM(n, e) && (OWN_MATCH(n) >= e) + \
            (match[n * 3 + (n + 1) % 3] >= e) + \
            (match[n * 3 + (n + 2) % 3] >= e) >= 2 -> \
    conclude(n, e) }

#define SUBMIT(n) \
:: d_step { up[n] && state[n] == LEADS && last[n] < ENTRIES && \
            inputs < INPUTS -> \
    inputs++; append(n, INPUT) } \
:: d_step { up[n] && state[n] == LEADS && last[n] < ENTRIES && \
            partings < PARTINGS && SECOND(role[n]) != NOBODY -> \
    partings++; append(n, ROLE(n, inc[n], NOBODY, 0)) } \
:: d_step { up[n] && state[n] == LEADS && last[n] < ENTRIES && \
            pairings < PAIRINGS && commit[n] == last[n] && \
            up[1 - n] && term[1 - n] == term[n] && !amnesiac[1 - n] && \
            SECOND(role[n]) == NOBODY -> \
    pairings++; vm[1 - n] = 1; \
    append(n, ROLE(n, inc[n], 1 - n, inc[1 - n])) }

/* --- the lease -------------------------------------------------------------
 *
 * The one thing that is assumed about time: a grant, counted from the sending
 * of the beat, ends no later than the promise, counted from its arrival. So
 * both end in one step here, at any time.
 */
#ifdef AMNESIAC_ECHOES
#define COUNTS(f) 1
#else
#define COUNTS(f) (!amnesiac[f])
#endif
#ifdef LIVE
#define BEAT(n, f)
#define EXPIRE(f)
#else
#define BEAT(n, f) \
:: d_step { up[n] && up[f] && state[n] >= ELECTED && state[f] == FOLLOWS && \
            term[f] == term[n] && COUNTS(f) && !(grants[n] & (1 << f)) -> \
    promised[f] = 1; grants[n] = grants[n] | (1 << f); ANSWER(n, f); \
    check_voice(n) } \
LATE_ANSWER(n, f)
#define EXPIRE(f) \
:: d_step { promised[f] -> \
    promised[f] = 0; \
    grants[0] = grants[0] & (255 - (1 << f)); \
    grants[1] = grants[1] & (255 - (1 << f)); \
    grants[2] = grants[2] & (255 - (1 << f)) } \
REFUSE(f)
#endif
#ifdef LEASE_FROM_ANSWER
#define ANSWER(n, f) answers[n] = answers[n] | (1 << f)
#define LATE_ANSWER(n, f) \
:: d_step { up[n] && state[n] >= ELECTED && (answers[n] & (1 << f)) -> \
    answers[n] = answers[n] & (255 - (1 << f)); \
    grants[n] = grants[n] | (1 << f); \
    check_voice(n) }
#else
#define ANSWER(n, f) skip
#define LATE_ANSWER(n, f)
#endif
/* A firewall refuses a reconnect in the name of a leader that lives. */
#ifdef FALSE_REFUSAL
#define REFUSE(f) :: d_step { promised[f] -> promised[f] = 0 }
#else
#define REFUSE(f)
#endif

/* --- deaths and disks ---------------------------------------------------- */

#define DIE(n) \
:: d_step { up[n] && deaths < DEATHS -> die(n) }

/* A promise that an earlier life gave is kept by not voting for a while. */
#ifdef NO_QUARANTINE
#define FORGET(n) promised[n] = 0
#else
#define FORGET(n) skip
#endif
#define RESTART(n) \
:: d_step { !up[n] && restarts < RESTARTS && inc[n] == 0 -> \
    restarts++; up[n] = 1; inc[n] = 1; FORGET(n) } \
LOSE(n)

/*
 * A disk is lost with all that was promised on it. A leader is confirmed to the
 * blank one when a majority of the others is in its term since then.
 */
#ifdef LOSSES
#ifdef BLANK_UNCONFIRMED
#define CONFIRMS(n, v) 1
#else
#define CONFIRMS(n, v) (up[v] && !amnesiac[v] && term[v] == term[n])
#endif
#define LOSE(n) \
:: d_step { !up[n] && losses < LOSSES && inc[n] == 0 -> \
    losses++; up[n] = 1; inc[n] = 1; blank[n] = 1; term[n] = 0; vote[n] = 0 }
#define CONFIRM(n, f) \
:: d_step { up[n] && state[n] >= ELECTED && up[f] && blank[f] && \
            sure[f] != term[n] && term[f] <= term[n] && \
            CONFIRMS(n, 3 - n - f) -> \
    sure[f] = term[n] }
#else
#define LOSE(n)
#define CONFIRM(n, f)
#endif

#ifdef DISK
#define STORE(n) \
:: d_step { up[n] && safe[n] < last[n] -> safe[n] = last[n] }
#else
#define STORE(n)
#endif

#if TERMS > 3
#define TAKE_TERMS(f, e) TAKE(f, 1, e) TAKE(f, 2, e) TAKE(f, 3, e) TAKE(f, 4, e)
#else
#define TAKE_TERMS(f, e) TAKE(f, 1, e) TAKE(f, 2, e) TAKE(f, 3, e)
#endif
#if ENTRIES > 4
#define TAKE_ALL(f) TAKE_TERMS(f, 1) TAKE_TERMS(f, 2) TAKE_TERMS(f, 3) \
    TAKE_TERMS(f, 4) TAKE_TERMS(f, 5)
#define COMMIT_ALL(n) COMMIT(n, 2) COMMIT(n, 3) COMMIT(n, 4) COMMIT(n, 5)
#else
#define TAKE_ALL(f) TAKE_TERMS(f, 1) TAKE_TERMS(f, 2) TAKE_TERMS(f, 3) \
    TAKE_TERMS(f, 4)
#define COMMIT_ALL(n) COMMIT(n, 2) COMMIT(n, 3) COMMIT(n, 4)
#endif

#define EACH(n) \
    TAKE_ALL(n) \
    LEARN(n, (n + 1) % 3) LEARN(n, (n + 2) % 3) \
    GRANT(n, (n + 1) % 3) GRANT(n, (n + 2) % 3) \
    EXPIRE(n) DIE(n) RESTART(n) STORE(n)
#define EACH_RUNNER(n) \
    ASK(n) WIN(n, (n + 1) % 3) WIN(n, (n + 2) % 3) \
    COMMIT_ALL(n) BEAT(n, (n + 1) % 3) BEAT(n, (n + 2) % 3) SUBMIT(n) \
    CONFIRM(n, (n + 1) % 3) CONFIRM(n, (n + 2) % 3)

active proctype group() {
    d_step {
        i = 0;
        do
        :: i < 3 ->
            up[i] = 1;
            term[i] = 1;
            log[i * ENTRIES] = ENTRY(1, ROLE(0, 0, 1, 0));
            last[i] = 1;
            role[i] = ROLE(0, 0, 1, 0);
#ifdef DISK
            safe[i] = 1;
#endif
#ifdef VOTE_UNSAVED
            safe_term[i] = 1;
#endif
            i++
        :: else -> break
        od;
        i = 0;
        vm[0] = 1;
        vm[1] = 1;
        leads[1] = 1;
        glog[ENTRIES] = ENTRY(1, ROLE(0, 0, 1, 0));
        glast[1] = 1;
        committed[0] = ENTRY(1, ROLE(0, 0, 1, 0));
        ncommitted = 1;
        state[0] = LEADS;
        commit[0] = 1;
        acted = 2
    }
    do
    EACH(0)
    EACH(1)
    EACH(2)
    EACH_RUNNER(0)
    EACH_RUNNER(1)
#ifdef WITNESS_LEADS
    ASK(2)
    WIN(2, 0)
    WIN(2, 1)
#endif
#ifdef LIVE
    :: d_step { timeout -> check_end() }; break
#endif
    od
}
