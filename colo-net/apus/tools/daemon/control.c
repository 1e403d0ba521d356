/*
 * The socket of apusd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "control.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 16
#define MAX_UNREAD (256u << 10) /* bytes of answers */
#define IDLE_SECONDS 10

typedef struct {
    ApusdControl *control;
    int fd;
    guint source; /* of the descriptor */
    guint idle; /* of the time-out; 0: none */
    gboolean traces;
    GString *in, *out;
} Client;

struct ApusdControl {
    char *path;
    int fd;
    guint source;
    ApusdControlAnswer *answer;
    void *opaque;
    GPtrArray *clients; /* Client */
};

static gboolean fail(GError **errp, ApusError code, const char *path,
                     const char *why)
{
    g_set_error(errp, APUS_ERROR, code, "%s: %s", path, why);
    return FALSE;
}

/* --- a connection -------------------------------------------------------- */

static void client_free(gpointer data)
{
    Client *client = data;

    g_clear_handle_id(&client->source, g_source_remove);
    g_clear_handle_id(&client->idle, g_source_remove);
    close(client->fd);
    g_string_free(client->in, TRUE);
    g_string_free(client->out, TRUE);
    g_free(client);
}

static void drop(Client *client)
{
    g_ptr_array_remove(client->control->clients, client);
}

static gboolean on_idle(gpointer data)
{
    Client *client = data;

    client->idle = 0;
    drop(client);
    return G_SOURCE_REMOVE;
}

static void watch_idleness(Client *client)
{
    g_clear_handle_id(&client->idle, g_source_remove);
    if (!client->traces || client->out->len) {
        client->idle = g_timeout_add_seconds(IDLE_SECONDS, on_idle, client);
    }
}

static gboolean on_client(gint fd, GIOCondition condition, gpointer data);

/* What is to be said is said, as far as possible. FALSE: the end. */
static gboolean write_out(Client *client)
{
    ssize_t n = 0;

    if (client->out->len) {
        n = send(client->fd, client->out->str, client->out->len,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return FALSE;
        }
        g_string_erase(client->out, 0, MAX(n, 0));
    }
    if (client->out->len > MAX_UNREAD) {
        return FALSE;
    }
    g_source_remove(client->source);
    client->source = g_unix_fd_add(client->fd, client->out->len
                                   ? G_IO_OUT | G_IO_IN : G_IO_IN, on_client,
                                   client);
    return TRUE;
}

static char *answer_to(Client *client, const char *text, size_t size)
{
    ApusdControl *control = client->control;
    g_autoptr(GError) error = NULL;
    ApusdRequest request;
    JsonNode *value = NULL;

    if (apusd_request_parse(&request, text, size, &error)) {
        if (request.command == APUSD_TRACE) {
            client->traces = TRUE;
            value = json_node_new(JSON_NODE_NULL);
        } else {
            value = control->answer(control->opaque, &request, &error);
        }
    }
    return value ? apusd_answer_return(value) : apusd_answer_error(error);
}

/* All whole lines that have come are answered. FALSE: the end. */
static gboolean answer_lines(Client *client)
{
    char *end;

    while ((end = memchr(client->in->str, '\n', client->in->len))) {
        size_t size = end - client->in->str;
        g_autofree char *answer = answer_to(client, client->in->str, size);

        g_string_append(client->out, answer);
        g_string_erase(client->in, 0, size + 1);
        if (client->out->len > MAX_UNREAD) {
            return FALSE;
        }
    }
    return client->in->len <= APUSD_REQUEST_MAX;
}

/* FALSE: the end. */
static gboolean read_in(Client *client)
{
    char bytes[1024];
    ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    g_string_append_len(client->in, bytes, n);
    return n > 0 && answer_lines(client);
}

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
    Client *client = data;

    (void)fd;
    if (((condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) && !read_in(client)) ||
        !write_out(client)) {
        client->source = 0;
        drop(client);
        return G_SOURCE_REMOVE;
    }
    watch_idleness(client);
    return G_SOURCE_CONTINUE;
}

/* --- the socket ---------------------------------------------------------- */

static gboolean on_connection(gint fd, GIOCondition condition, gpointer data)
{
    ApusdControl *control = data;
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    Client *client;

    (void)condition;
    if (accepted < 0) {
        return G_SOURCE_CONTINUE;
    }
    if (control->clients->len >= MAX_CLIENTS) {
        close(accepted);
        return G_SOURCE_CONTINUE;
    }
    client = g_new0(Client, 1);
    client->control = control;
    client->fd = accepted;
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    client->source = g_unix_fd_add(accepted, G_IO_IN, on_client, client);
    g_ptr_array_add(control->clients, client);
    watch_idleness(client);
    return G_SOURCE_CONTINUE;
}

static void set_address(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un) { .sun_family = AF_UNIX };
    g_assert(strlen(path) < sizeof(address->sun_path));
    strcpy(address->sun_path, path);
}

/* A socket that nobody listens on is what a process left that was killed. */
static gboolean clear_way(const char *path, GError **errp)
{
    struct sockaddr_un address;
    struct stat status;
    gboolean alive;
    int fd;

    if (lstat(path, &status) < 0) {
        return errno == ENOENT ||
               fail(errp, APUS_ERROR_IO, path, g_strerror(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return fail(errp, APUS_ERROR_IO, path, "this is there, and no socket: "
                    "choose another path");
    }
    set_address(&address, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    alive = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
            errno != ECONNREFUSED;
    close(fd);
    if (alive) {
        return fail(errp, APUS_ERROR_IN_USE, path, "another process answers "
                    "there");
    }
    return unlink(path) == 0 ||
           fail(errp, APUS_ERROR_IO, path, g_strerror(errno));
}

/* A listening socket of mode 0600, and that from the start. */
static int listen_on(const char *path, GError **errp)
{
    g_autofree char *parent = g_path_get_dirname(path);
    struct sockaddr_un address;
    mode_t mask;
    int fd;

    g_mkdir_with_parents(parent, 0755);
    if (!clear_way(path, errp)) {
        return -1;
    }
    set_address(&address, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0177);
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, MAX_CLIENTS) < 0) {
        fail(errp, APUS_ERROR_IO, path, g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        fd = -1;
    }
    umask(mask);
    return fd;
}

ApusdControl *apusd_control_new(const char *path, ApusdControlAnswer *answer,
                                void *opaque, GError **errp)
{
    ApusdControl *control;
    int fd = listen_on(path, errp);

    if (fd < 0) {
        return NULL;
    }
    control = g_new0(ApusdControl, 1);
    control->path = g_strdup(path);
    control->fd = fd;
    control->answer = answer;
    control->opaque = opaque;
    control->clients = g_ptr_array_new_with_free_func(client_free);
    control->source = g_unix_fd_add(fd, G_IO_IN, on_connection, control);
    return control;
}

void apusd_control_free(ApusdControl *control)
{
    if (control) {
        g_ptr_array_unref(control->clients);
        g_source_remove(control->source);
        unlink(control->path);
        close(control->fd);
        g_free(control->path);
        g_free(control);
    }
}

void apusd_control_event(ApusdControl *control, const char *text)
{
    g_autofree char *line = apusd_answer_event(text,
                                               g_get_real_time() / 1e6);

    for (guint i = control->clients->len; i > 0; i--) {
        Client *client = g_ptr_array_index(control->clients, i - 1);

        if (client->traces) {
            g_string_append(client->out, line);
            if (!write_out(client)) {
                drop(client);
            } else if (client->out->len && !client->idle) {
                watch_idleness(client);
            }
        }
    }
}
