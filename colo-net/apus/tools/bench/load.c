/*
 * A closed loop of operations, and what it measured
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "load.h"

#include <inttypes.h>
#include <stdio.h>

typedef enum {
    PHASE_WARMUP,
    PHASE_MEASURE,
    PHASE_DRAIN, /* nothing more is begun */
} Phase;

struct BenchLoad {
    const BenchSettings *settings;
    const BenchGroup *group;
    const BenchLoadOps *ops;
    void *opaque;

    BenchSlot *slots;
    BenchSlot *idle; /* those not under way */
    unsigned under_way;

    Phase phase;
    uint64_t turn; /* when the phase ends */
    uint64_t since; /* when measuring began */
    unsigned current; /* the measurement */
    BenchResult *results;
};

BenchLoad *bench_load_new(const BenchSettings *settings,
                          const BenchGroup *group, const BenchLoadOps *ops,
                          void *opaque)
{
    BenchLoad *load = g_new0(BenchLoad, 1);
    unsigned most = 0;

    for (unsigned i = 0; i < settings->inflight.count; i++) {
        most = MAX(most, settings->inflight.value[i]);
    }
    load->settings = settings;
    load->group = group;
    load->ops = ops;
    load->opaque = opaque;
    load->slots = g_new0(BenchSlot, most);
    load->results = g_new0(BenchResult, settings->inflight.count);
    return load;
}

void bench_load_free(BenchLoad *load)
{
    g_free(load->slots);
    g_free(load->results);
    g_free(load);
}

/* Begins what can be; FALSE if nothing is under way then. */
static gboolean fill(BenchLoad *load, uint64_t now)
{
    while (load->idle) {
        BenchSlot *slot = load->idle;

        slot->begun = now;
        if (!load->ops->begin(load->opaque, slot)) {
            break;
        }
        load->idle = slot->next;
        load->under_way++;
    }
    return load->under_way > 0;
}

static gboolean begin_phase(BenchLoad *load)
{
    unsigned inflight = load->settings->inflight.value[load->current];
    uint64_t now = bench_now();

    load->idle = NULL;
    for (unsigned i = 0; i < inflight; i++) {
        load->slots[i].load = load;
        load->slots[i].opaque = load->opaque;
        load->slots[i].next = load->idle;
        load->idle = &load->slots[i];
    }
    load->results[load->current].inflight = inflight;
    load->phase = PHASE_WARMUP;
    load->turn = now + load->settings->warmup;
    return fill(load, now);
}

static void count(BenchLoad *load, uint64_t *writes, uint64_t *reads)
{
    *writes = *reads = 0;
    if (load->ops->count) {
        load->ops->count(load->opaque, writes, reads);
    }
}

/*
 * Time for the next phase: the CPU time is taken where measuring begins and
 * where it ends.
 */
static void turn(BenchLoad *load, uint64_t now)
{
    BenchResult *result = &load->results[load->current];
    uint64_t cpu[BENCH_MAX_PROCESSES], writes, reads;

    count(load, &writes, &reads);
    if (load->phase == PHASE_WARMUP) {
        load->phase = PHASE_MEASURE;
        load->since = now;
        load->turn = now + load->settings->duration;
        bench_group_cpu(load->group, result->cpu);
        result->writes = writes;
        result->reads = reads;
        return;
    }
    load->phase = PHASE_DRAIN;
    load->turn = UINT64_MAX;
    result->nanoseconds = now - load->since;
    result->writes = writes - result->writes;
    result->reads = reads - result->reads;
    bench_group_cpu(load->group, cpu);
    for (unsigned i = 0; i < load->group->count; i++) {
        result->cpu[i] = cpu[i] - result->cpu[i];
    }
}

gboolean bench_load_start(BenchLoad *load)
{
    load->current = 0;
    return begin_phase(load);
}

