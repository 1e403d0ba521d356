/*
 * A leader without a secondary makes itself one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "protect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "colo-net/apus/runtime/address.h"
#include "colo-net/apus/runtime/loop.h"

#define MS G_GUINT64_CONSTANT(1000000)
#define ANSWER_TIMEOUT (500 * MS)
#define AGAIN (5 * MS)
/*
 * How long a secondary may be suspected before it is given up: on a busy
 * machine a process may stand still for longer than the library's timeout, and
 * a test that kills the leader needs the secondary.
 */
#define PATIENCE (300 * MS)
#define NEAR 1000 /* entries behind the leader: up to date enough */

typedef enum {
    STEP_NONE,
    STEP_TAKING, /* the peer was asked to take over the state */
    STEP_NAMING, /* a ROLE was submitted, naming it */
} Step;

struct Protect {
    char *folder; /* NULL: UDP */
    ApusId self;
    Load *load;
    Vm *vm;
    Trace *trace;
    int fd;

    gint on;
    gint naming_nobody; /* a ROLE(none) is under way */
    gint naming; /* a ROLE with a secondary is under way */
    gint leads; /* and accepts, without a secondary */
    /* Since when the secondary is suspected, though not dead; 0: it is not. */
    uint64_t suspected; /* atomic */

    /* main thread */
    Step step;
    ApusId peer;
    ApusAddress peer_address;
    uint64_t number; /* of the question */
    uint64_t deadline; /* of the answer, or of the next try */
};

/* Where member @id, whose address in the group is @text, hears. */
static gboolean address_of(const Protect *protect, ApusId id, const char *text,
                           ApusAddress *address, GError **errp)
{
    struct sockaddr_un *local = (struct sockaddr_un *)&address->storage;

    if (!protect->folder) {
        return apus_address_parse(address, text, FALSE, errp);
    }
    local->sun_family = AF_UNIX;
    snprintf(local->sun_path, sizeof(local->sun_path), "%s/%u.sock",
             protect->folder, id);
    address->size = sizeof(*local);
    return TRUE;
}

Protect *protect_new(const char *meet, ApusId self, const char *address,
                     Load *load, Vm *vm, Trace *trace, GError **errp)
{
    g_autoptr(Protect) protect = g_new0(Protect, 1);
    ApusAddress here;

    protect->folder = strcmp(meet, "udp") == 0 ? NULL : g_strdup(meet);
    protect->self = self;
    protect->load = load;
    protect->vm = vm;
    protect->trace = trace;
    protect->on = TRUE;
    protect->fd = -1;
    if (!address_of(protect, self, address, &here, errp)) {
        return NULL;
    }
    if (protect->folder) { /* of an earlier process, which was killed */
        unlink(((struct sockaddr_un *)&here.storage)->sun_path);
    }
    protect->fd = socket(here.storage.ss_family,
                         SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (protect->fd < 0 ||
        bind(protect->fd, (struct sockaddr *)&here.storage, here.size)) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO, "--meet=%s: %s", meet,
                    g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&protect);
}

void protect_free(Protect *protect)
{
    if (protect->fd >= 0) {
        close(protect->fd);
    }
    g_free(protect->folder);
    g_free(protect);
}

void protect_set(Protect *protect, gboolean on)
{
    g_atomic_int_set(&protect->on, on);
}

int protect_fd(const Protect *protect)
{
    return protect->fd;
}

static void say(Protect *protect, const ApusAddress *to, const char *format,
                ...) G_GNUC_PRINTF(3, 4);
static void say(Protect *protect, const ApusAddress *to, const char *format,
                ...)
{
    char text[256];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    /* Who is not there does not answer. */
    (void)!sendto(protect->fd, text, MIN(size, (int)sizeof(text) - 1), 0,
                  (const struct sockaddr *)&to->storage, to->size);
}

/* --- nobody, in the member's thread -------------------------------------- */

