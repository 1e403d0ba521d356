/*
 * A leader has both replicas compared: memory and devices at a sync, and disks
 *
 * The results come as events; the last ones are part of the Report.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "line.h"
#include "supervisor-internal.h"

#define COMMAND_MS 10000

struct ColonyVerifier {
    ColonySupervisor *supervisor;
    const char *state; /* of "verified", see colony-status.rst; NULL: never */
    ColonyTask task;
    guint left; /* results to come */
    gint64 ended; /* monotonic */
    guint64 pages, differing, bytes, differing_bytes;
    JsonArray *sections;
    char *error;
    unsigned round; /* answers to the ones before are late */
};

typedef struct Asked {
    ColonyVerifier *verifier;
    unsigned round;
} Asked;

static void settle(ColonyVerifier *verifier)
{
    if (verifier->left) {
        return;
    }
    verifier->ended = g_get_monotonic_time();
    if (verifier->error) {
        verifier->state = "failed";
    } else if (verifier->differing || verifier->differing_bytes ||
               json_array_get_length(verifier->sections)) {
        verifier->state = "different";
    } else {
        verifier->state = "equal";
    }
    colony_task_set(verifier->supervisor, &verifier->task, NULL, NULL);
}

static void fail(ColonyVerifier *verifier, const char *why)
{
    if (!verifier->error) {
        verifier->error = g_strdup(why);
    }
}

static void on_reply(void *opaque, JsonNode *result G_GNUC_UNUSED,
                     const GError *error)
{
    g_autofree Asked *asked = opaque;
    ColonyVerifier *verifier = asked->verifier;

    if (error && asked->round == verifier->round && verifier->left) {
        fail(verifier, error->message);
        verifier->left--; /* no event will come */
        settle(verifier);
    }
}

static void ask(ColonyVerifier *verifier, ColonyQmp *qmp, const char *command,
                JsonObject *arguments)
{
    Asked *asked = g_new(Asked, 1);

    *asked = (Asked) { verifier, verifier->round };
    verifier->left++;
    colony_qmp_command(qmp, command, arguments, COMMAND_MS, on_reply, asked);
}

static void reset(ColonyVerifier *verifier)
{
    g_clear_pointer(&verifier->error, g_free);
    g_clear_pointer(&verifier->sections, json_array_unref);
    verifier->sections = json_array_new();
    verifier->pages = verifier->differing = 0;
    verifier->bytes = verifier->differing_bytes = 0;
    verifier->round++;
    verifier->state = "running";
}

void colony_verifier_serve(ColonyVerifier *verifier, ColonyRequest *request)
{
    ColonySupervisor *supervisor = verifier->supervisor;
    ColonyQmp *qmp = colony_machine_qmp(supervisor->machine);
    GPtrArray *disks = supervisor->config->disks;
    g_autoptr(GError) error = NULL;

    if (!qmp || !colony_supervisor_view(supervisor)->protected ||
        verifier->left) {
        error = g_error_new(COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_REFUSED,
                            verifier->left
                            ? "a verification is under way"
                            : "the VM is not protected: there is nothing to "
                              "compare it with");
        colony_request_fail(request, error);
        return;
    }
    reset(verifier);
    colony_task_set(supervisor, &verifier->task, "verify", NULL);
    ask(verifier, qmp, "plover-verify", NULL);
    for (guint i = 0; i < disks->len; i++) {
        const ColonyDisk *disk = g_ptr_array_index(disks, i);
        JsonObject *arguments = json_object_new();

        json_object_set_string_member(arguments, "node-name", disk->id);
        ask(verifier, qmp, "gannet-verify", arguments);
    }
    colony_request_return(request, NULL);
}

void colony_verifier_event(ColonyVerifier *verifier, const char *event,
                           JsonObject *data)
{
    JsonArray *sections;

    if (!verifier->left) {
        return;
    }
    if (!g_strcmp0(event, "PLOVER_VERIFIED")) {
        verifier->pages = colony_json_int(data, "pages", 0);
        verifier->differing = colony_json_int(data, "differing", 0);
        sections = colony_json_array(data, "sections");
        if (sections) {
            json_array_unref(verifier->sections);
            verifier->sections = json_array_ref(sections);
        }
    } else if (!g_strcmp0(event, "GANNET_VERIFIED")) {
        verifier->bytes += colony_json_int(data, "verified", 0);
        verifier->differing_bytes += colony_json_int(data, "differing", 0);
    } else {
        return;
    }
    verifier->left--;
    settle(verifier);
}

void colony_verifier_look(ColonyVerifier *verifier)
{
    if (verifier->left &&
        !colony_supervisor_view(verifier->supervisor)->protected) {
        fail(verifier, "the VM is not protected any more");
        verifier->left = 0;
        verifier->round++;
        settle(verifier);
    }
}

JsonObject *colony_verifier_json(const ColonyVerifier *verifier)
{
    JsonObject *object;
    gint64 age = g_get_monotonic_time() - verifier->ended;

    if (!verifier->state) {
        return NULL;
    }
    object = json_object_new();
    json_object_set_string_member(object, "state", verifier->state);
    if (!verifier->left) {
        json_object_set_double_member(object, "age",
                                      age / (double)G_TIME_SPAN_SECOND);
    }
    json_object_set_int_member(object, "pages", verifier->pages);
    json_object_set_int_member(object, "differing", verifier->differing);
    json_object_set_array_member(object, "sections",
                                 json_array_ref(verifier->sections));
    json_object_set_int_member(object, "bytes", verifier->bytes);
    json_object_set_int_member(object, "differing-bytes",
                               verifier->differing_bytes);
    if (verifier->error) {
        json_object_set_string_member(object, "error", verifier->error);
    }
    return object;
}

const ColonyTask *colony_verifier_task(const ColonyVerifier *verifier)
{
    return &verifier->task;
}

ColonyVerifier *colony_verifier_new(ColonySupervisor *supervisor)
{
    ColonyVerifier *verifier = g_new0(ColonyVerifier, 1);

    verifier->supervisor = supervisor;
    return verifier;
}

void colony_verifier_free(ColonyVerifier *verifier)
{
    if (verifier) {
        g_clear_pointer(&verifier->sections, json_array_unref);
        g_free(verifier->error);
        g_free(verifier->task.error);
        g_free(verifier);
    }
}
