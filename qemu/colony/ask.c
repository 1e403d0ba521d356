/*
 * Asking all nodes how it is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "command.h"
#include "control.h"

typedef struct Round {
    const ColonyConfig *config;
    JsonObject **reports;
    char **errors;
    unsigned left; /* answers to come, and one while they are asked for */
    ColonyAskDone *done;
    void *opaque;
} Round;

typedef struct Question {
    Round *round;
    unsigned place;
} Question;

gboolean colony_ask_is_local(const ColonyConfig *config,
                             const ColonyNode *node)
{
    g_autofree char *path = colony_path_control(node);

    for (guint i = 0; i < config->nodes->len; i++) {
        const ColonyNode *other = g_ptr_array_index(config->nodes, i);

        if (other != node && !strcmp(other->directory, node->directory)) {
            return FALSE;
        }
    }
    return access(path, R_OK | W_OK) == 0;
}

static void finish(Round *round)
{
    unsigned count = round->config->nodes->len;
    ColonyStatus *status;

    if (--round->left > 0) {
        return;
    }
    status = colony_status_new(round->config, round->reports,
                               (const char *const *)round->errors);
    for (unsigned i = 0; i < count; i++) {
        g_clear_pointer(&round->reports[i], json_object_unref);
        g_free(round->errors[i]);
    }
    g_free(round->reports);
    g_free(round->errors);
    round->done(round->opaque, status);
    g_free(round);
}

/*
 * Errors begin with whom they are about, up to a colon; a status says that
 * itself. What an operator can do about it comes behind a semicolon.
 */
static char *reason_of(const char *message)
{
    const char *colon = strstr(message, ": ");
    const char *end = strstr(message, "; ");

    if (!g_str_has_prefix(message, "node ") || !colon) {
        return g_strdup(message);
    }
    colon += 2;
    return end > colon ? g_strndup(colon, end - colon) : g_strdup(colon);
}

static void take(void *opaque, JsonObject *result, const GError *error)
{
    Question *question = opaque;
    Round *round = question->round;

    if (result) {
        round->reports[question->place] = json_object_ref(result);
    } else {
        round->errors[question->place] = reason_of(error->message);
    }
    g_free(question);
    finish(round);
}

void colony_ask_async(const ColonyConfig *config, unsigned timeout_ms,
                      ColonyAskDone *done, void *opaque)
{
    Round *round = g_new(Round, 1);
    unsigned count = config->nodes->len;

    *round = (Round) {
        .config = config,
        .reports = g_new0(JsonObject *, count),
        .errors = g_new0(char *, count),
        .left = count + 1,
        .done = done,
        .opaque = opaque,
    };
    for (unsigned i = 0; i < count; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);
        Question *question = g_new(Question, 1);

        *question = (Question) { round, i };
        colony_call_async(config, node, colony_ask_is_local(config, node),
                          "report", NULL, timeout_ms, take, question);
    }
    finish(round);
}

static void keep(void *opaque, ColonyStatus *status)
{
    ColonyStatus **kept = opaque;

    *kept = status;
}

ColonyStatus *colony_ask(const ColonyConfig *config, unsigned timeout_ms)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    ColonyStatus *status = NULL;

    g_main_context_push_thread_default(context);
    colony_ask_async(config, timeout_ms, keep, &status);
    while (!status) {
        g_main_context_iteration(context, TRUE);
    }
    g_main_context_pop_thread_default(context);
    return status;
}
