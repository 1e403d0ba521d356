/*
 * What the parts of a supervisor have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_SUPERVISOR_INTERNAL_H
#define COLONY_SUPERVISOR_INTERNAL_H

#include "control.h"
#include "machine.h"
#include "metrics.h"
#include "peers.h"
#include "record.h"
#include "supervisor.h"
#include "taps.h"
#include "view.h"

typedef struct ColonyStarter ColonyStarter;
typedef struct ColonyPreparer ColonyPreparer;
typedef struct ColonyProtector ColonyProtector;
typedef struct ColonyVerifier ColonyVerifier;

/* What the supervisor is doing: "task" of a Report. */
typedef struct ColonyTask {
    const char *kind; /* see colony-status.rst; NULL: nothing */
    const ColonyNode *peer; /* or NULL */
    char *error; /* or NULL */
    gint64 since; /* monotonic */
    gint64 next; /* of the next try, monotonic; 0: none */
    unsigned attempt; /* 0: not said */
    guint64 done, total; /* bytes; 0: not said */
    gboolean force; /* an operator has to say so */
} ColonyTask;

typedef struct ColonySupervisor {
    const ColonyConfig *config;
    const ColonyNode *node;
    GMainLoop *loop;
    gint64 began; /* monotonic */
    int lock; /* of the node's directory */
    ColonyRecord *record;
    ColonyMachine *machine;
    ColonyViewer *viewer;
    ColonyPeers *peers;
    ColonyTaps *taps;
    ColonyServer *server;
    ColonyMetrics *metrics; /* NULL: off */
    ColonyStarter *starter;
    ColonyPreparer *preparer;
    ColonyProtector *protector;
    ColonyVerifier *verifier;
    gint64 looked; /* when the view was made, monotonic */
    gboolean seen; /* one that was found has told how it is, or has ended */
    GQueue early; /* requests that wait for that */
    gint64 hollow; /* since when it has no VM that counts, monotonic; 0: no */
    gint64 led; /* when its member heard who leads, monotonic */
    gboolean calm; /* the others are asked seldom */
    gboolean ending;
    gboolean looking;
    gboolean look_again; /* something has happened since it began */
    gint64 epoch_seen; /* when plover's epoch was seen to change, monotonic */
    guint64 epoch;
    gboolean given_up; /* the process hangs, and the group is without it */
    gboolean guest_off; /* the guest has switched itself off */
    unsigned ended; /* processes that ended by themselves */
    char *end; /* how the last one did; NULL: none has */
    char *warning; /* see "warnings" of a Report; or NULL */
    guint timer, idle, watchdog, signals[2];
} ColonySupervisor;

/* --- supervisor.c --------------------------------------------------------- */

/* Look at the process, then at what is to be done. Soon; never from within. */
void colony_supervisor_wake(ColonySupervisor *supervisor);
/* @data: taken over; NULL: an empty one */
void colony_supervisor_emit(ColonySupervisor *supervisor, const char *event,
                            JsonObject *data);
/* End, as with SIGTERM; the VM goes on. */
void colony_supervisor_stop(ColonySupervisor *supervisor);
/* The record has changed. What cannot be saved is said, and tried again. */
gboolean colony_supervisor_save(ColonySupervisor *supervisor, GError **error);

static inline const ColonyView *
colony_supervisor_view(const ColonySupervisor *supervisor)
{
    return colony_viewer_view(supervisor->viewer);
}

/* --- task.c --------------------------------------------------------------- */

/* A new one, unless @kind and @peer are what they were; tells who watches. */
void colony_task_set(ColonySupervisor *supervisor, ColonyTask *task,
                     const char *kind, const ColonyNode *peer);
/* @error: NULL: none. Copied. */
void colony_task_error(ColonyTask *task, const char *error);
JsonObject *colony_task_json(const ColonyTask *task);

/* --- launch.c ------------------------------------------------------------- */

