/*
 * apusctl: asks an apusd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/request.h"
#include "daemon/show.h"

#define DIRECTORY "/run/apusd"
#define ANSWER_SECONDS 5
#define MAX_ANSWER (1u << 20) /* bytes */

typedef struct {
    char *socket;
    gboolean json;
} Options;

typedef struct {
    int fd;
    GString *in;
} Connection;

static gboolean fail(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static gboolean fail(GError **errp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    *errp = g_error_new_valist(APUS_ERROR, APUS_ERROR_IO, format, args);
    va_end(args);
    return FALSE;
}

/* --- the socket ---------------------------------------------------------- */

/* The socket of the only apusd that runs here. */
static char *find_socket(GError **errp)
{
    g_autoptr(GDir) directory = g_dir_open(DIRECTORY, 0, NULL);
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *all = NULL;
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        char *path = g_build_filename(DIRECTORY, name, "socket", NULL);

        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            g_ptr_array_add(found, path);
        } else {
            g_free(path);
        }
    }
    if (found->len == 1) {
        return g_strdup(found->pdata[0]);
    }
    if (found->len == 0) {
        fail(errp, "no apusd runs here: there is no socket below " DIRECTORY
             "; name it with --socket=PATH");
        return NULL;
    }
    g_ptr_array_add(found, NULL);
    all = g_strjoinv(", ", (char **)found->pdata);
    fail(errp, "several apusd run here: choose with --socket=, one of %s",
         all);
    return NULL;
}

static gboolean connect_to(Connection *connection, const char *path,
                           GError **errp)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = ANSWER_SECONDS };

    if (strlen(path) >= sizeof(address.sun_path)) {
        return fail(errp, "%s: too long for a socket", path);
    }
    strcpy(address.sun_path, path);
    connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 ||
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                   sizeof(patience)) < 0 ||
        setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
                   sizeof(patience)) < 0 ||
        connect(connection->fd, (struct sockaddr *)&address,
                sizeof(address)) < 0) {
        return fail(errp, "%s: %s", path,
                    errno == ECONNREFUSED || errno == ENOENT
                    ? "no apusd answers there" : g_strerror(errno));
    }
    connection->in = g_string_new(NULL);
    return TRUE;
}

static void disconnect(Connection *connection)
{
    if (connection->fd >= 0) {
        close(connection->fd);
    }
    if (connection->in) {
        g_string_free(connection->in, TRUE);
    }
}

static gboolean send_line(Connection *connection, const char *line,
                          GError **errp)
{
    size_t size = strlen(line);

    while (size > 0) {
        ssize_t n = send(connection->fd, line, size, MSG_NOSIGNAL);

        if (n < 0) {
            return fail(errp, "cannot ask apusd: %s", g_strerror(errno));
        }
        line += n;
        size -= n;
    }
    return TRUE;
}

/* The next line that apusd says; @patient: whenever that may be. */
static JsonObject *receive_line(Connection *connection, gboolean patient,
                                GError **errp)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *object;
    char *end;

    while (!(end = memchr(connection->in->str, '\n', connection->in->len))) {
        char bytes[4096];
        ssize_t n = recv(connection->fd, bytes, sizeof(bytes), 0);

        if (n < 0 && errno == EAGAIN && patient) {
            continue;
        }
        if (n <= 0 || connection->in->len > MAX_ANSWER) {
            fail(errp, n == 0 ? "apusd has closed the connection"
                 : n > 0 ? "apusd's answer is too long"
                 : "apusd does not answer");
            return NULL;
        }
        g_string_append_len(connection->in, bytes, n);
    }
    if (!json_parser_load_from_data(parser, connection->in->str,
                                    end - connection->in->str, NULL) ||
        !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        fail(errp, "what answers there is no apusd");
        return NULL;
    }
    g_string_erase(connection->in, 0, end - connection->in->str + 1);
    object = json_node_get_object(json_parser_get_root(parser));
    return json_object_ref(object);
}

/* What apusd returns for @request; to be freed. */
static JsonNode *ask(Connection *connection, const ApusdRequest *request,
                     GError **errp)
{
    g_autofree char *line = apusd_request_line(request);
    g_autoptr(JsonObject) answer = NULL;
    JsonNode *value;

    if (!send_line(connection, line, errp)) {
        return NULL;
    }
    answer = receive_line(connection, FALSE, errp);
    if (!answer) {
        return NULL;
    }
    value = json_object_get_member(answer, "error");
    if (value && json_node_get_value_type(value) == G_TYPE_STRING) {
        fail(errp, "%s", json_node_get_string(value));
        return NULL;
    }
    value = json_object_dup_member(answer, "return");
    if (!value) {
        fail(errp, "what answers there is no apusd");
    }
    return value;
}

/* --- commands ------------------------------------------------------------ */

static gboolean status(Connection *connection, const Options *options,
                       char **arguments, GError **errp)
{
    ApusdRequest request = { .command = APUSD_STATUS };
    g_autoptr(JsonNode) report = ask(connection, &request, errp);
    g_autofree char *text = NULL;

    (void)arguments;
    if (!report) {
        return FALSE;
    }
    text = options->json ? json_to_string(report, TRUE)
                         : apusd_show_status(report);
    printf("%s%s", text, options->json ? "\n" : "");
    return TRUE;
}

static gboolean members(Connection *connection, const Options *options,
                        char **arguments, GError **errp)
{
    ApusdRequest request = { .command = APUSD_STATUS };
    g_autoptr(JsonNode) report = ask(connection, &request, errp);
    g_autofree char *text = NULL;

    (void)arguments;
    if (!report) {
        return FALSE;
    }
    if (options->json && JSON_NODE_HOLDS_OBJECT(report)) {
        text = json_to_string(json_object_get_member(
            json_node_get_object(report), "members"), TRUE);
        printf("%s\n", text);
    } else {
        text = apusd_show_members(report);
        printf("%s", text);
    }
    return TRUE;
}

