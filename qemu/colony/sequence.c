/*
 * QMP commands, one after the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "sequence.h"

typedef struct Sequence {
    ColonyQmp *qmp;
    GPtrArray *commands;
    guint next;
    unsigned timeout_ms;
    ColonySequenceDone *done;
    void *opaque;
} Sequence;

static void end(Sequence *sequence, const GError *error)
{
    sequence->done(sequence->opaque, error);
    g_ptr_array_unref(sequence->commands);
    g_free(sequence);
}

static void on_reply(void *opaque, JsonNode *result G_GNUC_UNUSED,
                     const GError *error)
{
    Sequence *sequence = opaque;

    if (error || sequence->next == sequence->commands->len) {
        end(sequence, error);
        return;
    }
    colony_qmp_run(sequence->qmp,
                   g_ptr_array_index(sequence->commands, sequence->next++),
                   sequence->timeout_ms, on_reply, sequence);
}

void colony_sequence_run(ColonyQmp *qmp, GPtrArray *commands,
                         unsigned timeout_ms, ColonySequenceDone *done,
                         void *opaque)
{
    Sequence *sequence = g_new(Sequence, 1);

    *sequence = (Sequence) {
        .qmp = qmp,
        .commands = commands,
        .timeout_ms = timeout_ms,
        .done = done,
        .opaque = opaque,
    };
    on_reply(sequence, NULL, NULL);
}
