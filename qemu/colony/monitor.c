/*
 * colony monitor: a live screen
 *
 * All nodes are asked once a second, and at once when something happens. The
 * screen is drawn at most four times a second, and ncurses sends only what has
 * changed, so that it is good over a slow line.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <curses.h>
#include <glib-unix.h>
#include <langinfo.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ask.h"
#include "control.h"
#include "monitor.h"
#include "monitor-model.h"

#define LOOK_MS 1000
#define DRAW_MS 250
#define LISTEN_MS 2000
#define CALL_MS 30000

typedef struct App App;

typedef struct Ear {
    App *app;
    const ColonyNode *node;
    ColonyWatch *watch;
    guint retry;
} Ear;

struct App {
    ColonyMonitor monitor;
    const ColonyConfig *config;
    GMainLoop *loop;
    gboolean ascii;
    gboolean asked; /* the nodes' answers are to come */
    gboolean ask_again; /* then */
    guint drawing; /* source: when to draw */
    gint64 drawn; /* monotonic us */
    unsigned calls; /* answers to come to a verb */
    Ear *ears;
};

/* --- the terminal -------------------------------------------------------- */

static int attributes_of(ColonyLook look)
{
    switch (look) {
    case COLONY_LOOK_TITLE:
        return A_BOLD;
    case COLONY_LOOK_GOOD:
        return A_BOLD | (has_colors() ? COLOR_PAIR(1) : 0);
    case COLONY_LOOK_WARNING:
        return has_colors() ? COLOR_PAIR(2) : A_NORMAL;
    case COLONY_LOOK_BAD:
        return A_BOLD | (has_colors() ? COLOR_PAIR(3) : 0);
    case COLONY_LOOK_FAINT:
        return A_DIM;
    default:
        return A_NORMAL;
    }
}

static void open_terminal(App *app)
{
    initscr();
    cbreak();
    noecho();
    curs_set(0);
    nodelay(stdscr, TRUE);
    set_escdelay(50);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(1, COLOR_GREEN, -1);
        init_pair(2, COLOR_YELLOW, -1);
        init_pair(3, COLOR_RED, -1);
    }
    app->ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
}

static void draw(App *app)
{
    unsigned columns = MAX(COLS, 0), rows = MAX(LINES, 0);
    g_autoptr(GPtrArray) lines = colony_monitor_draw(
        &app->monitor, columns, rows, app->ascii, g_get_monotonic_time());

    erase();
    for (guint i = 0; i < lines->len; i++) {
        const ColonyLine *line = g_ptr_array_index(lines, i);

        attrset(attributes_of(line->look));
        mvaddstr(i, 0, line->text);
    }
    refresh();
    app->drawn = g_get_monotonic_time();
}

static gboolean draw_now(gpointer opaque)
{
    App *app = opaque;

    app->drawing = 0;
    draw(app);
    return G_SOURCE_REMOVE;
}

/* Soon, but not too often. */
static void draw_soon(App *app)
{
    gint64 since = (g_get_monotonic_time() - app->drawn) / 1000;

    if (!app->drawing) {
        app->drawing = g_timeout_add(since >= DRAW_MS ? 0 : DRAW_MS - since,
                                     draw_now, app);
    }
}

static gboolean resized(gpointer opaque)
{
    App *app = opaque;
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        resizeterm(size.ws_row, size.ws_col);
        clearok(stdscr, TRUE);
        draw_soon(app);
    }
    return G_SOURCE_CONTINUE;
}

/* --- the nodes ----------------------------------------------------------- */

static void look(App *app);

static void looked(void *opaque, ColonyStatus *status)
{
    App *app = opaque;
    gboolean again = app->ask_again;

    app->asked = app->ask_again = FALSE;
    colony_monitor_take(&app->monitor, status, g_get_monotonic_time());
    draw_soon(app);
    if (again) {
        look(app);
    }
}

static void look(App *app)
{
    app->ask_again = app->asked;
    if (!app->asked) {
        app->asked = TRUE;
        colony_ask_async(app->config, COLONY_ASK_MS, looked, app);
    }
}

static gboolean tick(gpointer opaque)
{
    App *app = opaque;

    if (!app->asked) {
        look(app);
    }
    draw_soon(app);
    return G_SOURCE_CONTINUE;
}

/* --- events -------------------------------------------------------------- */

static gboolean listen_to(gpointer opaque);

/* @event: NULL: from now on they come */
static void heard(void *opaque, JsonObject *event)
{
    Ear *ear = opaque;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *clock = g_date_time_format(now, "%T");

    if (!event || colony_monitor_event(&ear->app->monitor, clock, ear->node,
                                       event)) {
        look(ear->app);
    }
}

