/*
 * How things are: of oneself, and as other nodes report
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "line.h"
#include "situation.h"
#include "store.h"

#define SETTLE_MS 3000

ColonyProcess colony_situation_process(const ColonySupervisor *supervisor)
{
    const ColonyView *view = colony_supervisor_view(supervisor);

    if (!colony_machine_is_running(supervisor->machine)) {
        return COLONY_PROCESS_NONE;
    }
    if (!supervisor->node->can_run) {
        return view->failed ? COLONY_PROCESS_OUTDATED : COLONY_PROCESS_IDLE;
    }
    if (!view->known) {
        return supervisor->given_up ? COLONY_PROCESS_OUTDATED
                                    : COLONY_PROCESS_VM;
    }
    if (view->part == COLONY_PART_DEPOSED || view->failed) {
        return COLONY_PROCESS_OUTDATED;
    }
    if (supervisor->hollow && g_get_monotonic_time() - supervisor->hollow >
        colony_situation_settle_us(supervisor)) {
        return COLONY_PROCESS_IDLE;
    }
    if (view->part != COLONY_PART_WITNESS) {
        return COLONY_PROCESS_VM;
    }
    return !g_strcmp0(view->run_state, "inmigrate") ? COLONY_PROCESS_IDLE
                                                    : COLONY_PROCESS_BOOTS;
}

/* A leader that was cut off does not know yet that it leads no more. */
static gboolean is_elected(const ColonyView *view)
{
    JsonObject *apus = view->apus && JSON_NODE_HOLDS_OBJECT(view->apus)
                       ? json_node_get_object(view->apus) : NULL;
    JsonArray *members = colony_json_array(apus, "members");
    guint count = members ? json_array_get_length(members) : 0, heard = 0;

    if (!colony_view_leads(view) || !view->leader) {
        return FALSE;
    }
    for (guint i = 0; i < count; i++) {
        JsonNode *element = json_array_get_element(members, i);
        JsonObject *member = JSON_NODE_HOLDS_OBJECT(element)
                             ? json_node_get_object(element) : NULL;

        heard += colony_json_boolean(member, "connected", FALSE) &&
                 !colony_json_boolean(member, "suspected", TRUE);
    }
    return colony_json_boolean(apus, "may-speak", FALSE) || 2 * heard > count;
}

static const char *const process_names[] = {
    [COLONY_PROCESS_UNKNOWN] = "unknown",
    [COLONY_PROCESS_NONE] = "none",
    [COLONY_PROCESS_IDLE] = "idle",
    [COLONY_PROCESS_BOOTS] = "boots",
    [COLONY_PROCESS_VM] = "vm",
    [COLONY_PROCESS_OUTDATED] = "outdated",
};

static void get_store(const ColonySupervisor *supervisor,
                      ColonySituation *situation)
{
    ColonyStored stored = { 0 };

    if (colony_situation_process(supervisor) != COLONY_PROCESS_VM) {
        stored = colony_store_read(supervisor->config, supervisor->node, NULL);
    }
    situation->store = stored.state;
    situation->disks = stored.generation;
    situation->lowest = stored.lowest;
}

JsonObject *colony_situation_json(const ColonySupervisor *supervisor)
{
    const ColonyRecord *record = supervisor->record;
    JsonObject *object = json_object_new();
    JsonArray *absent = json_array_new();
    ColonySituation own;

    get_store(supervisor, &own);

    json_object_set_string_member(
        object, "process",
        process_names[colony_situation_process(supervisor)]);
    json_object_set_int_member(object, "generation", record->generation);
    if (record->id) {
        json_object_set_string_member(object, "id", record->id);
        json_object_set_string_member(object, "boot", record->boot);
        json_object_set_int_member(object, "boot-disks", record->disks);
    }
    json_object_set_boolean_member(object, "off", record->off);
    json_object_set_boolean_member(
        object, "elected", is_elected(colony_supervisor_view(supervisor)));
    json_object_set_int_member(object, "term", record->term);
    json_object_set_int_member(object, "leader", record->leader);
    for (char **name = record->absent; name && *name; name++) {
        json_array_add_string_element(absent, *name);
    }
    json_object_set_array_member(object, "absent", absent);
    json_object_set_int_member(object, "disks", own.disks);
    json_object_set_int_member(object, "lowest", own.lowest);
    json_object_set_int_member(object, "store", own.store);
    return object;
}

static ColonyProcess parse_process(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(process_names); i++) {
        if (!g_strcmp0(name, process_names[i])) {
            return i;
        }
    }
    return COLONY_PROCESS_UNKNOWN;
}

unsigned colony_situation_place(const ColonyConfig *config,
                                const ColonyNode *node)
{
    guint place;

    return node && g_ptr_array_find(config->nodes, node, &place) ? place + 1
                                                                 : 0;
}

