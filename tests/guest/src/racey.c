/*
 * Guest helper: threads that race on shared memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A nondeterminism stressor after the one of [PLOVER §6.1]: what a thread
 * reads next depends on what the others wrote last, and a signature that it
 * keeps depends on all it ever read.  Two copies of the VM, given the same
 * input, soon differ in signature and in nearly every page of the array.
 *
 * TCP port 7002.  Any line is answered with
 *
 *     racey threads T rounds R signature S
 *
 * --threads=N   how many race (4)
 * --kib=N       size of the shared array (1024)
 * --pause-us=N  sleep of each thread after 1,000 rounds (0: never)
 */

#define _GNU_SOURCE
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_THREADS = 64, ROUNDS_PER_BATCH = 1000 };

typedef struct Racer {
    _Atomic uint64_t signature;
    _Atomic uint64_t rounds;
} Racer;

static unsigned long threads = 4;
static unsigned long kib = 1024;
static unsigned long pause_us;

static Racer racers[MAX_THREADS];
static _Atomic uint64_t *shared;
static size_t elements;

static uint64_t mix(uint64_t a, uint64_t b)
{
    /* Without the constant, a thread that meets itself stays at 0. */
    a = a * 0x9e3779b97f4a7c15ULL + (b ^ 0x632be59bd9b4e019ULL);
    return a ^ (a >> 29);
}

/* Relaxed atomics are plain loads and stores: they race as such do. */
static void *race(void *opaque)
{
    Racer *me = opaque;
    uint64_t signature = mix(me - racers, 1);

    for (;;) {
        for (int i = 0; i < ROUNDS_PER_BATCH; i++) {
            size_t from = signature % elements;
            size_t to;

            signature = mix(signature,
                            atomic_load_explicit(&shared[from],
                                                 memory_order_relaxed));
            to = signature % elements;
            atomic_store_explicit(&shared[to], signature,
                                  memory_order_relaxed);
        }
        atomic_store_explicit(&me->signature, signature,
                              memory_order_relaxed);
        atomic_fetch_add_explicit(&me->rounds, ROUNDS_PER_BATCH,
                                  memory_order_relaxed);
        if (pause_us) {
            usleep(pause_us);
        }
    }
    return NULL;
}

static int reply(const char *line, char *text, size_t size)
{
    uint64_t signature = 0;
    uint64_t rounds = 0;

    (void)line;
    for (unsigned long i = 0; i < threads; i++) {
        signature = mix(signature, racers[i].signature);
        rounds += racers[i].rounds;
    }
    return snprintf(text, size, "racey threads %lu rounds %llu signature "
                    "%016llx", threads, (unsigned long long)rounds,
                    (unsigned long long)signature);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!number_option(argv[i], "--threads", 1, MAX_THREADS, &threads) &&
            !number_option(argv[i], "--kib", 1, 1 << 20, &kib) &&
            !number_option(argv[i], "--pause-us", 0, 10000000, &pause_us)) {
            die("%s: unknown argument", argv[i]);
        }
    }
    elements = kib * 1024 / sizeof(*shared);
    shared = calloc(elements, sizeof(*shared));
    if (!shared) {
        die("no memory for --kib=%lu", kib);
    }
    for (unsigned long i = 0; i < threads; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, race, &racers[i])) {
            die("cannot start thread %lu", i);
        }
    }
    serve(7002, false, reply);
}
