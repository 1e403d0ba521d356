/*
 * Guest helper: a program that keeps rewriting its own code.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Catches translated code that outlives the memory it was translated from:
 * when a checkpoint replaces a page of code, whoever runs the guest must
 * forget what it had made of the old one.
 *
 * The code is some thousand functions "mov $VALUE, %eax; ret", eight to a
 * page.  A worker writes a new VALUE into one of them and into its own
 * table, calls that one and a few others, and compares what each returns
 * with the table.  Which function comes next, and its new value, depend on
 * the time stamp counter, so that two copies of the VM have different code
 * and different tables at any moment.  After a checkpoint the table is the
 * other copy's; a function that still returns this copy's value is stale.
 * Each function is called many times a second, but rewritten seldom, so
 * that its translation is in use when it is replaced.
 *
 * TCP port 7003.  Any line is answered with
 *
 *     calls N wrong M rewrites R
 *
 * N and R grow all the time, M must stay 0.  The first wrong results go to
 * the log with page, expected and returned value.
 *
 * --pages=N    pages of code per worker (512)
 * --calls=N    calls per rewrite (8)
 * --workers=N  threads, each with code of its own (one per CPU)
 */

#define _GNU_SOURCE
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

enum {
    PAGE_SIZE = 4096,
    PER_PAGE = 8,
    STRIDE = PAGE_SIZE / PER_PAGE,
    MAX_WORKERS = 64,
    MAX_COMPLAINTS = 20,

    /* Where a function starts, so that VALUE is aligned: one store */
    ENTRY = 3,
    VALUE = ENTRY + 1,
};

typedef uint32_t Function(void);

typedef struct Worker {
    uint8_t *code;
    uint32_t *expected;
    uint64_t random;
    _Atomic uint64_t calls;
    _Atomic uint64_t wrong;
    _Atomic uint64_t rewrites;
} Worker;

static unsigned long pages = 512;
static unsigned long calls_per_rewrite = 8;
static unsigned long workers;
static size_t functions;

static Worker worker[MAX_WORKERS];
static _Atomic unsigned complaints;

static uint64_t next_random(Worker *w)
{
    uint64_t x = w->random ^ __rdtsc();

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    w->random = x ? x : 1;
    return w->random * 0x9e3779b97f4a7c15ULL >> 16;
}

static uint8_t *function_at(Worker *w, size_t i)
{
    return w->code + i * STRIDE;
}

static void rewrite(Worker *w, size_t i, uint32_t value)
{
    *(volatile uint32_t *)(function_at(w, i) + VALUE) = value;
    w->expected[i] = value;
    w->rewrites++;
}

static void call(Worker *w, size_t i)
{
    uint8_t *entry = function_at(w, i) + ENTRY;
    Function *function;
    uint32_t expected;
    uint32_t got;

    memcpy(&function, &entry, sizeof(function));
    got = function();
    expected = *(volatile uint32_t *)&w->expected[i];
    w->calls++;
    if (got == expected) {
        return;
    }
    w->wrong++;
    if (complaints < MAX_COMPLAINTS) {
        complaints++;
        fprintf(stderr, "worker %d page %zu function %zu: returned %#x, "
                "expected %#x, code says %#x\n", (int)(w - worker),
                i / PER_PAGE, i % PER_PAGE, got, expected,
                *(volatile uint32_t *)(function_at(w, i) + VALUE));
    }
}

static void *work(void *opaque)
{
    Worker *w = opaque;

    for (;;) {
        size_t i = next_random(w) % functions;

        rewrite(w, i, next_random(w));
        call(w, i);
        for (unsigned long n = 1; n < calls_per_rewrite; n++) {
            call(w, next_random(w) % functions);
        }
    }
    return NULL;
}

static void init_worker(Worker *w)
{
    w->code = mmap(NULL, pages * PAGE_SIZE,
                   PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    w->expected = calloc(functions, sizeof(*w->expected));
    if (w->code == MAP_FAILED || !w->expected) {
        die("no memory for --pages=%lu", pages);
    }
    w->random = __rdtsc();
    for (size_t i = 0; i < functions; i++) {
        uint8_t *f = function_at(w, i);

        f[ENTRY] = 0xb8;        /* mov $VALUE, %eax */
        f[VALUE + 4] = 0xc3;    /* ret */
        rewrite(w, i, next_random(w));
    }
}

static int reply(const char *line, char *text, size_t size)
{
    unsigned long long calls = 0;
    unsigned long long wrong = 0;
    unsigned long long rewrites = 0;

    (void)line;
    for (unsigned long i = 0; i < workers; i++) {
        calls += worker[i].calls;
        wrong += worker[i].wrong;
        rewrites += worker[i].rewrites;
    }
    return snprintf(text, size, "calls %llu wrong %llu rewrites %llu",
                    calls, wrong, rewrites);
}

int main(int argc, char **argv)
{
    workers = sysconf(_SC_NPROCESSORS_ONLN);
    if (workers > MAX_WORKERS) {
        workers = MAX_WORKERS;
    }
    for (int i = 1; i < argc; i++) {
        if (!number_option(argv[i], "--pages", 1, 16384, &pages) &&
            !number_option(argv[i], "--calls", 1, 1000000,
                           &calls_per_rewrite) &&
            !number_option(argv[i], "--workers", 1, MAX_WORKERS, &workers)) {
            die("%s: unknown argument", argv[i]);
        }
    }
    functions = pages * PER_PAGE;
    for (unsigned long i = 0; i < workers; i++) {
        pthread_t thread;

        init_worker(&worker[i]);
        if (pthread_create(&thread, NULL, work, &worker[i])) {
            die("cannot start worker %lu", i);
        }
    }
    serve(7003, false, reply);
}
