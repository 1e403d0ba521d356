/*
 * Numbered submissions whenever the member accepts them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "load.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "colo-net/apus/core/payload.h"
#include "colo-net/apus/runtime/loop.h"

#define SIZE_MIN 32
#define PACED_PENDING 20000 /* no more than so many, however late */

/* What one load is like; replaced as a whole. */
typedef struct {
    gint closed; /* under way at a time */
    uint64_t paced; /* per second */
    uint32_t size_min, size_max;
    uint64_t sync; /* every so many a SYNC; 0: never */
} Shape;

struct Load {
    Tape *fates;
    Trace *trace;
    uint64_t origin; /* a random number: this process */

    pthread_mutex_t lock; /* of what follows */
    Shape shape;
    Apus *apus; /* NULL: it does not accept */
    uint64_t term;
    uint64_t start; /* of the pace, and how many were due until then */
    uint64_t started;

    uint64_t number; /* the newest; atomic, like these */
    gint pending;
};

typedef struct {
    Load *load;
    TapeFate fate;
    void (*done)(void *opaque, ApusFate fate);
    void *opaque;
} Pending;

Load *load_new(Tape *fates, Trace *trace)
{
    Load *load = g_new0(Load, 1);

    load->fates = fates;
    load->trace = trace;
    load->origin = (uint64_t)g_random_int() << 32 | g_random_int();
    pthread_mutex_init(&load->lock, NULL);
    return load;
}

void load_free(Load *load)
{
    pthread_mutex_destroy(&load->lock);
    g_free(load);
}

uint64_t payload_hash(const uint8_t *payload, uint32_t length)
{
    return XXH3_64bits(payload, length);
}

static gboolean shape_read(Shape *shape, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);

    *shape = (Shape) { .size_min = 64, .size_max = 64 };
    for (char **word = words; *word; word++) {
        if (sscanf(*word, "closed:%d", &shape->closed) != 1 &&
            sscanf(*word, "paced:%" SCNu64, &shape->paced) != 1 &&
            sscanf(*word, "size=%u-%u", &shape->size_min,
                   &shape->size_max) != 2 &&
            sscanf(*word, "sync=%" SCNu64, &shape->sync) != 1 &&
            strcmp(*word, "none") != 0) {
            return FALSE;
        }
    }
    return shape->size_min >= SIZE_MIN && shape->size_max >= shape->size_min &&
           shape->size_max <= APUS_RECORD_MAX_PAYLOAD;
}

gboolean load_set(Load *load, const char *text, GError **errp)
{
    Shape shape;

    if (!shape_read(&shape, text)) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "a load is none, closed:N or paced:N, then "
                    ",size=MIN-MAX and ,sync=N; not %s", text);
        return FALSE;
    }
    pthread_mutex_lock(&load->lock);
    load->shape = shape;
    load->start = apus_clock();
    load->started = 0;
    pthread_mutex_unlock(&load->lock);
    load_go_on(load);
    return TRUE;
}

void load_accepting(Load *load, Apus *apus, gboolean accepts, uint64_t term)
{
    gboolean begins;

    pthread_mutex_lock(&load->lock);
    begins = accepts && !load->apus;
    load->apus = accepts ? apus : NULL;
    load->term = term;
    if (begins) {
        load->start = apus_clock();
        load->started = 0;
    }
    pthread_mutex_unlock(&load->lock);
    if (begins) {
        load_go_on(load);
    }
}

unsigned load_pending(const Load *load)
{
    return g_atomic_int_get(&load->pending);
}

/* In the member's thread. */
static void completed(void *opaque, ApusFate fate, uint64_t index)
{
    g_autofree Pending *pending = opaque;
    Load *load = pending->load;

    pending->fate.committed = fate == APUS_FATE_COMMITTED;
    pending->fate.index = pending->fate.committed ? index : 0;
    pending->fate.time = apus_clock();
    tape_add(load->fates, &pending->fate);
    g_atomic_int_add(&load->pending, -1);
    trace_point(load->trace, "done");
    if (pending->done) {
        pending->done(pending->opaque, fate);
    } else if (fate == APUS_FATE_COMMITTED) {
        load_go_on(load);
    }
}

