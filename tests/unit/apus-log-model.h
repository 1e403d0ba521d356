/*
 * A log as it should be: a plain array, and nothing clever
 *
 * model_step() does the same thing, at random, to a log and to the array;
 * model_check() asserts that both say the same, and that no record has been
 * overwritten.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_LOG_MODEL_H
#define APUS_LOG_MODEL_H

#include "colo-net/apus/core/log.h"

typedef struct Model Model;

/* @size: of the ring, so small that the log is full now and then. */
Model *model_new(size_t size, const ApusSnapshot *base);
void model_free(Model *model);
void model_step(Model *model);
void model_check(const Model *model);

/* Assert that two snapshots say the same. */
void model_same_snapshot(const ApusSnapshot *a, const ApusSnapshot *b);

#endif
