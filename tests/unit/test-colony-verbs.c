/*
 * The verbs, with three supervisors that the test plays
 *
 * Each runs in a process of its own: a child plays the supervisors, and prints
 * what they are told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/colony/ask.h"
#include "qemu/colony/control.h"
#include "qemu/colony/verbs.h"
#include "tests/unit/colony-trio.h"

#if defined(__SANITIZE_THREAD__)
/* Or each of the many processes takes a second to end. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}
#endif

#define LIMIT_US (30 * G_USEC_PER_SEC)

typedef struct Change {
    char node; /* 0: no more; with @path "": the node is not there */
    const char *path, *json;
} Change;

typedef struct Case {
    const char *name;
    int (*verb)(int argc, char **argv);
    const char *words; /* FILE stands for the file */
    Change changes[8];
    int exit; /* status; -1: it is killed */
    const char *out, *err; /* patterns; NULL: any */
} Case;

#define ABSENT "(absent)" /* instead of a path: @node's process is not there */
#define EVENT "{\"node\": \"a\", \"time\": 1795283000.25, \"event\": " \
              "\"COLO_PROTECTED\", \"data\": {\"term\": 7, \"x\": \"y\\u001b\"}}"

static const Case cases[] = {
    {
        .name = "status", .verb = colony_verb_status, .words = "FILE",
        .exit = 0, .out = "web: PROTECTED\n*",
    }, {
        .name = "status-unprotected", .verb = colony_verb_status,
        .words = "FILE",
        .changes = { { 'a', "apus.protected", "false" },
                     { 'a', "apus.secondary", NULL },
                     { 'b', "apus.part", "\"witness\"" } },
        .exit = 1, .out = "web: UNPROTECTED\n*",
    }, {
        .name = "status-held", .verb = colony_verb_status, .words = "FILE",
        .changes = { { 'a', "apus.may-speak", "false" } },
        .exit = 2, .out = "web: HELD\n*",
    }, {
        .name = "status-unknown", .verb = colony_verb_status, .words = "FILE",
        .changes = {
            { 'a', "", NULL }, { 'b', "", NULL }, { 'c', "", NULL },
        },
        .exit = 3,
        .out = "web: UNKNOWN\n  none of the 3 nodes answers; *refused*",
    }, {
        .name = "status-json", .verb = colony_verb_status,
        .words = "FILE --json",
        .exit = 0, .out = "{\n  \"version\" : 1,*\"health\" : \"protected\",*",
    }, {
        .name = "file-is-wrong", .verb = colony_verb_status,
        .words = "/dev/null", .exit = COLONY_EXIT_FILE, .err = "/dev/null*",
    }, {
        .name = "usage-is-wrong", .verb = colony_verb_status, .words = "",
        .exit = COLONY_EXIT_USAGE, .err = "*FILE is missing*",
    }, {
        .name = "up-tells-all", .verb = colony_verb_up, .words = "FILE",
        .exit = 0,
        .out = "a: up {*}\nb: up {*}\nc: up {*}\n",
    }, {
        .name = "up-tells-those-that-answer", .verb = colony_verb_up,
        .words = "FILE", .changes = { { 'b', "", NULL } }, .exit = 1,
        .out = "a: up {*}\nc: up {*}\n",
        .err = "*b: *refused*",
    }, {
        .name = "up-waits", .verb = colony_verb_up, .words = "FILE -w 5",
        .exit = 0, .out = "a: up*",
    }, {
        .name = "up-waits-no-longer", .verb = colony_verb_up,
        .words = "FILE --wait=1",
        .changes = { { 'a', "apus.protected", "false" } },
        .exit = 1, .err = "*not within 1 s: *",
    }, {
        .name = "up-disk-of-says-what-is-lost", .verb = colony_verb_up,
        .words = "FILE --disk-of b",
        .changes = { { 'a', "", NULL }, { 'b', ABSENT, NULL },
                     { 'c', ABSENT, NULL } },
        .exit = 1, .out = "",
        .err = "*with the disks of b; what is newer on other disks would be "
               "lost for ever, and nobody can tell what a has: make sure that "
               "no VM runs there; --force does it all the same\n",
    }, {
        .name = "up-disk-of-by-force", .verb = colony_verb_up,
        .words = "FILE --disk-of b --force",
        .changes = { { 'a', "", NULL }, { 'b', ABSENT, NULL },
                     { 'c', ABSENT, NULL } },
        .exit = 0,
        .out = "b: up {*\"disk-of\":\"b\",\"off\":[\"a\"]}\n"
               "c: up {*\"disk-of\":\"b\",\"off\":[\"a\"]}\n",
        .err = "*a is taken to be off*",
    }, {
        .name = "up-by-force-when-the-leader-is-not-heard",
        .verb = colony_verb_up, .words = "FILE --force",
        .changes = { { 'a', "", NULL },
                     { 'b', "apus.part", "\"witness\"" },
                     { 'b', "apus.secondary", NULL },
                     { 'b', "apus.members.0.connected", "false" },
                     { 'c', "apus.secondary", NULL },
                     { 'c', "apus.members.0.connected", "false" } },
        .exit = 0,
        .out = "b: up {*\"off\":[\"a\"]}\nc: up {*\"off\":[\"a\"]}\n",
        .err = "*a is taken to be off*",
    }, {
        .name = "up-disk-of-while-it-runs", .verb = colony_verb_up,
        .words = "FILE --disk-of b --force", .exit = 1, .out = "",
        .err = "*a leads already*",
    }, {
        .name = "up-disk-of-nobody", .verb = colony_verb_up,
        .words = "FILE --disk-of x --force", .exit = COLONY_EXIT_USAGE,
        .out = "", .err = "*no ?node x?*",
    }, {
        .name = "up-dry-run", .verb = colony_verb_up, .words = "FILE -n",
        .exit = 0,
        .out = "# on a*apus-group*# on b*-incoming defer*# on c*apusd.conf*"
               "# QMP of b\n*migrate-incoming*# QMP of a\n*gannet-resync*"
               "\"migrate\"*",
    }, {
        .name = "down", .verb = colony_verb_down, .words = "FILE",
        .changes = { { 'a', ABSENT, NULL }, { 'b', ABSENT, NULL },
                     { 'c', "apus.stopped", "true" } },
        .exit = 0,
        .out = "a: down {\"force\":false}\nb: down {\"force\":false}\n"
               "c: down {\"force\":false}\n",
    }, {
        .name = "down-while-the-guest-does-not-heed", .verb = colony_verb_down,
        .words = "FILE -w 1", .exit = 1, .out = "a: down*",
        .err = "*not within 1 s*has not (colony up *takes that back); ending it "
               "at once loses its memory*--force does it all the same\n",
    }, {
        .name = "down-while-it-is-held", .verb = colony_verb_down,
        .words = "FILE", .changes = { { 'a', "apus.may-speak", "false" } },
        .exit = 1, .out = "",
        .err = "*cannot be powered off in good order (a may not speak yet)*",
    }, {
        .name = "down-while-nobody-answers", .verb = colony_verb_down,
        .words = "FILE", .changes = { { 'a', "", NULL }, { 'b', "", NULL },
                                      { 'c', "", NULL } },
        .exit = 1, .out = "",
        .err = "*: a: *does \"colony run * c\" run there?\n",
    }, {
        .name = "switchover", .verb = colony_verb_switchover, .words = "FILE",
        .exit = 0, .out = "a: switchover {}\n",
    }, {
        .name = "switchover-without-a-leader",
        .verb = colony_verb_switchover, .words = "FILE",
        .changes = { { 'a', ABSENT, NULL }, { 'b', ABSENT, NULL },
                     { 'c', ABSENT, NULL } },
        .exit = 1, .out = "", .err = "*nobody leads web: *",
    }, {
        .name = "restart-the-witness", .verb = colony_verb_restart,
        .words = "FILE c", .exit = 0, .out = "c: restart {}\n", .err = "",
    }, {
        .name = "restart-the-secondary", .verb = colony_verb_restart,
        .words = "FILE b", .exit = 0, .out = "b: restart {}\n",
        .err = "*: b is the secondary: web is not protected until it is back\n",
    }, {
        .name = "restart-without-protection", .verb = colony_verb_restart,
        .words = "FILE b", .changes = { { 'c', ABSENT, NULL } },
        .exit = 1, .out = "",
        .err = "*web is not protected*: without b too it may stop; --force does "
               "it all the same\n",
    }, {
        .name = "restart-by-force", .verb = colony_verb_restart,
        .words = "FILE b --force", .changes = { { 'c', ABSENT, NULL } },
        .exit = 0, .out = "b: restart {\"force\":true}\n",
    }, {
        .name = "restart-the-leader", .verb = colony_verb_restart,
        .words = "FILE a --force", .exit = 1, .out = "",
        .err = "*: a leads: let another one, with colony switchover*",
    }, {
        .name = "reprotect", .verb = colony_verb_reprotect,
        .words = "FILE --node b --wait=2", .exit = 0,
        .out = "a: reprotect {\"node\":\"b\"}\n",
    }, {
        .name = "verify", .verb = colony_verb_verify, .words = "FILE",
        .changes = {
            { 'a', "verified", "{\"state\": \"different\", \"pages\": 100, "
              "\"differing\": 2, \"bytes\": 2048, \"differing-bytes\": 512, "
              "\"sections\": [\"ram\"]}" },
        },
        .exit = 1,
        .out = "a: verify {}\nmemory: 100 pages compared, 2 differ\n"
               "devices: 1 differ\ndisks: 2.0 KiB compared, 512 B differ\n",
    }, {
        .name = "replace-who-is-alive", .verb = colony_verb_replace,
        .words = "FILE c none", .exit = 1, .out = "",
        .err = "*c is there and votes*--force does it all the same\n",
    }, {
        .name = "replace-by-force", .verb = colony_verb_replace,
        .words = "FILE c none --force", .exit = 0,
        .out = "a: replace {\"old\":\"c\"}\n",
    }, {
        .name = "remove-who-is-dead", .verb = colony_verb_replace,
        .words = "FILE c none",
        .changes = {
            { 'c', "", NULL }, { 'a', "apus.members.2.connected", "false" },
            { 'b', "apus.members.2.connected", "false" },
        },
        .exit = 0, .out = "a: replace {\"old\":\"c\"}\n",
    }, {
        .name = "replace-without-one-more", .verb = colony_verb_replace,
        .words = "FILE c b", .exit = 1, .out = "",
        .err = "*has 3 nodes; with the new one*add one at a time\n",
    }, {
        .name = "replace-by-the-same", .verb = colony_verb_replace,
        .words = "FILE c c", .exit = COLONY_EXIT_USAGE, .out = "",
        .err = "*OLD and NEW are the same*",
    }, {
        .name = "failover-of-whom", .verb = colony_verb_failover,
        .words = "FILE --force", .exit = 1, .out = "",
        .err = "*more than one node has the VM*--node*",
    }, {
        .name = "failover-says-what-is-lost", .verb = colony_verb_failover,
        .words = "FILE --node b", .exit = 1, .out = "",
        .err = "*b would go on alone*a and c may never*two VMs are heard*",
    }, {
        .name = "failover-by-force", .verb = colony_verb_failover,
        .words = "FILE --force",
        .changes = { { 'a', "", NULL }, { 'c', "", NULL } },
        .exit = 0, .out = "b: failover {\"force\":true}\n",
    }, {
        .name = "events", .verb = colony_verb_events,
        .words = "FILE --node a", .exit = -1,
        .out = "*a *COLONY_CONNECTED\n"
               "2026-11-21 17:43:20.250 a        COLO_PROTECTED term=7 "
               "x=\"y?\"\n",
    }, {
        .name = "events-json", .verb = colony_verb_events,
        .words = "FILE --json --node a", .exit = -1,
        .out = "*COLONY_CONNECTED*\n{\"node\":\"a\",*\"COLO_PROTECTED\"*}\n",
    }, {
        .name = "monitor-without-a-terminal", .verb = colony_verb_monitor,
        .words = "FILE", .exit = 1, .out = "", .err = "*no terminal*",
    },
};

