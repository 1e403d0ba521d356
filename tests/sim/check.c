/*
 * What must hold after every step
 *
 * Consequences: what users are promised. One leader in a term, one sequence,
 * one voice, nothing lost; and that nothing is committed but what a majority
 * has acknowledged. Nothing here asks the core's own opinion where there is
 * another way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "sim.h"

#define MAX_TERM 20000

uint64_t sim_hash(ApusEntryKind kind, const uint8_t *payload, uint32_t length)
{
    uint64_t hash = 0xcbf29ce484222325u ^ kind;

    for (uint32_t i = 0; i < length; i++) {
        hash = (hash ^ payload[i]) * 0x100000001b3u;
    }
    return hash;
}

/* --- the committed sequence --------------------------------------------- */

static SimCommitted *committed_at(const Sim *sim, uint64_t index)
{
    return &g_array_index(sim->committed, SimCommitted, index);
}

uint64_t sim_last_committed(const Sim *sim)
{
    return sim->committed->len - 1;
}

const ApusRole *sim_role_at(const Sim *sim, uint64_t index)
{
    return &g_array_index(sim->roles, SimRole,
                          committed_at(sim, index)->role).role;
}

gboolean sim_names(const ApusRole *role, const SimHost *host)
{
    return !role->stopped &&
           ((role->leader == host->id &&
             (role->leader_incarnation == host->incarnation ||
              role->leader_incarnation == 0)) ||
            (role->secondary == host->id &&
             role->secondary_incarnation == host->incarnation));
}

void sim_check_start(Sim *sim)
{
    SimCommitted founding = { 0 };
    SimRole role = { .role.leader = 1 };

    g_array_set_size(sim->committed, 0);
    g_array_set_size(sim->roles, 0);
    g_array_append_val(sim->committed, founding);
    g_array_append_val(sim->roles, role);
}

/* An INPUT stands in the sequence once. */
static void check_number(SimHost *host, const ApusEntry *entry)
{
    Sim *sim = host->sim;
    SimSubmission *submission;
    uint64_t number;

    if (entry->kind != APUS_ENTRY_INPUT || entry->length < sizeof(number)) {
        return;
    }
    memcpy(&number, entry->payload, sizeof(number));
    if (number == 0 || number >= sim->submissions->len) {
        sim_fail(sim, "sequence", "%u: entry %" PRIu64 " is nobody's", host->id,
                 entry->index);
        return;
    }
    submission = &g_array_index(sim->submissions, SimSubmission, number);
    if (submission->index && submission->index != entry->index) {
        sim_fail(sim, "sequence", "%u: submission %" PRIu64 " stands at %"
                 PRIu64 " and at %" PRIu64, host->id, number,
                 submission->index, entry->index);
    }
    submission->index = entry->index;
}

static void add_committed(SimHost *host, const ApusEntry *entry)
{
    Sim *sim = host->sim;
    SimCommitted new = {
        .term = entry->term,
        .since = host->core->term,
        .hash = sim_hash(entry->kind, entry->payload, entry->length),
        .kind = entry->kind,
        .role = sim->roles->len - 1,
    };

    check_number(host, entry);
    if (entry->kind == APUS_ENTRY_ROLE) {
        ApusSnapshot snapshot;
        SimRole role = { .index = entry->index };

        apus_log_snapshot(host->core->log, entry->index, &snapshot);
        role.role = snapshot.role;
        new.role = sim->roles->len;
        g_array_append_val(sim->roles, role);
    }
    g_array_append_val(sim->committed, new);
    sim_trace(sim, "entry %" PRIu64 " of term %" PRIu64
              " is committed (%u says so)", entry->index, entry->term,
              host->id);
}

gboolean sim_check_committed(SimHost *host, const ApusEntry *entry)
{
    Sim *sim = host->sim;
    uint64_t last = sim_last_committed(sim);
    const SimCommitted *known;

    if (entry->index == last + 1) {
        add_committed(host, entry);
        return TRUE;
    }
    if (entry->index > last) {
        sim_fail(sim, "sequence", "%u: entry %" PRIu64 " is committed, and %"
                 PRIu64 " is the last one known", host->id, entry->index,
                 last);
        return FALSE;
    }
    known = committed_at(sim, entry->index);
    if (known->term != entry->term || known->kind != entry->kind ||
        known->hash != sim_hash(entry->kind, entry->payload,
                                entry->length)) {
        sim_fail(sim, "sequence", "%u: committed entry %" PRIu64
                 " of term %" PRIu64 " has become one of term %" PRIu64,
                 host->id, entry->index, known->term, entry->term);
        return FALSE;
    }
    return TRUE;
}

void sim_check_learn(SimHost *host, uint64_t index)
{
    ApusEntry entry;

    for (uint64_t i = sim_last_committed(host->sim) + 1; i <= index; i++) {
        apus_log_get(host->core->log, i, &entry);
        if (!sim_check_committed(host, &entry)) {
            return;
        }
    }
}

