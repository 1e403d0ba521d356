/*
 * The metrics that are just numbers of a Report
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_METRICS_INTERNAL_H
#define COLONY_METRICS_INTERNAL_H

typedef enum MetricType {
    METRIC_GAUGE,
    METRIC_COUNTER,
    METRIC_SUMMARY,
    METRIC_STATESET,
    METRIC_INFO,
} MetricType;

/* What the numbers of the report are, and so what they are multiplied by. */
typedef enum MetricUnit {
    METRIC_NUMBER,
    METRIC_BYTES,
    METRIC_SECONDS,
    METRIC_MICROSECONDS,
    METRIC_NANOSECONDS,
} MetricUnit;

/* Metrics of one name follow each other; the first has type, unit, help. */
typedef struct Metric {
    const char *name; /* behind "colony_" */
    MetricType type;
    MetricUnit unit;
    const char *help;
    const char *path; /* names of members, with dots between them */
    const char *label; /* one more, with its value; NULL: none */
} Metric;

/* A word of the report, as one number for each word that there is. */
typedef struct MetricStates {
    const char *name;
    const char *help;
    const char *path;
    const char *const *states; /* NULL-terminated */
} MetricStates;

/* All end with a name that is NULL. */
extern const Metric colony_metrics_of_node[];
extern const Metric colony_metrics_of_disk[]; /* paths in a disk of "gannet" */
extern const Metric colony_metrics_of_member[]; /* paths in one of "apus" */
extern const MetricStates colony_metrics_states_of_node[];
extern const MetricStates colony_metrics_states_of_disk[];

#endif
