/*
 * The first process of a guest of tests/rdma: runs commands for the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * agent PORT: a virtio-serial port on which both sides send frames, each a
 * line "VERB ID NUMBER LENGTH" and LENGTH bytes. ID is the host's name for a
 * process: one that has ended may be used again.
 *
 *   from the host
 *     start ID 0     arguments, each with a NUL behind it
 *     signal ID N    to the process, and those it has started
 *     input ID 0     bytes for its standard input; none: end of file
 *     clock ID 0     what time is it?
 *   to the host
 *     up 0 0         ready; sent once
 *     output ID N    bytes from its standard output (1) or error (2)
 *     exit ID N      it has ended, all that it said has been sent; N is its
 *                    exit status, or minus the signal that ended it
 *     clock ID 0     nanoseconds of CLOCK_BOOTTIME, in decimal
 *
 * Input must be read by the process, or fit into a pipe.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 64, ARGUMENTS = 256, FRAME = 1 << 20 };

typedef struct {
    unsigned id;
    pid_t pid; /* 0: has ended, and been reported */
    int input;
    int output[2]; /* -1: closed */
} Child;

static Child children[CHILDREN];
static int host;
static int deaths; /* a signalfd of SIGCHLD */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
    sync();
    reboot(RB_POWER_OFF);
    abort();
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t done = write(fd, data, size);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            if (fd == host) {
                fail("the host");
            }
            return; /* it does not want to know */
        }
        data += done;
        size -= done;
    }
}

static void tell(const char *verb, unsigned id, int number, const char *data,
                 size_t size)
{
    char head[80];

    snprintf(head, sizeof(head), "%s %u %d %zu\n", verb, id, number, size);
    write_all(host, head, strlen(head));
    write_all(host, data, size);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static Child *child_of(unsigned id)
{
    for (int i = 0; i < CHILDREN; i++) {
        if (children[i].pid && children[i].id == id) {
            return &children[i];
        }
    }
    return NULL;
}

static Child *free_child(void)
{
    for (int i = 0; i < CHILDREN; i++) {
        if (!children[i].pid) {
            return &children[i];
        }
    }
    return NULL;
}

static _Noreturn void become(char **argv, int input, int output, int error)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    dup2(input, 0);
    dup2(output, 1);
    dup2(error, 2);
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void start(unsigned id, char *data, size_t size)
{
    Child *child = free_child();
    char *argv[ARGUMENTS + 1];
    int argc = 0, pipes[3][2];

    for (size_t at = 0; at < size && argc < ARGUMENTS;
         at += strlen(data + at) + 1) {
        argv[argc++] = data + at;
    }
    argv[argc] = NULL;
    if (!child || !argc) {
        const char *why = "agent: too many processes, or no command\n";

        tell("output", id, 2, why, strlen(why));
        tell("exit", id, 126, NULL, 0);
        return;
    }
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0) {
            fail("pipe2");
        }
    }
    child->id = id;
    child->pid = fork();
    if (child->pid < 0) {
        fail("fork");
    }
    if (child->pid == 0) {
        become(argv, pipes[0][0], pipes[1][1], pipes[2][1]);
    }
    setpgid(child->pid, child->pid); /* whoever is first */
    close(pipes[0][0]);
    child->input = pipes[0][1];
    for (int i = 0; i < 2; i++) {
        close(pipes[i + 1][1]);
        child->output[i] = pipes[i + 1][0];
        fcntl(child->output[i], F_SETFL, O_NONBLOCK);
    }
}

/* What there is to read of one of its outputs. */
static void pass_on(Child *child, int number)
{
    char data[1 << 14];
    ssize_t size;

    while ((size = read(child->output[number], data, sizeof(data))) > 0) {
        tell("output", child->id, number + 1, data, size);
    }
    if (size == 0 || errno != EAGAIN) {
        close_fd(&child->output[number]);
    }
}

