/*
 * apusd: a member of a group that only votes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <unistd.h>

#include "daemon/daemon.h"

typedef struct {
    char *file;
    gboolean check, found, join;
} Options;

static gboolean parse(Options *options, int *argc, char ***argv,
                      GError **errp)
{
    const GOptionEntry entries[] = {
        { "config", 'c', 0, G_OPTION_ARG_FILENAME, &options->file,
          "The configuration (/etc/apusd.conf)", "FILE" },
        { "check", 0, 0, G_OPTION_ARG_NONE, &options->check,
          "Only say whether the configuration is right", NULL },
        { "found", 0, 0, G_OPTION_ARG_NONE, &options->found,
          "Make the state directory of this member, who founds the group with "
          "the others", NULL },
        { "join", 0, 0, G_OPTION_ARG_NONE, &options->join,
          "With --found: of one that is added to a group that exists", NULL },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_set_summary(context, "A member of a group that only "
                                 "votes: the witness of a protected VM.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, errp)) {
        return FALSE;
    }
    if (*argc > 1) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "\"%s\" is too much: see apusd --help", (*argv)[1]);
        return FALSE;
    }
    if (options->join && !options->found) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--join says how to --found: give both");
        return FALSE;
    }
    if (!options->file) {
        options->file = g_strdup("/etc/apusd.conf");
    }
    return TRUE;
}

static ApusdPurpose purpose_of(const Options *options)
{
    return options->join ? APUSD_JOIN : options->found ? APUSD_FOUND
                                                       : APUSD_RUN;
}

static gboolean found(const Options *options, ApusdConfig *config,
                      GError **errp)
{
    int at = apus_members_find(&config->members, config->apus.id);

    config->apus.can_run = config->members.member[at].can_run;
    if (!apus_found(&config->apus, &config->members, config->leader,
                    options->join, errp)) {
        return FALSE;
    }
    printf("%s: made, the state of member %u of %s\n", config->directory,
           config->apus.id, config->name);
    return TRUE;
}

/* The service manager's journal wants levels; people do not. */
static ApusdLog log_of(const ApusdConfig *config)
{
    return (ApusdLog) {
        .least = config->log_level,
        .prefixed = !isatty(STDERR_FILENO),
    };
}

static gboolean run(const Options *options, GError **errp)
{
    g_autoptr(ApusdConfig) config = NULL;
    ApusdLog log;

    config = apusd_config_load(options->file, purpose_of(options), errp);
    if (!config) {
        return FALSE;
    }
    if (options->check) {
        printf("%s: right, for member %u of %u of %s\n", options->file,
               config->apus.id, config->members.count, config->name);
        return TRUE;
    }
    if (options->found) {
        return found(options, config, errp);
    }
    log = log_of(config);
    return apusd_daemon_run(config, options->file, &log);
}

int main(int argc, char **argv)
{
    Options options = { 0 };
    g_autoptr(GError) error = NULL;
    gboolean well = parse(&options, &argc, &argv, &error) &&
                    run(&options, &error);

    if (error) {
        fprintf(stderr, "%s%s\n", isatty(STDERR_FILENO) ? "apusd: " : "<3>",
                error->message);
    }
    g_free(options.file);
    return well ? 0 : 1;
}
