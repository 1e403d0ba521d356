/*
 * A host: what one thread has of RDMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "colo-net/verbs/internal.h"

#define MS 1000000ull
#define CONNECT_TIMEOUT (500 * MS)
#define ACK_TIMEOUT (100 * MS)

uint64_t verbs_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

void verbs_system_error(GError **errp, const char *what, int error)
{
    const char *remedy = "";

    if (error == ENOMEM) {
        remedy = ". More memory has to be locked than is allowed: raise "
                 "RLIMIT_MEMLOCK (\"ulimit -l unlimited\", or "
                 "LimitMEMLOCK=infinity in the service)";
    } else if (error == EACCES || error == EPERM) {
        remedy = ". /dev/infiniband has to be open to this user";
    }
    g_set_error(errp, VERBS_ERROR, VERBS_ERROR_SYSTEM, "%s: %s%s", what,
                g_strerror(error), remedy);
}

/* It must not block, either. */
gboolean verbs_host_watch(VerbsHost *host, int fd, GError **errp)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        epoll_ctl(host->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        verbs_system_error(errp, "cannot wait for RDMA events", errno);
        return FALSE;
    }
    return TRUE;
}

void verbs_host_unwatch(VerbsHost *host, int fd)
{
    epoll_ctl(host->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static gboolean channel_make(VerbsHost *host, GError **errp)
{
    host->channel = host->calls->create_event_channel();
    if (!host->channel) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_NONE_HERE,
                    "there is no RDMA on this machine: %s. \"rdma link\" shows "
                    "the devices, and /dev/infiniband/rdma_cm has to be there "
                    "(modprobe rdma_ucm)", g_strerror(errno));
        return FALSE;
    }
    return verbs_host_watch(host, host->channel->fd, errp);
}

static void config_check(const VerbsConfig *config)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        size_t size = config->lanes[i].size;

        g_assert((size & (size - 1)) == 0);
        g_assert(size == 0 ? i > 0 :
                 size >= VERBS_RING_MIN && size <= VERBS_RING_MAX);
    }
    g_assert(!config->lanes[0].gated);
}

gboolean verbs_is_built_in(GError **errp G_GNUC_UNUSED)
{
    return TRUE;
}

VerbsHost *verbs_host_new(const VerbsConfig *config,
                          const VerbsHandlers *handlers, void *opaque,
                          GError **errp)
{
    VerbsHost *host = g_new0(VerbsHost, 1);

    config_check(config);
    host->config = *config;
    if (config->connect_timeout == 0) {
        host->config.connect_timeout = CONNECT_TIMEOUT;
    }
    if (config->ack_timeout == 0) {
        host->config.ack_timeout = ACK_TIMEOUT;
    }
    host->handlers = *handlers;
    host->opaque = opaque;
    host->calls = verbs_calls();
    host->devices = g_ptr_array_new();
    host->links = g_ptr_array_new();
    host->safe = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (host->epoll < 0) {
        verbs_system_error(errp, "cannot wait for RDMA events", errno);
        verbs_host_free(host);
        return NULL;
    }
    if (!channel_make(host, errp)) {
        verbs_host_free(host);
        return NULL;
    }
    return host;
}

void verbs_host_free(VerbsHost *host)
{
    if (!host) {
        return;
    }
    g_assert(!host->working);
    verbs_host_stop_listening(host);
    for (unsigned i = 0; i < host->links->len; i++) {
        VerbsLink *link = g_ptr_array_index(host->links, i);

        link->detached = TRUE;
        verbs_link_free(link);
    }
    g_ptr_array_free(host->links, TRUE);
    for (unsigned i = 0; i < host->devices->len; i++) {
        verbs_device_free(g_ptr_array_index(host->devices, i));
    }
    g_ptr_array_free(host->devices, TRUE);
    if (host->channel) {
        host->calls->destroy_event_channel(host->channel);
    }
    if (host->epoll >= 0) {
        close(host->epoll);
    }
    g_hash_table_destroy(host->safe);
    g_free(host);
}

int verbs_host_fd(const VerbsHost *host)
{
    return host->epoll;
}

/* Nobody can have a link in hand now. */
static void sweep(VerbsHost *host)
{
    for (unsigned i = 0; i < host->links->len;) {
        VerbsLink *link = g_ptr_array_index(host->links, i);
        gboolean kept = FALSE;

        for (unsigned lane = 0; lane < VERBS_LANES; lane++) {
            kept |= link->in[lane].kept;
        }
        if (link->state == LINK_GONE && !kept) {
            g_ptr_array_remove_index_fast(host->links, i);
            verbs_link_free(link);
        } else {
            i++;
        }
    }
    for (unsigned i = 0; i < host->devices->len;) {
        VerbsDevice *device = g_ptr_array_index(host->devices, i);

        if (device->gone && device->links == 0) {
            g_ptr_array_remove_index_fast(host->devices, i);
            verbs_device_free(device);
        } else {
            i++;
        }
    }
}

static gboolean events_work(VerbsHost *host)
{
    gboolean worked = FALSE;

    for (unsigned i = 0; i < host->devices->len; i++) {
        worked |= verbs_device_work(g_ptr_array_index(host->devices, i));
    }
    return verbs_connections_work(host) || worked;
}

gboolean verbs_host_work(VerbsHost *host, gboolean events)
{
    uint64_t now = verbs_now();
    gboolean worked;

    g_assert(!host->working);
    host->working = TRUE;
    host->urgent = FALSE;
    worked = events && events_work(host);
    if (host->listen_again > 0 && now >= host->listen_again) {
        worked |= verbs_host_listen_again(host, NULL);
    }
    /* Handlers may add links. */
    for (unsigned i = 0; i < host->links->len; i++) {
        worked |= verbs_link_work(g_ptr_array_index(host->links, i), now);
    }
    host->working = FALSE;
    sweep(host);
    if (worked) {
        host->stirred = now;
    }
    return worked;
}

/* FALSE: what came before the request makes no event, so look again. */
static gboolean arm_link(VerbsLink *link)
{
    VerbsHost *host = link->host;

    if (!link->cq || link->armed) {
        return TRUE;
    }
    link->armed = TRUE;
    if (host->calls->req_notify_cq(link->cq, FALSE) != 0) {
        verbs_link_fail(link, VERBS_END_LOCAL,
                        "cannot ask for completion events");
    }
    return FALSE;
}

gboolean verbs_host_arm(VerbsHost *host)
{
    gboolean armed = TRUE;

    if (verbs_never_sleeps(host) || host->urgent ||
        (host->config.poll > 0 &&
         verbs_now() - host->stirred < host->config.poll)) {
        return FALSE;
    }
    for (unsigned i = 0; i < host->links->len; i++) {
        armed &= arm_link(g_ptr_array_index(host->links, i));
    }
    return armed;
}

uint64_t verbs_host_deadline(const VerbsHost *host)
{
    uint64_t first = host->listen_again;

    for (unsigned i = 0; i < host->links->len; i++) {
        const VerbsLink *link = g_ptr_array_index(host->links, i);

        if (link->deadline > 0 && (first == 0 || link->deadline < first)) {
            first = link->deadline;
        }
    }
    return host->urgent ? 1 : first;
}

void verbs_host_counters(const VerbsHost *host, VerbsCounters *counters)
{
    *counters = host->counters;
}