static void nobody_named(void *opaque, G_GNUC_UNUSED ApusFate fate)
{
    Protect *protect = opaque;

    g_atomic_int_set(&protect->naming_nobody, FALSE);
}

static const ApusPeerStatus *find_peer(const ApusStatus *status, ApusId id)
{
    for (unsigned i = 0; i < status->peers; i++) {
        if (status->peer[i].id == id) {
            return &status->peer[i];
        }
    }
    return NULL;
}

static void name_nobody(Protect *protect, Apus *apus)
{
    if (!g_atomic_int_get(&protect->on) ||
        !g_atomic_int_compare_and_exchange(&protect->naming_nobody, FALSE,
                                           TRUE)) {
        return;
    }
    trace_event(protect->trace, "unprotect", "%s", "");
    if (!load_submit_role(protect->load, apus, APUS_NOBODY, nobody_named,
                          protect, NULL)) {
        g_atomic_int_set(&protect->naming_nobody, FALSE);
    }
}

void protect_changed(Protect *protect, Apus *apus, const ApusStatus *status)
{
    gboolean leads = status->accepts && status->state == APUS_STATE_LEADER;
    ApusId secondary = status->role.secondary;
    const ApusPeerStatus *peer = find_peer(status, secondary);
    uint64_t since = __atomic_load_n(&protect->suspected, __ATOMIC_RELAXED);

    g_atomic_int_set(&protect->leads, leads && !secondary);
    if (!leads || !peer || !peer->suspected) {
        since = 0;
    } else if (since == 0) {
        since = apus_clock();
    }
    __atomic_store_n(&protect->suspected, since, __ATOMIC_RELAXED);
    if (leads && peer && peer->dead) {
        name_nobody(protect, apus);
    }
}

/* --- the leader's side, in the main thread ------------------------------- */

static gboolean can_run(const ApusStatus *status, ApusId id)
{
    int place = apus_members_find(&status->members, id);

    return place >= 0 && status->members.member[place].can_run;
}

static const char *address_in(const ApusStatus *status, ApusId id)
{
    int place = apus_members_find(&status->members, id);

    return status->members.member[place].address;
}

static ApusId choose(const ApusStatus *status)
{
    for (unsigned i = 0; i < status->peers; i++) {
        const ApusPeerStatus *peer = &status->peer[i];

        if (can_run(status, peer->id) && peer->connected && !peer->suspected &&
            !peer->amnesiac && peer->match + NEAR >= status->last) {
            return peer->id;
        }
    }
    return APUS_NOBODY;
}

static void give_up(Protect *protect, Apus *apus, const char *why)
{
    trace_event(protect->trace, "not-protected", "peer=%u why=%s",
                protect->peer, why);
    apus_pin(apus, 0);
    protect->step = STEP_NONE;
    protect->deadline = apus_clock() + AGAIN;
}

static void ask_to_take(Protect *protect, Apus *apus)
{
    ApusStatus status;
    VmState state;

    protect->deadline = apus_clock() + AGAIN;
    if (!apus_status(apus, &status, NULL) || !status.accepts ||
        status.role.secondary != APUS_NOBODY) {
        return;
    }
    protect->peer = choose(&status);
    if (protect->peer == APUS_NOBODY ||
        !address_of(protect, protect->peer,
                    address_in(&status, protect->peer),
                    &protect->peer_address, NULL)) {
        return;
    }
    apus_pin(apus, vm_state(protect->vm).index);
    /*
     * Orders are carried out in turn, so the pin is in force now, and no entry
     * behind what is delivered by now has been trimmed.
     */
    if (!apus_status(apus, &status, NULL)) {
        return;
    }
    state = vm_state(protect->vm);
    if (!state.chain) {
        trace_event(protect->trace, "broken", "a leader without a state");
        return;
    }
    protect->step = STEP_TAKING;
    protect->number++;
    protect->deadline = apus_clock() + ANSWER_TIMEOUT;
    trace_event(protect->trace, "take", "peer=%u index=%" PRIu64,
                protect->peer, state.index);
    say(protect, &protect->peer_address,
        "take %u %" PRIu64 " %" PRIu64 " %" PRIu64, protect->self,
        protect->number, state.index, state.chain);
}

