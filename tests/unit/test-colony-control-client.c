/*
 * How long one listens to a supervisor that says nothing
 *
 * The client's source is part of this program, so that time can be said to have
 * passed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/colony/control-client.c"
#include "tests/unit/colony-talk.h"

typedef struct {
    ColonyWatch *watch;
    unsigned heard;
    GError *error;
} Listener;

static void hear(void *opaque, JsonObject *event G_GNUC_UNUSED)
{
    ((Listener *)opaque)->heard++;
}

static void hear_no_more(void *opaque, JsonObject *result G_GNUC_UNUSED,
                         const GError *error)
{
    Listener *listener = opaque;

    listener->error = g_error_copy(error);
    g_clear_pointer(&listener->watch, colony_watch_free);
}

static void listen_to(Talk *talk, Listener *listener)
{
    *listener = (Listener) { NULL };
    listener->watch = colony_watch_new(talk->config, talk->a, FALSE, hear,
                                       hear_no_more, listener);
}

static void must_give_up(Listener *listener, const char *why)
{
    g_source_set_ready_time(listener->watch->deadline, 0);
    talk_until(listener->error);
    g_assert_error(listener->error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    g_assert_nonnull(strstr(listener->error->message, why));
    g_error_free(listener->error);
}

static void a_silent_supervisor_is_given_up(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    Listener listener;

    talk_listen(talk);
    listen_to(talk, &listener);
    talk_until(listener.heard == 1);
    must_give_up(&listener, "nothing was heard");
}

static void one_that_is_not_reached_is_given_up(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    Listener listener;

    talk_listen(talk);
    listen_to(talk, &listener);
    must_give_up(&listener, "not reached in 10000 ms");
}

static void one_that_speaks_is_listened_to(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) event = json_object_new();
    Listener listener;
    gint64 before;

    talk_listen(talk);
    listen_to(talk, &listener);
    talk_until(listener.heard == 1);
    before = g_get_monotonic_time();
    g_source_set_ready_time(listener.watch->deadline, before + G_USEC_PER_SEC);
    colony_server_emit(talk->server, event);
    talk_until(listener.heard == 2);
    g_assert_cmpint(g_source_get_ready_time(listener.watch->deadline), >=,
                    before + SILENCE_MS * 1000);
    colony_watch_free(listener.watch);
}

#define ADD(test)                                                       \
    g_test_add("/control/client/" #test, Talk, NULL, talk_set_up, test, \
               talk_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_silent_supervisor_is_given_up);
    ADD(one_that_is_not_reached_is_given_up);
    ADD(one_that_speaks_is_listened_to);
    return g_test_run();
}