/* --- leaders ------------------------------------------------------------ */

static void check_one_per_term(SimHost *host)
{
    Sim *sim = host->sim;
    uint64_t term = host->core->term;
    uint64_t who = (uint64_t)host->id << 32 | host->lives, *leader;

    if (term > MAX_TERM) {
        sim_fail(sim, "rest", "%u: term %" PRIu64, host->id, term);
        return;
    }
    if (sim->leaders->len <= term) {
        g_array_set_size(sim->leaders, term + 1);
    }
    leader = &g_array_index(sim->leaders, uint64_t, term);
    if (*leader && *leader != who) {
        sim_fail(sim, "leaders", "term %" PRIu64 " has two: %u and %u", term,
                 (unsigned)(*leader >> 32), host->id);
    }
    *leader = who;
}

/*
 * All that was committed in older terms is in the log of who was elected. (One
 * who is slow may find itself elected when others lead in newer terms.)
 */
static void check_complete(SimHost *host)
{
    Sim *sim = host->sim;
    const ApusLog *log = host->core->log;
    uint64_t last = sim_last_committed(sim);
    uint64_t term = 0;

    for (uint64_t i = apus_log_base(log)->index + 1; i <= last; i++) {
        const SimCommitted *entry = committed_at(sim, i);

        if (entry->since < host->core->term &&
            (!apus_log_term(log, i, &term) || term != entry->term)) {
            sim_fail(sim, "complete", "%u is elected in term %" PRIu64
                     " without entry %" PRIu64 " of term %" PRIu64
                     ", committed in term %" PRIu64, host->id,
                     host->core->term, i, entry->term, entry->since);
            return;
        }
    }
}

/*
 * Who says for so long that nobody can be elected, and hears everybody, must be
 * right. What is under way then, a vote or the end of a process, is over.
 */
#define CERTAIN SIM_S

static void check_hope(SimHost *host)
{
    if (!apus_core_hopeless(host->core)) {
        host->hopeless = 0;
    } else if (!host->hopeless) {
        host->hopeless = host->sim->now;
    }
    host->sim->count.hopeless_said += host->hopeless == host->sim->now;
}

static void check_was_hoped(Sim *sim, const SimHost *elected)
{
    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *host = &sim->host[id];

        if (host->core && !host->frozen && host->hopeless &&
            sim->now - host->hopeless > CERTAIN) {
            sim_fail(sim, "hope", "%u is elected, and for %.3f ms %u has said "
                     "that nobody can be", elected->id,
                     (sim->now - host->hopeless) / 1e6, id);
        }
    }
}

static void check_elected(SimHost *host)
{
    Sim *sim = host->sim;

    sim_trace(sim, "%u is elected in term %" PRIu64, host->id,
              host->core->term);
    sim->count.elected++;
    if (!host->can_run) {
        sim_fail(sim, "witness", "%u leads and is a witness", host->id);
    }
    check_complete(host);
    check_was_hoped(sim, host);
    sim_trigger(sim, SIM_TRIGGER_ELECTED, host->id, SIM_NOBODY_YET);
}

/* The first entry of its term, a ROLE; or 0. */
static uint64_t own_role(const SimHost *host)
{
    const ApusLog *log = host->core->log;
    uint64_t index = apus_log_last_index(log), found = 0;
    ApusEntry entry;

    for (; index > apus_log_base(log)->index; index--) {
        apus_log_get(log, index, &entry);
        if (entry.term != host->core->term) {
            break;
        }
        found = index;
    }
    if (found) {
        apus_log_get(log, found, &entry);
    }
    return found && entry.kind == APUS_ENTRY_ROLE ? found : 0;
}

/* It may act now: it is one whom the newest role before its own names. */
static void check_leader(SimHost *host)
{
    Sim *sim = host->sim;
    uint64_t own = own_role(host);
    char text[100];

    sim_trace(sim, "%u leads in term %" PRIu64, host->id, host->core->term);
    host->role_index = own;
    if (own == 0 || own > sim_last_committed(sim) ||
        committed_at(sim, own)->term != host->core->term) {
        sim_fail(sim, "settled", "%u leads in term %" PRIu64 " and its ROLE "
                 "at %" PRIu64 " is not committed", host->id,
                 host->core->term, own);
        return;
    }
    if (!sim_names(sim_role_at(sim, own - 1), host)) {
        sim_text_role(text, sizeof(text), sim_role_at(sim, own - 1));
        sim_fail(sim, "eligible", "%u leads, and is not who is named before "
                 "%" PRIu64 ": %s", host->id, own, text);
    }
    if (host->vm.broken || !host->vm.runs) {
        sim_fail(sim, "history", "%u leads with a VM that %s", host->id,
                 host->vm.broken ? "has missed entries" : "does not run");
    }
    if (sim->last_leader && sim->last_leader != host->id) {
        sim->count.failovers++;
    }
    sim->last_leader = host->id;
    sim_trigger(sim, SIM_TRIGGER_LEADER, host->id, SIM_NOBODY_YET);
}

