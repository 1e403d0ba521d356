/*
 * The tap devices of a node's NICs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taps.h"

struct ColonyTaps {
    const ColonyConfig *config;
    char **names; /* for each NIC */
};

static char *make_name(const ColonyConfig *config, const ColonyNode *node,
                       guint nic)
{
    g_autofree char *text = g_strdup_printf("%s/%s", config->name, node->name);

    return g_strdup_printf("ct%08x%u", g_str_hash(text), nic);
}

ColonyTaps *colony_taps_new(const ColonyConfig *config, const ColonyNode *node)
{
    ColonyTaps *taps = g_new0(ColonyTaps, 1);

    taps->config = config;
    taps->names = g_new0(char *, config->nics->len + 1);
    for (guint i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(config->nics, i);

        taps->names[i] = nic->bridge ? make_name(config, node, i)
                                     : g_strdup(nic->tap);
    }
    return taps;
}

void colony_taps_free(ColonyTaps *taps)
{
    if (taps) {
        g_strfreev(taps->names);
        g_free(taps);
    }
}

static gboolean fail(GError **error, const char *format, const char *first,
                     const char *second)
{
    g_autofree char *reason = g_strdup(g_strerror(errno));
    g_autofree char *text = g_strdup_printf(format, first, second);

    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: %s", text, reason);
    return FALSE;
}

static struct ifreq request_of(const char *name)
{
    struct ifreq request = { 0 };

    g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
    return request;
}

static gboolean set_persistent(const char *name, gboolean on, GError **error)
{
    struct ifreq request = request_of(name);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    gboolean ok;

    if (fd < 0) {
        return fail(error, "tap %s: cannot open /dev/net/tun%s", name, "");
    }
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    ok = ioctl(fd, TUNSETIFF, &request) == 0 &&
         ioctl(fd, TUNSETPERSIST, on) == 0;
    if (!ok) {
        fail(error, "tap %s cannot be %s", name, on ? "made" : "removed");
    }
    close(fd);
    return ok;
}

/* Put it into @bridge, and switch it on. */
static gboolean connect_tap(int fd, const char *name, const char *bridge,
                            GError **error)
{
    struct ifreq to = request_of(bridge), about = request_of(name);

    to.ifr_ifindex = if_nametoindex(name);
    if (!if_nametoindex(bridge)) {
        return fail(error, "tap %s: there is no bridge %s; make it first "
                    "(\"ip link add ... type bridge\")", name, bridge);
    }
    if (ioctl(fd, SIOCBRADDIF, &to) < 0 && errno != EBUSY) {
        return fail(error, "tap %s cannot be put into bridge %s", name,
                    bridge);
    }
    if (ioctl(fd, SIOCGIFFLAGS, &about) < 0) {
        return fail(error, "tap %s is not there%s", name, "");
    }
    about.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &about) == 0 ||
           fail(error, "tap %s cannot be switched on%s", name, "");
}

gboolean colony_taps_make(ColonyTaps *taps, GError **error)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    gboolean ok = fd >= 0 || fail(error, "no socket%s%s", "", "");

    for (guint i = 0; ok && i < taps->config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(taps->config->nics, i);
        const char *name = taps->names[i];

        if (nic->bridge) {
            ok = (if_nametoindex(name) ||
                  set_persistent(name, TRUE, error)) &&
                 connect_tap(fd, name, nic->bridge, error);
        } else if (!if_nametoindex(name)) {
            ok = fail(error, "[nic %s] tap=%s: there is no such device",
                      nic->id, name);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

void colony_taps_remove(ColonyTaps *taps)
{
    for (guint i = 0; i < taps->config->nics->len; i++) {
        const ColonyNic *nic = g_ptr_array_index(taps->config->nics, i);

        if (nic->bridge && if_nametoindex(taps->names[i])) {
            set_persistent(taps->names[i], FALSE, NULL);
        }
    }
}

const char *const *colony_taps_names(const ColonyTaps *taps)
{
    return (const char *const *)taps->names;
}
