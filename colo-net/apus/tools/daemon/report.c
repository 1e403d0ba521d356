/*
 * What apusd says about its member
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "report.h"

#include <string.h>

#include "colo-net/core/versions.h"

/* --- JSON ---------------------------------------------------------------- */

static void put(JsonBuilder *builder, const char *name, int64_t value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, value);
}

static void put_flag(JsonBuilder *builder, const char *name, gboolean value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_boolean_value(builder, value);
}

static void put_text(JsonBuilder *builder, const char *name, const char *text)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_string_value(builder, text);
}

static void begin(JsonBuilder *builder, const char *name)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_object(builder);
}

static gboolean leads(const ApusStatus *status)
{
    return status->state == APUS_STATE_LEADER ||
           status->state == APUS_STATE_ELECTED;
}

static void put_member(JsonBuilder *builder, const ApusStatus *status,
                       const ApusMember *member, ApusId self)
{
    const ApusPeerStatus *peer = apus_status_peer(status, member->id);

    json_builder_begin_object(builder);
    put(builder, "id", member->id);
    put_text(builder, "address", member->address);
    put_flag(builder, "can-run", member->can_run);
    put_flag(builder, "self", member->id == self);
    if (peer) {
        put_flag(builder, "connected", peer->connected);
        put_flag(builder, "suspected", peer->suspected);
        put_flag(builder, "dead", peer->dead);
        put(builder, "silence-ms", peer->silence / 1000000);
        if (leads(status)) {
            put_flag(builder, "amnesiac", peer->amnesiac);
            put(builder, "match", peer->match);
            put(builder, "delivered", peer->delivered);
        }
    }
    json_builder_end_object(builder);
}

static void put_members(JsonBuilder *builder, const ApusStatus *status,
                        ApusId self)
{
    json_builder_set_member_name(builder, "members");
    json_builder_begin_array(builder);
    for (unsigned i = 0; i < status->members.count; i++) {
        put_member(builder, status, &status->members.member[i], self);
    }
    json_builder_end_array(builder);
    put(builder, "leaving", status->members.leaving);
    put_flag(builder, "changing", status->changing);
}

static void put_log(JsonBuilder *builder, const ApusStatus *status)
{
    begin(builder, "role");
    put(builder, "leader", status->role.leader);
    put(builder, "secondary", status->role.secondary);
    put_flag(builder, "stopped", status->role.stopped);
    json_builder_end_object(builder);
    begin(builder, "log");
    put(builder, "base", status->base);
    put(builder, "last", status->last);
    put(builder, "commit", status->commit);
    put(builder, "delivered", status->delivered);
    put(builder, "stored", status->stored);
    put(builder, "room", status->room);
    json_builder_end_object(builder);
}

static gboolean is_rdma(const ApusdConfig *config)
{
    return config->apus.transport == APUS_TRANSPORT_RDMA;
}

static void put_counters(JsonBuilder *builder, const ApusdConfig *config,
                         const ApusStatus *status,
                         const ApusTransportCounters *counters)
{
    begin(builder, "counters");
    put(builder, "elections", status->elections);
    put(builder, "elected", status->elected);
    put(builder, "snapshots", status->snapshots);
    put(builder, "refused-messages", status->refused_messages);
    put(builder, "stale-messages", status->stale_messages);
    put(builder, "corrupt-records", status->corrupt_records);
    put(builder, "connects", counters->connects);
    put(builder, "disconnects", counters->disconnects);
    put(builder, "refusals", counters->refusals);
    put(builder, "strangers", counters->strangers);
    put(builder, "bytes-sent", counters->bytes_sent);
    put(builder, "bytes-received", counters->bytes_received);
    put(builder, "frames-sent", counters->frames_sent);
    put(builder, "frames-received", counters->frames_received);
    put(builder, "dropped", counters->dropped);
    put(builder, "writes", counters->writes);
    put(builder, "reads", counters->reads);
    if (is_rdma(config)) {
        put(builder, "credits", counters->credits);
        put(builder, "sleeps", counters->sleeps);
        put(builder, "fenced", counters->fenced);
        put(builder, "kept-out", counters->kept_out);
    }
    json_builder_end_object(builder);
}

