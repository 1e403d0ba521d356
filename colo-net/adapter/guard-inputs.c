/*
 * filter-guard: what the guest hears
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guard-inputs.h"

static NotifierList notifiers = NOTIFIER_LIST_INITIALIZER(notifiers);

FilterGuardInput filter_guard_input(NetClientState *netdev, unsigned flags,
                                    unsigned vnet_len, uint8_t *frame,
                                    size_t size)
{
    return FILTER_GUARD_INPUT_PASS;
}

void filter_guard_add_input_notifier(Notifier *notifier)
{
    notifier_list_add(&notifiers, notifier);
}
