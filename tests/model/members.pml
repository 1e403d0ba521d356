/*
 * A member is replaced by another
 *
 * Members 0, 1 and 2 form a group, 0 leads. 3 takes the place of 2: it is
 * brought up to date, then a MEMBER entry adds it, then a second one takes 2
 * out. Any leader in between carries on. Here 0 and 1 may always lead, nobody
 * forgets anything, and who has died is who takes no more steps; the rest is as
 * in apus.pml, which see for how messages are treated.
 *
 * A -D that names a rule of colo-net/apus/core/mutation.h breaks this rule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TERMS
#define TERMS 3
#endif
#define ENTRIES 5
#ifndef INPUTS
#define INPUTS 0
#endif

/* An entry is its term and what it says. */
#define ENTRY(t, what) ((t) * 8 + (what))
#define TERM(entry) ((entry) / 8)
#define WHAT(entry) ((entry) % 8)
#define OTHER 0 /* the first entry of a term, or an input */
#define BEFORE 1 /* 0, 1 and 2 are members */
#define BETWEEN 2 /* and 3; 2 is leaving */
#define AFTER 3 /* 0, 1 and 3 */

#define SET(what) ((what) == BEFORE -> 7 : ((what) == BETWEEN -> 15 : 11))
#define MAJORITY(what) ((what) == BETWEEN -> 3 : 2)
#define IN(what, n) (((SET(what)) >> (n)) & 1)

#define FOLLOWS 0
#define ASKS 1
#define LEADS 2

byte term[4], vote[4], state[4];
byte log[4 * ENTRIES], last[4];
byte members[4]; /* as the newest MEMBER in the log says */
byte commit[4];
byte votes[4]; /* of a candidate, a bit for each voter */
byte match[16]; /* of a leader: leader * 4 + follower */
bool blank = 1; /* 3 knows nothing yet */
#ifdef OLD_MEMBERS_ELECT
byte asked[4]; /* the members when a candidate asked */
#endif

byte leads[TERMS + 1];
byte glog[(TERMS + 1) * ENTRIES], glast[TERMS + 1];
byte committed[ENTRIES], by[ENTRIES]; /* by the leader of this term */
byte ncommitted;
byte inputs;

hidden byte i, j;

#define LAST_TERM(n) (last[n] -> TERM(log[n * ENTRIES + last[n] - 1]) : 0)
#define BETTER(a, b) (LAST_TERM(a) > LAST_TERM(b) || \
                      (LAST_TERM(a) == LAST_TERM(b) && last[a] > last[b]))
#define HEARS(t) (state[leads[t] - 1] == LEADS && term[leads[t] - 1] == t)

inline find_members(n) {
    members[n] = BEFORE;
    i = 0;
    do
    :: i < last[n] ->
        if
        :: WHAT(log[n * ENTRIES + i]) != OTHER ->
            members[n] = WHAT(log[n * ENTRIES + i])
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
    votes[n] = 0;
    match[n * 4] = 0;
    match[n * 4 + 1] = 0;
    match[n * 4 + 2] = 0;
    match[n * 4 + 3] = 0
}

inline see_term(n, t) {
    step_down(n);
    term[n] = t;
    vote[n] = 0
}

inline append(n, what) {
    log[n * ENTRIES + last[n]] = ENTRY(term[n], what);
    glog[term[n] * ENTRIES + last[n]] = ENTRY(term[n], what);
    last[n]++;
    glast[term[n]] = last[n];
    if
    :: what != OTHER -> members[n] = what
    :: else
    fi
}

inline lead(n) {
    assert(leads[term[n]] == 0); /* one leader in each term */
    leads[term[n]] = n + 1;
    i = 0;
    do
    :: i < ncommitted -> /* nothing is lost that was committed before it */
        assert(by[i] >= term[n] ||
               (i < last[n] && log[n * ENTRIES + i] == committed[i]));
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
    state[n] = LEADS;
    append(n, OTHER)
}

inline collect(c, v) {
    votes[c] = votes[c] | (1 << v);
    if
    :: BETTER(v, c) ->
        i = 0;
        do
        :: i < ENTRIES ->
            log[c * ENTRIES + i] = log[v * ENTRIES + i];
            i++
        :: else -> break
        od;
        last[c] = last[v];
        find_members(c)
    :: else
    fi
}

inline take(f, t, n) {
    if
    :: t > term[f] -> see_term(f, t)
    :: else
    fi;
    state[f] = FOLLOWS;
    votes[f] = 0;
    j = 0;
    i = 0;
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
    :: j ->
        last[f] = n;
        do
        :: i < ENTRIES -> log[f * ENTRIES + i] = 0; i++
        :: else -> break
        od
    :: else
    fi;
    j = 0;
    find_members(f);
    if
    :: f == 3 && blank && n >= glast[t] -> blank = 0
    :: else
    fi;
    if
    :: !(f == 3 && blank) && HEARS(t) && match[(leads[t] - 1) * 4 + f] < n ->
        match[(leads[t] - 1) * 4 + f] = n
    :: else
    fi
}

inline conclude(n, e) {
    commit[n] = e;
    i = 0;
    do
    :: i < e ->
        /* What was committed never changes. */
        assert(committed[i] == 0 || committed[i] == log[n * ENTRIES + i]);
        if
        :: committed[i] == 0 || by[i] > term[n] -> by[i] = term[n]
        :: else
        fi;
        committed[i] = log[n * ENTRIES + i];
        i++
    :: else -> break
    od;
    if
    :: e > ncommitted -> ncommitted = e
    :: else
    fi;
    i = 0
}

/* --- elections ----------------------------------------------------------- */

#ifdef OLD_MEMBERS_ELECT
#define ELECTORATE(c) asked[c]
#define REMEMBER(c) asked[c] = members[c]
#else
#define ELECTORATE(c) members[c]
#define REMEMBER(c) skip
#endif

