/*
 * Does a device keep out writes that were revoked?
 *
 * A host of its own calls itself over the device, grants itself a lane, writes
 * into it, takes the grant back without telling itself so, and writes again.
 * The second write must not change the memory, and the link must break: else
 * who was deposed could go on to write, or would not notice.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <ifaddrs.h>
#include <poll.h>
#include <string.h>

#include "colo-net/verbs/internal.h"

#define PATIENCE 1000000000ull /* ns */
#define LANE 1

typedef struct {
    VerbsHost *host;
    VerbsLink *writer, *reader;
    gboolean granted, received, ended;
    VerbsEnd end;
    char *text;
} Probe;

static void probe_called(void *opaque, VerbsLink *link,
                         const void *data G_GNUC_UNUSED,
                         size_t size G_GNUC_UNUSED)
{
    Probe *probe = opaque;

    probe->reader = link;
    verbs_link_trust(link);
    verbs_link_accept(link, NULL, 0);
}

static void probe_open(void *opaque, VerbsLink *link,
                       const void *data G_GNUC_UNUSED,
                       size_t size G_GNUC_UNUSED)
{
    Probe *probe = opaque;
    g_autoptr(GError) error = NULL;

    if (link == probe->writer) {
        verbs_link_trust(link);
    } else if (!verbs_grant(link, LANE, 0, &error)) {
        verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
    }
}

static void probe_granted(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                          unsigned lane G_GNUC_UNUSED, gboolean granted,
                          uint64_t ticket G_GNUC_UNUSED)
{
    Probe *probe = opaque;

    probe->granted = granted;
}

static void probe_received(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                           unsigned lane G_GNUC_UNUSED,
                           const uint8_t *data G_GNUC_UNUSED,
                           size_t size G_GNUC_UNUSED)
{
    Probe *probe = opaque;

    probe->received = TRUE;
}

static void probe_closed(void *opaque, VerbsLink *link, VerbsEnd end,
                         const char *text, const void *data G_GNUC_UNUSED,
                         size_t size G_GNUC_UNUSED)
{
    Probe *probe = opaque;

    if (link == probe->writer) {
        probe->writer = NULL;
    } else {
        probe->reader = NULL;
    }
    if (!probe->ended) {
        probe->ended = TRUE;
        probe->end = end;
        probe->text = g_strdup(text);
    }
}

static const VerbsHandlers handlers = {
    .called = probe_called,
    .open = probe_open,
    .granted = probe_granted,
    .received = probe_received,
    .closed = probe_closed,
};

/* Until *@what, or an end. */
static gboolean wait_for(Probe *probe, const gboolean *what)
{
    uint64_t deadline = verbs_now() + PATIENCE;
    gboolean events = TRUE;

    while (!*what && !probe->ended && verbs_now() < deadline) {
        struct pollfd fd = { verbs_host_fd(probe->host), POLLIN, 0 };

        verbs_host_work(probe->host, events);
        if (!*what && !probe->ended && verbs_host_arm(probe->host)) {
            poll(&fd, 1, 10);
        }
    }
    return *what;
}

static gboolean write_one(Probe *probe)
{
    static const char something[] = "something";
    VerbsPiece piece = { something, sizeof(something) };

    return verbs_send(probe->writer, LANE, &piece, 1) == VERBS_SENT;
}

static gboolean prepare(Probe *probe, const struct sockaddr *address,
                        GError **errp)
{
    struct sockaddr_storage here;

    if (!verbs_host_listen(probe->host, address, errp)) {
        return FALSE;
    }
    verbs_host_address(probe->host, &here);
    probe->writer = verbs_call(probe->host, (struct sockaddr *)&here, "", 0,
                               errp);
    if (!probe->writer) {
        return FALSE;
    }
    if (!wait_for(probe, &probe->granted) || !write_one(probe) ||
        !wait_for(probe, &probe->received)) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_UNSAFE,
                    "the RDMA device could not be tested: %s",
                    probe->text ? probe->text : "it takes too long");
        return FALSE;
    }
    return TRUE;
}

