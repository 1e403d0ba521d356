/*
 * Random numbers that are the same for the same seed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <glib.h>
#include <stdint.h>

typedef struct {
    uint64_t state;
} SimRandom;

/* SplitMix64. */
static inline uint64_t sim_random(SimRandom *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* From 0 on, less than @limit. */
static inline uint64_t sim_below(SimRandom *random, uint64_t limit)
{
    return limit ? sim_random(random) % limit : 0;
}

/* From @low to @high, both included. */
static inline uint64_t sim_between(SimRandom *random, uint64_t low,
                                   uint64_t high)
{
    g_assert(low <= high);
    return low + sim_below(random, high - low + 1);
}

/* From @low to @high, where each order of magnitude is as likely. */
static inline uint64_t sim_magnitude(SimRandom *random, uint64_t low,
                                     uint64_t high)
{
    unsigned steps = 0;

    while (steps < 63 && low << (steps + 1) <= high) {
        steps++;
    }
    low <<= sim_below(random, steps + 1);
    return sim_between(random, low, MIN(2 * low, high));
}

static inline gboolean sim_chance(SimRandom *random, unsigned in_10000)
{
    return in_10000 && sim_below(random, 10000) < in_10000;
}

#endif