static void check_state(SimHost *host)
{
    const ApusCore *core = host->core;
    gboolean leads = core->state == APUS_STATE_ELECTED ||
                     core->state == APUS_STATE_LEADER;
    gboolean led = host->state == APUS_STATE_ELECTED ||
                   host->state == APUS_STATE_LEADER;
    gboolean same = core->term == host->term;

    if (core->state == APUS_STATE_CANDIDATE &&
        apus_log_last_term(core->log) >= core->term) {
        sim_fail(host->sim, "candidate", "%u asks for votes in term %" PRIu64
                 " and has entries of term %" PRIu64, host->id, core->term,
                 apus_log_last_term(core->log));
    }
    if (leads) {
        check_one_per_term(host);
        if (!led || !same) {
            check_elected(host);
        }
        if (core->state == APUS_STATE_LEADER &&
            (host->state != APUS_STATE_LEADER || !same)) {
            check_leader(host);
        }
    }
    host->state = core->state;
}

/* --- commitment --------------------------------------------------------- */

static unsigned count_acks(const SimHost *leader, const ApusMembers *members,
                           uint64_t index)
{
    unsigned count = 0;
    uint64_t term;

    for (unsigned i = 0; i < members->count; i++) {
        const SimHost *host = &leader->sim->host[members->member[i].id];

        if (host == leader) {
            count += apus_log_term(host->core->log, index, &term) &&
                     sim_log_is_safe(host, index);
        } else {
            count += sim_has_acked(host, leader->core->term, index);
        }
    }
    return count;
}

/* A leader commits entries of its term that a majority has acknowledged. */
static void check_quorum(SimHost *host)
{
    const ApusCore *core = host->core;
    const ApusMembers *now = &apus_log_newest(core->log)->members;
    uint64_t term = 0;

    if (host->sim->consequences) {
        return;
    }
    apus_log_term(core->log, core->commit, &term);
    if (term != core->term) {
        sim_fail(host->sim, "commit-term", "%u commits up to %" PRIu64
                 " of term %" PRIu64 " in term %" PRIu64, host->id,
                 core->commit, term, core->term);
    }
    if (count_acks(host, now, core->commit) < apus_members_majority(now) &&
        count_acks(host, &host->members, core->commit) <
        apus_members_majority(&host->members)) {
        sim_fail(host->sim, "commit-quorum", "%u commits up to %" PRIu64
                 " in term %" PRIu64 " without a majority", host->id,
                 core->commit, core->term);
    }
}

/* A follower that is ahead of its leader: what both have safely. */
static void check_ahead(SimHost *host)
{
    const ApusCore *core = host->core;
    const SimHost *leader = &host->sim->host[core->leader];
    uint64_t index = core->commit;

    if (host->sim->consequences || core->leader == APUS_NOBODY ||
        !leader->core || leader->core->config.life != core->leader_life ||
        leader->core->term != core->term ||
        leader->core->commit >= index) {
        return;
    }
    if (!sim_log_is_safe(host, index) || !sim_log_is_safe(leader, index) ||
        apus_log_last_index(leader->core->log) < index) {
        sim_fail(host->sim, "commit-ahead", "%u commits up to %" PRIu64
                 ", which is not safe with it and its leader, %u", host->id,
                 index, leader->id);
    }
}

static void check_commit(SimHost *host)
{
    const ApusCore *core = host->core;
    uint64_t base = apus_log_base(core->log)->index;
    ApusEntry entry;

    if (core->commit < host->commit) {
        sim_fail(host->sim, "commit", "%u: from %" PRIu64 " back to %"
                 PRIu64, host->id, host->commit, core->commit);
        return;
    }
    if (core->commit > host->commit &&
        (core->state == APUS_STATE_ELECTED ||
         core->state == APUS_STATE_LEADER)) {
        check_quorum(host);
    } else if (core->commit > host->commit) {
        check_ahead(host);
    }
    if (core->commit > apus_log_last_index(core->log)) {
        sim_fail(host->sim, "commit", "%u: commit %" PRIu64
                 " is beyond its log, %" PRIu64, host->id, core->commit,
                 apus_log_last_index(core->log));
        return;
    }
    for (uint64_t i = MAX(host->commit, base) + 1; i <= core->commit; i++) {
        apus_log_get(core->log, i, &entry);
        if (!sim_check_committed(host, &entry)) {
            return;
        }
    }
    host->commit = core->commit;
}