/* --- supervisors --------------------------------------------------------- */

typedef struct Fake {
    const ColonyNode *node;
    JsonObject *report;
    ColonyServer *server;
} Fake;

static void print_request(const Fake *fake, const char *verb,
                          JsonObject *arguments)
{
    static const char *const common[] = {
        "verb", "vm", "version", "digest", "file", "host",
    };
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(common); i++) {
        json_object_remove_member(arguments, common[i]);
    }
    json_node_set_object(root, arguments);
    text = json_to_string(root, FALSE);
    printf("%s: %s %s\n", fake->node->name, verb, text);
    fflush(stdout);
}

static void serve(void *opaque, ColonyRequest *request, const char *verb,
                  JsonObject *arguments)
{
    Fake *fake = opaque;

    if (!strcmp(verb, "report")) {
        colony_request_return(request, json_object_ref(fake->report));
        return;
    }
    print_request(fake, verb, arguments);
    colony_request_return(request, NULL);
}

static void remove_all(const ColonyTrio *trio)
{
    g_autofree char *directory = g_path_get_dirname(trio->config->path);

    for (int i = 0; i < 3; i++) {
        const ColonyNode *node = g_ptr_array_index(trio->config->nodes, i);
        g_autofree char *socket = g_build_filename(node->directory, "control",
                                                   NULL);

        unlink(socket);
        g_rmdir(node->directory);
    }
    unlink(trio->config->path);
    g_rmdir(directory);
}

