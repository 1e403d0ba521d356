/*
 * apusd: what can be asked over its socket, and as a process in a group
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "colo-net/apus/tools/daemon/control.h"
#include "colo-net/apus/tools/daemon/daemon.h"
#include "colo-net/apus/tools/daemon/report.h"
#include "colo-net/apus/tools/daemon/show.h"
#include "tests/unit/apus-group.h"

#define PATIENCE 30 /* seconds */

/* --- requests ------------------------------------------------------------ */

static void refused(const char *text, const char *why)
{
    g_autoptr(GError) error = NULL;
    ApusdRequest request;

    g_assert_false(apusd_request_parse(&request, text, strlen(text), &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    if (!strstr(error->message, why)) {
        g_error("\"%s\" does not say \"%s\"", error->message, why);
    }
}

static void requests_that_are_none_are_refused(void)
{
    refused("hello", "no JSON");
    refused("", "object");
    refused("[1]", "object");
    refused("{}", "\"command\" has to be one of status");
    refused("{\"command\": 7}", "\"command\" has to be");
    refused("{\"command\": \"halt\"}", "\"command\" has to be");
    refused("{\"command\": \"status\", \"json\": true}", "\"json\" is unknown");
    refused("{\"command\": \"replace\"}", "\"old\", \"new\" or both");
    refused("{\"command\": \"replace\", \"old\": 0}", "from 1 to 65535");
    refused("{\"command\": \"replace\", \"old\": 65536}", "from 1 to 65535");
    refused("{\"command\": \"replace\", \"old\": \"1\"}", "\"old\"");
    refused("{\"command\": \"replace\", \"new\": 4}", "\"new\" has to be");
    refused("{\"command\": \"replace\", \"new\": {}}", "\"id\"");
    refused("{\"command\": \"replace\", \"new\": {\"id\": 4}}", "\"address\"");
    refused("{\"command\": \"replace\", \"new\": {\"id\": 4, "
            "\"address\": \"a:1\", \"can-run\": 1}}", "\"can-run\"");
}

static void a_request_is_what_was_asked(void)
{
    ApusdRequest request = {
        .command = APUSD_REPLACE,
        .old = 3,
        .new_member = { .id = 4, .can_run = TRUE, .address = "host:7000" },
    };
    g_autofree char *line = apusd_request_line(&request);
    ApusdRequest again;

    g_assert_true(apusd_request_parse(&again, line, strlen(line), NULL));
    g_assert_cmpint(again.command, ==, APUSD_REPLACE);
    g_assert_cmpuint(again.old, ==, 3);
    g_assert_cmpuint(again.new_member.id, ==, 4);
    g_assert_true(again.new_member.can_run);
    g_assert_cmpstr(again.new_member.address, ==, "host:7000");
}

/* --- the socket ---------------------------------------------------------- */

typedef struct {
    char *directory, *path;
    ApusdControl *control;
} Server;

static JsonNode *echo(void *opaque, const ApusdRequest *request, GError **errp)
{
    (void)opaque;
    if (request->command == APUSD_REPLACE) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_BUSY, "not %u",
                    request->old);
        return NULL;
    }
    return json_node_init_int(json_node_alloc(), 42);
}

static void server_up(Server *server, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    server->directory = g_dir_make_tmp("apusd-XXXXXX", NULL);
    server->path = g_build_filename(server->directory, "socket", NULL);
    server->control = apusd_control_new(server->path, echo, NULL, &error);
    g_assert_no_error(error);
}

static void server_down(Server *server, gconstpointer data)
{
    (void)data;
    apusd_control_free(server->control);
    g_assert_false(g_file_test(server->path, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_rmdir(server->directory), ==, 0);
    g_free(server->directory);
    g_free(server->path);
}

static int try_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int client(const Server *server)
{
    int fd = try_connect(server->path);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void say(int fd, const char *text, size_t size)
{
    g_assert_cmpint(send(fd, text, size, MSG_NOSIGNAL), ==, size);
}

static void serve(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
        ;
    }
}

/* What the server says until @lines have come, or it closes. */
static char *hear(int fd, unsigned lines)
{
    GString *heard = g_string_new(NULL);
    gint64 deadline = g_get_monotonic_time() + PATIENCE * G_USEC_PER_SEC;
    char byte;
    ssize_t n;

    while (lines > 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        serve();
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            g_string_append(heard, "END");
            break;
        }
        if (n == 1) {
            g_string_append_c(heard, byte);
            lines -= byte == '\n';
        }
    }
    return g_string_free(heard, FALSE);
}