static void closed(void *opaque, JsonObject *result G_GNUC_UNUSED,
                   const GError *error G_GNUC_UNUSED)
{
    Ear *ear = opaque;

    g_clear_pointer(&ear->watch, colony_watch_free);
    ear->retry = g_timeout_add(LISTEN_MS, listen_to, ear);
    look(ear->app);
}

static gboolean listen_to(gpointer opaque)
{
    Ear *ear = opaque;

    ear->retry = 0;
    ear->watch = colony_watch_new(
        ear->app->config, ear->node,
        colony_ask_is_local(ear->app->config, ear->node), heard, closed, ear);
    return G_SOURCE_REMOVE;
}

static void open_ears(App *app)
{
    guint count = app->config->nodes->len;

    app->ears = g_new0(Ear, count);
    for (guint i = 0; i < count; i++) {
        app->ears[i].app = app;
        app->ears[i].node = g_ptr_array_index(app->config->nodes, i);
        listen_to(&app->ears[i]);
    }
}

static void close_ears(App *app)
{
    for (guint i = 0; i < app->config->nodes->len; i++) {
        g_clear_pointer(&app->ears[i].watch, colony_watch_free);
        g_clear_handle_id(&app->ears[i].retry, g_source_remove);
    }
    g_free(app->ears);
}

/* --- verbs --------------------------------------------------------------- */

static void answered(void *opaque, JsonObject *result G_GNUC_UNUSED,
                     const GError *error)
{
    App *app = opaque;

    app->calls--;
    if (error) {
        colony_monitor_say(&app->monitor, error->message);
    } else if (!app->calls) {
        colony_monitor_say(&app->monitor, "done");
    }
    look(app);
    draw_soon(app);
}

static void call(App *app, const ColonyNode *node,
                 const ColonyMonitorKey *key)
{
    app->calls++;
    colony_call_async(app->config, node,
                      colony_ask_is_local(app->config, node), key->verb, NULL,
                      CALL_MS, answered, app);
}

static void do_verb(App *app, const ColonyMonitorKey *key)
{
    const ColonyNode *leader = app->monitor.status
        ? colony_status_leader(app->monitor.status) : NULL;
    GPtrArray *nodes = app->config->nodes;
    g_autofree char *text = g_strdup_printf("%s...", key->word);

    colony_monitor_say(&app->monitor, text);
    if (key->everywhere) {
        for (guint i = 0; i < nodes->len; i++) {
            call(app, g_ptr_array_index(nodes, i), key);
        }
    } else if (leader) {
        call(app, leader, key);
    } else {
        colony_monitor_say(&app->monitor, "nobody leads: whom to tell?");
    }
}

static void typed(App *app, int c)
{
    const ColonyMonitorKey *key = NULL;

    switch (colony_monitor_type(&app->monitor,
                                c == KEY_BACKSPACE ? '\b' : c, &key)) {
    case COLONY_MONITOR_QUIT:
        g_main_loop_quit(app->loop);
        break;
    case COLONY_MONITOR_LOOK:
        look(app);
        break;
    case COLONY_MONITOR_CALL:
        do_verb(app, key);
        break;
    default:
        break;
    }
    draw_soon(app);
}

static gboolean readable(gint fd G_GNUC_UNUSED, GIOCondition condition,
                         gpointer opaque)
{
    App *app = opaque;
    int c;

    while ((c = getch()) != ERR) {
        typed(app, c);
    }
    if (condition & (G_IO_HUP | G_IO_ERR)) {
        g_main_loop_quit(app->loop);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean end(gpointer opaque)
{
    App *app = opaque;

    g_main_loop_quit(app->loop);
    return G_SOURCE_CONTINUE;
}

/* Answers that are under way come to nobody: the program ends. */
void colony_monitor_run(const ColonyConfig *config)
{
    App *app = g_new0(App, 1);

    app->config = config;
    app->loop = g_main_loop_new(NULL, FALSE);
    colony_monitor_init(&app->monitor, config);
    open_terminal(app);
    g_unix_signal_add(SIGWINCH, resized, app);
    g_unix_signal_add(SIGINT, end, app);
    g_unix_signal_add(SIGTERM, end, app);
    g_unix_signal_add(SIGHUP, end, app);
    g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, readable, app);
    g_timeout_add(LOOK_MS, tick, app);
    open_ears(app);
    look(app);
    g_main_loop_run(app->loop);
    endwin();
    close_ears(app);
}
