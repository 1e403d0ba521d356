/*
 * apusd as it runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "daemon.h"

#include <errno.h>
#include <glib-unix.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control.h"
#include "report.h"

#define STOP_TIMEOUT 5000000000ull /* nanoseconds */
#define MAX_EVENTS 256 /* of the member, not taken yet */

/* What the member's thread has to say. */
typedef struct {
    GLogLevelFlags level;
    char *text; /* for the log; or NULL: a status */
    ApusStatus status;
} Event;

typedef struct {
    const ApusdConfig *config;
    const char *file;
    ApusdLog *log;
    GMainLoop *loop;
    Apus *apus;
    ApusdControl *control;
    ApusStatus seen; /* the last status that was told */
    gboolean failed;

    int wake; /* eventfd: there are events */
    pthread_mutex_t lock; /* of all below; not GLib's: TSan is blind to them */
    GQueue events;
    unsigned missed; /* events, because the queue was full */
} Daemon;

static void event_free(gpointer data)
{
    Event *event = data;

    g_free(event->text);
    g_free(event);
}

/* --- in the main thread -------------------------------------------------- */

static void tell_status(Daemon *daemon, const ApusStatus *status)
{
    g_autoptr(GPtrArray) changes = apusd_changes(&daemon->seen, status);
    g_autofree char *summary = apusd_summary(daemon->config, status);

    daemon->seen = *status;
    for (guint i = 0; i < changes->len; i++) {
        apusd_log(daemon->log, G_LOG_LEVEL_INFO, "%s",
                  (char *)changes->pdata[i]);
        apusd_control_event(daemon->control, changes->pdata[i]);
    }
    sd_notifyf(0, "STATUS=%s", summary);
}

static Event *next_event(Daemon *daemon, unsigned *missed)
{
    Event *event;

    pthread_mutex_lock(&daemon->lock);
    event = g_queue_pop_head(&daemon->events);
    *missed = daemon->missed;
    daemon->missed = 0;
    pthread_mutex_unlock(&daemon->lock);
    return event;
}

static void take_events(Daemon *daemon)
{
    unsigned missed;
    Event *event;

    while ((event = next_event(daemon, &missed))) {
        if (missed) {
            apusd_log(daemon->log, G_LOG_LEVEL_WARNING,
                      "%u messages were too fast to be shown", missed);
        }
        if (event->text) {
            apusd_log(daemon->log, event->level, "%s", event->text);
        } else {
            tell_status(daemon, &event->status);
        }
        if (event->level & G_LOG_FLAG_FATAL) {
            daemon->failed = TRUE;
            g_main_loop_quit(daemon->loop);
        }
        event_free(event);
    }
}

static gboolean on_events(gint fd, GIOCondition condition, gpointer data)
{
    uint64_t count;

    (void)condition;
    (void)!read(fd, &count, sizeof(count));
    take_events(data);
    return G_SOURCE_CONTINUE;
}

static gboolean not_leader(Daemon *daemon, GError **errp)
{
    const ApusStatus *status = &daemon->seen;
    int at = apus_members_find(&status->members, status->leader);

    if (at < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_NOT_LEADER,
                    "only the leader can replace a member, and member %u "
                    "knows none: see apusctl status", daemon->config->apus.id);
    } else {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_NOT_LEADER,
                    "only the leader can replace a member: that is member "
                    "%u, at %s, and not member %u", status->leader,
                    status->members.member[at].address,
                    daemon->config->apus.id);
    }
    return FALSE;
}

static gboolean replace(Daemon *daemon, const ApusdRequest *request,
                        GError **errp)
{
    const ApusMember *member = &request->new_member;
    g_autoptr(GError) error = NULL;

    if (apus_replace(daemon->apus, request->old,
                     member->id == APUS_NOBODY ? NULL : member, &error)) {
        return TRUE;
    }
    if (g_error_matches(error, APUS_ERROR, APUS_ERROR_NOT_LEADER)) {
        return not_leader(daemon, errp);
    }
    g_propagate_error(errp, g_steal_pointer(&error));
    return FALSE;
}

static JsonNode *answer(void *opaque, const ApusdRequest *request,
                        GError **errp)
{
    Daemon *daemon = opaque;
    ApusTransportCounters counters;
    ApusStatus status;

    if (request->command == APUSD_REPLACE) {
        return replace(daemon, request, errp) ? json_node_new(JSON_NODE_NULL)
                                              : NULL;
    }
    if (!apus_status(daemon->apus, &status, errp) ||
        !apus_counters(daemon->apus, &counters, errp)) {
        return NULL;
    }
    return apusd_report(daemon->config, &status, &counters);
}