static void bury(void)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    (void)!read(deaths, &info, sizeof(info));
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < CHILDREN; i++) {
            Child *child = &children[i];

            if (child->pid != pid) {
                continue;
            }
            for (int n = 0; n < 2; n++) {
                if (child->output[n] >= 0) {
                    pass_on(child, n);
                }
                close_fd(&child->output[n]);
            }
            close_fd(&child->input);
            child->pid = 0;
            tell("exit", child->id,
                 WIFSIGNALED(status) ? -WTERMSIG(status)
                                     : WEXITSTATUS(status),
                 NULL, 0);
        }
    }
}

static void tell_time(unsigned id)
{
    struct timespec now;
    char text[32];

    clock_gettime(CLOCK_BOOTTIME, &now);
    snprintf(text, sizeof(text), "%lld",
             now.tv_sec * 1000000000LL + now.tv_nsec);
    tell("clock", id, 0, text, strlen(text));
}

static void obey(const char *verb, unsigned id, int number, char *data,
                 size_t size)
{
    Child *child = child_of(id);

    if (!strcmp(verb, "start")) {
        start(id, data, size);
    } else if (!strcmp(verb, "clock")) {
        tell_time(id);
    } else if (!child) {
        return; /* it has just ended: the host will hear of it */
    } else if (!strcmp(verb, "signal")) {
        kill(-child->pid, number);
    } else if (!strcmp(verb, "input") && size) {
        write_all(child->input, data, size);
    } else if (!strcmp(verb, "input")) {
        close_fd(&child->input);
    }
}

/* Reads what the host has sent, and obeys each whole frame. */
static void listen_to_host(void)
{
    static char buffer[FRAME + 1];
    static size_t filled;
    ssize_t size = read(host, buffer + filled, FRAME - filled);
    char *end;

    if (size <= 0) {
        fail("the host has gone");
    }
    filled += size;
    while ((end = memchr(buffer, '\n', filled))) {
        char verb[16];
        unsigned id;
        int number;
        size_t head = end + 1 - buffer, length;

        if (sscanf(buffer, "%15s %u %d %zu", verb, &id, &number, &length) !=
                4 || length > FRAME - head) {
            errno = EPROTO;
            fail("the host");
        }
        if (filled < head + length) {
            return;
        }
        char after = buffer[head + length];

        buffer[head + length] = 0; /* ends an argument whatever was sent */
        obey(verb, id, number, buffer + head, length);
        buffer[head + length] = after;
        filled -= head + length;
        memmove(buffer, buffer + head + length, filled);
    }
}

static void wait_and_work(void)
{
    struct pollfd fds[2 + 2 * CHILDREN] = {
        { .fd = host, .events = POLLIN },
        { .fd = deaths, .events = POLLIN },
    };
    struct pollfd *outputs = fds + 2;

    for (int i = 0; i < 2 * CHILDREN; i++) {
        Child *child = &children[i / 2];

        outputs[i].fd = child->pid ? child->output[i % 2] : -1;
        outputs[i].events = POLLIN;
    }
    if (poll(fds, sizeof(fds) / sizeof(*fds), -1) < 0) {
        fail("poll");
    }
    for (int i = 0; i < 2 * CHILDREN; i++) {
        if (outputs[i].fd >= 0 && outputs[i].revents) {
            pass_on(&children[i / 2], i % 2);
        }
    }
    if (fds[1].revents) {
        bury();
    }
    if (fds[0].revents) {
        listen_to_host();
    }
}

int main(int argc, char **argv)
{
    sigset_t signals;

    if (argc != 2) {
        errno = EINVAL;
        fail("usage: agent PORT");
    }
    host = open(argv[1], O_RDWR | O_CLOEXEC);
    if (host < 0) {
        fail(argv[1]);
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    deaths = signalfd(-1, &signals, SFD_CLOEXEC);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = (Child) { .input = -1, .output = { -1, -1 } };
    }
    tell("up", 0, 0, NULL, 0);
    for (;;) {
        wait_and_work();
    }
}
