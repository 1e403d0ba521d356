/*
 * Tests of what transport.h promises, for any transport
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TRANSPORT_SUITE_H
#define TRANSPORT_SUITE_H

#include "tests/unit/nodes.h"

typedef struct {
    const char *name;
    void (*set_up)(Nodes *nodes, gconstpointer data);
    void (*tear_down)(Nodes *nodes, gconstpointer data);
} TransportSuite;

void transport_suite_add(const TransportSuite *suite);
/* Part of it: who is connected with whom. */
void transport_who_add(const TransportSuite *suite);

static inline void transport_add(const TransportSuite *suite, const char *name,
                                 ApusId id,
                                 void (*test)(Nodes *f, gconstpointer id))
{
    g_autofree char *path = g_strdup_printf("/%s/%s", suite->name, name);

    g_test_add(path, Nodes, GUINT_TO_POINTER(id), suite->set_up, test,
               suite->tear_down);
}

#endif