static gboolean show_event(JsonObject *event)
{
    JsonNode *what = json_object_get_member(event, "event");
    JsonNode *when = json_object_get_member(event, "time");
    double time = when ? json_node_get_double(when) : 0;
    g_autoptr(GDateTime) date = g_date_time_new_from_unix_local(time);
    g_autofree char *clock = date ? g_date_time_format(date, "%T") : NULL;

    if (what && clock) {
        printf("%s.%03d %s\n", clock, (int)((time - (int64_t)time) * 1000),
               json_node_get_string(what));
    }
    return fflush(stdout) == 0;
}

static gboolean trace(Connection *connection, const Options *options,
                      char **arguments, GError **errp)
{
    ApusdRequest request = { .command = APUSD_TRACE };
    g_autoptr(JsonNode) begun = ask(connection, &request, errp);

    (void)options;
    (void)arguments;
    while (begun) {
        g_autoptr(JsonObject) event = receive_line(connection, TRUE, errp);

        if (!event) {
            return FALSE;
        }
        if (!show_event(event)) {
            return fail(errp, "cannot write: %s", g_strerror(errno));
        }
    }
    return FALSE;
}

/* A member's id, or "none". */
static gboolean parse_id(const char *text, ApusId *id, GError **errp)
{
    uint64_t value = APUS_NOBODY;

    if (strcmp(text, "none") &&
        !g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT16, &value, NULL)) {
        return fail(errp, "\"%s\" is no member: give a number from 1 to %d, "
                    "or none", text, G_MAXUINT16);
    }
    *id = value;
    return TRUE;
}

static gboolean replace(Connection *connection, const Options *options,
                        char **arguments, GError **errp)
{
    ApusdRequest request = { .command = APUSD_REPLACE };
    ApusMember *member = &request.new_member;
    g_autoptr(JsonNode) value = NULL;
    unsigned count = g_strv_length(arguments);

    (void)options;
    if (!parse_id(arguments[0], &request.old, errp) ||
        !parse_id(arguments[1], &member->id, errp)) {
        return FALSE;
    }
    if ((member->id == APUS_NOBODY) != (count == 2)) {
        return fail(errp, "replace OLD NEW ADDRESS [can-run]: a new member "
                    "needs an address, none has none");
    }
    if (count > 2) {
        g_strlcpy(member->address, arguments[2], sizeof(member->address));
    }
    if (count > 3 && strcmp(arguments[3], "can-run")) {
        return fail(errp, "\"%s\" is unknown here: only can-run can follow",
                    arguments[3]);
    }
    member->can_run = count > 3;
    value = ask(connection, &request, errp);
    if (value) {
        printf("the change has begun; apusctl status tells when it is done\n");
    }
    return value != NULL;
}

typedef struct {
    const char *name;
    unsigned min, max; /* arguments */
    gboolean (*run)(Connection *connection, const Options *options,
                    char **arguments, GError **errp);
} Command;

static const Command commands[] = {
    { "status", 0, 0, status },
    { "members", 0, 0, members },
    { "trace", 0, 0, trace },
    { "replace", 2, 4, replace },
};

static gboolean run(const Options *options, char **words, GError **errp)
{
    g_autofree char *path = NULL;
    Connection connection = { .fd = -1 };
    gboolean well;

    for (unsigned i = 0; words[0] && i < G_N_ELEMENTS(commands); i++) {
        const Command *command = &commands[i];
        unsigned count = g_strv_length(words + 1);

        if (strcmp(command->name, words[0])) {
            continue;
        }
        if (count < command->min || count > command->max) {
            return fail(errp, "%s: wrong number of arguments; see apusctl "
                        "--help", command->name);
        }
        path = options->socket ? g_strdup(options->socket)
                               : find_socket(errp);
        well = path && connect_to(&connection, path, errp) &&
               command->run(&connection, options, words + 1, errp);
        disconnect(&connection);
        return well;
    }
    return fail(errp, "say what: status, members, replace or trace; see "
                "apusctl --help");
}

static gboolean parse(Options *options, int *argc, char ***argv,
                      GError **errp)
{
    const GOptionEntry entries[] = {
        { "socket", 's', 0, G_OPTION_ARG_FILENAME, &options->socket,
          "The socket of an apusd; default: the only one below " DIRECTORY,
          "PATH" },
        { "json", 'j', 0, G_OPTION_ARG_NONE, &options->json,
          "With status and members: as JSON", NULL },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("COMMAND");

    g_option_context_set_summary(context,
        "Commands:\n"
        "  status                             how the group is doing, and "
        "why\n"
        "  members                            who belongs to it\n"
        "  replace OLD NEW ADDRESS [can-run]  put member NEW in OLD's place;\n"
        "                                     none for OLD: only add, for "
        "NEW: only\n"
        "                                     remove\n"
        "  trace                              show changes as they happen");
    g_option_context_add_main_entries(context, entries, NULL);
    return g_option_context_parse(context, argc, argv, errp);
}

int main(int argc, char **argv)
{
    Options options = { 0 };
    g_autoptr(GError) error = NULL;
    gboolean well = parse(&options, &argc, &argv, &error) &&
                    run(&options, argv + 1, &error);

    if (error) {
        fprintf(stderr, "apusctl: %s\n", error->message);
    }
    g_free(options.socket);
    return well ? 0 : 1;
}
