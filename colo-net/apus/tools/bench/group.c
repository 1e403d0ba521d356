/*
 * The processes of a benchmark
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "group.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * G_GUINT64_CONSTANT(1000000000) + now.tv_nsec;
}

static gboolean fail(GError **errp, const char *what)
{
    g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s",
                what, g_strerror(errno));
    return FALSE;
}

gboolean bench_group_init(BenchGroup *group, const BenchSettings *settings,
                          gboolean stores, GError **errp)
{
    memset(group, 0, sizeof(*group));
    group->cpus = settings->cpus;
    if (stores) {
        char *path = g_build_filename(settings->directory, "bench-XXXXXX",
                                      NULL);

        if (!g_mkdtemp(path)) {
            fail(errp, path);
            g_free(path);
            return FALSE;
        }
        group->directory = path;
    }
    return TRUE;
}

/* The calling process stays on the CPU of @place. */
static gboolean pin(const BenchGroup *group, unsigned place, GError **errp)
{
    unsigned cpu;
    cpu_set_t set;

    if (!group->cpus.count) {
        return TRUE;
    }
    cpu = group->cpus.value[place % group->cpus.count];
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0) {
        g_autofree char *what = g_strdup_printf("--pin: CPU %u", cpu);

        return fail(errp, what);
    }
    return TRUE;
}

static gboolean add(BenchGroup *group, const char *role, pid_t pid,
                    GError **errp)
{
    BenchProcess *process = &group->process[group->count];

    errno = clock_getcpuclockid(pid, &process->clock);
    if (errno) {
        return fail(errp, "the clock of a process");
    }
    process->role = role;
    process->pid = pid;
    group->count++;
    return TRUE;
}

gboolean bench_group_add_self(BenchGroup *group, const char *role,
                              GError **errp)
{
    g_assert(group->count < BENCH_MAX_PROCESSES);
    return pin(group, group->count, errp) &&
           add(group, role, getpid(), errp);
}

static void child(BenchGroup *group, const char *role, pid_t parent,
                  int (*work)(void *opaque, unsigned place), void *opaque)
{
    g_autoptr(GError) error = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    if (!pin(group, group->count, &error)) {
        g_printerr("%s: %s\n", role, error->message);
        _exit(1);
    }
    _exit(work(opaque, group->count));
}

gboolean bench_group_add(BenchGroup *group, const char *role,
                         int (*work)(void *opaque, unsigned place),
                         void *opaque, GError **errp)
{
    pid_t parent = getpid(), pid;

    g_assert(group->count < BENCH_MAX_PROCESSES);
    pid = fork();
    if (pid < 0) {
        return fail(errp, "fork");
    }
    if (pid == 0) {
        child(group, role, parent, work, opaque);
    }
    return add(group, role, pid, errp);
}

void bench_group_cpu(const BenchGroup *group,
                     uint64_t times[BENCH_MAX_PROCESSES])
{
    for (unsigned i = 0; i < group->count; i++) {
        struct timespec time = { 0 };

        clock_gettime(group->process[i].clock, &time);
        times[i] = time.tv_sec * G_GUINT64_CONSTANT(1000000000) + time.tv_nsec;
    }
}

/* Waits until @pid has ended, at most until @deadline; its status. */
static int wait_for(pid_t pid, uint64_t deadline)
{
    int fd = pidfd_open(pid, 0);
    struct pollfd ended = { .fd = fd, .events = POLLIN };
    uint64_t now = bench_now();
    int status = -1;

    if (fd < 0) {
        return -1;
    }
    if (poll(&ended, 1, deadline > now ? (deadline - now) / 1000000 : 0) > 0) {
        waitpid(pid, &status, 0);
    }
    close(fd);
    return status;
}

gboolean bench_group_wait(BenchGroup *group, uint64_t timeout, GError **errp)
{
    uint64_t deadline = bench_now() + timeout;

    for (unsigned i = 0; i < group->count; i++) {
        BenchProcess *process = &group->process[i];
        int status;

        if (process->pid == getpid()) {
            continue;
        }
        status = wait_for(process->pid, deadline);
        if (status == -1) {
            g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                        "the %s does not end", process->role);
            return FALSE;
        }
        process->pid = 0;
        if (status) {
            g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                        "the %s failed", process->role);
            return FALSE;
        }
    }
    return TRUE;
}

static void remove_all(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        if (g_file_test(inner, G_FILE_TEST_IS_DIR) &&
            !g_file_test(inner, G_FILE_TEST_IS_SYMLINK)) {
            remove_all(inner);
        } else {
            g_unlink(inner);
        }
    }
    g_rmdir(path);
}

void bench_group_end(BenchGroup *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        pid_t pid = group->process[i].pid;

        if (pid && pid != getpid()) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
    }
    group->count = 0;
    if (group->directory) {
        remove_all(group->directory);
        g_clear_pointer(&group->directory, g_free);
    }
}

gboolean bench_free_ports(unsigned count, uint16_t *ports, GError **errp)
{
    int sockets[BENCH_MAX_PROCESSES];
    unsigned bound;
    gboolean good = TRUE;

    g_assert(count <= BENCH_MAX_PROCESSES);
    /* All are held until all are known: each is another one. */
    for (bound = 0; good && bound < count; bound++) {
        struct sockaddr_in address = {
            .sin_family = AF_INET,
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        socklen_t length = sizeof(address);

        sockets[bound] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        good = sockets[bound] >= 0 &&
               !bind(sockets[bound], (struct sockaddr *)&address, length) &&
               !getsockname(sockets[bound], (struct sockaddr *)&address,
                            &length);
        ports[bound] = ntohs(address.sin_port);
    }
    if (!good) {
        fail(errp, "a free port");
    }
    while (bound) {
        close(sockets[--bound]);
    }
    return good;
}
