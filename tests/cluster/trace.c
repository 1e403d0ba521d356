/*
 * What a member under test tells, and where it may be struck
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "colo-net/apus/core/types.h"
#include "colo-net/apus/runtime/loop.h"

typedef struct {
    char *name;
    uint64_t left; /* times until it strikes */
    int signal;
} Strike;

struct Trace {
    int fd;
    gint armed; /* how many strikes; read without the lock */
    pthread_mutex_t lock; /* of what follows */
    GPtrArray *strikes;
};

static void strike_free(void *opaque)
{
    Strike *strike = opaque;

    g_free(strike->name);
    g_free(strike);
}

Trace *trace_new(int fd)
{
    Trace *trace = g_new0(Trace, 1);

    trace->fd = fd;
    pthread_mutex_init(&trace->lock, NULL);
    trace->strikes = g_ptr_array_new_with_free_func(strike_free);
    return trace;
}

void trace_free(Trace *trace)
{
    g_ptr_array_free(trace->strikes, TRUE);
    pthread_mutex_destroy(&trace->lock);
    g_free(trace);
}

static void say(Trace *trace, const char *name, const char *words)
{
    g_autofree char *line = g_strdup_printf("%" PRIu64 " %s%s%s\n",
                                            apus_clock(), name,
                                            *words ? " " : "", words);
    size_t size = strlen(line);

    /* One write, so that lines of several threads do not mix. */
    while (write(trace->fd, line, size) < 0 && errno == EINTR) {
        continue;
    }
}

void trace_event(Trace *trace, const char *name, const char *format, ...)
{
    g_autofree char *words = NULL;
    va_list arguments;

    va_start(arguments, format);
    words = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_strdelimit(words, "\n", ' ');
    say(trace, name, words);
    trace_point(trace, name);
}

/* The signal that is due at @name now, or 0. */
static int due(Trace *trace, const char *name)
{
    pthread_mutex_lock(&trace->lock);
    for (guint i = 0; i < trace->strikes->len; i++) {
        Strike *strike = g_ptr_array_index(trace->strikes, i);

        if (strcmp(strike->name, name) == 0 && --strike->left == 0) {
            int number = strike->signal;

            g_ptr_array_remove_index(trace->strikes, i);
            g_atomic_int_add(&trace->armed, -1);
            pthread_mutex_unlock(&trace->lock);
            return number;
        }
    }
    pthread_mutex_unlock(&trace->lock);
    return 0;
}

void trace_point(Trace *trace, const char *name)
{
    int number;

    if (g_atomic_int_get(&trace->armed) == 0) {
        return;
    }
    number = due(trace, name);
    if (number) {
        say(trace, "strike", name);
        kill(getpid(), number);
    }
}

gboolean trace_arm(Trace *trace, const char *strike, GError **errp)
{
    g_auto(GStrv) sides = g_strsplit(strike, "=", 2);
    g_auto(GStrv) words = NULL;
    Strike *new;
    int number = 0;

    if (g_strv_length(sides) == 2) {
        number = strcmp(sides[1], "kill") == 0 ? SIGKILL :
                 strcmp(sides[1], "stop") == 0 ? SIGSTOP : 0;
        words = g_strsplit(sides[0], ":", 2);
    }
    if (!number || !words[0] || !*words[0]) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "a strike is NAME[:N]=kill or NAME[:N]=stop, not %s",
                    strike);
        return FALSE;
    }
    new = g_new0(Strike, 1);
    new->name = g_strdup(words[0]);
    new->left = words[1] ? MAX(1, g_ascii_strtoull(words[1], NULL, 10)) : 1;
    new->signal = number;
    pthread_mutex_lock(&trace->lock);
    g_ptr_array_add(trace->strikes, new);
    g_atomic_int_inc(&trace->armed);
    pthread_mutex_unlock(&trace->lock);
    return TRUE;
}
