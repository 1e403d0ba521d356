/*
 * colony status: who is what, protected or why not
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ask.h"
#include "operate.h"
#include "verbs.h"

#define COLUMNS 80

typedef struct Options {
    gboolean json, watch, color;
} Options;

static unsigned columns(void)
{
    struct winsize size;

    return isatty(STDOUT_FILENO) &&
           ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col
        ? size.ws_col : COLUMNS;
}

static void print_json(const ColonyStatus *status, gboolean pretty)
{
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_node_take_object(root, colony_status_json(status));
    text = json_to_string(root, pretty);
    printf("%s\n", text);
}

static int show(const ColonyConfig *config, const Options *options)
{
    g_autoptr(ColonyStatus) status = colony_ask(config, COLONY_ASK_MS);

    if (options->json) {
        print_json(status, !options->watch);
    } else {
        g_autofree char *text = colony_status_text(status, columns(),
                                                   options->color);

        printf("%s%s", !options->watch ? "" :
               isatty(STDOUT_FILENO) ? "\033[H\033[J" : "\n", text);
    }
    fflush(stdout);
    return colony_status_exit(status);
}

int colony_verb_status(int argc, char **argv)
{
    Options options = { 0 };
    const GOptionEntry entries[] = {
        { "json", 'j', 0, G_OPTION_ARG_NONE, &options.json,
          "as JSON: see colony-status in the manual", NULL },
        { "watch", 'w', 0, G_OPTION_ARG_NONE, &options.watch,
          "again every second, until it is interrupted", NULL },
        { NULL },
    };
    const ColonyUsage usage = {
        .arguments = "FILE",
        .text = "Tell how the VM of FILE is: who is what, and whether it is "
                "protected, or why not.\nExit status: 0 it is protected, 1 it "
                "is not, 2 it is not heard or does not run, 3 too few\nnodes "
                "answer to tell, 64 wrong usage, 65 FILE is wrong.",
        .min = 1,
        .max = 1,
        .entries = entries,
    };
    g_autoptr(ColonyConfig) config = NULL;
    int result;

    if (!colony_usage_parse(&usage, &argc, argv)) {
        return COLONY_EXIT_USAGE;
    }
    config = colony_operate_load(argv[1]);
    if (!config) {
        return COLONY_EXIT_FILE;
    }
    options.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    do {
        result = show(config, &options);
        if (options.watch) {
            g_usleep(G_USEC_PER_SEC);
        }
    } while (options.watch);
    return result;
}
