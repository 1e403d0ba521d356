/*
 * filter-guard: statistics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/visitor.h"
#include "guard-internal.h"

static void add_compared(const Comparison *c, FilterGuardStats *stats)
{
    int64_t oldest = compare_oldest(c->compare);
    CompareStats compare;
    EchoStats echo;

    compare_stats(c->compare, &compare);
    echo_stats(c->echo, &echo);
    if (oldest >= 0) {
        stats->oldest = guard_now() - oldest;
    }
    stats->held_bytes += compare_bytes(c->compare) + echo_bytes(c->echo);
    stats->held_frames += compare_held_frames(c->compare);
    stats->equal = compare.equal;
    stats->staged = compare.staged;
    stats->alone = compare.alone;
    stats->diverged = compare.diverged;
    stats->reports = echo.reports;
    stats->waits = echo.waits;
    stats->dropped += echo.evicted;
}

static void add(const FilterGuard *g, FilterGuardStats *stats)
{
    stats->held_bytes += g->queue.bytes;
    stats->held_frames += g->queue.held_frames;
    stats->released += g->released;
    stats->discarded += g->discarded;
    stats->dropped += g->dropped;
}

void filter_guard_stats(FilterGuardStats *stats)
{
    FilterGuard *g;

    *stats = (FilterGuardStats) { .oldest = -1 };
    QTAILQ_FOREACH(g, &guards.list, next) {
        add(g, stats);
    }
    if (guards.comparison) {
        add_compared(guards.comparison, stats);
    }
}

static void get_stats(const FilterGuard *g, FilterGuardStats *stats)
{
    *stats = (FilterGuardStats) { .oldest = -1 };
    add(g, stats);
    if (g->comparison) {
        add_compared(g->comparison, stats);
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
    FilterGuardStats stats;
    uint64_t value;

    get_stats(FILTER_GUARD(obj), &stats);
    memcpy(&value, (char *)&stats + offset, sizeof(value));
    visit_type_uint64(v, name, &value, errp);
}

static void get_oldest(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    FilterGuardStats stats;

    get_stats(FILTER_GUARD(obj), &stats);
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
