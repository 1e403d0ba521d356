/*
 * apus-group: the object, and the life of the member that it is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "crypto/random.h"
#include "crypto/secret_common.h"
#include "crypto/tlscreds.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/qapi-visit-apus.h"
#include "qapi/clone-visitor.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"
#include "group-internal.h"
#include "trace.h"

/* The main loop turns at least so often, or the member is silent (R8). */
#define ALIVE_TIMEOUT_NS (1000 * SCALE_MS)
/* A leader that ends lets another take over. */
#define STOP_TIMEOUT_NS (1000 * SCALE_MS)

/* There is one VM, and so at most one of these. */
static ApusGroupObject *the_object;

ApusGroup *apus_group(void)
{
    return the_object ? the_object->group : NULL;
}

ApusGroup *apus_group_find(const char *id, Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);

    if (!obj || !object_dynamic_cast(obj, TYPE_APUS_GROUP)) {
        error_setg(errp, "There is no apus-group '%s': put its -object before "
                   "those that name it", id);
        return NULL;
    }
    return APUS_GROUP(obj)->group;
}

/* --- the member ---------------------------------------------------------- */

static void show_log(void *opaque, GLogLevelFlags level, const char *text)
{
    trace_apus_group_log(text);
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL |
                 G_LOG_LEVEL_WARNING)) {
        warn_report("apus-group: %s", text);
    }
}

static void member_failed(void *opaque, const GError *error)
{
    error_report("apus-group: this replica takes no further part: %s; it has "
                 "to be started anew", error->message);
}

static const ApusHandlers handlers = {
    .deliver = group_queue_deliver,
    .skipped = group_queue_skipped,
    .told = group_queue_told,
    .term_rises = group_sync_term_rises,
    .changed = conductor_changed,
    .failed = member_failed,
    .log = show_log,
};

static void set_error(Error **errp, const char *what, GError *error)
{
    error_setg(errp, "apus-group: %s%s", what, error->message);
    g_error_free(error);
}

/* Members that exist, and one that is added to them. */
static bool joins(const ApusMembers *members)
{
    return members->count % 2 == 0;
}

static bool make_members(const ApusGroupObject *obj, ApusMembers *members,
                         Error **errp)
{
    memset(members, 0, sizeof(*members));
    for (ApusGroupMemberList *one = obj->members; one; one = one->next) {
        ApusMember *member = &members->member[members->count];

        if (members->count == APUS_MAX_MEMBERS) {
            error_setg(errp, "apus-group: a group has 3 or 5 members");
            return false;
        }
        if (strlen(one->value->address) >= APUS_MAX_ADDRESS) {
            error_setg(errp, "apus-group: the address of member %u is longer "
                       "than %d characters", one->value->id,
                       APUS_MAX_ADDRESS - 1);
            return false;
        }
        member->id = one->value->id;
        member->can_run = one->value->has_can_run && one->value->can_run;
        pstrcpy(member->address, sizeof(member->address),
                one->value->address);
        members->count++;
    }
    if (members->count < 3) {
        error_setg(errp, "apus-group: 'members' lists %u: a group has 3 or 5, "
                   "so that a majority remains when one dies",
                   members->count);
        return false;
    }
    if (joins(members) && apus_members_find(members, obj->config.id) < 0) {
        error_setg(errp, "apus-group: 'members' lists %u: a group has 3 or 5, "
                   "and one more is a member that joins it, but this is "
                   "member %u", members->count, obj->config.id);
        return false;
    }
    return true;
}

/* Hexadecimal digits, with nothing but white space behind them. */
static bool parse_key(const char *hex, GByteArray *key)
{
    for (; g_ascii_isxdigit(hex[0]) && g_ascii_isxdigit(hex[1]); hex += 2) {
        uint8_t byte = g_ascii_xdigit_value(hex[0]) << 4 |
                       g_ascii_xdigit_value(hex[1]);

        g_byte_array_append(key, &byte, 1);
    }
    return key->len && hex[strspn(hex, " \t\r\n")] == 0;
}

