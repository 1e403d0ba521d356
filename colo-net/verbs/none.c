/*
 * In the place of everything else where Colony was built without RDMA
 *
 * No host can be made, so the other functions are never called.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/verbs.h"

gboolean verbs_is_built_in(GError **errp)
{
    g_set_error(errp, VERBS_ERROR, VERBS_ERROR_NONE_HERE,
                "Colony was built without RDMA: install libibverbs-dev and "
                "librdmacm-dev, call configure without --without-rdma, and "
                "build it again");
    return FALSE;
}

VerbsHost *verbs_host_new(const VerbsConfig *config G_GNUC_UNUSED,
                          const VerbsHandlers *handlers G_GNUC_UNUSED,
                          void *opaque G_GNUC_UNUSED, GError **errp)
{
    verbs_is_built_in(errp);
    return NULL;
}

void verbs_host_free(VerbsHost *host)
{
    g_assert(!host);
}

gboolean verbs_host_listen(VerbsHost *host G_GNUC_UNUSED,
                           const struct sockaddr *address G_GNUC_UNUSED,
                           GError **errp G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_host_address(const VerbsHost *host G_GNUC_UNUSED,
                        struct sockaddr_storage *address G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_host_stop_listening(VerbsHost *host G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

int verbs_host_fd(const VerbsHost *host G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

gboolean verbs_host_work(VerbsHost *host G_GNUC_UNUSED,
                         gboolean events G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

gboolean verbs_host_arm(VerbsHost *host G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

uint64_t verbs_host_deadline(const VerbsHost *host G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_host_counters(const VerbsHost *host G_GNUC_UNUSED,
                         VerbsCounters *counters G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

VerbsLink *verbs_call(VerbsHost *host G_GNUC_UNUSED,
                      const struct sockaddr *address G_GNUC_UNUSED,
                      const void *data G_GNUC_UNUSED,
                      size_t size G_GNUC_UNUSED, GError **errp G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_link_accept(VerbsLink *link G_GNUC_UNUSED,
                       const void *data G_GNUC_UNUSED,
                       size_t size G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_link_reject(VerbsLink *link G_GNUC_UNUSED,
                       const void *data G_GNUC_UNUSED,
                       size_t size G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_link_trust(VerbsLink *link G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_link_close(VerbsLink *link G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_link_set_opaque(VerbsLink *link G_GNUC_UNUSED,
                           void *opaque G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void *verbs_link_opaque(const VerbsLink *link G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

const char *verbs_link_name(const VerbsLink *link G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

VerbsSent verbs_send(VerbsLink *link G_GNUC_UNUSED,
                     unsigned lane G_GNUC_UNUSED,
                     const VerbsPiece *pieces G_GNUC_UNUSED,
                     unsigned n G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

size_t verbs_lane_longest(const VerbsLink *link G_GNUC_UNUSED,
                          unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

size_t verbs_lane_room(const VerbsLink *link G_GNUC_UNUSED,
                       unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_keep(VerbsLink *link G_GNUC_UNUSED, unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_done(VerbsLink *link G_GNUC_UNUSED, unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

gboolean verbs_grant(VerbsLink *link G_GNUC_UNUSED,
                     unsigned lane G_GNUC_UNUSED,
                     uint64_t ticket G_GNUC_UNUSED,
                     GError **errp G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

void verbs_revoke(VerbsLink *link G_GNUC_UNUSED, unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

gboolean verbs_is_granted(const VerbsLink *link G_GNUC_UNUSED,
                          unsigned lane G_GNUC_UNUSED)
{
    g_assert_not_reached();
}
