/*
 * An RDMA fabric that is only memory
 *
 * Between fake_verbs_begin() and fake_verbs_end() every host of this process
 * works over it: connections are made, writes are copied, keys and lengths are
 * checked. The one device, "fake0", has the addresses 127.0.0.0/8 and ::1.
 *
 * A write goes off, is checked and confirmed when it is posted, unless it is
 * held. It lands in the receiver's memory when the receiver looks at its
 * completion queue or takes a registration away, in the receiver's thread. So
 * everything happens in an order that a test determines, and hosts may be in
 * threads of their own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_VERBS_H
#define FAKE_VERBS_H

#include "colo-net/verbs/calls.h"
#include "colo-net/verbs/verbs.h"

void fake_verbs_begin(void);
/* Nothing may be left: ids, queue pairs, registrations, ... */
void fake_verbs_end(void);

/* Writes that @link posts stay on the way. */
void fake_verbs_hold(VerbsLink *link);
/*
 * The first @n of them go on, and then those that are still to come, unless
 * some are left.
 */
void fake_verbs_release(VerbsLink *link, unsigned n);
unsigned fake_verbs_held(VerbsLink *link);
/* The first of them gets lost, which a real fabric does not do. */
void fake_verbs_lose(VerbsLink *link);

/* What becomes of the next write that goes off from @link: */
/* it fails with @status, which breaks its queue pair; */
void fake_verbs_fail_next(VerbsLink *link, enum ibv_wc_status status);
/* the byte at @offset arrives as another one; */
void fake_verbs_spoil_next(VerbsLink *link, size_t offset);
/* only @size bytes arrive before fake_verbs_mend(). */
void fake_verbs_tear_next(VerbsLink *link, size_t size);
void fake_verbs_mend(VerbsLink *link);

/*
 * The @after-th call from now of the one with this name in VerbsCalls (0: the
 * next) fails with @error. NULL: none does.
 */
void fake_verbs_fail_call(const char *name, unsigned after, int error);

/*
 * No call and no write gets through: calls are not answered, and writes are
 * not confirmed.
 */
void fake_verbs_cut(gboolean cut);
/* Registrations that were taken away are still good for writes. */
void fake_verbs_be_unsafe(gboolean unsafe);
/*
 * Those that are refused complete with @status (IBV_WC_REM_ACCESS_ERR at
 * first), and the other side is told by an event, or not.
 */
void fake_verbs_refuse_with(enum ibv_wc_status status, gboolean event);
/* Of @link's queue pair, or of its device. */
void fake_verbs_event(VerbsLink *link, enum ibv_event_type type);
/* Whoever uses the device is told, and it cannot be had any more. */
void fake_verbs_remove_device(void);
void fake_verbs_restore_device(void);
/* A connection event that comes from outside. */
void fake_verbs_cm_event(VerbsLink *link, enum rdma_cm_event_type type,
                         int status);
/* Accept the call that has made @link, which knows nothing of it. */
int fake_verbs_accept_raw(VerbsLink *link, struct rdma_conn_param *param);
/* The next rejections have this reason. */
void fake_verbs_reject_with(int status);

#endif
