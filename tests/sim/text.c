/*
 * Words for a trace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdio.h>

#include "sim.h"

static size_t records_size(const ApusRecords *records)
{
    return records->size[0] + records->size[1];
}

void sim_text_role(char *out, size_t size, const ApusRole *role)
{
    g_snprintf(out, size, "leader %u (%04x), secondary %u (%04x)%s",
               role->leader, (unsigned)role->leader_incarnation & 0xffff,
               role->secondary,
               (unsigned)role->secondary_incarnation & 0xffff,
               role->stopped ? ", stopped" : "");
}

static const char *verdict_name(ApusVerdict verdict)
{
    static const char *const name[] = {
        [APUS_VOTE_GRANTED] = "yes",
        [APUS_VOTE_TERM] = "no, an old term",
        [APUS_VOTE_LEASE] = "no, a leader lives",
        [APUS_VOTE_AMNESIAC] = "no, amnesiac",
        [APUS_VOTE_GIVEN] = "no, given",
    };

    return verdict < G_N_ELEMENTS(name) && name[verdict] ? name[verdict]
                                                         : "?";
}

void sim_text_message(char *out, size_t size, const ApusMessage *m)
{
    char body[200] = "", role[90];

    switch (m->type) {
    case APUS_MESSAGE_APPEND:
        g_snprintf(body, sizeof(body), "APPEND behind %" PRIu64 "/%" PRIu64
                   ", %zu bytes, last %" PRIu64 ", commit %" PRIu64
                   ", trim %" PRIu64 "%s", m->append.prev_index,
                   m->append.prev_term, records_size(&m->append.records),
                   m->append.beat.last, m->append.beat.commit,
                   m->append.beat.trim,
                   m->append.beat.confirmed ? "" : ", unconfirmed");
        break;
    case APUS_MESSAGE_ACK:
        g_snprintf(body, sizeof(body), "ACK %s %" PRIu64 ", delivered %"
                   PRIu64 ", base %" PRIu64 "%s%s",
                   m->ack.kind == APUS_ACK_SAME ? "same up to" : "differs at",
                   m->ack.match, m->ack.delivered, m->ack.base,
                   m->ack.echo ? ", promised" : "",
                   m->ack.amnesiac ? ", amnesiac" : "");
        break;
    case APUS_MESSAGE_SNAPSHOT:
        g_snprintf(body, sizeof(body), "SNAPSHOT %" PRIu64 "/%" PRIu64
                   ", last %" PRIu64, m->install.snapshot.index,
                   m->install.snapshot.term, m->install.beat.last);
        break;
    case APUS_MESSAGE_ASK_VOTE:
        g_snprintf(body, sizeof(body), "%s, log %" PRIu64 "/%" PRIu64,
                   m->ask_vote.pre ? "WOULD YOU VOTE" : "VOTE FOR ME",
                   m->ask_vote.last_index, m->ask_vote.last_term);
        break;
    case APUS_MESSAGE_VOTE:
        sim_text_role(role, sizeof(role), &m->vote.role);
        g_snprintf(body, sizeof(body), "%s of term %" PRIu64 ": %s; log %"
                   PRIu64 "/%" PRIu64 ", %s",
                   m->vote.pre ? "WOULD VOTE" : "VOTE", m->vote.asked,
                   verdict_name(m->vote.verdict), m->vote.last_index,
                   m->vote.last_term, role);
        break;
    case APUS_MESSAGE_FETCH:
        g_snprintf(body, sizeof(body), "FETCH behind %" PRIu64 "/%" PRIu64,
                   m->fetch.prev_index, m->fetch.prev_term);
        break;
    case APUS_MESSAGE_ENTRIES:
        g_snprintf(body, sizeof(body), "ENTRIES behind %" PRIu64 "/%" PRIu64
                   ", %zu bytes, last %" PRIu64 "%s", m->entries.prev_index,
                   m->entries.prev_term, records_size(&m->entries.records),
                   m->entries.last_index, m->entries.gone ? ", gone" : "");
        break;
    case APUS_MESSAGE_RESIGN:
        g_snprintf(body, sizeof(body), "RESIGN");
        break;
    case APUS_MESSAGE_NOTE:
        g_snprintf(body, sizeof(body), "NOTE, %zu bytes", m->note.size);
        break;
    default:
        g_snprintf(body, sizeof(body), "?");
    }
    g_snprintf(out, size, "term %" PRIu64 " %s", m->term, body);
}

static void text_replica(const SimHost *host, FILE *out)
{
    const SimReplica *replica = &host->replica;
    const SimLead *lead = &replica->lead;
    const SimStage *stage = &replica->stage;

    if (!replica->runs) {
        return;
    }
    fprintf(out, "     VM: has read %" PRIu64 ", %u frames pending, %u "
            "outputs held%s%s%s%s", replica->guest.read,
            replica->pending.inputs, replica->holds,
            replica->stands ? ", stands" : "",
            replica->full ? ", full" : "",
            replica->outdated ? ", outdated" : "",
            replica->layered ? ", layered" : "");
    if (lead->session) {
        fprintf(out, "; leads session %u with %u, phase %u, epoch %" PRIu64,
                lead->session, lead->peer, lead->phase, lead->epoch);
    }
    if (stage->session) {
        fprintf(out, "; in session %u, epoch %" PRIu64 ", applied %" PRIu64,
                stage->session, stage->epoch, replica->applied);
    }
    fprintf(out, "%s%s\n", lead->holds ? ", holds" : "",
            lead->bound ? ", bound" : "");
}

void sim_text_hosts(Sim *sim, FILE *out)
{
    for (ApusId id = 1; id <= sim->hosts; id++) {
        const SimHost *host = &sim->host[id];
        const ApusCore *core = host->core;
        char role[90];

        if (!core) {
            fprintf(out, "  %u: %s\n", id, host->gone ? "gone for good"
                                                      : "not running");
            continue;
        }
        sim_text_role(role, sizeof(role), &apus_log_newest(core->log)->role);
        fprintf(out, "  %u (%04x): %s, term %" PRIu64 ", leader %u, base %"
                PRIu64 ", commit %" PRIu64 ", delivered %" PRIu64
                ", last %" PRIu64 "/%" PRIu64 ", %zu free%s%s%s%s; %s;"
                " members", id, (unsigned)host->incarnation & 0xffff,
                apus_state_name(core->state), core->term, core->leader,
                apus_log_base(core->log)->index, core->commit,
                core->delivered, apus_log_last_index(core->log),
                apus_log_last_term(core->log), apus_log_room(core->log),
                core->amnesiac ? ", amnesiac" : "",
                core->blank ? ", blank" : "",
                host->vm.barrier ? ", paused" : "",
                host->vm.hold ? ", holds" : "", role);
        for (unsigned i = 0; i < host->members.count; i++) {
            fprintf(out, " %u", host->members.member[i].id);
        }
        fputc('\n', out);
        text_replica(host, out);
    }
}
