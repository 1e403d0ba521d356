/*
 * The RDMA transport: adapters, links and networks that fail
 *
 * Whatever it is: both sides see the connection end, nobody is taken for dead,
 * and there is another connection as soon as that can be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/runtime/rdma-internal.h"
#include "tests/unit/fake-verbs.h"
#include "tests/unit/nodes.h"

static void set_up(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_begin();
    nodes_set_up(f);
    f->make = apus_rdma_new;
    nodes_connect(f, 2);
}

static void tear_down(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
    fake_verbs_end();
}

static VerbsLink *link_of(Nodes *f, ApusId from, ApusId to)
{
    MeshPeer *peer = mesh_find((Mesh *)f->node[from].transport, to);

    return rdma_connection_of(peer->open)->link;
}

static gboolean both_lost(Nodes *f)
{
    return f->node[1].disconnects == 1 && f->node[2].disconnects == 1;
}

static void must_work(Nodes *f)
{
    unsigned one = f->node[1].messages, two = f->node[2].messages;

    nodes_until(f, f->node[1].connected[2] && f->node[2].connected[1]);
    node_send(f, 1, 2, NULL);
    node_send(f, 2, 1, NULL);
    nodes_until(f, f->node[1].messages == one + 1 &&
                f->node[2].messages == two + 1);
}

static void must_recover(Nodes *f)
{
    nodes_until(f, both_lost(f));
    must_work(f);
    g_assert_cmpuint(f->node[1].refusals + f->node[2].refusals, ==, 0);
    g_assert_cmpuint(f->node[1].life[2], ==, 20);
}

/* --- one write ------------------------------------------------------------ */

static void a_write_that_fails_ends_it(Nodes *f, gconstpointer status)
{
    fake_verbs_fail_next(link_of(f, 1, 2), GPOINTER_TO_INT(status));
    node_send(f, 1, 2, NULL);
    must_recover(f);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 0);
}

static void bytes_that_change_end_it(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_spoil_next(link_of(f, 1, 2), 70);
    node_send(f, 1, 2, NULL);
    must_recover(f);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 1);
}

/* --- the adapter ---------------------------------------------------------- */

static void an_event_ends_it(Nodes *f, gconstpointer type)
{
    fake_verbs_event(link_of(f, 2, 1), GPOINTER_TO_INT(type));
    must_recover(f);
}

static void a_connection_event_ends_it(Nodes *f, gconstpointer type)
{
    fake_verbs_cm_event(link_of(f, 2, 1), GPOINTER_TO_INT(type), 0);
    must_recover(f);
}

static void a_device_may_go_and_come(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    gint64 end;

    fake_verbs_remove_device();
    nodes_until(f, both_lost(f));
    end = g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND;
    nodes_until(f, g_get_monotonic_time() > end);
    fake_verbs_restore_device();
    must_work(f);
    g_assert_cmpuint(f->node[1].refusals + f->node[2].refusals, ==, 0);
}

static void a_device_that_does_not_fence_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const ApusTransportHandlers none;
    g_autoptr(GError) error = NULL;

    node_stop(f, 1);
    node_stop(f, 2);
    fake_verbs_be_unsafe(TRUE);
    g_assert_null(apus_rdma_new(&f->node[2].config, f->loop, &none, NULL,
                                &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IO);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, "cannot listen at"));
}

static void tls_is_refused(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const ApusTransportHandlers none;
    g_autoptr(GError) error = NULL;

    f->node[3].config.key = (const uint8_t *)"0123456789abcdef";
    f->node[3].config.key_size = 16;
    f->node[3].config.tls = TRUE;
    g_assert_null(apus_rdma_new(&f->node[3].config, f->loop, &none, NULL,
                                &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
}

/* --- the network ---------------------------------------------------------- */

/* Nobody says anything: it is seen nevertheless. */
static void a_silent_host_is_noticed(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_cut(TRUE);
    nodes_until(f, both_lost(f));
    g_assert_cmpuint(f->node[1].refusals + f->node[2].refusals, ==, 0);
    fake_verbs_cut(FALSE);
    must_work(f);
}

static void a_call_that_cannot_be_is_tried_again(Nodes *f, gconstpointer call)
{
    fake_verbs_fail_call(call, 0, ENOMEM);
    fake_verbs_fail_next(link_of(f, 1, 2), IBV_WC_RETRY_EXC_ERR);
    node_send(f, 1, 2, NULL);
    must_recover(f);
}

int main(int argc, char **argv)
{
#define ADD(test, name, data) \
    g_test_add("/apus-rdma-errors/" #test name, Nodes, data, set_up, test, \
               tear_down)
#define ADD_WRITE(status) \
    ADD(a_write_that_fails_ends_it, "/" #status, GINT_TO_POINTER(status))
#define ADD_EVENT(type) \
    ADD(an_event_ends_it, "/" #type, GINT_TO_POINTER(type))
#define ADD_CM(type) \
    ADD(a_connection_event_ends_it, "/" #type, GINT_TO_POINTER(type))
#define ADD_CALL(call) \
    ADD(a_call_that_cannot_be_is_tried_again, "/" call, call)

    g_test_init(&argc, &argv, NULL);
    ADD_WRITE(IBV_WC_RETRY_EXC_ERR);
    ADD_WRITE(IBV_WC_RNR_RETRY_EXC_ERR);
    ADD_WRITE(IBV_WC_REM_OP_ERR);
    ADD_WRITE(IBV_WC_REM_INV_REQ_ERR);
    ADD_WRITE(IBV_WC_LOC_QP_OP_ERR);
    ADD_WRITE(IBV_WC_LOC_PROT_ERR);
    ADD_WRITE(IBV_WC_FATAL_ERR);
    ADD_WRITE(IBV_WC_GENERAL_ERR);
    ADD(bytes_that_change_end_it, "", NULL);
    ADD_EVENT(IBV_EVENT_QP_FATAL);
    ADD_EVENT(IBV_EVENT_QP_REQ_ERR);
    ADD_EVENT(IBV_EVENT_QP_ACCESS_ERR);
    ADD_CM(RDMA_CM_EVENT_DISCONNECTED);
    ADD_CM(RDMA_CM_EVENT_DEVICE_REMOVAL);
    ADD(a_device_may_go_and_come, "", NULL);
    ADD(a_device_that_does_not_fence_is_refused, "", NULL);
    ADD(tls_is_refused, "", NULL);
    ADD(a_silent_host_is_noticed, "", NULL);
    ADD_CALL("create_qp");
    ADD_CALL("reg_mr");
    ADD_CALL("create_id");
    ADD_CALL("connect");
    return g_test_run();
}
