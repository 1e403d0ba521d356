/*
 * Numbered submissions whenever the member accepts them
 *
 * Each payload is different from all others that any process submits, so its
 * hash says which submission it was. What becomes of each is written to a
 * tape.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_LOAD_H
#define CLUSTER_LOAD_H

#include "colo-net/apus/apus.h"
#include "tape.h"
#include "trace.h"

typedef struct Load Load;

/* @fates is not owned. */
Load *load_new(Tape *fates, Trace *trace);
void load_free(Load *load);

/*
 * none, closed:N (N under way at a time) or paced:N (so many per second), and
 * after that, optionally, ,size=MIN-MAX and ,sync=N (a SYNC at every N-th).
 */
gboolean load_set(Load *load, const char *text, GError **errp);

/* The member accepts now, in @term, or no more. */
void load_accepting(Load *load, Apus *apus, gboolean accepts, uint64_t term);

/* Submit what is due. Any thread. */
void load_go_on(Load *load);

/* A ROLE, whose fate is to be known as well. */
gboolean load_submit_role(Load *load, Apus *apus, ApusId secondary,
                          void (*done)(void *opaque, ApusFate fate),
                          void *opaque, GError **errp);

/* Submissions whose fate is open. */
unsigned load_pending(const Load *load);

uint64_t payload_hash(const uint8_t *payload, uint32_t length);

#endif
