/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the load client asks for, and how it is answered.
 *
 * A request is made of one or more steps, each sent when the one before was
 * answered.
 */

#ifndef BENCH_LOAD_KINDS_H
#define BENCH_LOAD_KINDS_H

#include <stddef.h>
#include <stdint.h>

/*
 * to     where the step is written
 * dice   a random number, the same for all steps of a request
 */
typedef struct Ask {
    char *to;
    unsigned step;
    uint64_t dice;
} Ask;

typedef struct Kind {
    const char *name;
    unsigned steps;
    /* Writes what is said first on a connection; its size. NULL: nothing. */
    size_t (*hello)(char *to);
    /* Writes a step; its size, value_size + REQUEST_MORE at most. */
    size_t (*ask)(const Ask *ask);
    /* The size of the answer, once that can be told; 0 before. */
    size_t (*parse)(const char *answer, size_t have);
} Kind;

/* Bytes that a step may have, and an answer, beyond the size of a value. */
#define REQUEST_MORE 256
#define ANSWER_MORE 2048

/* Of what is asked for: bytes of a value, row or file; how many keys. */
extern size_t value_size;
extern uint64_t key_count;

/* Ends the program when there is no such kind. */
const Kind *find_kind(const char *name);

_Noreturn void die(const char *what, const char *why);
uint64_t now_ns(void);
uint64_t next_random(void);

#endif
