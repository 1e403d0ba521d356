/*
 * A migration connection that can be frozen at a chosen byte
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "colo-link.h"
#include <poll.h>
#include <sys/un.h>

struct ColoLink {
    char *secondary;
    GThread *thread;
    int listener;
    int wake[2];                            /* a pipe that ends poll() */

    GMutex lock;                            /* protects what follows */
    GCond changed;
    int fd[COLO_LINK_DIRECTIONS];           /* fd[d] is the source of d */
    uint64_t passed[COLO_LINK_DIRECTIONS];
    uint64_t limit[COLO_LINK_DIRECTIONS];
    bool frozen;
    bool cut;
    bool quit;
};

static int connect_to(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path)),
                    <, sizeof(sun.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), ==, 0);
    return fd;
}

static void wake(ColoLink *link)
{
    g_assert_cmpint(write(link->wake[1], "", 1), ==, 1);
}

/* Called with the lock held. */
static void cut(ColoLink *link)
{
    int i;

    for (i = 0; i < COLO_LINK_DIRECTIONS; i++) {
        if (link->fd[i] >= 0) {
            shutdown(link->fd[i], SHUT_RDWR);
        }
    }
    link->cut = true;
    g_cond_broadcast(&link->changed);
}

static bool send_all(int fd, const char *data, ssize_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        data += n;
        size -= n;
    }
    return true;
}

/* Pass what has arrived for @d; called with the lock held. */
static void pass(ColoLink *link, ColoLinkDirection d)
{
    char buf[64 * 1024];
    uint64_t room = link->limit[d] - link->passed[d];
    int source = link->fd[d];
    int destination = link->fd[!d];
    ssize_t n;

    if (!room) {
        link->frozen = true;
        g_cond_broadcast(&link->changed);
        return;
    }

    /* The destination may take its time; others may cut the link meanwhile. */
    g_mutex_unlock(&link->lock);
    n = recv(source, buf, MIN(room, sizeof(buf)), 0);
    if (n > 0 && !send_all(destination, buf, n)) {
        n = 0;
    }
    g_mutex_lock(&link->lock);

    if (n <= 0) {
        cut(link);
        return;
    }
    link->passed[d] += n;
    g_cond_broadcast(&link->changed);
}

static void *link_thread(void *opaque)
{
    ColoLink *link = opaque;
    struct pollfd p[] = {
        { .fd = link->wake[0], .events = POLLIN },
        { .fd = link->listener, .events = POLLIN },
        { .fd = -1, .events = POLLIN },
    };
    char byte;
    int i;

    g_mutex_lock(&link->lock);
    while (!link->quit) {
        g_mutex_unlock(&link->lock);
        g_assert_cmpint(poll(p, ARRAY_SIZE(p), -1), >, 0);
        if (p[0].revents) {
            g_assert_cmpint(read(link->wake[0], &byte, 1), ==, 1);
        }
        g_mutex_lock(&link->lock);

        if (link->fd[TO_SECONDARY] < 0) {
            if (p[1].revents) {
                link->fd[TO_SECONDARY] = accept(link->listener, NULL, NULL);
                g_assert_cmpint(link->fd[TO_SECONDARY], >=, 0);
                link->fd[TO_PRIMARY] = connect_to(link->secondary);
            }
        } else {
            for (i = 0; i < COLO_LINK_DIRECTIONS; i++) {
                if (p[1 + i].revents && !link->frozen && !link->cut) {
                    pass(link, i);
                }
            }
        }
        if (link->fd[TO_SECONDARY] >= 0) {
            for (i = 0; i < COLO_LINK_DIRECTIONS; i++) {
                p[1 + i].fd = link->frozen || link->cut ? -1 : link->fd[i];
                p[1 + i].revents = 0;
            }
        }
    }
    g_mutex_unlock(&link->lock);
    return NULL;
}

ColoLink *colo_link_new(const char *path, const char *secondary)
{
    ColoLink *link = g_new0(ColoLink, 1);
    int i;

    link->secondary = g_strdup(secondary);
    link->listener = qtest_socket_server(path);
    g_assert_cmpint(pipe(link->wake), ==, 0);
    g_mutex_init(&link->lock);
    g_cond_init(&link->changed);
    for (i = 0; i < COLO_LINK_DIRECTIONS; i++) {
        link->fd[i] = -1;
        link->limit[i] = UINT64_MAX;
    }
    link->thread = g_thread_new("link", link_thread, link);
    return link;
}

uint64_t colo_link_passed(ColoLink *link, ColoLinkDirection direction)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&link->lock);

    return link->passed[direction];
}

void colo_link_wait_passed(ColoLink *link, ColoLinkDirection direction,
                           uint64_t bytes)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&link->lock);

    while (link->passed[direction] < bytes) {
        /* A connection that ends by itself is a failure to report. */
        g_assert_false(link->cut);
        g_cond_wait(&link->changed, &link->lock);
    }
}

void colo_link_freeze_after(ColoLink *link, ColoLinkDirection direction,
                            uint64_t bytes)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&link->lock);

    link->limit[direction] = link->passed[direction] + bytes;
}

void colo_link_thaw(ColoLink *link)
{
    g_mutex_lock(&link->lock);
    for (int i = 0; i < COLO_LINK_DIRECTIONS; i++) {
        link->limit[i] = UINT64_MAX;
    }
    link->frozen = false;
    g_mutex_unlock(&link->lock);
    wake(link);
}

void colo_link_wait_frozen(ColoLink *link)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&link->lock);

    while (!link->frozen) {
        g_assert_false(link->cut);
        g_cond_wait(&link->changed, &link->lock);
    }
}

void colo_link_cut(ColoLink *link)
{
    g_mutex_lock(&link->lock);
    cut(link);
    g_mutex_unlock(&link->lock);
    wake(link);
}

void colo_link_free(ColoLink *link)
{
    int i;

    g_mutex_lock(&link->lock);
    cut(link);
    link->quit = true;
    g_mutex_unlock(&link->lock);
    wake(link);
    g_thread_join(link->thread);

    for (i = 0; i < COLO_LINK_DIRECTIONS; i++) {
        if (link->fd[i] >= 0) {
            close(link->fd[i]);
        }
        close(link->wake[i]);
    }
    close(link->listener);
    g_mutex_clear(&link->lock);
    g_cond_clear(&link->changed);
    g_free(link->secondary);
    g_free(link);
}