/* What the lane's memory has become is looked at when all has ended. */
static gboolean try_it(Probe *probe, const char *device, GError **errp)
{
    VerbsIn *in = &probe->reader->in[LANE];
    g_autofree uint8_t *before = g_memdup2(in->memory, in->ring.size);
    gboolean same;

    /* A record that is kept keeps its memory, too. */
    in->kept = TRUE;
    verbs_unregister(probe->reader, &in->mr);
    write_one(probe);
    wait_for(probe, &probe->ended);
    same = memcmp(before, in->memory, in->ring.size) == 0;
    in->kept = FALSE;
    if (!same || !probe->ended) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_UNSAFE,
                    "%s cannot be used for this: it %s (software iWARP, siw, "
                    "is known for it; rxe is not)", device,
                    same ? "does not say that a write was refused" :
                           "lets writes in that were revoked");
        return FALSE;
    }
    return TRUE;
}

static gboolean probe_one(VerbsHost *host, const char *device,
                          const struct sockaddr *address, GError **errp)
{
    VerbsConfig config = {
        .lanes = { { VERBS_RING_MIN, FALSE }, { VERBS_RING_MIN, TRUE } },
        .connect_timeout = PATIENCE,
        .ack_timeout = host->config.ack_timeout,
    };
    Probe probe = { 0 };
    gboolean passed;

    probe.host = verbs_host_new(&config, &handlers, &probe, errp);
    if (!probe.host) {
        return FALSE;
    }
    g_hash_table_add(probe.host->safe, g_strdup(device));
    passed = prepare(&probe, address, errp) &&
             try_it(&probe, device, errp);
    verbs_host_free(probe.host);
    g_free(probe.text);
    if (passed) {
        g_hash_table_add(host->safe, g_strdup(device));
    }
    return passed;
}

/* --- which devices -------------------------------------------------------- */

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = port;
    } else {
        ((struct sockaddr_in *)address)->sin_port = port;
    }
}

/* The device of one of this machine's addresses, if it has one. */
static gboolean probe_address(VerbsHost *host, const struct sockaddr *address,
                              GError **errp)
{
    struct sockaddr_storage here = { 0 };
    struct rdma_cm_id *id;
    gboolean passed = TRUE;

    memcpy(&here, address, address->sa_family == AF_INET6 ?
           sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    set_port(&here, 0);
    if (host->calls->create_id(host->channel, &id, NULL, RDMA_PS_TCP) != 0) {
        verbs_system_error(errp, "cannot test the RDMA device", errno);
        return FALSE;
    }
    if (host->calls->bind_addr(id, (struct sockaddr *)&here) == 0 &&
        id->verbs &&
        !g_hash_table_contains(host->safe, id->verbs->device->name)) {
        passed = probe_one(host, id->verbs->device->name,
                           (struct sockaddr *)&here, errp);
    }
    host->calls->destroy_id(id);
    return passed;
}

/* We listen on all of them. */
static gboolean probe_all(VerbsHost *host, GError **errp)
{
    struct ifaddrs *all;
    gboolean passed = TRUE;

    if (getifaddrs(&all) != 0) {
        verbs_system_error(errp, "cannot see this machine's addresses", errno);
        return FALSE;
    }
    for (struct ifaddrs *one = all; one && passed; one = one->ifa_next) {
        if (one->ifa_addr && (one->ifa_addr->sa_family == AF_INET ||
                              one->ifa_addr->sa_family == AF_INET6)) {
            passed = probe_address(host, one->ifa_addr, errp);
        }
    }
    freeifaddrs(all);
    return passed;
}

gboolean verbs_probe(VerbsHost *host, GError **errp)
{
    if (host->listener->verbs) {
        return probe_address(host, (struct sockaddr *)&host->address, errp);
    }
    return probe_all(host, errp);
}
