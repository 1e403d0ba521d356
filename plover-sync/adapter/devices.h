/*
 * The state of the devices: saved, checked, loaded, compared
 *
 * docs/internals/syncvm-devices.rst says what of it is loaded when, and why
 * that is enough.
 *
 * All calls but plover_devices_check() and plover_devices_same() need the BQL
 * and a VM that is stopped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_DEVICES_H
#define PLOVER_ADAPTER_DEVICES_H

#include "plover-sync/core/sections.h"

/* Make @list the state of all devices, in the order in which it is loaded. */
bool plover_devices_save(PloverSections *list, Error **errp);

/*
 * Whether @want could be loaded into the VM that @own was saved from: it must
 * have the same devices, of the same versions. What this cannot tell, namely
 * whether a device accepts its state, plover_devices_load() finds out too late.
 */
bool plover_devices_check(const PloverSections *want,
                          const PloverSections *own, Error **errp);

/*
 * Make the devices be as @want says, after the guest's memory was. @own was
 * saved here since the VM stopped; devices that are equal in both are skipped
 * where that is known to be safe. @loaded is how many were not. Both lists
 * have passed plover_devices_check(). When this fails, the VM is lost.
 */
bool plover_devices_load(const PloverSections *want,
                         const PloverSections *own, uint32_t *loaded,
                         Error **errp);

/*
 * Whether two sections of one device say the same, leaving out what differs
 * between equal replicas: @a was saved on the leader, @b on the secondary that
 * loaded it.
 */
bool plover_devices_same(const PloverSection *a, const PloverSection *b);

#endif
