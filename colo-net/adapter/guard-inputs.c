/*
 * filter-guard: what the guest hears
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guard-inputs.h"
#include "guard-internal.h"
#include "trace.h"

static NotifierList notifiers = NOTIFIER_LIST_INITIALIZER(notifiers);

void filter_guard_add_input_notifier(Notifier *notifier)
{
    notifier_list_add(&notifiers, notifier);
}

static FilterGuard *find(NetClientState *netdev)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (NETFILTER(g)->netdev == netdev) {
            return g->comparison ? g : NULL;
        }
    }
    return NULL;
}

bool filter_guard_input(NetClientState *netdev, unsigned flags,
                        unsigned vnet_len, uint8_t *frame, size_t size)
{
    FilterGuard *g = find(netdev);
    int64_t now;

    if (!g) {
        return true;
    }
    now = guard_now();
    if (!guard_is_secondary()) {
        flow_inbound(g->comparison->table, frame, size, vnet_len, now);
    } else if (echo_inbound(g->comparison->echo, frame, size, vnet_len,
                            now) == ECHO_WAIT) {
        if (g->waits_since < 0) {
            g->waits_since = now;
            guard_schedule_in(g->comparison->timeout * SCALE_US);
        }
        return false;
    }
    g->waits_since = -1;
    return true;
}

bool filter_guard_noise(NetClientState *netdev, unsigned vnet_len,
                        const uint8_t *frame, size_t size)
{
    FilterGuard *g = find(netdev);

    return g && flow_noise(g->comparison->table, frame, size, vnet_len);
}

/* An input that waits for too long is for the leader to know. */
static void look_at_clock(FilterGuard *g)
{
    int64_t now = guard_now();
    int64_t timeout = g->comparison->timeout;
    int64_t left = g->waits_since + timeout - now;

    if (left <= 0) {
        trace_filter_guard_stuck(guard_id(g));
        echo_stuck(g->comparison->echo);
        g->waits_since = now;
        left = timeout;
    }
    guard_schedule_in(left * SCALE_US);
}

void guard_inputs_look(void)
{
    bool waits = false;
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->waits_since >= 0) {
            waits = true;
            if (guards.active) {
                look_at_clock(g);
            }
        }
    }
    if (waits) {
        notifier_list_notify(&notifiers, NULL);
    }
}