/* Take part in what is counted before it can be done. */
static Pending *begin(Load *load, uint32_t kind)
{
    Pending *pending = g_new0(Pending, 1);

    pending->load = load;
    pending->fate.kind = kind;
    g_atomic_int_inc(&load->pending);
    tape_count(load->fates, 1);
    return pending;
}

static void refused(Load *load, Pending *pending)
{
    tape_count(load->fates, -1);
    g_atomic_int_add(&load->pending, -1);
    g_free(pending);
}

/* Behind a SYNC's own payload, or alone: who, which, and bytes to fill up. */
static void payload_fill(GByteArray *payload, uint64_t origin,
                         uint64_t number, uint32_t size)
{
    guint at;

    g_byte_array_append(payload, (const uint8_t *)&origin, sizeof(origin));
    g_byte_array_append(payload, (const uint8_t *)&number, sizeof(number));
    at = payload->len;
    if (at < size) {
        g_byte_array_set_size(payload, size);
        memset(payload->data + at, (int)number, size - at);
    }
}

static gboolean submit(Load *load, Apus *apus, const Shape *shape,
                       uint64_t term)
{
    uint64_t number = __atomic_add_fetch(&load->number, 1, __ATOMIC_RELAXED);
    uint32_t range = shape->size_max - shape->size_min + 1;
    uint32_t size = shape->size_min + number * 2654435761u % range;
    gboolean sync = shape->sync && number % shape->sync == 0;
    ApusEntryKind kind = sync ? APUS_ENTRY_SYNC : APUS_ENTRY_INPUT;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    Pending *pending = begin(load, kind);

    if (sync) {
        apus_sync_append(payload, &(ApusSync) {
            .epoch = { .term = term, .number = number },
        });
    }
    payload_fill(payload, load->origin, number, size);
    pending->fate.hash = payload_hash(payload->data, payload->len);
    if (!apus_submit(apus, kind, payload->data, payload->len, completed,
                     pending, &error)) {
        refused(load, pending);
        return FALSE;
    }
    trace_point(load->trace, "submitted");
    return TRUE;
}

/*
 * How many of a paced load are due and not taken by another thread; they are
 * then the caller's.
 */
static uint64_t take_due(Load *load)
{
    uint64_t due = (apus_clock() - load->start) / 1e9 * load->shape.paced;
    uint64_t mine = due - MIN(due, load->started);
    uint64_t pending = load_pending(load);

    mine = MIN(mine, PACED_PENDING - MIN(pending, PACED_PENDING));
    load->started = due;
    return mine;
}

void load_go_on(Load *load)
{
    uint64_t due, term;
    Shape shape;
    Apus *apus;

    pthread_mutex_lock(&load->lock);
    apus = load->apus;
    term = load->term;
    shape = load->shape;
    due = apus && shape.paced ? take_due(load) : 0;
    pthread_mutex_unlock(&load->lock);

    while (apus && due-- > 0) {
        if (!submit(load, apus, &shape, term)) {
            return;
        }
    }
    while (apus && (gint)load_pending(load) < shape.closed) {
        if (!submit(load, apus, &shape, term)) {
            return;
        }
    }
}

gboolean load_submit_role(Load *load, Apus *apus, ApusId secondary,
                          void (*done)(void *opaque, ApusFate fate),
                          void *opaque, GError **errp)
{
    Pending *pending = begin(load, APUS_ENTRY_ROLE);

    pending->done = done;
    pending->opaque = opaque;
    if (!apus_submit_role(apus, secondary, 0, completed, pending, errp)) {
        refused(load, pending);
        return FALSE;
    }
    return TRUE;
}
