/*
 * filter-guard: statistics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/visitor.h"
#include "guard-internal.h"

static void add_compared(FilterGuard *g, FilterGuardStats *stats)
{
    int64_t oldest = compare_oldest(g->compare);
    CompareStats compare;
    EchoStats echo;

    compare_stats(g->compare, &compare);
    echo_stats(g->echo, &echo);
    if (oldest >= 0) {
        stats->oldest = MAX(stats->oldest, guard_now() - oldest);
    }
    stats->equal += compare.equal;
    stats->staged += compare.staged;
    stats->alone += compare.alone;
    stats->diverged += compare.diverged;
    stats->reports += echo.reports;
    stats->waits += echo.waits;
    stats->dropped += echo.evicted;
}

static void add(FilterGuard *g, FilterGuardStats *stats)
{
    stats->held_bytes += guard_bytes(g);
    stats->held_frames += guard_held_frames(g);
    stats->released += g->released;
    stats->discarded += g->discarded;
    stats->dropped += g->dropped;
    if (g->compare) {
        add_compared(g, stats);
    }
}

void filter_guard_stats(FilterGuardStats *stats)
{
    FilterGuard *g;

    *stats = (FilterGuardStats) { .oldest = -1 };
    QTAILQ_FOREACH(g, &guards.list, next) {
        add(g, stats);
    }
}

/* --- of one guard, as properties ------------------------------------------*/

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    { "held-frames", offsetof(FilterGuardStats, held_frames) },
    { "held-bytes", offsetof(FilterGuardStats, held_bytes) },
    { "released-frames", offsetof(FilterGuardStats, released) },
    { "discarded-frames", offsetof(FilterGuardStats, discarded) },
    { "dropped-frames", offsetof(FilterGuardStats, dropped) },
    { "equal-frames", offsetof(FilterGuardStats, equal) },
    { "staged-frames", offsetof(FilterGuardStats, staged) },
    { "alone-frames", offsetof(FilterGuardStats, alone) },
    { "divergences", offsetof(FilterGuardStats, diverged) },
    { "reports", offsetof(FilterGuardStats, reports) },
    { "input-waits", offsetof(FilterGuardStats, waits) },
};

static void get_counter(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    size_t offset = GPOINTER_TO_SIZE(opaque);
    FilterGuardStats stats = { .oldest = -1 };
    uint64_t value;

    add(FILTER_GUARD(obj), &stats);
    memcpy(&value, (char *)&stats + offset, sizeof(value));
    visit_type_uint64(v, name, &value, errp);
}

static void get_oldest(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    FilterGuardStats stats = { .oldest = -1 };

    add(FILTER_GUARD(obj), &stats);
    visit_type_int64(v, name, &stats.oldest, errp);
}

void guard_add_counters(ObjectClass *oc)
{
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        object_class_property_add(oc, counters[i].name, "uint64", get_counter,
                                  NULL, NULL,
                                  GSIZE_TO_POINTER(counters[i].offset));
    }
    object_class_property_add(oc, "oldest-age", "int64", get_oldest, NULL,
                              NULL, NULL);
}