static void assert_hears(int fd, unsigned lines, const char *expected)
{
    g_autofree char *heard = hear(fd, lines);

    g_assert_cmpstr(heard, ==, expected);
}

#define STATUS "{\"command\":\"status\"}\n"
#define TRACE "{\"command\":\"trace\"}\n"

static void only_its_owner_can_use_it(Server *server, gconstpointer data)
{
    struct stat status;

    (void)data;
    g_assert_cmpint(stat(server->path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0600);
}

static void each_line_is_answered(Server *server, gconstpointer data)
{
    int fd = client(server);

    (void)data;
    say(fd, STATUS, strlen(STATUS));
    assert_hears(fd, 1, "{\"return\":42}\n");
    say(fd, STATUS STATUS "{\"comm", strlen(STATUS STATUS) + 6);
    assert_hears(fd, 2, "{\"return\":42}\n{\"return\":42}\n");
    say(fd, STATUS + 6, strlen(STATUS) - 6);
    assert_hears(fd, 1, "{\"return\":42}\n");
    close(fd);
}

static void what_is_refused_says_why(Server *server, gconstpointer data)
{
    static const char replace[] = "{\"command\":\"replace\",\"old\":3}\n";
    int fd = client(server);

    (void)data;
    say(fd, "hello\n", 6);
    assert_hears(fd, 1, "{\"error\":\"this is no JSON\"}\n");
    say(fd, replace, strlen(replace));
    assert_hears(fd, 1, "{\"error\":\"not 3\"}\n");
    close(fd);
}

static void a_line_without_end_ends_the_connection(Server *server,
                                                   gconstpointer data)
{
    g_autofree char *text = g_strnfill(2 * APUSD_REQUEST_MAX, 'x');
    int fd = client(server);

    (void)data;
    say(fd, text, strlen(text));
    assert_hears(fd, 1, "END");
    close(fd);
}

static void there_is_room_for_sixteen(Server *server, gconstpointer data)
{
    int fds[17];

    (void)data;
    for (unsigned i = 0; i < 17; i++) {
        fds[i] = client(server);
        serve();
    }
    assert_hears(fds[16], 1, "END");
    close(fds[0]);
    serve();
    close(fds[16]);
    fds[16] = client(server);
    say(fds[16], STATUS, strlen(STATUS));
    assert_hears(fds[16], 1, "{\"return\":42}\n");
    for (unsigned i = 1; i < 17; i++) {
        close(fds[i]);
    }
}

static void who_traces_is_told(Server *server, gconstpointer data)
{
    int fd = client(server), other = client(server);
    g_autofree char *heard = NULL;

    (void)data;
    say(fd, TRACE, strlen(TRACE));
    assert_hears(fd, 1, "{\"return\":null}\n");
    apusd_control_event(server->control, "one");
    apusd_control_event(server->control, "two");
    heard = hear(fd, 2);
    g_assert_nonnull(strstr(heard, "{\"event\":\"one\",\"time\":"));
    g_assert_nonnull(strstr(heard, "{\"event\":\"two\",\"time\":"));
    say(other, STATUS, strlen(STATUS));
    assert_hears(other, 1, "{\"return\":42}\n");
    close(fd);
    close(other);
}

/* Nobody's memory grows because of one who does not read. */
static void who_does_not_read_is_dropped(Server *server, gconstpointer data)
{
    g_autofree char *text = g_strnfill(10000, 'x');
    g_autofree char *heard = NULL;
    int fd = client(server);

    (void)data;
    say(fd, TRACE, strlen(TRACE));
    assert_hears(fd, 1, "{\"return\":null}\n");
    for (unsigned i = 0; i < 200; i++) {
        apusd_control_event(server->control, text);
        serve();
    }
    heard = hear(fd, 200);
    g_assert_true(g_str_has_suffix(heard, "END"));
    g_assert_cmpuint(strlen(heard), <, 1000000);
    close(fd);
}

static void a_socket_that_is_used_is_left_alone(Server *server,
                                                gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_null(apusd_control_new(server->path, echo, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IN_USE);
    close(client(server));
}

static void a_socket_that_was_left_behind_is_replaced(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *directory = g_dir_make_tmp("apusd-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "socket", NULL);
    g_autoptr(ApusdControl) control = NULL;
    g_autoptr(GError) error = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)),
                    ==, 0);
    close(fd);
    control = apusd_control_new(path, echo, NULL, &error);
    g_assert_no_error(error);
    g_clear_pointer(&control, apusd_control_free);

    g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
    g_assert_null(apusd_control_new(path, echo, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IO);
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_cmpint(g_rmdir(directory), ==, 0);
}

/* --- what is reported ---------------------------------------------------- */

static ApusdConfig a_config(void)
{
    return (ApusdConfig) {
        .name = (char *)"demo",
        .directory = (char *)"/d",
        .apus.id = 3,
        .members = {
            .count = 3,
            .member = {
                { .id = 1, .can_run = TRUE, .address = "a:1" },
                { .id = 2, .can_run = TRUE, .address = "b:1" },
                { .id = 3, .address = "c:1" },
            },
        },
    };
}

static ApusStatus a_status(const ApusdConfig *config)
{
    return (ApusStatus) {
        .state = APUS_STATE_FOLLOWER,
        .term = 4,
        .leader = 1,
        .generation = 1,
        .role = { .leader = 1, .secondary = 2 },
        .members = config->members,
        .peers = 2,
        .peer = {
            { .id = 1, .connected = TRUE },
            { .id = 2, .connected = TRUE },
        },
    };
}

static void assert_problem(const ApusdConfig *config, const ApusStatus *status,
                           const char *text)
{
    g_autoptr(GPtrArray) problems = apusd_problems(config, status);

    for (guint i = 0; i < problems->len; i++) {
        if (strstr(problems->pdata[i], text)) {
            return;
        }
    }
    g_error("no problem says \"%s\"", text);
}

static void problems_are_named(void)
{
    ApusdConfig config = a_config();
    const ApusStatus good = a_status(&config);
    g_autoptr(GPtrArray) none = apusd_problems(&config, &good);
    ApusStatus s;

    g_assert_cmpuint(none->len, ==, 0);
    s = good, s.state = APUS_STATE_FAILED;
    assert_problem(&config, &s, "storage has failed");
    s = good, s.amnesiac = TRUE;
    assert_problem(&config, &s, "does not count");
    s = good, s.role.secondary = APUS_NOBODY;
    assert_problem(&config, &s, "nobody is secondary");
    s = good, s.peer[1].dead = TRUE, s.peer[1].connected = FALSE;
    assert_problem(&config, &s, "member 2 is dead: its process at b:1");
    s = good, s.peer[1].connected = FALSE;
    assert_problem(&config, &s, "member 2 is not connected");
    s = good, s.peer[1].suspected = TRUE, s.peer[1].silence = 1500000000;
    assert_problem(&config, &s, "member 2 is silent for 1.5 s");
    s = good, s.leader = APUS_NOBODY;
    assert_problem(&config, &s, "only member 1, or 2, may lead");
    s.peer[0].connected = s.peer[1].connected = FALSE;
    assert_problem(&config, &s, "1 of 3 members can be reached");
    s.role.stopped = TRUE;
    assert_problem(&config, &s, "switched off");
    s = good, s.changing = TRUE;
    assert_problem(&config, &s, "being replaced");
    s = good, strcpy(s.members.member[0].address, "z:1");
    assert_problem(&config, &s, "the configuration file");
    s = good, s.members.count = 2;
    assert_problem(&config, &s, "does not belong");
}

static void a_status_fits_a_screen(void)
{
    ApusdConfig config = a_config();
    ApusStatus status = a_status(&config);
    ApusTransportCounters counters = { 0 };
    g_autoptr(JsonNode) report = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    status.peer[1] = (ApusPeerStatus) { .id = 2, .dead = TRUE };
    report = apusd_report(&config, &status, &counters);
    text = apusd_show_status(report);
    lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), <=, 24);
    for (unsigned i = 0; lines[i]; i++) {
        g_assert_cmpuint(strlen(lines[i]), <=, 80);
    }
    g_assert_cmpstr(lines[0], ==, "demo: member 3 follows member 1 in term 4");
    g_assert_nonnull(strstr(text, "  2       b:1 "));
    g_assert_nonnull(strstr(text, "dead        secondary\n"));
    g_assert_nonnull(strstr(text, "\n  ! member 2 is dead"));
}

