/*
 * A member under test: APUS in a process of its own
 *
 * Tells what happens on standard output (trace.h), writes what was submitted
 * and delivered to tapes (tape.h), and takes commands on standard input, a
 * line each:
 *
 *   load SPEC            see load.h
 *   strike SPEC          see trace.h
 *   protect on|off       see protect.h
 *   alive on|off         whether it says that its main loop turns
 *   resign               apus_resign()
 *   role ID              submit a ROLE that names this secondary; 0: nobody
 *   replace OLD MEMBER   apus_replace(); 0 or none: not this one
 *   disk honest|full|lies   see powercut.h
 *   part ID on|off       see part.h
 *   status               answered by an event "status"
 *   stop                 stop, and end
 *
 * Each is answered by an event, "done COMMAND" or "refused WHY".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "colo-net/apus/runtime/loop.h"
#include "load.h"
#include "options.h"
#include "part.h"
#include "powercut.h"
#include "protect.h"
#include "tape.h"
#include "trace.h"
#include "vm.h"

#define TICK 1 /* ms between two looks of who may lead */
#define STOP_TIMEOUT G_GUINT64_CONSTANT(5000000000)

typedef struct {
    Options options;
    Trace *trace;
    Tape *fates;
    Vm *vm;
    Load *load;
    Protect *protect;
    PowerCut *power;
    Apus *apus;
    int wake; /* an eventfd: the main thread is to look around */
    gint resume; /* a SYNC was delivered */
    gboolean alive;
    gboolean end;
    GString *input; /* of commands, not complete yet */

    /* the member's thread */
    ApusState state;
    char *told;
} Node;

/* --- handlers, in the member's thread ------------------------------------ */

static void wake_up(Node *node)
{
    uint64_t one = 1;

    (void)!write(node->wake, &one, sizeof(one));
}

static ApusDeliver deliver(void *opaque, const ApusEntry *entry)
{
    Node *node = opaque;
    ApusDeliver next = vm_deliver(node->vm, node->apus, entry);

    if (entry->kind == APUS_ENTRY_SYNC) {
        g_atomic_int_set(&node->resume, TRUE);
        wake_up(node);
    }
    return next;
}

static void skipped(void *opaque, const ApusSnapshot *snapshot)
{
    Node *node = opaque;

    vm_skipped(node->vm, snapshot);
}

static char *status_text(const ApusStatus *status)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_printf(text, "state=%s term=%" PRIu64 " leader=%u accepts=%d "
                    "role=%u,%u stopped=%d generation=%" PRIu64
                    " amnesiac=%d changing=%d members=",
                    apus_state_name(status->state), status->term,
                    status->leader, status->accepts, status->role.leader,
                    status->role.secondary, status->role.stopped,
                    status->generation, status->amnesiac, status->changing);
    for (unsigned i = 0; i < status->members.count; i++) {
        g_string_append_printf(text, "%s%u", i ? "," : "",
                               status->members.member[i].id);
    }
    g_string_append(text, " peers=");
    for (unsigned i = 0; i < status->peers; i++) {
        const ApusPeerStatus *peer = &status->peer[i];

        g_string_append_printf(text, "%s%u:%s", i ? "," : "", peer->id,
                               peer->dead ? "dead" :
                               peer->suspected ? "suspected" :
                               peer->connected ? "connected" : "away");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void changed(void *opaque, const ApusStatus *status)
{
    Node *node = opaque;
    gboolean leads = status->state == APUS_STATE_LEADER;
    char *text = status_text(status);

    vm_lead(node->vm, leads ? status->term : 0);
    if (g_strcmp0(text, node->told) != 0) {
        trace_event(node->trace, "state", "%s", text);
    }
    g_free(node->told);
    node->told = text;
    if (status->state != node->state) {
        node->state = status->state;
        trace_point(node->trace, apus_state_name(status->state));
        if (leads) {
            apus_resume(node->apus);
            apus_settled(node->apus);
        }
    }
    load_accepting(node->load, node->apus, status->accepts, status->term);
    protect_changed(node->protect, node->apus, status);
    wake_up(node);
}

static void failed(void *opaque, const GError *error)
{
    Node *node = opaque;

    trace_event(node->trace, "failed", "%s", error->message);
}

static void log_line(void *opaque, GLogLevelFlags level, const char *text)
{
    Node *node = opaque;

    trace_event(node->trace, "log", "%d %s", level & G_LOG_LEVEL_MASK, text);
    if (g_str_has_prefix(text, "cannot store")) {
        trace_event(node->trace, "stalled", "%s", "");
    } else if (g_str_has_prefix(text, "storing goes on")) {
        trace_event(node->trace, "goes-on", "%s", "");
    }
}

/* --- commands, in the main thread ---------------------------------------- */

static gboolean command_replace(Node *node, const char *words, GError **errp)
{
    g_auto(GStrv) both = g_strsplit(words, " ", 2);
    ApusMember member;
    gboolean none;

    if (g_strv_length(both) != 2) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG, "replace OLD MEMBER");
        return FALSE;
    }
    none = strcmp(both[1], "none") == 0;
    return (none || options_member(&member, both[1], errp)) &&
           apus_replace(node->apus, atoi(both[0]), none ? NULL : &member,
                        errp);
}