#define ASK(c) \
:: d_step { state[c] != LEADS && term[c] < TERMS -> \
    see_term(c, term[c] + 1); \
    vote[c] = c + 1; \
    votes[c] = 1 << c; \
    REMEMBER(c); \
    state[c] = ASKS }

#define GRANT(v, c) \
:: d_step { state[c] == ASKS && term[c] > term[v] && !(v == 3 && blank) -> \
    see_term(v, term[c]); \
    vote[v] = c + 1 }

/*
 * An entry of the candidate's own term would say that another has been elected
 * in it. A log that has one could change the members twice at once.
 */
#ifdef OWN_TERM_ADOPTED
#define OLDER(v, c) 1
#else
#define OLDER(v, c) (LAST_TERM(v) < term[c])
#endif
#define COLLECT(c, v) \
:: d_step { state[c] == ASKS && term[v] == term[c] && vote[v] == c + 1 && \
            !(votes[c] & (1 << v)) && OLDER(v, c) -> \
    collect(c, v) }

#define VOTE(c, n) (IN(ELECTORATE(c), n) && (votes[c] & (1 << n)))
#define WIN(c) \
:: d_step { state[c] == ASKS && last[c] < ENTRIES && \
            VOTE(c, 0) + VOTE(c, 1) + VOTE(c, 2) + VOTE(c, 3) >= \
                MAJORITY(ELECTORATE(c)) -> \
    lead(c) }

#define LEARN(n, p) \
:: d_step { term[p] > term[n] -> see_term(n, term[p]) }

/* --- replication --------------------------------------------------------- */

#define NEWS(f, t, e) (t > term[f] || state[f] == ASKS || last[f] < e || \
    log[f * ENTRIES + e - 1] != glog[t * ENTRIES + e - 1] || \
    (HEARS(t) && match[(leads[t] - 1) * 4 + f] < e))
#define TAKE(f, t, e) \
:: d_step { leads[t] && leads[t] != f + 1 && e <= glast[t] && \
            t >= term[f] && !(f == 3 && blank && !HEARS(t)) && \
            NEWS(f, t, e) -> \
    take(f, t, e) }

#define HAS(n, f, e) (IN(members[n], f) && \
                      (f == n || match[n * 4 + f] >= e))
#define COMMIT(n, e) \
:: d_step { state[n] == LEADS && commit[n] < e && last[n] >= e && \
            TERM(log[n * ENTRIES + e - 1]) == term[n] && \
            HAS(n, 0, e) + HAS(n, 1, e) + HAS(n, 2, e) + HAS(n, 3, e) >= \
                MAJORITY(members[n]) -> \
    conclude(n, e) }

#define SUBMIT(n) \
:: d_step { state[n] == LEADS && last[n] < ENTRIES && inputs < INPUTS && \
            commit[n] -> \
    inputs++; append(n, OTHER) }

/* --- the change ---------------------------------------------------------- */

/* One's first entry is committed, and so is the newest MEMBER. */
#ifdef TWO_CHANGES
#define SETTLED(n) (commit[n] > 0)
#else
#define SETTLED(n) (commit[n] > 0 && commit[n] == last[n])
#endif

#define ADD(n) \
:: d_step { state[n] == LEADS && SETTLED(n) && last[n] < ENTRIES && \
            members[n] == BEFORE && match[n * 4 + 3] >= commit[n] -> \
    append(n, BETWEEN) }
#define REMOVE(n) \
:: d_step { state[n] == LEADS && SETTLED(n) && last[n] < ENTRIES && \
            members[n] == BETWEEN -> \
    append(n, AFTER) }

#if TERMS > 3
#define TAKE_TERMS(f, e) TAKE(f, 1, e) TAKE(f, 2, e) TAKE(f, 3, e) TAKE(f, 4, e)
#else
#define TAKE_TERMS(f, e) TAKE(f, 1, e) TAKE(f, 2, e) TAKE(f, 3, e)
#endif
#define EACH(n) \
    TAKE_TERMS(n, 1) TAKE_TERMS(n, 2) TAKE_TERMS(n, 3) TAKE_TERMS(n, 4) \
    TAKE_TERMS(n, 5) \
    LEARN(n, (n + 1) % 4) LEARN(n, (n + 2) % 4) LEARN(n, (n + 3) % 4)
#define EACH_RUNNER(n) \
    ASK(n) WIN(n) \
    GRANT((n + 1) % 4, n) GRANT((n + 2) % 4, n) GRANT((n + 3) % 4, n) \
    COLLECT(n, (n + 1) % 4) COLLECT(n, (n + 2) % 4) COLLECT(n, (n + 3) % 4) \
    COMMIT(n, 2) COMMIT(n, 3) COMMIT(n, 4) COMMIT(n, 5) \
    ADD(n) REMOVE(n) SUBMIT(n)

active proctype group() {
    d_step {
        i = 0;
        do
        :: i < 3 ->
            log[i * ENTRIES] = ENTRY(1, BEFORE);
            last[i] = 1;
            term[i] = 1;
            i++
        :: else -> break
        od;
        i = 0;
        members[0] = BEFORE;
        members[1] = BEFORE;
        members[2] = BEFORE;
        members[3] = BEFORE;
        leads[1] = 1;
        glog[ENTRIES] = ENTRY(1, BEFORE);
        glast[1] = 1;
        committed[0] = ENTRY(1, BEFORE);
        by[0] = 1;
        ncommitted = 1;
        state[0] = LEADS;
        commit[0] = 1
    }
    do
    EACH(0)
    EACH(1)
    EACH(2)
    EACH(3)
    EACH_RUNNER(0)
    EACH_RUNNER(1)
    od
}
