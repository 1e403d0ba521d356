/*
 * Which addresses are those of the config's nodes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "control.h"
#include "control-hosts.h"

/* The longest that a lookup may take. */
#define LOOKUP_MS 3000
/* Strangers do not make us look up more often. */
#define AGAIN_US (5 * G_USEC_PER_SEC)

struct ColonyHosts {
    const ColonyConfig *config; /* of the owner, not to be used when ended */
    gboolean ended;
    unsigned refs; /* the owner's, and one for each lookup */
    unsigned nodes;
    GList **addresses; /* of GInetAddress, for each node */
    GQueue waiting; /* of GTask */
    GCancellable *cancel; /* the lookups that are under way */
    unsigned lookups; /* how many these are */
    GSource *deadline;
    gint64 looked; /* when they began, us */
};

typedef struct {
    ColonyHosts *hosts;
    unsigned node; /* its place in the config */
} Lookup;

static void free_addresses(GList *addresses)
{
    g_list_free_full(addresses, g_object_unref);
}

static void unref(ColonyHosts *hosts)
{
    if (--hosts->refs > 0) {
        return;
    }
    for (unsigned i = 0; i < hosts->nodes; i++) {
        free_addresses(hosts->addresses[i]);
    }
    g_free(hosts->addresses);
    g_free(hosts);
}

static gboolean knows(const ColonyHosts *hosts, GInetAddress *address)
{
    for (unsigned i = 0; i < hosts->nodes; i++) {
        for (GList *a = hosts->addresses[i]; a; a = a->next) {
            if (g_inet_address_equal(a->data, address)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

static void answer_waiting(ColonyHosts *hosts)
{
    GTask *task;

    while ((task = g_queue_pop_head(&hosts->waiting))) {
        if (hosts->ended) {
            g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                    "the server has ended");
        } else {
            g_task_return_boolean(task,
                                  knows(hosts, g_task_get_task_data(task)));
        }
        g_object_unref(task);
    }
}

static void end_lookups(ColonyHosts *hosts)
{
    if (hosts->deadline) {
        g_source_destroy(hosts->deadline);
        g_clear_pointer(&hosts->deadline, g_source_unref);
    }
    g_clear_object(&hosts->cancel);
    answer_waiting(hosts);
}

static void complain(const ColonyHosts *hosts, unsigned i, const GError *error)
{
    const ColonyNode *node = g_ptr_array_index(hosts->config->nodes, i);

    g_message("host %s of [node %s] is not known: %s", node->host, node->name,
              error->message);
}

/* A host whose lookup fails keeps the addresses that it had. */
static void looked_up(GObject *resolver, GAsyncResult *result, gpointer opaque)
{
    g_autofree Lookup *lookup = opaque;
    ColonyHosts *hosts = lookup->hosts;
    g_autoptr(GError) error = NULL;
    GList *addresses = g_resolver_lookup_by_name_finish(G_RESOLVER(resolver),
                                                        result, &error);

    if (addresses) {
        free_addresses(hosts->addresses[lookup->node]);
        hosts->addresses[lookup->node] = addresses;
    } else if (!hosts->ended) {
        complain(hosts, lookup->node, error);
    }
    if (--hosts->lookups == 0) {
        end_lookups(hosts);
    }
    unref(hosts);
}

static gboolean give_up(gpointer opaque)
{
    ColonyHosts *hosts = opaque;

    g_cancellable_cancel(hosts->cancel);
    return G_SOURCE_REMOVE;
}

static void look_up_names(ColonyHosts *hosts)
{
    g_autoptr(GResolver) resolver = g_resolver_get_default();

    hosts->looked = g_get_monotonic_time();
    for (unsigned i = 0; i < hosts->nodes; i++) {
        const ColonyNode *node = g_ptr_array_index(hosts->config->nodes, i);
        Lookup *lookup;

        if (g_hostname_is_ip_address(node->host)) {
            continue;
        }
        if (!hosts->cancel) {
            hosts->cancel = g_cancellable_new();
            hosts->deadline = g_timeout_source_new(LOOKUP_MS);
            g_source_set_callback(hosts->deadline, give_up, hosts, NULL);
            g_source_attach(hosts->deadline,
                            g_main_context_get_thread_default());
        }
        lookup = g_new(Lookup, 1);
        *lookup = (Lookup) { hosts, i };
        hosts->lookups++;
        hosts->refs++;
        g_resolver_lookup_by_name_async(resolver, node->host, hosts->cancel,
                                        looked_up, lookup);
    }
}

ColonyHosts *colony_hosts_new(const ColonyConfig *config)
{
    ColonyHosts *hosts = g_new0(ColonyHosts, 1);

    hosts->config = config;
    hosts->refs = 1;
    hosts->nodes = config->nodes->len;
    hosts->addresses = g_new0(GList *, hosts->nodes);
    g_queue_init(&hosts->waiting);
    for (unsigned i = 0; i < hosts->nodes; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);
        GInetAddress *address = g_inet_address_new_from_string(node->host);

        if (address) {
            hosts->addresses[i] = g_list_prepend(NULL, address);
        }
    }
    look_up_names(hosts);
    return hosts;
}

void colony_hosts_free(ColonyHosts *hosts)
{
    hosts->ended = TRUE;
    if (hosts->cancel) {
        g_cancellable_cancel(hosts->cancel);
    }
    answer_waiting(hosts);
    unref(hosts);
}

void colony_hosts_check_async(ColonyHosts *hosts, GInetAddress *address,
                              GAsyncReadyCallback ready, void *opaque)
{
    GTask *task = g_task_new(NULL, NULL, ready, opaque);
    gint64 since = g_get_monotonic_time() - hosts->looked;

    if (!knows(hosts, address)) {
        if (hosts->lookups == 0 && since >= AGAIN_US) {
            look_up_names(hosts);
        }
        if (hosts->lookups > 0) {
            g_task_set_task_data(task, g_object_ref(address), g_object_unref);
            g_queue_push_tail(&hosts->waiting, task);
            return;
        }
    }
    g_task_return_boolean(task, knows(hosts, address));
    g_object_unref(task);
}

gboolean colony_hosts_check_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

/* --- a single host -------------------------------------------------------- */

typedef struct {
    gboolean done;
    GList *addresses;
    GError *error;
} Resolution;

static void resolved(GObject *resolver, GAsyncResult *result, gpointer opaque)
{
    Resolution *resolution = opaque;

    resolution->addresses = g_resolver_lookup_by_name_finish(
        G_RESOLVER(resolver), result, &resolution->error);
    resolution->done = TRUE;
}

static gboolean took_too_long(gpointer cancel)
{
    g_cancellable_cancel(cancel);
    return G_SOURCE_REMOVE;
}

GList *colony_resolve(const char *host, GError **error)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GResolver) resolver = g_resolver_get_default();
    g_autoptr(GCancellable) cancel = g_cancellable_new();
    g_autoptr(GSource) deadline = g_timeout_source_new(LOOKUP_MS);
    Resolution resolution = { FALSE };

    g_main_context_push_thread_default(context);
    g_source_set_callback(deadline, took_too_long, cancel, NULL);
    g_source_attach(deadline, context);
    g_resolver_lookup_by_name_async(resolver, host, cancel, resolved,
                                    &resolution);
    while (!resolution.done) {
        g_main_context_iteration(context, TRUE);
    }
    g_source_destroy(deadline);
    g_main_context_pop_thread_default(context);
    if (resolution.error) {
        g_propagate_prefixed_error(error, resolution.error, "host %s: ", host);
    }
    return resolution.addresses;
}
