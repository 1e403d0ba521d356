/*
 * The state of the devices: saved, checked, loaded, compared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/core/cpu.h"
#include "qapi/error.h"
#include "migration/savevm.h"

#include "plover-sync/adapter/devices.h"

static void add_section(void *opaque, const char *idstr, uint32_t instance_id,
                        const void *data, size_t size)
{
    /*
     * What the last migration was told of its source. It is no part of the
     * machine, and each replica has its own.
     */
    if (!g_str_equal(idstr, "globalstate")) {
        plover_sections_add(opaque, idstr, instance_id, data, size);
    }
}

bool plover_devices_save(PloverSections *list, Error **errp)
{
    plover_sections_clear(list);
    return qemu_save_device_sections(add_section, list, errp);
}

/* Every section begins with its version, see qemu_save_device_sections(). */
static uint32_t version(const PloverSection *section)
{
    return section->data->len >= 4 ? ldl_be_p(section->data->data) : 0;
}

bool plover_devices_check(const PloverSections *want,
                          const PloverSections *own, Error **errp)
{
    for (unsigned i = 0; i < plover_sections_count(want); i++) {
        const PloverSection *a = plover_sections_get(want, i);
        const PloverSection *b = plover_sections_find(own, a->name,
                                                      a->instance);

        if (!b) {
            error_setg(errp, "The leader has a device '%s' %" PRIu32
                       " that is not here; give both replicas the same devices",
                       a->name, a->instance);
            return false;
        }
        if (version(a) != version(b)) {
            error_setg(errp, "Device '%s' %" PRIu32 " has version %" PRIu32
                       " on the leader and %" PRIu32 " here; run the same"
                       " Colony on both", a->name, a->instance, version(a),
                       version(b));
            return false;
        }
    }

    for (unsigned i = 0; i < plover_sections_count(own); i++) {
        const PloverSection *b = plover_sections_get(own, i);

        if (!plover_sections_find(want, b->name, b->instance)) {
            error_setg(errp, "There is a device '%s' %" PRIu32
                       " that the leader does not have; give both replicas"
                       " the same devices", b->name, b->instance);
            return false;
        }
    }
    return true;
}

static bool equal(const PloverSection *a, const PloverSection *b)
{
    return a->data->len == b->data->len &&
           memcmp(a->data->data, b->data->data, a->data->len) == 0;
}

/*
 * Whether the device may keep its state because it is the one wanted. Others
 * are loaded in any case: it takes 1 to 10 us, and the device may keep more
 * than it saves, which depends on the guest's memory or on other devices.
 */
static bool may_keep(const PloverSection *want, const PloverSection *own)
{
    /*
     * Loading it patches the guest's option ROM, which is part of the memory
     * that was made equal, and calls every vCPU, which takes 200 us and lets
     * go of the BQL.
     */
    return g_str_equal(want->name, "kvm-tpr-opt") && equal(want, own);
}

/*
 * A part of a CPU's state that is not in its section is as after a reset, and
 * loading relies on that being so. Where the sections have the same parts, all
 * that there is is loaded.
 */
static void reset_cpu(const PloverSection *want, const PloverSection *own)
{
    if (g_str_equal(want->name, "cpu") &&
        want->data->len != own->data->len) {
        CPUState *cpu = qemu_get_cpu(want->instance);

        if (cpu) {
            cpu_reset(cpu);
        }
    }
}

bool plover_devices_load(const PloverSections *want,
                         const PloverSections *own, uint32_t *loaded,
                         Error **errp)
{
    unsigned count = plover_sections_count(want);
    g_autofree DeviceSection *sections = g_new(DeviceSection, count);
    size_t n = 0;

    for (unsigned i = 0; i < count; i++) {
        const PloverSection *a = plover_sections_get(want, i);
        const PloverSection *b = plover_sections_find(own, a->name,
                                                      a->instance);

        if (may_keep(a, b)) {
            continue;
        }
        reset_cpu(a, b);
        sections[n++] = (DeviceSection) {
            .idstr = a->name,
            .instance_id = a->instance,
            .data = a->data->data,
            .size = a->data->len,
        };
    }
    *loaded = n;
    return qemu_load_device_sections(sections, n, errp);
}

bool plover_devices_same(const PloverSection *a, const PloverSection *b)
{
    return equal(a, b);
}
