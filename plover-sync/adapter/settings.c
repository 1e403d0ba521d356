/*
 * -object plover: the bounds of syncs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "colony/colo-net/verbs/stream.h"
#include "settings.h"

#define TYPE_PLOVER "plover"
OBJECT_DECLARE_SIMPLE_TYPE(PloverObject, PLOVER)

struct PloverObject {
    Object parent_obj;
    PloverSettings settings;
    char *rdma;
};

static const PloverSettings defaults = {
    .copy = PLOVER_COPY_MODE_HASH,
    .secondary = PLOVER_SECONDARY_MODE_RUN,
    .sync_timeout = 1000,
    .failures = 3,
    .copy_limit = 64 * MiB,
    .stage_limit = 64 * MiB,
    .cache_limit = 16 * MiB,
    .cache_age = 64,
};

/* There is one VM, and so at most one of these. */
static PloverObject *the_object;

PloverSettings plover_settings(void)
{
    return the_object ? the_object->settings : defaults;
}

/* A number, where it is and what it may be. */
typedef struct Number {
    const char *name;
    size_t offset;
    uint64_t min;
    uint64_t max;
} Number;

#define FIELD(field) offsetof(PloverObject, settings.field)

static const Number sizes[] = {
    { "copy-limit", FIELD(copy_limit), 0, 64 * GiB },
    { "stage-limit", FIELD(stage_limit), 1 * MiB, 64 * GiB },
    { "cache-limit", FIELD(cache_limit), 0, 4 * GiB },
};

static const Number numbers[] = {
    { "sync-timeout", FIELD(sync_timeout), 10, 600000 },
    { "failures", FIELD(failures), 1, 1000 },
    { "cache-age", FIELD(cache_age), 1, 1000000 },
};

static bool in_range(const Number *number, uint64_t value, Error **errp)
{
    if (value < number->min || value > number->max) {
        error_setg(errp, "%s of plover is %" PRIu64 ", must be from %" PRIu64
                   " to %" PRIu64, number->name, value, number->min,
                   number->max);
        return false;
    }
    return true;
}

static void get_size(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    const Number *number = opaque;

    visit_type_size(v, name, (uint64_t *)((char *)obj + number->offset),
                    errp);
}

static void set_size(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    const Number *number = opaque;
    uint64_t value;

    if (visit_type_size(v, name, &value, errp) &&
        in_range(number, value, errp)) {
        *(uint64_t *)((char *)obj + number->offset) = value;
    }
}

static void get_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    const Number *number = opaque;

    visit_type_uint32(v, name, (uint32_t *)((char *)obj + number->offset),
                      errp);
}

static void set_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    const Number *number = opaque;
    uint32_t value;

    if (visit_type_uint32(v, name, &value, errp) &&
        in_range(number, value, errp)) {
        *(uint32_t *)((char *)obj + number->offset) = value;
    }
}

static int get_copy(Object *obj, Error **errp)
{
    return PLOVER(obj)->settings.copy;
}

static void set_copy(Object *obj, int value, Error **errp)
{
    PLOVER(obj)->settings.copy = value;
}

static int get_secondary(Object *obj, Error **errp)
{
    return PLOVER(obj)->settings.secondary;
}

static void set_secondary(Object *obj, int value, Error **errp)
{
    PLOVER(obj)->settings.secondary = value;
}

static bool get_idle(Object *obj, Error **errp)
{
    return PLOVER(obj)->settings.idle;
}

static void set_idle(Object *obj, bool value, Error **errp)
{
    PLOVER(obj)->settings.idle = value;
}

static char *get_rdma(Object *obj, Error **errp)
{
    return g_strdup(PLOVER(obj)->rdma);
}

static void set_rdma(Object *obj, const char *value, Error **errp)
{
    PloverObject *plover = PLOVER(obj);
    g_autoptr(GError) error = NULL;

    if (!verbs_address_parse(&plover->settings.rdma, value, &error) ||
        !verbs_is_built_in(&error)) {
        error_setg(errp, "rdma of plover: %s", error->message);
        return;
    }
    plover->settings.has_rdma = true;
    g_free(plover->rdma);
    plover->rdma = g_strdup(value);
}

static void complete(UserCreatable *uc, Error **errp)
{
    PloverObject *plover = PLOVER(uc);

    if (the_object) {
        error_setg(errp, "there is a plover object already: one serves the "
                   "whole VM");
        return;
    }
    the_object = plover;
}

static void instance_init(Object *obj)
{
    PLOVER(obj)->settings = defaults;
}

static void instance_finalize(Object *obj)
{
    if (the_object == PLOVER(obj)) {
        the_object = NULL;
    }
    g_free(PLOVER(obj)->rdma);
}

static void class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = complete;
    object_class_property_add_enum(oc, "copy", "PloverCopyMode",
                                   &PloverCopyMode_lookup,
                                   get_copy, set_copy);
    object_class_property_add_enum(oc, "secondary", "PloverSecondaryMode",
                                   &PloverSecondaryMode_lookup,
                                   get_secondary, set_secondary);
    object_class_property_add_bool(oc, "idle", get_idle, set_idle);
    object_class_property_add_str(oc, "rdma", get_rdma, set_rdma);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        object_class_property_add(oc, sizes[i].name, "size", get_size,
                                  set_size, NULL, (void *)&sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        object_class_property_add(oc, numbers[i].name, "uint32", get_number,
                                  set_number, NULL, (void *)&numbers[i]);
    }
}

static const TypeInfo plover_info = {
    .name = TYPE_PLOVER,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(PloverObject),
    .instance_init = instance_init,
    .instance_finalize = instance_finalize,
    .class_init = class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&plover_info);
}

type_init(register_types);
