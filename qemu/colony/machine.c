/*
 * The process of a node
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "machine.h"

#define CONNECT_MS 5000
#define RETRY_MS 200
#define MAX_OUTPUT (4 * 1024 * 1024)
#define LOCK_FD 3 /* of the child */

struct ColonyMachine {
    const ColonyNode *node;
    const ColonyMachineOps *ops;
    void *opaque;
    char *pid_file;
    int pidfd; /* -1: there is no process */
    pid_t pid;
    gint64 since;
    guint watch, kill, retry; /* sources */
    ColonyQmp *qmp;
    gboolean ready;
};

static int pidfd_open_compat(pid_t pid)
{
    return syscall(SYS_pidfd_open, pid, 0);
}

static void signal_process(ColonyMachine *machine, int number)
{
    if (machine->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, machine->pidfd, number, NULL, 0);
    }
}

/* --- QMP ------------------------------------------------------------------ */

static void connect_qmp(ColonyMachine *machine);

static gboolean on_retry(void *opaque)
{
    ColonyMachine *machine = opaque;

    machine->retry = 0;
    connect_qmp(machine);
    return G_SOURCE_REMOVE;
}

static void on_ready(void *opaque)
{
    ColonyMachine *machine = opaque;

    machine->ready = TRUE;
    machine->ops->ready(machine->opaque);
}

static void on_event(void *opaque, const char *name, JsonObject *data,
                     gint64 time)
{
    ColonyMachine *machine = opaque;

    machine->ops->event(machine->opaque, name, data, time);
}

static void on_closed(void *opaque, const GError *error G_GNUC_UNUSED)
{
    ColonyMachine *machine = opaque;

    machine->ready = FALSE;
    g_clear_pointer(&machine->qmp, colony_qmp_free);
    if (machine->pidfd >= 0) {
        machine->retry = g_timeout_add(RETRY_MS, on_retry, machine);
    }
}

static void connect_qmp(ColonyMachine *machine)
{
    static const ColonyQmpOps ops = {
        .ready = on_ready,
        .event = on_event,
        .closed = on_closed,
    };
    g_autofree char *path = colony_path_qmp(machine->node);

    if (machine->node->can_run) {
        machine->qmp = colony_qmp_new(path, CONNECT_MS, &ops, machine);
    }
}

static void disconnect_qmp(ColonyMachine *machine)
{
    g_clear_handle_id(&machine->retry, g_source_remove);
    machine->ready = FALSE;
    g_clear_pointer(&machine->qmp, colony_qmp_free);
}

/* --- the process ---------------------------------------------------------- */

/* Why it ended; only our own child tells. */
static char *tell_end(int pidfd)
{
    siginfo_t info = { 0 };

    if (waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG) < 0 ||
        !info.si_pid) {
        return g_strdup("it has ended");
    }
    if (info.si_code == CLD_EXITED) {
        return g_strdup_printf("it has ended with status %d", info.si_status);
    }
    return g_strdup_printf("it was ended by signal %d (%s)", info.si_status,
                           g_strsignal(info.si_status));
}

static void forget_process(ColonyMachine *machine)
{
    disconnect_qmp(machine);
    g_clear_handle_id(&machine->watch, g_source_remove);
    g_clear_handle_id(&machine->kill, g_source_remove);
    if (machine->pidfd >= 0) {
        close(machine->pidfd);
    }
    machine->pidfd = -1;
    machine->pid = 0;
    machine->since = 0;
}

static gboolean on_end(int fd, GIOCondition condition G_GNUC_UNUSED,
                       void *opaque)
{
    ColonyMachine *machine = opaque;
    g_autofree char *why = tell_end(fd);

    machine->watch = 0;
    forget_process(machine);
    machine->ops->ended(machine->opaque, why);
    return G_SOURCE_REMOVE;
}

static void watch_process(ColonyMachine *machine, int pidfd, pid_t pid,
                          gint64 since)
{
    machine->pidfd = pidfd;
    machine->pid = pid;
    machine->since = since;
    machine->watch = g_unix_fd_add(pidfd, G_IO_IN, on_end, machine);
    connect_qmp(machine);
}

static gboolean fail(GError **error, const char *what, const char *path)
{
    int number = errno;

    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
                "%s %s: %s", what, path, g_strerror(number));
    return FALSE;
}

static pid_t read_pid(int fd)
{
    char text[32] = "";

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0) {
        return 0;
    }
    return g_ascii_strtoll(text, NULL, 10);
}

/* Whether a process of the file holds the lock; -1: error */
static int is_locked(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return errno == EWOULDBLOCK ? 1 : -1;
    }
    flock(fd, LOCK_UN);
    return 0;
}

