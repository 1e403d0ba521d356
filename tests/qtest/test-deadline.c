/*
 * A deadline for whatever a test does next
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-deadline.h"

/* volatile: a signal handler reads it */
static const char *volatile doing;
static pid_t victims[4];

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        _exit(1);
    }
}

static void on_deadline(int sig)
{
    int i;

    say("Deadline passed: ");
    say(doing);
    say("\n");
    for (i = 0; i < ARRAY_SIZE(victims); i++) {
        if (victims[i]) {
            kill(victims[i], SIGKILL);
        }
    }
    abort();
}

void test_deadline(unsigned seconds, const char *what)
{
    struct sigaction action = { .sa_handler = on_deadline };

    alarm(0);
    doing = what;
    if (what) {
        sigaction(SIGALRM, &action, NULL);
        alarm(seconds);
    }
}

static void replace_victim(pid_t old, pid_t new)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(victims); i++) {
        if (victims[i] == old) {
            victims[i] = new;
            return;
        }
    }
    g_assert_not_reached();
}

void test_deadline_kills(QTestState *qts)
{
    replace_victim(0, qtest_pid(qts));
}

void test_deadline_spares(QTestState *qts)
{
    replace_victim(qtest_pid(qts), 0);
}

void test_deadline_quit(QTestState *qts)
{
    pid_t pid = qtest_pid(qts);

    qtest_quit(qts);
    replace_victim(pid, 0);
}