static void role_done(void *opaque, ApusFate fate)
{
    Node *node = opaque;

    trace_event(node->trace, "named", "committed=%d",
                fate == APUS_FATE_COMMITTED);
}

static gboolean command_status(Node *node, GError **errp)
{
    ApusTransportCounters counters;
    ApusStatus status;
    g_autofree char *text = NULL;

    if (!apus_status(node->apus, &status, errp) ||
        !apus_counters(node->apus, &counters, errp)) {
        return FALSE;
    }
    text = status_text(&status);
    trace_event(node->trace, "status", "%s base=%" PRIu64 " last=%" PRIu64
                " commit=%" PRIu64 " delivered=%" PRIu64 " stored=%" PRIu64
                " pending=%u open=%u elections=%" PRIu64 " snapshots=%" PRIu64
                " corrupt=%" PRIu64 " strangers=%" PRIu64
                " fenced=%" PRIu64 " kept-out=%" PRIu64
                " speaks=%d", text, status.base, status.last,
                status.commit, status.delivered, status.stored, status.pending,
                load_pending(node->load), status.elections, status.snapshots,
                status.corrupt_records, counters.strangers, counters.fenced,
                counters.kept_out, apus_may_speak(node->apus));
    return TRUE;
}

static gboolean command_part(Node *node, const char *words, GError **errp)
{
    const ApusMembers *members = &node->options.members;
    g_auto(GStrv) both = g_strsplit(words, " ", 2);
    int place = both[0] ? apus_members_find(members, atoi(both[0])) : -1;

    if (place < 0 || !both[1]) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "part ID on|off, with the id of a member");
        return FALSE;
    }
    return part_set(members->member[place].address,
                    strcmp(both[1], "on") == 0, errp);
}

static gboolean execute(Node *node, const char *name, const char *words,
                        GError **errp)
{
    gboolean on = strcmp(words, "on") == 0;

    if (strcmp(name, "load") == 0) {
        return load_set(node->load, words, errp);
    } else if (strcmp(name, "strike") == 0) {
        return trace_arm(node->trace, words, errp);
    } else if (strcmp(name, "protect") == 0) {
        protect_set(node->protect, on);
    } else if (strcmp(name, "alive") == 0) {
        node->alive = on;
    } else if (strcmp(name, "resign") == 0) {
        apus_resign(node->apus);
    } else if (strcmp(name, "role") == 0) {
        return load_submit_role(node->load, node->apus, atoi(words),
                                role_done, node, errp);
    } else if (strcmp(name, "replace") == 0) {
        return command_replace(node, words, errp);
    } else if (strcmp(name, "disk") == 0) {
        return power_cut_set(node->power, strcmp(words, "full") == 0 ?
                             POWER_CUT_FULL : strcmp(words, "lies") == 0 ?
                             POWER_CUT_LIES : POWER_CUT_HONEST, errp);
    } else if (strcmp(name, "part") == 0) {
        return command_part(node, words, errp);
    } else if (strcmp(name, "status") == 0) {
        return command_status(node, errp);
    } else if (strcmp(name, "stop") == 0) {
        node->end = TRUE;
    } else {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG, "no such command");
        return FALSE;
    }
    return TRUE;
}

static void command(Node *node, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 2);
    g_autoptr(GError) error = NULL;

    if (!words[0]) {
        return;
    }
    if (execute(node, words[0], words[1] ?: "", &error)) {
        trace_event(node->trace, "done", "%s", words[0]);
    } else {
        trace_event(node->trace, "refused", "%s", error->message);
    }
}

