/*
 * What systemd is told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"

void colony_notify(const char *message)
{
    const char *path = g_getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = path ? strlen(path) : 0;
    int fd;

    if ((length < 2) || length >= sizeof(address.sun_path) ||
        (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* an abstract socket */
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    (void)!sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                  (struct sockaddr *)&address,
                  offsetof(struct sockaddr_un, sun_path) + length);
    close(fd);
}

void colony_notify_status(const char *status)
{
    g_autofree char *line = g_strdup(status);
    g_autofree char *message = NULL;

    message = g_strdup_printf("STATUS=%s", g_strdelimit(line, "\n", ' '));
    colony_notify(message);
}

unsigned colony_notify_watchdog(void)
{
    const char *pid = g_getenv("WATCHDOG_PID");
    const char *time = g_getenv("WATCHDOG_USEC");

    if (!time || (pid && g_ascii_strtoll(pid, NULL, 10) != getpid())) {
        return 0;
    }
    return MIN(g_ascii_strtoull(time, NULL, 10) / 2000, G_MAXUINT);
}