static void changes_are_told(void)
{
    ApusdConfig config = a_config();
    ApusStatus before = a_status(&config), after = before;
    g_autoptr(GPtrArray) none = apusd_changes(&before, &after);
    g_autoptr(GPtrArray) some = NULL;

    g_assert_cmpuint(none->len, ==, 0);
    after.term = 5;
    after.leader = 2;
    after.role = (ApusRole) { .leader = 2 };
    after.peer[0] = (ApusPeerStatus) {
        .id = 1, .dead = TRUE, .suspected = TRUE,
    };
    some = apusd_changes(&before, &after);
    g_assert_cmpuint(some->len, ==, 4);
    g_assert_cmpstr(some->pdata[0], ==, "follower in term 5, leader 2");
    g_assert_cmpstr(some->pdata[1], ==, "role: leader 2, nobody secondary");
    g_assert_cmpstr(some->pdata[2], ==, "member 1 is not connected");
    g_assert_cmpstr(some->pdata[3], ==, "member 1 is dead");
}

/* --- the process --------------------------------------------------------- */

/* This program is apusd when it is called so: see main(). */
static int be_apusd(const char *file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApusdConfig) config = apusd_config_load(file, APUSD_RUN,
                                                      &error);
    ApusdLog log = { .least = G_LOG_LEVEL_WARNING };

    if (!config) {
        g_printerr("%s\n", error->message);
        return 2;
    }
    return apusd_daemon_run(config, file, &log) ? 0 : 1;
}