typedef void ColonyLaunched(void *opaque, const GError *error);

/*
 * Start the process that the record asks for: with its taps; with a new state
 * of the member, if it is being founded. @done may come at once.
 */
void colony_launch(ColonySupervisor *supervisor, ColonyLaunched *done,
                   void *opaque);

/* --- start.c -------------------------------------------------------------- */

ColonyStarter *colony_starter_new(ColonySupervisor *supervisor);
void colony_starter_free(ColonyStarter *starter);
/* There is something new: decide, and act. */
void colony_starter_look(ColonyStarter *starter);
/*
 * The process has ended; @off: the guest had switched itself off. Whether it
 * was to end.
 */
gboolean colony_starter_ended(ColonyStarter *starter, gboolean off);
/* Whether the process is there, and has no VM; see ColonyProcess. */
gboolean colony_starter_is_idle(const ColonyStarter *starter);
/* End the process, for a new one to be started. */
void colony_starter_renew(ColonyStarter *starter);
const ColonyTask *colony_starter_task(const ColonyStarter *starter);

/* The verbs up, down and found; each answers @request. */
void colony_starter_up(ColonyStarter *starter, ColonyRequest *request,
                       JsonObject *arguments);
void colony_starter_found(ColonyStarter *starter, ColonyRequest *request,
                          JsonObject *arguments);
void colony_starter_down(ColonyStarter *starter, ColonyRequest *request,
                         JsonObject *arguments);

/* --- prepare.c ------------------------------------------------------------ */

ColonyPreparer *colony_preparer_new(ColonySupervisor *supervisor);
void colony_preparer_free(ColonyPreparer *preparer);
void colony_preparer_look(ColonyPreparer *preparer);
/* The verb. */
void colony_preparer_serve(ColonyPreparer *preparer, ColonyRequest *request,
                           JsonObject *arguments);
const ColonyTask *colony_preparer_task(const ColonyPreparer *preparer);

/* --- protect.c ------------------------------------------------------------ */

ColonyProtector *colony_protector_new(ColonySupervisor *supervisor);
void colony_protector_free(ColonyProtector *protector);
void colony_protector_look(ColonyProtector *protector);
void colony_protector_event(ColonyProtector *protector, const char *event,
                            JsonObject *data);
/* The process has ended, or does not answer. */
void colony_protector_lost(ColonyProtector *protector, const char *why);
/* "reprotect"; @node: NULL: whichever. */
void colony_protector_now(ColonyProtector *protector, const ColonyNode *node);
const ColonyTask *colony_protector_task(const ColonyProtector *protector);

/* --- verify.c ------------------------------------------------------------- */

ColonyVerifier *colony_verifier_new(ColonySupervisor *supervisor);
void colony_verifier_free(ColonyVerifier *verifier);
void colony_verifier_look(ColonyVerifier *verifier);
void colony_verifier_event(ColonyVerifier *verifier, const char *event,
                           JsonObject *data);
/* The verb: begins it. */
void colony_verifier_serve(ColonyVerifier *verifier, ColonyRequest *request);
/* "verified" of a Report; NULL: there was none. */
JsonObject *colony_verifier_json(const ColonyVerifier *verifier);
const ColonyTask *colony_verifier_task(const ColonyVerifier *verifier);

/* --- report-node.c, report-apus.c ----------------------------------------- */

JsonObject *colony_report_new(ColonySupervisor *supervisor);
/* Add "apus". @apus: of query-apus, or of apusd's status; may be NULL. */
void colony_report_add_apus(JsonObject *report, JsonNode *apus,
                            const ColonyNode *node);

/* --- serve.c -------------------------------------------------------------- */

/* There was a look: requests may have waited for that. */
void colony_supervisor_serve_early(ColonySupervisor *supervisor);
/* ColonyServe; @opaque: the supervisor */
void colony_supervisor_serve(void *opaque, ColonyRequest *request,
                             const char *verb, JsonObject *arguments);

#endif
