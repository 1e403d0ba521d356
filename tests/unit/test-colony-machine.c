/*
 * The process of a node, and what the node remembers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "qemu/colony/command.h"
#include "qemu/colony/machine.h"
#include "qemu/colony/record.h"

typedef struct Fixture {
    char *directory;
    ColonyNode node;
    GMainLoop *loop;
    char *why; /* the process has ended; NULL: not yet */
} Fixture;

static void on_ready(void *opaque G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

static void on_event(void *opaque G_GNUC_UNUSED,
                     const char *name G_GNUC_UNUSED,
                     JsonObject *data G_GNUC_UNUSED, gint64 time G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

static void on_ended(void *opaque, const char *why)
{
    Fixture *fixture = opaque;

    g_assert_null(fixture->why);
    fixture->why = g_strdup(why);
    g_main_loop_quit(fixture->loop);
}

static const ColonyMachineOps ops = { on_ready, on_event, on_ended };

static void set_up(Fixture *fixture, const void *opaque G_GNUC_UNUSED)
{
    fixture->directory = g_dir_make_tmp("colony-XXXXXX", NULL);
    fixture->node.name = (char *)"a";
    fixture->node.directory = fixture->directory;
    fixture->loop = g_main_loop_new(NULL, FALSE);
}

static void tear_down(Fixture *fixture, const void *opaque G_GNUC_UNUSED)
{
    g_autoptr(GDir) dir = g_dir_open(fixture->directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(fixture->directory, name,
                                                 NULL);

        g_unlink(path);
    }
    g_rmdir(fixture->directory);
    g_main_loop_unref(fixture->loop);
    g_free(fixture->directory);
    g_free(fixture->why);
}

static ColonyMachine *make(Fixture *fixture)
{
    return colony_machine_new(&fixture->node, &ops, fixture);
}

static void start(ColonyMachine *machine, const char *script)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
    GError *error = NULL;

    colony_machine_start(machine, argv, &error);
    g_assert_no_error(error);
    g_assert_true(colony_machine_is_running(machine));
}

static gboolean on_late(void *opaque G_GNUC_UNUSED)
{
    g_error("the process has not ended in time");
    return G_SOURCE_REMOVE;
}

static void wait_end(Fixture *fixture)
{
    guint timer = g_timeout_add_seconds(30, on_late, NULL);

    if (!fixture->why) {
        g_main_loop_run(fixture->loop);
    }
    g_source_remove(timer);
}

static void test_end_is_told(Fixture *fixture,
                             const void *opaque G_GNUC_UNUSED)
{
    ColonyMachine *machine = make(fixture);
    g_autofree char *path = NULL, *text = NULL;

    start(machine, "echo hello; echo there >&2; exit 3");
    wait_end(fixture);
    g_assert_cmpstr(fixture->why, ==, "it has ended with status 3");
    g_assert_false(colony_machine_is_running(machine));
    g_assert_cmpint(colony_machine_pid(machine), ==, 0);
    path = colony_path_output(&fixture->node);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "hello\nthere\n");
    colony_machine_free(machine);
}

static void test_found_again(Fixture *fixture,
                             const void *opaque G_GNUC_UNUSED)
{
    ColonyMachine *first = make(fixture), *second = make(fixture);
    GError *error = NULL;
    pid_t pid;

    g_assert_false(colony_machine_find(second, &error));
    g_assert_no_error(error);
    start(first, "exec sleep 60");
    pid = colony_machine_pid(first);
    g_assert_cmpint(getsid(pid), ==, pid);
    colony_machine_free(first);

    g_assert_true(colony_machine_find(second, &error));
    g_assert_no_error(error);
    g_assert_cmpint(colony_machine_pid(second), ==, pid);
    colony_machine_end(second, 0);
    wait_end(fixture);
    g_assert_false(colony_machine_find(second, &error));
    g_assert_no_error(error);
    colony_machine_free(second);
}

/* Its number may be another's by then. */
static void test_dead_is_not_found(Fixture *fixture,
                                   const void *opaque G_GNUC_UNUSED)
{
    g_autofree char *path = colony_path_pid(&fixture->node);
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    ColonyMachine *machine = make(fixture);
    GError *error = NULL;

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_false(colony_machine_find(machine, &error));
    g_assert_no_error(error);
    colony_machine_free(machine);
}

