/*
 * The RDMA transport: what every transport promises
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/fake-verbs.h"
#include "tests/unit/transport-suite.h"

static void set_up(Nodes *nodes, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(nodes);
    nodes->make = apus_rdma_new;
    fake_verbs_begin();
}

static void tear_down(Nodes *nodes, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(nodes);
    fake_verbs_end();
}

int main(int argc, char **argv)
{
    static const TransportSuite suite = {
        .name = "apus-rdma",
        .set_up = set_up,
        .tear_down = tear_down,
    };

    g_test_init(&argc, &argv, NULL);
    transport_suite_add(&suite);
    return g_test_run();
}
