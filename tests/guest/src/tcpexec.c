/*
 * Guest helper: runs a program for each TCP connection, with the connection
 * as its standard input, output and error.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcpexec PORT PROGRAM [ARGUMENT...]
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "tcpexec: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in any = { .sin_family = AF_INET };
    int one = 1;
    int listener;

    if (argc < 3) {
        fprintf(stderr, "usage: tcpexec PORT PROGRAM [ARGUMENT...]\n");
        return 1;
    }
    any.sin_port = htons(atoi(argv[1]));
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        fail("socket");
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&any, sizeof(any)) ||
        listen(listener, 128)) {
        fail(argv[1]);
    }
    signal(SIGCHLD, SIG_IGN);

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0) {
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (!fork()) {
            signal(SIGCHLD, SIG_DFL);
            dup2(fd, 0);
            dup2(fd, 1);
            dup2(fd, 2);
            execvp(argv[2], argv + 2);
            fail(argv[2]);
        }
        close(fd);
    }
}