typedef struct {
    Group group;
    char *file, *socket;
    GPid pid;
} World;

/* Member 3 is to be an apusd. */
static void world_up(World *world, gconstpointer data)
{
    g_autoptr(GString) text = g_string_new(NULL);

    (void)data;
    group_up(&world->group, 3);
    world->file = g_build_filename(world->group.directory, "conf", NULL);
    world->socket = g_build_filename(world->group.directory, "socket", NULL);
    g_string_printf(text, "[group]\nname=test\nid=3\nlog-size=4\n"
                    "heartbeat=20\ntimeout=250\ndirectory=%s\nsocket=%s\n",
                    world->group.member[2].config.directory, world->socket);
    for (unsigned i = 0; i < 3; i++) {
        const ApusMember *member = &world->group.members.member[i];

        g_string_append_printf(text, "[member %u]\naddress=%s\ncan-run=%s\n",
                               member->id, member->address,
                               member->can_run ? "yes" : "no");
    }
    g_assert_true(g_file_set_contents(world->file, text->str, -1, NULL));
}

static void world_down(World *world, gconstpointer data)
{
    (void)data;
    group_down(&world->group);
    g_free(world->file);
    g_free(world->socket);
}

static void spawn_apusd(World *world)
{
    char *argv[] = { (char *)"/proc/self/exe", (char *)"--apusd", world->file,
                     NULL };
    g_autoptr(GError) error = NULL;

    argv[0] = g_file_read_link("/proc/self/exe", &error);
    g_assert_no_error(error);
    g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                  &world->pid, &error);
    g_free(argv[0]);
    g_assert_no_error(error);
}

static int end_apusd(World *world, int signal)
{
    int status;

    g_assert_cmpint(kill(world->pid, signal), ==, 0);
    g_assert_cmpint(waitpid(world->pid, &status, 0), ==, world->pid);
    return status;
}

/* Ask what stands in @line until @answer is part of what comes. */
static void ask_until(const World *world, const char *line,
                      const char *answer)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE * G_USEC_PER_SEC;
    struct timeval patience = { .tv_sec = PATIENCE };

    for (;;) {
        g_autoptr(GString) heard = g_string_new(NULL);
        int fd = try_connect(world->socket);
        char byte = 0;

        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                       sizeof(patience));
            say(fd, line, strlen(line));
            while (byte != '\n' && recv(fd, &byte, 1, 0) == 1) {
                g_string_append_c(heard, byte);
            }
            close(fd);
        }
        if (strstr(heard->str, answer)) {
            return;
        }
        if (g_get_monotonic_time() > deadline) {
            g_error("apusd has not said \"%s\", but \"%s\"", answer,
                    heard->str);
        }
        g_thread_yield();
    }
}