/* The key of user "qemu" in a file as psktool makes it. */
static bool read_psk(const char *dir, GByteArray *key, Error **errp)
{
    g_autofree char *path = g_build_filename(dir, "keys.psk", NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    GError *error = NULL;
    bool found = false;

    if (!g_file_get_contents(path, &text, NULL, &error)) {
        set_error(errp, "tls-creds: ", error);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    explicit_bzero(text, strlen(text));
    for (char **line = lines; *line; line++) {
        const char *hex;

        if (!found && strstart(*line, "qemu:", &hex)) {
            found = parse_key(hex, key);
        }
        explicit_bzero(*line, strlen(*line));
    }
    if (!found) {
        error_setg(errp, "apus-group: %s has no key of user 'qemu' in "
                   "hexadecimal digits; psktool -u qemu -p FILE makes one",
                   path);
    }
    return found;
}

static bool read_secret(const char *id, GByteArray *key, Error **errp)
{
    char *text = qcrypto_secret_lookup_as_utf8(id, errp);
    bool ok;

    if (!text) {
        return false;
    }
    ok = parse_key(text, key);
    if (!ok) {
        error_setg(errp, "apus-group: secret '%s' is no key: 32 to 128 "
                   "hexadecimal digits, such as 'openssl rand -hex 32' makes",
                   id);
    }
    explicit_bzero(text, strlen(text));
    g_free(text);
    return ok;
}

static bool read_key(const ApusGroupObject *obj, ApusConfig *config,
                     GByteArray *key, Error **errp)
{
    if (obj->tls_creds && obj->key_secret) {
        error_setg(errp, "apus-group: 'tls-creds' has a key, so 'key-secret' "
                   "is too much; leave one of them out");
        return false;
    }
    if (obj->tls_creds) {
        Object *creds = object_resolve_path_component(
            object_get_objects_root(), obj->tls_creds);
        g_autofree char *dir = NULL;

        if (!creds || !object_dynamic_cast(creds, "tls-creds-psk")) {
            error_setg(errp, "apus-group: there is no tls-creds-psk '%s'",
                       obj->tls_creds);
            return false;
        }
        dir = object_property_get_str(creds, "dir", errp);
        if (!dir || !read_psk(dir, key, errp)) {
            return false;
        }
        config->tls = true;
    } else if (obj->key_secret && !read_secret(obj->key_secret, key, errp)) {
        return false;
    }
    config->key = key->len ? key->data : NULL;
    config->key_size = key->len;
    return true;
}

static bool can_run(const ApusMembers *members, ApusId id)
{
    int at = apus_members_find(members, id);

    return at >= 0 && members->member[at].can_run;
}

static ApusId first_leader(const ApusGroupObject *obj,
                           const ApusMembers *members)
{
    ApusId best = APUS_NOBODY;

    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *member = &members->member[i];

        if (member->can_run && (best == APUS_NOBODY || member->id < best)) {
            best = member->id;
        }
    }
    return obj->leader ? obj->leader : best;
}

static bool found_or_open(ApusGroupObject *obj, const ApusConfig *config,
                          const ApusMembers *members, Error **errp)
{
    ApusGroup *group = obj->group;
    GError *error = NULL;

    group->apus = apus_new(config, &handlers, group, &error);
    if (!group->apus && obj->found &&
        g_error_matches(error, APUS_ERROR, APUS_ERROR_MISSING)) {
        g_clear_error(&error);
        if (apus_found(config, members, first_leader(obj, members),
                       joins(members), &error)) {
            group->apus = apus_new(config, &handlers, group, &error);
        }
    }
    if (!group->apus) {
        bool missing = g_error_matches(error, APUS_ERROR, APUS_ERROR_MISSING);

        set_error(errp, "", error);
        if (missing) {
            error_append_hint(errp, "Is this the very first start of this "
                              "member? Then say found=on, this once.\n");
        }
        return false;
    }
    if (!apus_start(group->apus, &error)) {
        set_error(errp, "", error);
        return false;
    }
    return true;
}

static bool start_member(ApusGroupObject *obj, Error **errp)
{
    g_autoptr(GByteArray) key = g_byte_array_new();
    ApusConfig config;
    ApusMembers members;
    bool ok;

    while (!obj->config.incarnation) {
        if (qcrypto_random_bytes(&obj->config.incarnation,
                                 sizeof(obj->config.incarnation), errp) < 0) {
            return false;
        }
    }
    config = obj->config;
    if (!make_members(obj, &members, errp)) {
        return false;
    }
    obj->group->id = config.id;
    obj->group->incarnation = config.incarnation;
    config.can_run = can_run(&members, config.id);
    obj->group->can_run = config.can_run;
    /* A VM that comes by migration brings the place in the log with it. */
    config.delivers = config.can_run && !runstate_check(RUN_STATE_INMIGRATE);
    config.cluster = obj->cluster;
    config.directory = obj->directory;
    config.listen = obj->listen;
    config.heartbeat = obj->heartbeat * (uint64_t)SCALE_MS;
    config.timeout = obj->timeout * (uint64_t)SCALE_MS;
    config.lease = obj->lease * (uint64_t)SCALE_MS;
    config.submit_timeout = obj->submit_timeout * (uint64_t)SCALE_MS;
    config.log_size = obj->log_size * MiB;
    config.transport = obj->transport == APUS_GROUP_TRANSPORT_RDMA
        ? APUS_TRANSPORT_RDMA : APUS_TRANSPORT_TCP;
    config.busy_poll = obj->busy_poll * (uint64_t)SCALE_US;
    config.rdma_ring = obj->rdma_ring * KiB;
    config.rdma_ack_timeout = obj->rdma_ack_timeout * (uint64_t)SCALE_MS;
    config.alive_timeout = ALIVE_TIMEOUT_NS;
    ok = read_key(obj, &config, key, errp) &&
         found_or_open(obj, &config, &members, errp);
    explicit_bzero(key->data, key->len);
    return ok;
}

static void free_group(ApusGroupObject *obj)
{
    ApusGroup *group = obj->group;

    if (!group) {
        return;
    }
    if (group->apus) {
        apus_stop(group->apus, STOP_TIMEOUT_NS);
        apus_free(group->apus);
        group->apus = NULL;
    }
    group_machine_clear(group);
    conductor_clear(group);
    group_sync_clear(group);
    group_queue_clear(group);
    g_clear_pointer(&obj->group, g_free);
}

static void complete(UserCreatable *uc, Error **errp)
{
    ApusGroupObject *obj = APUS_GROUP(uc);

    if (the_object) {
        error_setg(errp, "There is an apus-group already: one serves the "
                   "whole VM");
        return;
    }
    if (!obj->cluster || !obj->directory || !obj->config.id) {
        error_setg(errp, "apus-group needs 'cluster', the group's name, "
                   "'member', this member's id, and 'directory', of its "
                   "state");
        return;
    }
    obj->group = g_new0(ApusGroup, 1);
    obj->group->unprotected = obj->unprotected;
    the_object = obj;
    group_queue_init(obj->group);
    group_sync_init(obj->group);
    conductor_init(obj->group, obj->timeout);
    group_machine_init(obj->group);
    if (!start_member(obj, errp)) {
        free_group(obj);
        the_object = NULL;
    }
}

/* --- the object ---------------------------------------------------------- */

static bool may_change(ApusGroupObject *obj, const char *name, Error **errp)
{
    if (obj->group) {
        error_setg(errp, "Property 'apus-group.%s' cannot be changed later",
                   name);
    }
    return !obj->group;
}

#define STRING(field)                                                       \
    static char *get_##field(Object *obj, Error **errp)                     \
    {                                                                       \
        return g_strdup(APUS_GROUP(obj)->field);                            \
    }                                                                       \
    static void set_##field(Object *obj, const char *value, Error **errp)   \
    {                                                                       \
        ApusGroupObject *self = APUS_GROUP(obj);                            \
                                                                            \
        if (may_change(self, #field, errp)) {                               \
            g_free(self->field);                                            \
            self->field = g_strdup(value);                                  \
        }                                                                   \
    }

STRING(cluster)
STRING(directory)
STRING(listen)
STRING(tls_creds)
STRING(key_secret)

typedef struct Number {
    const char *name;
    size_t offset;
    uint32_t max;
} Number;

#define FIELD(field) offsetof(ApusGroupObject, field)

/* What is too small or does not fit together is refused by the library. */
static const Number numbers[] = {
    { "leader", FIELD(leader), UINT16_MAX },
    { "heartbeat", FIELD(heartbeat), 3600000 },
    { "timeout", FIELD(timeout), 3600000 },
    { "lease", FIELD(lease), 3600000 },
    { "submit-timeout", FIELD(submit_timeout), 3600000 },
    { "log-size", FIELD(log_size), 1 * MiB },
    { "busy-poll", FIELD(busy_poll), 1000000 },
    { "rdma-ring", FIELD(rdma_ring), 256 * KiB },
    { "rdma-ack-timeout", FIELD(rdma_ack_timeout), 60000 },
};

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

    if (!visit_type_uint32(v, name, &value, errp) ||
        !may_change(APUS_GROUP(obj), name, errp)) {
        return;
    }
    if (!value || value > number->max) {
        error_setg(errp, "Property 'apus-group.%s' is %" PRIu32 "; it must "
                   "be from 1 to %" PRIu32, name, value, number->max);
        return;
    }
    *(uint32_t *)((char *)obj + number->offset) = value;
}

static void get_member(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    visit_type_uint16(v, name, &APUS_GROUP(obj)->config.id, errp);
}

static void set_member(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    uint16_t value;

    if (visit_type_uint16(v, name, &value, errp) &&
        may_change(APUS_GROUP(obj), name, errp)) {
        APUS_GROUP(obj)->config.id = value;
    }
}

static void get_members(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    visit_type_ApusGroupMemberList(v, name, &APUS_GROUP(obj)->members, errp);
}

static void set_members(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    ApusGroupMemberList *list = NULL;

    if (!visit_type_ApusGroupMemberList(v, name, &list, errp)) {
        return;
    }
    if (!may_change(APUS_GROUP(obj), name, errp)) {
        qapi_free_ApusGroupMemberList(list);
        return;
    }
    qapi_free_ApusGroupMemberList(APUS_GROUP(obj)->members);
    APUS_GROUP(obj)->members = list;
}

static int get_durability(Object *obj, Error **errp)
{
    return APUS_GROUP(obj)->config.durability == APUS_DURABILITY_DISK
           ? APUS_GROUP_DURABILITY_DISK : APUS_GROUP_DURABILITY_MEMORY;
}

static void set_durability(Object *obj, int value, Error **errp)
{
    if (may_change(APUS_GROUP(obj), "durability", errp)) {
        APUS_GROUP(obj)->config.durability =
            value == APUS_GROUP_DURABILITY_DISK ? APUS_DURABILITY_DISK
                                                : APUS_DURABILITY_MEMORY;
    }
}

static int get_unprotected(Object *obj, Error **errp)
{
    return APUS_GROUP(obj)->unprotected;
}

/* This one may be changed at any time. */
static void set_unprotected(Object *obj, int value, Error **errp)
{
    ApusGroupObject *self = APUS_GROUP(obj);

    self->unprotected = value;
    if (self->group) {
        self->group->unprotected = value;
        qemu_bh_schedule(self->group->conduct_bh);
    }
}

static int get_transport(Object *obj, Error **errp)
{
    return APUS_GROUP(obj)->transport;
}

static void set_transport(Object *obj, int value, Error **errp)
{
    if (may_change(APUS_GROUP(obj), "transport", errp)) {
        APUS_GROUP(obj)->transport = value;
    }
}

static void get_queue_limit(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    uint64_t value = APUS_GROUP(obj)->config.queue_limit;

    visit_type_size(v, name, &value, errp);
}

static void set_queue_limit(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    uint64_t value;

    if (visit_type_size(v, name, &value, errp) &&
        may_change(APUS_GROUP(obj), name, errp)) {
        APUS_GROUP(obj)->config.queue_limit = value;
    }
}

static bool get_found(Object *obj, Error **errp)
{
    return APUS_GROUP(obj)->found;
}

static void set_found(Object *obj, bool value, Error **errp)
{
    if (may_change(APUS_GROUP(obj), "found", errp)) {
        APUS_GROUP(obj)->found = value;
    }
}

static bool get_strict(Object *obj, Error **errp)
{
    return APUS_GROUP(obj)->config.lease_strict;
}

static void set_strict(Object *obj, bool value, Error **errp)
{
    if (may_change(APUS_GROUP(obj), "lease-strict", errp)) {
        APUS_GROUP(obj)->config.lease_strict = value;
    }
}

/* Filters and syncvm rely on it. */
static bool can_be_deleted(UserCreatable *uc)
{
    ApusGroup *group = APUS_GROUP(uc)->group;

    return !group || (QTAILQ_EMPTY(&group->sinks) && !group->ears &&
                      group->part == APUS_PART_WITNESS);
}

static void instance_finalize(Object *obj)
{
    ApusGroupObject *self = APUS_GROUP(obj);

    free_group(self);
    if (the_object == self) {
        the_object = NULL;
    }
    qapi_free_ApusGroupMemberList(self->members);
    g_free(self->cluster);
    g_free(self->directory);
    g_free(self->listen);
    g_free(self->tls_creds);
    g_free(self->key_secret);
}

static void class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = complete;
    ucc->can_be_deleted = can_be_deleted;
    object_class_property_add_str(oc, "cluster", get_cluster, set_cluster);
    object_class_property_add_str(oc, "directory", get_directory,
                                  set_directory);
    object_class_property_add_str(oc, "listen", get_listen, set_listen);
    object_class_property_add_str(oc, "tls-creds", get_tls_creds,
                                  set_tls_creds);
    object_class_property_add_str(oc, "key-secret", get_key_secret,
                                  set_key_secret);
    object_class_property_add(oc, "member", "uint16", get_member, set_member,
                              NULL, NULL);
    object_class_property_add(oc, "members", "ApusGroupMemberList",
                              get_members, set_members, NULL, NULL);
    object_class_property_add_enum(oc, "durability", "ApusGroupDurability",
                                   &ApusGroupDurability_lookup,
                                   get_durability, set_durability);
    object_class_property_add_enum(oc, "transport", "ApusGroupTransport",
                                   &ApusGroupTransport_lookup,
                                   get_transport, set_transport);
    object_class_property_add_enum(oc, "unprotected", "ApusUnprotected",
                                   &ApusUnprotected_lookup,
                                   get_unprotected, set_unprotected);
    object_class_property_add(oc, "queue-limit", "size", get_queue_limit,
                              set_queue_limit, NULL, NULL);
    object_class_property_add_bool(oc, "found", get_found, set_found);
    object_class_property_add_bool(oc, "lease-strict", get_strict,
                                   set_strict);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        object_class_property_add(oc, numbers[i].name, "uint32", get_number,
                                  set_number, NULL, (void *)&numbers[i]);
    }
}

static const TypeInfo group_info = {
    .name = TYPE_APUS_GROUP,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(ApusGroupObject),
    .instance_finalize = instance_finalize,
    .class_init = class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&group_info);
}

type_init(register_types);