static void named(void *opaque, ApusFate fate)
{
    Protect *protect = opaque;

    trace_event(protect->trace, "named", "committed=%d",
                fate == APUS_FATE_COMMITTED);
    g_atomic_int_set(&protect->naming, FALSE);
}

static void name_peer(Protect *protect, Apus *apus)
{
    g_autoptr(GError) error = NULL;

    g_atomic_int_set(&protect->naming, TRUE);
    protect->step = STEP_NAMING;
    trace_event(protect->trace, "name", "peer=%u", protect->peer);
    if (!load_submit_role(protect->load, apus, protect->peer, named, protect,
                          &error)) {
        g_atomic_int_set(&protect->naming, FALSE);
        give_up(protect, apus, error->message);
    }
}

static void lead(Protect *protect, Apus *apus)
{
    uint64_t since = __atomic_load_n(&protect->suspected, __ATOMIC_RELAXED);

    if (since && apus_clock() > since + PATIENCE) {
        name_nobody(protect, apus);
    }
    switch (protect->step) {
    case STEP_NONE:
        if (g_atomic_int_get(&protect->leads) &&
            g_atomic_int_get(&protect->on) &&
            apus_clock() >= protect->deadline) {
            ask_to_take(protect, apus);
        }
        break;
    case STEP_TAKING:
        if (apus_clock() >= protect->deadline) {
            give_up(protect, apus, "no answer");
        }
        break;
    case STEP_NAMING:
        if (!g_atomic_int_get(&protect->naming)) {
            apus_pin(apus, 0);
            protect->step = STEP_NONE;
        }
        break;
    }
}

/* --- the peer's side, and what the sockets bring ------------------------- */

static void take(Protect *protect, Apus *apus, ApusId from, uint64_t number,
                 const VmState *state, const ApusAddress *answer_to)
{
    g_autoptr(GError) error = NULL;

    trace_event(protect->trace, "taking", "from=%u index=%" PRIu64, from,
                state->index);
    vm_take(protect->vm, state);
    if (apus_deliver_from(apus, state->index, &error)) {
        say(protect, answer_to, "taken %u %" PRIu64, protect->self, number);
    } else {
        say(protect, answer_to, "no %u %" PRIu64 " %s", protect->self,
            number, error->message);
    }
}

static void heard(Protect *protect, Apus *apus, const char *text,
                  const ApusAddress *said_by)
{
    unsigned from;
    uint64_t number;
    VmState state;
    int rest = 0;

    if (sscanf(text, "take %u %" SCNu64 " %" SCNu64 " %" SCNu64, &from,
               &number, &state.index, &state.chain) == 4) {
        take(protect, apus, from, number, &state, said_by);
        return;
    }
    if (protect->step != STEP_TAKING) {
        return;
    }
    if (sscanf(text, "taken %u %" SCNu64, &from, &number) == 2 &&
        from == protect->peer && number == protect->number) {
        name_peer(protect, apus);
    } else if (sscanf(text, "no %u %" SCNu64 " %n", &from, &number,
                      &rest) == 2 &&
               from == protect->peer && number == protect->number) {
        give_up(protect, apus, text + rest);
    }
}

void protect_go_on(Protect *protect, Apus *apus)
{
    ApusAddress from = { .size = sizeof(from.storage) };
    char text[257];
    ssize_t size;

    while ((size = recvfrom(protect->fd, text, sizeof(text) - 1, 0,
                            (struct sockaddr *)&from.storage,
                            &from.size)) > 0) {
        text[size] = 0;
        heard(protect, apus, text, &from);
        from.size = sizeof(from.storage);
    }
    lead(protect, apus);
}