static void put_problems(JsonBuilder *builder, const ApusdConfig *config,
                         const ApusStatus *status)
{
    g_autoptr(GPtrArray) problems = apusd_problems(config, status);

    json_builder_set_member_name(builder, "problems");
    json_builder_begin_array(builder);
    for (guint i = 0; i < problems->len; i++) {
        json_builder_add_string_value(builder, problems->pdata[i]);
    }
    json_builder_end_array(builder);
}

JsonNode *apusd_report(const ApusdConfig *config, const ApusStatus *status,
                       const ApusTransportCounters *counters)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    put_text(builder, "program", colony_version);
    put_text(builder, "name", config->name);
    put(builder, "id", config->apus.id);
    put_text(builder, "state", apus_state_name(status->state));
    put(builder, "generation", status->generation);
    put(builder, "term", status->term);
    put(builder, "leader", status->leader);
    put_flag(builder, "amnesiac", status->amnesiac);
    put_log(builder, status);
    put_members(builder, status, config->apus.id);
    put_text(builder, "durability",
             config->apus.durability == APUS_DURABILITY_DISK ? "disk"
                                                             : "memory");
    put_text(builder, "tls", config->apus.tls ? "psk" : "off");
    put_text(builder, "transport", is_rdma(config) ? "rdma" : "tcp");
    put_text(builder, "directory", config->directory);
    put_counters(builder, config, status, counters);
    put_problems(builder, config, status);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

/* --- what is wrong ------------------------------------------------------- */

static void note(GPtrArray *lines, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static void note(GPtrArray *lines, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(lines, g_strdup_vprintf(format, args));
    va_end(args);
}

static void note_member(GPtrArray *lines, const ApusStatus *status,
                        const ApusMember *member)
{
    const ApusPeerStatus *peer = apus_status_peer(status, member->id);

    if (!peer) {
        return;
    }
    if (peer->dead) {
        note(lines, "member %u is dead: its process at %s is gone", peer->id,
             member->address);
    } else if (!peer->connected) {
        note(lines, "member %u is not connected: does it run, and is %s right "
             "and reachable?", peer->id, member->address);
    } else if (peer->suspected) {
        note(lines, "member %u is silent for %.1f s: its host or the network "
             "may be down", peer->id, peer->silence / 1e9);
    } else if (peer->amnesiac && leads(status)) {
        note(lines, "member %u is being brought up to date: it does not count "
             "until then", peer->id);
    }
}

static void note_leader(GPtrArray *lines, const ApusStatus *status)
{
    unsigned reachable = 1, needed = apus_members_majority(&status->members);

    if (status->role.stopped) {
        note(lines, "the VM was switched off: nobody leads");
        return;
    }
    for (unsigned i = 0; i < status->peers; i++) {
        reachable += status->peer[i].connected && !status->peer[i].dead;
    }
    if (reachable < needed) {
        note(lines, "no leader: %u of %u members can be reached from here, "
             "%u are needed", reachable, status->members.count, needed);
    } else if (status->role.secondary != APUS_NOBODY) {
        note(lines, "no leader: only member %u, or %u, may lead",
             status->role.leader, status->role.secondary);
    } else if (status->role.leader != APUS_NOBODY) {
        note(lines, "no leader: only member %u may lead", status->role.leader);
    } else {
        note(lines, "no leader is known yet");
    }
}

/* Does the file still say who the members are? They change by the log. */
static gboolean same_members(const ApusMembers *a, const ApusMembers *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        int at = apus_members_find(b, a->member[i].id);

        if (at < 0 || strcmp(a->member[i].address, b->member[at].address)) {
            return FALSE;
        }
    }
    return a->count == b->count;
}