typedef struct Reader {
    const ColonyTrio *trio;
    GString *text; /* what the verb has printed */
    gboolean told; /* an event */
    Fake *fake;
    pid_t verb;
} Reader;

static void tell(Fake *fake)
{
    g_autoptr(JsonNode) event = json_from_string(EVENT, NULL);

    colony_server_emit(fake->server, json_node_get_object(event));
}

/* It is told an event when it listens, and killed when it has printed that. */
static gboolean read_output(gint fd, GIOCondition condition G_GNUC_UNUSED,
                            gpointer opaque)
{
    Reader *reader = opaque;
    char buffer[4096];
    ssize_t size = read(fd, buffer, sizeof(buffer));

    g_assert_cmpint(size, >, 0);
    g_string_append_len(reader->text, buffer, size);
    fwrite(buffer, 1, size, stdout);
    fflush(stdout);
    if (!reader->told && strstr(reader->text->str, "COLONY_CONNECTED")) {
        reader->told = TRUE;
        tell(reader->fake);
    }
    if (strstr(reader->text->str, "COLO_PROTECTED") &&
        g_str_has_suffix(reader->text->str, "\n")) {
        remove_all(reader->trio);
        kill(reader->verb, SIGTERM);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* In the child; until it is killed. @output: of the verb; -1: its own */
static void play(ColonyTrio *trio, int ready, int output)
{
    Fake fakes[3] = { 0 };
    Reader reader = { trio, g_string_new(NULL), FALSE, fakes, getppid() };
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);

    if (output >= 0) {
        g_unix_fd_add(output, G_IO_IN, read_output, &reader);
    }

    for (int i = 0; i < 3; i++) {
        GError *error = NULL;

        fakes[i].node = g_ptr_array_index(trio->config->nodes, i);
        fakes[i].report = trio->reports[i];
        if (fakes[i].report) {
            fakes[i].server = colony_server_new(
                trio->config, fakes[i].node, serve, &fakes[i], &error);
            g_assert_no_error(error);
        }
    }
    close(ready);
    g_main_loop_run(loop);
}

/* --- one verb ------------------------------------------------------------ */

static pid_t child;

static void end_child(int number G_GNUC_UNUSED)
{
    kill(child, SIGKILL);
    _exit(EXIT_SUCCESS);
}

/* @reads: what the verb prints */
static void start_fakes(ColonyTrio *trio, gboolean reads)
{
    const struct sigaction action = { .sa_handler = end_child };
    int ready[2], output[2] = { -1, -1 };
    char nothing;

    g_assert_cmpint(pipe(ready), ==, 0);
    if (reads) {
        g_assert_cmpint(pipe(output), ==, 0);
    }
    child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        close(ready[0]);
        play(trio, ready[1], output[0]);
        _exit(EXIT_FAILURE);
    }
    sigaction(SIGTERM, &action, NULL);
    close(ready[1]);
    g_assert_cmpint(read(ready[0], &nothing, 1), ==, 0);
    close(ready[0]);
    if (reads) {
        g_assert_cmpint(dup2(output[1], STDOUT_FILENO), >=, 0);
    }
}