gboolean bench_load_done(BenchSlot *slot)
{
    BenchLoad *load = slot->load;
    uint64_t now = bench_now();

    load->under_way--;
    slot->next = load->idle;
    load->idle = slot;
    if (load->phase == PHASE_MEASURE) {
        bench_histogram_add(&load->results[load->current].latency,
                            now - slot->begun);
    }
    if (now >= load->turn) {
        turn(load, now);
    }
    if (load->phase != PHASE_DRAIN) {
        return fill(load, now);
    }
    if (load->under_way) {
        return TRUE;
    }
    if (++load->current < load->settings->inflight.count) {
        return begin_phase(load);
    }
    load->ops->ended(load->opaque);
    return TRUE;
}

unsigned bench_load_results(const BenchLoad *load)
{
    return load->current;
}

const BenchResult *bench_load_result(const BenchLoad *load, unsigned i)
{
    g_assert(i < load->current);
    return &load->results[i];
}

uint64_t bench_load_deadline(const BenchSettings *settings, uint64_t patience)
{
    return (settings->warmup + settings->duration) *
           settings->inflight.count + patience;
}

static double microseconds(const BenchHistogram *histogram, double percent)
{
    return bench_histogram_percentile(histogram, percent) / 1000.0;
}

static void print_json(const BenchResult *result, const char *subject,
                       const BenchSettings *settings, const BenchGroup *group)
{
    const BenchHistogram *latency = &result->latency;
    const char *comma = "";

    printf("{\"subject\": \"%s\", \"size\": %u, \"inflight\": %u, "
           "\"members\": %u, \"durability\": \"%s\", "
           "\"operations\": %" PRIu64 ", \"seconds\": %.9f, "
           "\"max_us\": %.3f, \"cpu\": [", subject, settings->size,
           result->inflight, settings->members,
           settings->disk ? "disk" : "memory", latency->total,
           result->nanoseconds / 1e9, latency->max / 1000.0);
    for (unsigned i = 0; i < group->count; i++) {
        printf("%s{\"role\": \"%s\", \"seconds\": %.9f}", i ? ", " : "",
               group->process[i].role, result->cpu[i] / 1e9);
    }
    printf("], ");
    if (result->writes) {
        printf("\"writes\": %" PRIu64 ", \"reads\": %" PRIu64 ", ",
               result->writes, result->reads);
    }
    printf("\"latency_us\": [");
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        if (latency->counts[i]) {
            printf("%s[%.3f, %" PRIu64 "]", comma,
                   bench_histogram_value(i) / 1000.0, latency->counts[i]);
            comma = ", ";
        }
    }
    printf("]}\n");
}

static void print_text(const BenchResult *result, const char *subject,
                       const BenchSettings *settings, const BenchGroup *group)
{
    const BenchHistogram *latency = &result->latency;
    double seconds = result->nanoseconds / 1e9;

    printf("%s: %u bytes, %u in flight: %.0f/s, %.1f MB/s; us: p50 %.1f, "
           "p99 %.1f, p99.9 %.1f, max %.1f; CPU %%:", subject, settings->size,
           result->inflight, latency->total / seconds,
           latency->total * (double)settings->size / seconds / 1e6,
           microseconds(latency, 50), microseconds(latency, 99),
           microseconds(latency, 99.9), latency->max / 1000.0);
    for (unsigned i = 0; i < group->count; i++) {
        printf("%s %s %.0f", i ? "," : "", group->process[i].role,
               100.0 * result->cpu[i] / result->nanoseconds);
    }
    if (result->writes && latency->total) {
        printf("; %.2f writes, %.2f reads each",
               (double)result->writes / latency->total,
               (double)result->reads / latency->total);
    }
    printf("\n");
}

void bench_result_print(const BenchResult *result, const char *subject,
                        const BenchSettings *settings,
                        const BenchGroup *group)
{
    if (settings->json) {
        print_json(result, subject, settings, group);
    } else {
        print_text(result, subject, settings, group);
    }
    fflush(stdout);
}