static void test_no_two(Fixture *fixture, const void *opaque G_GNUC_UNUSED)
{
    ColonyMachine *first = make(fixture), *second = make(fixture);
    char *argv[] = { (char *)"true", NULL };
    GError *error = NULL;

    start(first, "exec sleep 60");
    g_assert_false(colony_machine_start(second, argv, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN);
    g_error_free(error);
    colony_machine_end(first, 0);
    wait_end(fixture);
    colony_machine_free(first);
    colony_machine_free(second);
}

static void test_stubborn_is_killed(Fixture *fixture,
                                    const void *opaque G_GNUC_UNUSED)
{
    ColonyMachine *machine = make(fixture);

    start(machine, "trap '' TERM; while :; do sleep 0.1; done");
    colony_machine_end(machine, 300);
    wait_end(fixture);
    g_assert_nonnull(strstr(fixture->why, "signal"));
    colony_machine_free(machine);
}

static void test_no_such_program(Fixture *fixture,
                                 const void *opaque G_GNUC_UNUSED)
{
    ColonyMachine *machine = make(fixture);
    char *argv[] = { (char *)"/nonexistent", NULL };
    GError *error = NULL;

    g_assert_false(colony_machine_start(machine, argv, &error));
    g_assert_error(error, G_SPAWN_ERROR, G_SPAWN_ERROR_NOENT);
    g_error_free(error);
    g_assert_false(colony_machine_is_running(machine));
    colony_machine_free(machine);
}

/* --- record --------------------------------------------------------------- */

static void test_remembered(Fixture *fixture, const void *opaque G_GNUC_UNUSED)
{
    GError *error = NULL;
    ColonyRecord *record = colony_record_load(fixture->directory, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(record->generation, ==, 0);
    record->wanted = record->founding = TRUE;
    record->generation = G_MAXUINT64;
    record->id = g_strdup("abc");
    record->boot = g_strdup("b");
    record->disks = 8;
    record->term = 7;
    record->leader = 2;
    record->secondary = 65535;
    record->mate = 1;
    colony_record_expect(record, "c", TRUE);
    colony_record_expect(record, "d", TRUE);
    colony_record_expect(record, "c", FALSE);
    g_assert_true(colony_record_save(record, &error));
    colony_record_free(record);

    record = colony_record_load(fixture->directory, &error);
    g_assert_no_error(error);
    g_assert_true(record->wanted && record->founding && !record->off);
    g_assert_cmpuint(record->generation, ==, G_MAXUINT64);
    g_assert_cmpstr(record->id, ==, "abc");
    g_assert_cmpstr(record->boot, ==, "b");
    g_assert_cmpuint(record->disks, ==, 8);
    g_assert_cmpuint(record->term, ==, 7);
    g_assert_cmpuint(record->leader, ==, 2);
    g_assert_cmpuint(record->secondary, ==, 65535);
    g_assert_cmpuint(record->mate, ==, 1);
    g_assert_true(colony_record_expects(record, "d"));
    g_assert_false(colony_record_expects(record, "c"));
    colony_record_free(record);
}

/* Else it would vote in a founding that it does not remember. */
static void test_unsaved_founding(Fixture *fixture,
                                  const void *opaque G_GNUC_UNUSED)
{
    static const char *const absent[] = { "c", NULL };
    GError *error = NULL;
    ColonyRecord *record = colony_record_load(fixture->directory, &error);

    g_assert_true(colony_record_found(record, 3, "x", "a", 5, NULL, &error));
    record->founding = record->forget = FALSE;
    record->term = 9;
    g_free(record->path);
    record->path = g_build_filename(fixture->directory, "no", "state", NULL);
    g_assert_false(colony_record_found(record, 4, "y", "b", 6, absent,
                                       &error));
    g_assert_nonnull(error);
    g_error_free(error);
    g_assert_cmpuint(record->generation, ==, 3);
    g_assert_cmpstr(record->id, ==, "x");
    g_assert_cmpuint(record->disks, ==, 5);
    g_assert_cmpstr(record->boot, ==, "a");
    g_assert_cmpuint(record->term, ==, 9);
    g_assert_false(record->founding || record->forget);
    g_assert_false(colony_record_expects(record, "c"));
    colony_record_free(record);
}

/* A node that had forgotten that it belongs to a group might vote twice. */
static void test_damage_is_no_new_node(Fixture *fixture,
                                       const void *opaque G_GNUC_UNUSED)
{
    static const char *const damaged[] = {
        "", "[state]\nversion=1\n", "[state]\nversion=2\n", "x\1",
        "[state]\nversion=1\nwanted=true\noff=false\n"
        "[group]\ngeneration=3\nfounding=false\n"
        "[roles]\nterm=0\nleader=0\nsecondary=0\nmate=0\n",
    };
    g_autofree char *path = g_build_filename(fixture->directory, "node.state",
                                             NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(damaged); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_true(g_file_set_contents(path, damaged[i], -1, NULL));
        g_assert_null(colony_record_load(fixture->directory, &error));
        g_assert_nonnull(strstr(error->message, "node.state"));
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *fixture, const void *opaque);
    } tests[] = {
        { "/colony/machine/its-end-is-told", test_end_is_told },
        { "/colony/machine/is-found-again", test_found_again },
        { "/colony/machine/the-dead-are-not-found", test_dead_is_not_found },
        { "/colony/machine/there-are-no-two", test_no_two },
        { "/colony/machine/the-stubborn-are-killed", test_stubborn_is_killed },
        { "/colony/machine/no-such-program", test_no_such_program },
        { "/colony/record/what-was-saved-is-remembered", test_remembered },
        { "/colony/record/a-founding-counts-when-it-is-saved",
          test_unsaved_founding },
        { "/colony/record/damage-makes-no-new-node",
          test_damage_is_no_new_node },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test,
                   tear_down);
    }
    return g_test_run();
}