static void a_group_has_an_apusd(World *world, gconstpointer data)
{
    Group *group = &world->group;

    (void)data;
    group_start(group, 1);
    spawn_apusd(world);
    /* Two of three: with the witness there is a majority. */
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    ask_until(world, STATUS, "\"leader\":1,");
    ask_until(world, STATUS, "member 2 is not connected");
    group_start(group, 2);
    group_protect(group, 1, 2);
    ask_until(world, STATUS, "\"secondary\":2,");
    ask_until(world, "{\"command\":\"replace\",\"old\":2}\n",
              "only the leader can replace a member: that is member 1, at "
              "127.");
    group_stop(group, 1);
    g_assert_cmpuint(group_wait_leader(group), ==, 2);
    ask_until(world, STATUS, "\"leader\":2,");
    g_assert_cmpint(end_apusd(world, SIGTERM), ==, 0);
    g_assert_false(g_file_test(world->socket, G_FILE_TEST_EXISTS));
}

static void an_apusd_that_was_killed_starts_again(World *world,
                                                  gconstpointer data)
{
    (void)data;
    spawn_apusd(world);
    ask_until(world, STATUS, "\"id\":3,");
    g_assert_true(WIFSIGNALED(end_apusd(world, SIGKILL)));
    spawn_apusd(world);
    ask_until(world, STATUS, "\"id\":3,");
    g_assert_cmpint(end_apusd(world, SIGINT), ==, 0);
}

static void an_apusd_reads_its_file_again(World *world, gconstpointer data)
{
    (void)data;
    spawn_apusd(world);
    ask_until(world, STATUS, "\"id\":3,");
    g_assert_true(g_file_set_contents(world->file, "garbage", -1, NULL));
    g_assert_cmpint(kill(world->pid, SIGHUP), ==, 0);
    ask_until(world, STATUS, "\"id\":3,");
    g_assert_cmpint(end_apusd(world, SIGTERM), ==, 0);
}

static void add(const char *name, void (*test)(Server *server,
                                               gconstpointer data))
{
    g_autofree char *path = g_strconcat("/apus/daemon/socket/", name, NULL);

    g_test_add(path, Server, NULL, server_up, test, server_down);
}

static void add_process(const char *name, void (*test)(World *world,
                                                       gconstpointer data))
{
    g_autofree char *path = g_strconcat("/apus/daemon/", name, NULL);

    g_test_add(path, World, NULL, world_up, test, world_down);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--apusd")) {
        return be_apusd(argv[2]);
    }
    g_error_free(g_error_new_literal(APUS_ERROR, 0, ""));
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apus/daemon/requests-that-are-none-are-refused",
                    requests_that_are_none_are_refused);
    g_test_add_func("/apus/daemon/a-request-is-what-was-asked",
                    a_request_is_what_was_asked);
    add("only-its-owner-can-use-it", only_its_owner_can_use_it);
    add("each-line-is-answered", each_line_is_answered);
    add("what-is-refused-says-why", what_is_refused_says_why);
    add("a-line-without-end-ends-the-connection",
        a_line_without_end_ends_the_connection);
    add("there-is-room-for-sixteen", there_is_room_for_sixteen);
    add("who-traces-is-told", who_traces_is_told);
    add("who-does-not-read-is-dropped", who_does_not_read_is_dropped);
    add("a-socket-that-is-used-is-left-alone",
        a_socket_that_is_used_is_left_alone);
    g_test_add_func("/apus/daemon/a-socket-that-was-left-behind-is-replaced",
                    a_socket_that_was_left_behind_is_replaced);
    g_test_add_func("/apus/daemon/problems-are-named", problems_are_named);
    g_test_add_func("/apus/daemon/a-status-fits-a-screen",
                    a_status_fits_a_screen);
    g_test_add_func("/apus/daemon/changes-are-told", changes_are_told);
    add_process("a-group-has-an-apusd", a_group_has_an_apusd);
    add_process("an-apusd-that-was-killed-starts-again",
                an_apusd_that_was_killed_starts_again);
    add_process("an-apusd-reads-its-file-again",
                an_apusd_reads_its_file_again);
    return g_test_run();
}