gboolean colony_machine_find(ColonyMachine *machine, GError **error)
{
    int fd = open(machine->pid_file, O_RDWR | O_CLOEXEC);
    struct stat about;
    int locked, pidfd = -1;
    pid_t pid = 0;

    if (fd < 0) {
        return errno == ENOENT ? FALSE :
               fail(error, "cannot open", machine->pid_file);
    }
    locked = is_locked(fd);
    if (locked > 0) {
        pid = read_pid(fd);
        pidfd = pid > 0 ? pidfd_open_compat(pid) : -1;
        /* Still: so it was its number when that was taken hold of. */
        locked = is_locked(fd);
    }
    if (locked > 0 && pidfd >= 0 && fstat(fd, &about) == 0) {
        watch_process(machine, pidfd, pid,
                      about.st_mtime * G_TIME_SPAN_SECOND);
        close(fd);
        return TRUE;
    }
    if (locked > 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "%s is held by a process that it does not name; end it "
                    "(\"fuser -v\" shows it)", machine->pid_file);
    } else if (locked < 0) {
        fail(error, "cannot lock", machine->pid_file);
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    close(fd);
    return FALSE;
}

/* Between fork and exec: only what a signal handler may do. */
static void in_child(void *opaque G_GNUC_UNUSED)
{
    char text[24];
    char *digit = text + sizeof(text);
    pid_t pid = getpid();

    setsid();
    *--digit = '\n';
    do {
        *--digit = '0' + pid % 10;
        pid /= 10;
    } while (pid);
    (void)!pwrite(LOCK_FD, digit, text + sizeof(text) - digit, 0);
}

/* Where it writes to; what is too long is kept once, as FILE.old. */
static int open_output(const ColonyNode *node, GError **error)
{
    g_autofree char *path = colony_path_output(node);
    g_autofree char *old = g_strconcat(path, ".old", NULL);
    struct stat about;
    int fd;

    if (stat(path, &about) == 0 && about.st_size > MAX_OUTPUT) {
        g_rename(path, old);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail(error, "cannot open", path);
    }
    return fd;
}

static int open_lock(ColonyMachine *machine, GError **error)
{
    int fd = open(machine->pid_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        fail(error, "cannot open", machine->pid_file);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        fail(error, "another process runs, which holds", machine->pid_file);
        close(fd);
        return -1;
    }
    /* The number of before may be another's by now. */
    if (ftruncate(fd, 0) < 0) {
        fail(error, "cannot write to", machine->pid_file);
        close(fd);
        return -1;
    }
    return fd;
}

static gboolean spawn(char **argv, int output, int lock, pid_t *pid,
                      GError **error)
{
    const int from[] = { lock }, to[] = { LOCK_FD };

    return g_spawn_async_with_pipes_and_fds(
        NULL, (const char *const *)argv, NULL,
        G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH, in_child, NULL, -1,
        output, output, from, to, 1, pid, NULL, NULL, NULL, error);
}

gboolean colony_machine_start(ColonyMachine *machine, char **argv,
                              GError **error)
{
    int output, lock, pidfd;
    pid_t pid;
    gboolean ok;

    g_assert(machine->pidfd < 0);
    output = open_output(machine->node, error);
    if (output < 0) {
        return FALSE;
    }
    lock = open_lock(machine, error);
    ok = lock >= 0 && spawn(argv, output, lock, &pid, error);
    if (lock >= 0) {
        close(lock);
    }
    close(output);
    if (!ok) {
        return FALSE;
    }
    pidfd = pidfd_open_compat(pid);
    if (pidfd < 0) {
        fail(error, "cannot watch the process of", argv[0]);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return FALSE;
    }
    watch_process(machine, pidfd, pid, g_get_real_time());
    return TRUE;
}

static gboolean on_kill(void *opaque)
{
    ColonyMachine *machine = opaque;

    machine->kill = 0;
    signal_process(machine, SIGKILL);
    return G_SOURCE_REMOVE;
}

void colony_machine_end(ColonyMachine *machine, unsigned grace_ms)
{
    if (machine->pidfd < 0) {
        return;
    }
    if (!grace_ms) {
        signal_process(machine, SIGKILL);
        return;
    }
    signal_process(machine, SIGTERM);
    if (!machine->kill) {
        machine->kill = g_timeout_add(grace_ms, on_kill, machine);
    }
}

/* --- the whole ------------------------------------------------------------ */

ColonyMachine *colony_machine_new(const ColonyNode *node,
                                  const ColonyMachineOps *ops, void *opaque)
{
    ColonyMachine *machine = g_new0(ColonyMachine, 1);

    machine->node = node;
    machine->ops = ops;
    machine->opaque = opaque;
    machine->pid_file = colony_path_pid(node);
    machine->pidfd = -1;
    return machine;
}

void colony_machine_free(ColonyMachine *machine)
{
    if (machine) {
        forget_process(machine);
        g_free(machine->pid_file);
        g_free(machine);
    }
}

gboolean colony_machine_is_running(const ColonyMachine *machine)
{
    return machine->pidfd >= 0;
}

pid_t colony_machine_pid(const ColonyMachine *machine)
{
    return machine->pid;
}

gint64 colony_machine_since(const ColonyMachine *machine)
{
    return machine->since;
}

ColonyQmp *colony_machine_qmp(const ColonyMachine *machine)
{
    return machine->ready ? machine->qmp : NULL;
}
