/*
 * Parted from a peer although the network is there: RDMA only
 *
 * In the place of the verbs calls that make, find and end queue pairs there
 * are ours, which know whom each one calls. Of a caller only a port of the
 * moment is known, and of hosts with several addresses any: so each link is
 * broken by the side that has called.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "part.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "colo-net/apus/apus.h"
#include "colo-net/verbs/calls.h"
#include "colo-net/verbs/verbs.h"

typedef struct {
    struct ibv_qp *qp;
    char *address; /* of the other side, as far as known */
} Pair;

/* Verbs calls carry nothing of ours, so there is one of these. */
static struct {
    GMutex lock;
    const VerbsCalls *real; /* NULL: nothing has begun */
    VerbsCalls calls;
    GPtrArray *pairs; /* of Pair */
    GPtrArray *away; /* addresses */
} parting;

static char *text_of(const struct sockaddr *address)
{
    gboolean is_6 = address->sa_family == AF_INET6;
    socklen_t size = is_6 ? sizeof(struct sockaddr_in6)
                          : sizeof(struct sockaddr_in);
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getnameinfo(address, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return g_strdup("unknown");
    }
    return g_strdup_printf(is_6 ? "[%s]:%s" : "%s:%s", host, port);
}

static gboolean is_away(const char *address, guint *place)
{
    return g_ptr_array_find_with_equal_func(parting.away, address,
                                            g_str_equal, place);
}

static void pair_free(void *opaque)
{
    Pair *pair = opaque;

    g_free(pair->address);
    g_free(pair);
}

/* --- in the place of verbs ------------------------------------------------ */

static int resolve_addr(struct rdma_cm_id *id, struct sockaddr *source,
                        struct sockaddr *destination, int timeout_ms)
{
    g_autofree char *address = text_of(destination);
    gboolean away;

    g_mutex_lock(&parting.lock);
    away = is_away(address, NULL);
    g_mutex_unlock(&parting.lock);
    if (away) {
        errno = ENETUNREACH;
        return -1;
    }
    return parting.real->resolve_addr(id, source, destination, timeout_ms);
}

static struct ibv_qp *create_qp(struct ibv_pd *pd,
                                struct ibv_qp_init_attr *attr)
{
    const char *address = verbs_link_name(attr->qp_context);
    struct ibv_qp *qp = NULL;

    g_mutex_lock(&parting.lock);
    if (is_away(address, NULL)) {
        errno = ENETUNREACH;
    } else {
        qp = parting.real->create_qp(pd, attr);
    }
    if (qp) {
        Pair *pair = g_new(Pair, 1);

        *pair = (Pair) { .qp = qp, .address = g_strdup(address) };
        g_ptr_array_add(parting.pairs, pair);
    }
    g_mutex_unlock(&parting.lock);
    return qp;
}

static int destroy_qp(struct ibv_qp *qp)
{
    int error;

    g_mutex_lock(&parting.lock);
    for (guint i = 0; i < parting.pairs->len; i++) {
        Pair *pair = g_ptr_array_index(parting.pairs, i);

        if (pair->qp == qp) {
            g_ptr_array_remove_index_fast(parting.pairs, i);
            break;
        }
    }
    error = parting.real->destroy_qp(qp);
    g_mutex_unlock(&parting.lock);
    return error;
}

/* -------------------------------------------------------------------------- */

void part_begin(void)
{
    parting.real = verbs_calls();
    parting.pairs = g_ptr_array_new_with_free_func(pair_free);
    parting.away = g_ptr_array_new_with_free_func(g_free);
    parting.calls = *parting.real;
    parting.calls.resolve_addr = resolve_addr;
    parting.calls.create_qp = create_qp;
    parting.calls.destroy_qp = destroy_qp;
    verbs_calls_use(&parting.calls);
}

void part_end(void)
{
    if (parting.real) {
        verbs_calls_use(NULL);
        g_ptr_array_unref(parting.pairs);
        g_ptr_array_unref(parting.away);
        parting.real = NULL;
    }
}

/* Whatever state it is in. */
static gboolean break_pairs(const char *address, GError **errp)
{
    for (guint i = 0; i < parting.pairs->len; i++) {
        Pair *pair = g_ptr_array_index(parting.pairs, i);
        struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
        int error;

        if (strcmp(pair->address, address) != 0) {
            continue;
        }
        error = parting.real->modify_qp(pair->qp, &attr, IBV_QP_STATE);
        if (error) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_IO,
                        "a queue pair with %s cannot be put into error: %s",
                        address, g_strerror(error));
            return FALSE;
        }
    }
    return TRUE;
}

gboolean part_set(const char *address, gboolean parted, GError **errp)
{
    gboolean done = TRUE;
    guint place;

    if (!parting.real) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "only with --transport=rdma");
        return FALSE;
    }
    g_mutex_lock(&parting.lock);
    if (is_away(address, &place)) {
        g_ptr_array_remove_index_fast(parting.away, place);
    }
    if (parted) {
        done = break_pairs(address, errp);
        g_ptr_array_add(parting.away, g_strdup(address));
    }
    g_mutex_unlock(&parting.lock);
    return done;
}