static void get_own(const ColonySupervisor *supervisor, ColonySituation *own)
{
    const ColonyRecord *record = supervisor->record;

    get_store(supervisor, own);
    own->wanted = record->wanted;
    own->process = colony_situation_process(supervisor);
    own->elected = is_elected(colony_supervisor_view(supervisor));
    own->generation = record->generation;
    own->id = record->id;
    own->off = record->off;
    own->led = g_get_monotonic_time() - supervisor->led <
               colony_situation_settle_us(supervisor);
    own->term = record->term;
    own->leader = colony_situation_place(
        supervisor->config,
        colony_config_member(supervisor->config, record->leader));
}

static gboolean is_listed(JsonArray *names, const char *name)
{
    for (guint i = 0; names && i < json_array_get_length(names); i++) {
        JsonNode *element = json_array_get_element(names, i);

        if (JSON_NODE_HOLDS_VALUE(element) &&
            !g_strcmp0(json_node_get_string(element), name)) {
            return TRUE;
        }
    }
    return FALSE;
}

static guint64 get_absent(const ColonyConfig *config, JsonArray *names)
{
    guint64 absent = 0;

    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);

        absent |= (guint64)is_listed(names, node->name) << i;
    }
    return absent;
}

static void get_peer(const ColonySupervisor *supervisor,
                     const ColonyNode *node, ColonySituation *there)
{
    const ColonyConfig *config = supervisor->config;
    JsonObject *report = colony_peers_get(supervisor->peers, node)->report;
    JsonObject *start = colony_json_object(report, "start");

    there->wanted = !g_strcmp0(colony_json_string(
        colony_json_object(report, "supervisor"), "wanted"), "up");
    there->process = parse_process(colony_json_string(start, "process"));
    there->generation = colony_json_int(start, "generation", 0);
    there->id = colony_json_string(start, "id");
    there->elected = colony_json_boolean(start, "elected", FALSE);
    there->off = colony_json_boolean(start, "off", FALSE);
    there->absent = get_absent(config, colony_json_array(start, "absent"));
    there->term = colony_json_int(start, "term", 0);
    there->disks = colony_json_int(start, "disks", 0);
    there->lowest = colony_json_int(start, "lowest", G_MAXINT64);
    there->store = colony_json_int(start, "store", COLONY_STORE_MISSING);
    there->leader = colony_situation_place(config, colony_config_member(
        config, colony_json_int(start, "leader", 0)));
}

unsigned colony_situation_gather(const ColonySupervisor *supervisor,
                                 ColonySituation *nodes)
{
    GPtrArray *all = supervisor->config->nodes;
    unsigned self = 0;

    for (guint i = 0; i < all->len; i++) {
        const ColonyNode *node = g_ptr_array_index(all, i);

        nodes[i].can_run = node->can_run;
        if (node == supervisor->node) {
            self = i;
            get_own(supervisor, &nodes[i]);
        } else {
            get_peer(supervisor, node, &nodes[i]);
        }
    }
    return self;
}

/* Who has become a member was absent, and is not expected any more. */
void colony_situation_note_members(ColonySupervisor *supervisor)
{
    ColonyRecord *record = supervisor->record;
    GPtrArray *nodes = supervisor->config->nodes;

    for (guint i = 0; record->absent && i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);
        ColonySituation there = { 0 };

        if (node == supervisor->node ||
            !colony_record_expects(record, node->name)) {
            continue;
        }
        get_peer(supervisor, node, &there);
        if (there.generation == record->generation) {
            colony_record_expect(record, node->name, FALSE);
            colony_supervisor_save(supervisor, NULL);
        }
    }
}

gint64 colony_situation_settle_us(const ColonySupervisor *supervisor)
{
    return MAX(SETTLE_MS, 10 * (gint64)supervisor->config->timeout) * 1000;
}

gboolean colony_situation_is_left_out(const ColonySupervisor *supervisor)
{
    GPtrArray *nodes = supervisor->config->nodes;
    unsigned self = supervisor->node->id;

    for (guint i = 0; i < nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(nodes, i);
        JsonObject *apus;

        if (node == supervisor->node) {
            continue;
        }
        apus = colony_json_object(
            colony_peers_get(supervisor->peers, node)->report, "apus");
        if (!g_strcmp0(colony_json_string(apus, "part"), "leader") &&
            colony_json_boolean(apus, "may-speak", FALSE) &&
            (guint64)colony_json_int(apus, "term", 0) >=
            supervisor->record->term &&
            colony_json_int(apus, "secondary", 0) != self) {
            return TRUE;
        }
    }
    return FALSE;
}