static int run_verb(const Case *this, const char *file)
{
    g_auto(GStrv) words = g_strsplit(this->words, " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    g_ptr_array_add(argv, (char *)"colony test");
    for (char **word = words; *word && **word; word++) {
        g_ptr_array_add(argv, strcmp(*word, "FILE") ? *word : (char *)file);
    }
    g_ptr_array_add(argv, NULL);
    return this->verb(argv->len - 1, (char **)argv->pdata);
}

static void apply(ColonyTrio *trio, const Change *change)
{
    if (strcmp(change->path, ABSENT)) {
        colony_trio_set(trio, change->node, change->path, change->json);
    } else {
        colony_trio_set(trio, change->node, "apus", NULL);
        colony_trio_set(trio, change->node, "process.state", "\"absent\"");
    }
}

static void in_a_process(const Case *this)
{
    char *directory = g_dir_make_tmp("verbs-XXXXXX", NULL);
    ColonyTrio trio;
    int status;

    colony_trio_init_in(&trio, directory);
    for (const Change *change = this->changes; change->node; change++) {
        apply(&trio, change);
    }
    start_fakes(&trio, this->exit < 0);
    status = run_verb(this, trio.config->path);
    printf("exit %d\n", status);
    fflush(stdout);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    remove_all(&trio);
    colony_trio_clear(&trio);
    g_free(directory);
    exit(EXIT_SUCCESS);
}

static void check(gconstpointer opaque)
{
    const Case *this = opaque;
    g_autofree char *end = NULL, *out = NULL;

    if (g_test_subprocess()) {
        in_a_process(this);
    }
    g_test_trap_subprocess(NULL, LIMIT_US, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
    end = this->exit < 0 ? g_strdup("")
                         : g_strdup_printf("exit %d\n", this->exit);
    out = g_strconcat(this->out ? this->out : "*", end, NULL);
    g_test_trap_assert_stdout(out);
    if (this->err) {
        g_test_trap_assert_stderr(this->err);
    }
}

/* --- over which socket ---------------------------------------------------- */

static void a_socket_of_two_nodes_is_of_neither(void)
{
    g_autofree char *directory = g_dir_make_tmp("verbs-XXXXXX", NULL);
    g_autofree char *socket = g_build_filename(directory, "a", "control",
                                               NULL);
    ColonyTrio trio;
    ColonyNode *a, *b;
    char *own;

    colony_trio_init_in(&trio, directory);
    a = g_ptr_array_index(trio.config->nodes, 0);
    b = g_ptr_array_index(trio.config->nodes, 1);
    own = b->directory;
    g_assert_true(g_file_set_contents(socket, "", 0, NULL));
    g_assert_true(colony_ask_is_local(trio.config, a));
    g_assert_false(colony_ask_is_local(trio.config, b));
    b->directory = a->directory;
    g_assert_false(colony_ask_is_local(trio.config, a));
    g_assert_false(colony_ask_is_local(trio.config, b));
    b->directory = own;
    remove_all(&trio);
    colony_trio_clear(&trio);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verbs/socket", a_socket_of_two_nodes_is_of_neither);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/verbs/", cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i], check);
    }
    return g_test_run();
}