/* As long as the member's thread answers, we are alive. */
static gboolean feed_watchdog(gpointer data)
{
    Daemon *daemon = data;
    g_autoptr(GError) error = NULL;
    ApusStatus status;

    if (apus_status(daemon->apus, &status, &error)) {
        sd_notify(0, "WATCHDOG=1");
    } else {
        apusd_log(daemon->log, G_LOG_LEVEL_WARNING, "%s", error->message);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean on_stop(gpointer data)
{
    Daemon *daemon = data;

    g_main_loop_quit(daemon->loop);
    return G_SOURCE_CONTINUE;
}

/* Of the configuration only the log level can be changed while it runs. */
static gboolean on_hangup(gpointer data)
{
    Daemon *daemon = data;
    g_autoptr(ApusdConfig) config = NULL;
    g_autoptr(GError) error = NULL;

    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT,
               g_get_monotonic_time());
    config = apusd_config_load(daemon->file, APUSD_RUN, &error);
    if (config) {
        daemon->log->least = config->log_level;
        apusd_log(daemon->log, G_LOG_LEVEL_MESSAGE, "%s: read again; all but "
                  "log-level takes effect at the next start", daemon->file);
    } else {
        apusd_log(daemon->log, G_LOG_LEVEL_CRITICAL, "%s; nothing was changed",
                  error->message);
    }
    sd_notify(0, "READY=1");
    return G_SOURCE_CONTINUE;
}

/* --- in the member's thread ---------------------------------------------- */

static void enqueue(Daemon *daemon, Event *event)
{
    uint64_t one = 1;
    Event *first;

    pthread_mutex_lock(&daemon->lock);
    /* The oldest goes, but for one that ends the program. */
    first = g_queue_peek_head(&daemon->events);
    if (daemon->events.length >= MAX_EVENTS) {
        daemon->missed++;
        event_free(g_queue_pop_nth(&daemon->events,
                                   !!(first->level & G_LOG_FLAG_FATAL)));
    }
    if (event->level & G_LOG_FLAG_FATAL) {
        g_queue_push_head(&daemon->events, event);
    } else {
        g_queue_push_tail(&daemon->events, event);
    }
    pthread_mutex_unlock(&daemon->lock);
    (void)!write(daemon->wake, &one, sizeof(one));
}

static void on_changed(void *opaque, const ApusStatus *status)
{
    Event *event = g_new0(Event, 1);

    event->status = *status;
    enqueue(opaque, event);
}

static void on_log(void *opaque, GLogLevelFlags level, const char *text)
{
    Event *event = g_new0(Event, 1);

    event->level = level & G_LOG_LEVEL_MASK;
    event->text = g_strdup(text);
    enqueue(opaque, event);
}

static void on_failed(void *opaque, const GError *error)
{
    Event *event = g_new0(Event, 1);

    event->level = G_LOG_LEVEL_CRITICAL | G_LOG_FLAG_FATAL;
    event->text = g_strdup_printf("the storage has failed: %s",
                                  error->message);
    enqueue(opaque, event);
}

/* --- life ---------------------------------------------------------------- */

static gboolean start(Daemon *daemon, GError **errp)
{
    static const ApusHandlers handlers = {
        .changed = on_changed,
        .failed = on_failed,
        .log = on_log,
    };
    const ApusdConfig *config = daemon->config;
    uint64_t watchdog = 0;

    if (daemon->wake < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO, "cannot make an event "
                    "descriptor: %s", g_strerror(errno));
        return FALSE;
    }
    daemon->control = apusd_control_new(config->socket, answer, daemon, errp);
    if (!daemon->control) {
        return FALSE;
    }
    daemon->apus = apus_new(&config->apus, &handlers, daemon, errp);
    if (!daemon->apus || !apus_start(daemon->apus, errp)) {
        return FALSE;
    }
    if (!config->apus.key) {
        apusd_log(daemon->log, G_LOG_LEVEL_WARNING, "there is no key-file: "
                  "whoever reaches this port and knows the group's name can "
                  "take part");
    }
    if (sd_watchdog_enabled(0, &watchdog) > 0) {
        g_timeout_add(MAX(watchdog / 2000, 1), feed_watchdog, daemon);
    }
    g_unix_fd_add(daemon->wake, G_IO_IN, on_events, daemon);
    g_unix_signal_add(SIGTERM, on_stop, daemon);
    g_unix_signal_add(SIGINT, on_stop, daemon);
    g_unix_signal_add(SIGHUP, on_hangup, daemon);
    return TRUE;
}

static void stop(Daemon *daemon)
{
    sd_notify(0, "STOPPING=1");
    if (daemon->apus) {
        apus_stop(daemon->apus, STOP_TIMEOUT);
        take_events(daemon);
        apus_free(daemon->apus);
    }
    apusd_control_free(daemon->control);
    g_queue_clear_full(&daemon->events, event_free);
    g_main_loop_unref(daemon->loop);
    pthread_mutex_destroy(&daemon->lock);
    close(daemon->wake);
}

static void show_failure(Daemon *daemon, const GError *error)
{
    const char *remedy = "";

    if (g_error_matches(error, APUS_ERROR, APUS_ERROR_MISSING)) {
        remedy = "; a new member's is made by apusd --found. One that has "
                 "lost its state must not be founded again: replace it by a "
                 "member with another id";
    }
    apusd_log(daemon->log, G_LOG_LEVEL_CRITICAL, "%s%s", error->message,
              remedy);
    sd_notifyf(0, "STATUS=%s", error->message);
    daemon->failed = TRUE;
}

gboolean apusd_daemon_run(const ApusdConfig *config, const char *file,
                          ApusdLog *log)
{
    Daemon daemon = {
        .config = config,
        .file = file,
        .log = log,
        .loop = g_main_loop_new(NULL, FALSE),
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    g_autoptr(GError) error = NULL;

    pthread_mutex_init(&daemon.lock, NULL);
    g_queue_init(&daemon.events);
    if (start(&daemon, &error)) {
        apusd_log(log, G_LOG_LEVEL_MESSAGE, "member %u of %s has started",
                  config->apus.id, config->name);
        sd_notify(0, "READY=1");
        g_main_loop_run(daemon.loop);
        apusd_log(log, G_LOG_LEVEL_MESSAGE, "member %u of %s stops",
                  config->apus.id, config->name);
    } else {
        show_failure(&daemon, error);
    }
    stop(&daemon);
    return !daemon.failed;
}