/* A snapshot stands for what was committed. */
static void check_base(SimHost *host)
{
    const ApusSnapshot *base = apus_log_base(host->core->log);
    Sim *sim = host->sim;

    if (base->index == host->base) {
        return;
    }
    if (base->index < host->base ||
        base->index > sim_last_committed(sim) ||
        base->term != committed_at(sim, base->index)->term ||
        base->role.leader != sim_role_at(sim, base->index)->leader ||
        base->role.secondary != sim_role_at(sim, base->index)->secondary) {
        sim_fail(sim, "base", "%u: from %" PRIu64 " to %" PRIu64 " of term %"
                 PRIu64, host->id, host->base, base->index, base->term);
    }
    host->base = base->index;
}

static void check_accepts(SimHost *host)
{
    if (!host->core->hold && host->state == APUS_STATE_LEADER) {
        ApusStatus status;

        if (host->accepts) {
            return;
        }
        apus_core_status(host->core, &status, host->core->now);
        host->accepts = status.accepts;
        if (status.accepts && host->vm.delivered < host->role_index) {
            sim_fail(host->sim, "inherited", "%u accepts submissions, has "
                     "delivered %" PRIu64 " and its ROLE is at %" PRIu64,
                     host->id, host->vm.delivered, host->role_index);
        }
    } else {
        host->accepts = FALSE;
    }
}

/* --- the voice ---------------------------------------------------------- */

gboolean sim_may_speak(const SimHost *host)
{
    uint64_t now = sim_clock(host);

    return host->core && host->state == APUS_STATE_LEADER &&
           apus_core_lease(host->core, now) > now;
}

/* Nobody beats, and so has a lease, whose main loop does not turn (R8). */
static void check_turns(const SimHost *host)
{
    const SimPlan *plan = &host->sim->plan;
    uint64_t most = plan->alive_timeout + 2 * plan->timeout;

    if (plan->alive_timeout && sim_may_speak(host) &&
        host->sim->now > host->turned + most) {
        sim_fail(host->sim, "stuck", "the main loop of %u has not turned for "
                 "%" PRIu64 " ms, and it has a lease", host->id,
                 (host->sim->now - host->turned) / SIM_MS);
    }
}

static void check_lease(SimHost *host)
{
    Sim *sim = host->sim;

    if (host->state != APUS_STATE_LEADER || !sim_may_speak(host)) {
        return;
    }
    for (ApusId id = 1; id <= sim->hosts; id++) {
        if (id != host->id && sim_may_speak(&sim->host[id])) {
            sim_fail(sim, "voice", "%u (term %" PRIu64 ") and %u (term %"
                     PRIu64 ") have a lease", host->id, host->core->term, id,
                     sim->host[id].core->term);
        }
    }
}

/* --- all ---------------------------------------------------------------- */

void sim_check_started(SimHost *host)
{
    host->commit = host->core->commit;
    host->base = apus_log_base(host->core->log)->index;
    host->term = host->core->term;
    host->fenced = 0;
    host->held_term = host->held = 0;
    host->accepts = FALSE;
    host->members = apus_log_newest(host->core->log)->members;
}

static void note_change(SimHost *host)
{
    const ApusLog *log = host->core->log;
    const ApusMembers *members = &apus_log_newest(log)->members;

    if (apus_log_newest_of(log, APUS_ENTRY_MEMBER) > host->commit &&
        memcmp(&host->members, members, sizeof(*members)) != 0) {
        host->sim->count.replaced += !members->leaving &&
                                     apus_core_leads(host->core);
        sim_trigger(host->sim,
                    members->leaving ? SIM_TRIGGER_CHANGE
                                     : SIM_TRIGGER_DISMISS,
                    host->id, members->leaving);
    }
}

void sim_check_step(SimHost *host)
{
    const ApusCore *core = host->core;
    Sim *sim = host->sim;

    if (!core || sim->failed) {
        return;
    }
    if (core->term < host->term) {
        sim_fail(sim, "term", "%u: from %" PRIu64 " back to %" PRIu64,
                 host->id, host->term, core->term);
    }
    check_commit(host);
    check_base(host);
    check_state(host);
    host->term = core->term;
    check_accepts(host);
    check_lease(host);
    check_turns(host);
    check_hope(host);
    if (host->held_term == core->term && !sim->consequences &&
        apus_log_last_index(core->log) < host->held) {
        sim_fail(sim, "held", "%u has acknowledged up to %" PRIu64
                 " in term %" PRIu64 ", and now ends with %" PRIu64, host->id,
                 host->held, core->term, apus_log_last_index(core->log));
    }
    if (apus_log_room(core->log) > sim->plan.ring) {
        sim_fail(sim, "room", "%u: %zu bytes are free in a ring of %zu",
                 host->id, apus_log_room(core->log), sim->plan.ring);
    }
    note_change(host);
    host->members = apus_log_newest(core->log)->members;
}