static void read_commands(Node *node)
{
    char data[4096];
    ssize_t size = read(STDIN_FILENO, data, sizeof(data));
    char *end;

    if (size <= 0) {
        node->end = size == 0;
        return;
    }
    g_string_append_len(node->input, data, size);
    while ((end = strchr(node->input->str, '\n'))) {
        *end = 0;
        command(node, node->input->str);
        g_string_erase(node->input, 0, end + 1 - node->input->str);
    }
}

/* --- the main thread ----------------------------------------------------- */

static void run(Node *node)
{
    struct pollfd fds[] = {
        { .fd = STDIN_FILENO, .events = POLLIN },
        { .fd = protect_fd(node->protect), .events = POLLIN },
        { .fd = node->wake, .events = POLLIN },
    };
    uint64_t count;

    while (!node->end) {
        int ready = poll(fds, G_N_ELEMENTS(fds),
                         node->options.config.can_run ? TICK : 1000);

        if (ready > 0 && fds[0].revents) {
            read_commands(node);
        }
        if (ready > 0 && fds[2].revents) {
            (void)!read(node->wake, &count, sizeof(count));
        }
        if (g_atomic_int_compare_and_exchange(&node->resume, TRUE, FALSE)) {
            apus_resume(node->apus);
        }
        if (node->alive && node->options.config.alive_timeout) {
            apus_alive(node->apus);
        }
        vm_speak(node->vm, node->apus);
        load_go_on(node->load);
        protect_go_on(node->protect, node->apus);
    }
}

static gboolean prepare(Node *node, GError **errp)
{
    Options *options = &node->options;
    g_autofree char *fates = g_build_filename(options->records, "fates", NULL);

    node->fates = tape_new(fates, sizeof(TapeFate), 4u << 20, errp);
    if (!node->fates) {
        return FALSE;
    }
    node->vm = vm_new(options->records, options->past, node->trace, errp);
    if (!node->vm) {
        return FALSE;
    }
    node->load = load_new(node->fates, node->trace);
    node->protect = protect_new(options->meet, options->config.id,
                                options->listen, node->load, node->vm,
                                node->trace, errp);
    if (!node->protect ||
        (options->load && !load_set(node->load, options->load, errp))) {
        return FALSE;
    }
    for (char **strike = options->strikes; strike && *strike; strike++) {
        if (!trace_arm(node->trace, *strike, errp)) {
            return FALSE;
        }
    }
    if (options->power_cut) {
        node->power = power_cut_new(node->trace);
        options->config.files = power_cut_ops(node->power);
    }
    return TRUE;
}

static gboolean start(Node *node, GError **errp)
{
    static const ApusHandlers handlers = {
        .deliver = deliver, .skipped = skipped, .changed = changed,
        .failed = failed, .log = log_line,
    };
    Options *options = &node->options;

    if (options->config.transport == APUS_TRANSPORT_RDMA) {
        part_begin();
    }
    if (options->found &&
        !apus_found(&options->config, &options->members, options->leader,
                    options->joins, errp)) {
        return FALSE;
    }
    node->apus = apus_new(&options->config, &handlers, node, errp);
    return node->apus && apus_start(node->apus, errp);
}

static void finish(Node *node)
{
    load_accepting(node->load, NULL, FALSE, 0);
    apus_stop(node->apus, STOP_TIMEOUT);
    trace_event(node->trace, "stopped", "open=%u", load_pending(node->load));
    apus_free(node->apus);
    part_end();
    protect_free(node->protect);
    load_free(node->load);
    vm_free(node->vm);
    tape_free(node->fates);
    power_cut_free(node->power);
    trace_free(node->trace);
    g_free(node->told);
    g_string_free(node->input, TRUE);
    close(node->wake);
    options_clear(&node->options);
}

int main(int argc, char **argv)
{
    Node node = {
        .trace = trace_new(STDOUT_FILENO),
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .input = g_string_new(NULL),
        .alive = TRUE,
    };
    g_autoptr(GError) error = NULL;

    if (!options_read(&node.options, argc, argv, &error) ||
        !prepare(&node, &error) || !start(&node, &error)) {
        trace_event(node.trace, "error", "%s", error->message);
        fprintf(stderr, "node: %s\n", error->message);
        return 1;
    }
    trace_event(node.trace, "ready", "pid=%d", (int)getpid());
    run(&node);
    finish(&node);
    return 0;
}