GPtrArray *apusd_problems(const ApusdConfig *config, const ApusStatus *status)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
    const ApusMembers *members = &status->members;

    if (status->state == APUS_STATE_FAILED) {
        note(lines, "the storage has failed: this member takes no part; see "
             "the log, and start it anew when %s can be written to",
             config->directory);
        return lines;
    }
    if (status->amnesiac) {
        note(lines, "this member does not know what it had acknowledged: it "
             "does not count until a leader has brought it up to date");
    }
    if (apus_members_find(members, config->apus.id) < 0) {
        note(lines, "this member does not belong to the group (any more): "
             "the leader has to add it");
    }
    if (status->leader == APUS_NOBODY) {
        note_leader(lines, status);
    } else if (status->role.secondary == APUS_NOBODY) {
        note(lines, "nobody is secondary: should the leader's host die, the "
             "VM stops");
    }
    for (unsigned i = 0; i < members->count; i++) {
        note_member(lines, status, &members->member[i]);
    }
    if (status->changing) {
        note(lines, "a member is being replaced");
    } else if (!same_members(members, &config->members)) {
        note(lines, "the group's members are others than those that the "
             "configuration file names; the group's count");
    }
    return lines;
}

/* --- in words ------------------------------------------------------------ */

static char *leader_text(const ApusStatus *status)
{
    return status->leader == APUS_NOBODY
           ? g_strdup("no leader")
           : g_strdup_printf("leader %u", status->leader);
}

char *apusd_summary(const ApusdConfig *config, const ApusStatus *status)
{
    g_autoptr(GPtrArray) problems = apusd_problems(config, status);
    g_autofree char *leader = leader_text(status);

    return g_strdup_printf("%s in term %" G_GUINT64_FORMAT ", %s; %s",
                           apus_state_name(status->state), status->term,
                           leader, problems->len
                           ? (const char *)problems->pdata[0] : "all is well");
}

static void change_of_peer(GPtrArray *lines, const ApusPeerStatus *before,
                           const ApusPeerStatus *after)
{
    static const ApusPeerStatus unknown;

    before = before ?: &unknown;
    if (after->connected != before->connected) {
        note(lines, "member %u is %s", after->id,
             after->connected ? "connected" : "not connected");
    }
    if (after->dead && !before->dead) {
        note(lines, "member %u is dead", after->id);
    } else if (after->suspected && !before->suspected && !after->dead) {
        note(lines, "member %u is suspected", after->id);
    } else if (!after->suspected && before->suspected) {
        note(lines, "member %u is heard again", after->id);
    }
}

static void change_of_role(GPtrArray *lines, const ApusRole *role)
{
    if (role->stopped) {
        note(lines, "role: the VM is switched off");
    } else if (role->secondary == APUS_NOBODY) {
        note(lines, "role: leader %u, nobody secondary", role->leader);
    } else {
        note(lines, "role: leader %u, secondary %u", role->leader,
             role->secondary);
    }
}

static void change_of_members(GPtrArray *lines, const ApusMembers *members)
{
    g_autoptr(GString) text = g_string_new("members:");

    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *member = &members->member[i];

        g_string_append_printf(text, "%s %u at %s%s", i ? "," : "",
                               member->id, member->address,
                               member->id == members->leaving ? " (leaves)"
                                                              : "");
    }
    note(lines, "%s", text->str);
}

GPtrArray *apusd_changes(const ApusStatus *before, const ApusStatus *after)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

    if (before->state != after->state || before->term != after->term ||
        before->leader != after->leader) {
        g_autofree char *leader = leader_text(after);

        note(lines, "%s in term %" G_GUINT64_FORMAT ", %s",
             apus_state_name(after->state), after->term, leader);
    }
    if (before->amnesiac != after->amnesiac) {
        note(lines, after->amnesiac ? "does not count until it is up to date"
                                    : "is up to date, and counts");
    }
    if (before->role.leader != after->role.leader ||
        before->role.secondary != after->role.secondary ||
        before->role.stopped != after->role.stopped) {
        change_of_role(lines, &after->role);
    }
    if (!same_members(&before->members, &after->members) ||
        before->members.leaving != after->members.leaving) {
        change_of_members(lines, &after->members);
    }
    for (unsigned i = 0; i < after->peers; i++) {
        change_of_peer(lines, apus_status_peer(before, after->peer[i].id),
                       &after->peer[i]);
    }
    return lines;
}
