/*
 * What a member under test tells, and where it may be struck
 *
 * Events go to a pipe, one line each: the time in nanoseconds on
 * CLOCK_BOOTTIME, the event's name, and words like key=value. Points are
 * events that happen too often to be told. At each of them a strike may be
 * armed: the process then kills or stops itself right there, in the thread
 * that got there, before anything else happens in it.
 *
 * Any thread may call.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_TRACE_H
#define CLUSTER_TRACE_H

#include <glib.h>
#include <stdint.h>

typedef struct Trace Trace;

Trace *trace_new(int fd);
void trace_free(Trace *trace);

/* Tell an event, which is a point, too. */
void trace_event(Trace *trace, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
void trace_point(Trace *trace, const char *name);

/*
 * Arm a strike: NAME[:N]=kill or NAME[:N]=stop, at the N-th time (1) from now
 * on that the point NAME is reached.
 */
gboolean trace_arm(Trace *trace, const char *strike, GError **errp);

#endif
