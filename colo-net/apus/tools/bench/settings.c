/*
 * The options that all programs of a benchmark understand
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "settings.h"

#include <string.h>

#define SECOND 1000000000.0

/* As the command line has them. */
typedef struct {
    int size, members;
    double warmup, duration;
    char *inflight, *durability, *directory, *pin;
    gboolean json;
} Raw;

/* Whole numbers from @least to @most, with commas between them. */
static gboolean parse_list(BenchList *list, const char *name,
                           const char *text, unsigned least, unsigned most,
                           GError **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);

    list->count = 0;
    for (char **word = words; *word; word++) {
        guint64 value;

        if (list->count == BENCH_MAX_LIST) {
            g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--%s: more than %d numbers", name, BENCH_MAX_LIST);
            return FALSE;
        }
        if (!g_ascii_string_to_unsigned(*word, 10, least, most, &value,
                                        errp)) {
            g_prefix_error(errp, "--%s: ", name);
            return FALSE;
        }
        list->value[list->count++] = value;
    }
    return TRUE;
}

static gboolean check(BenchSettings *settings, const Raw *raw, GError **errp)
{
    if (raw->size < 1 || raw->size > BENCH_MAX_SIZE) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--size is %d, must be 1 to %d bytes", raw->size,
                    BENCH_MAX_SIZE);
        return FALSE;
    }
    if (raw->members != 3 && raw->members != 5) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--members is %d, must be 3 or 5", raw->members);
        return FALSE;
    }
    if (!(raw->warmup >= 0 && raw->warmup <= 3600 && raw->duration > 0 &&
          raw->duration <= 3600)) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--duration and --warmup must be seconds, an hour at "
                    "most");
        return FALSE;
    }
    if (strcmp(raw->durability, "memory") && strcmp(raw->durability, "disk")) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--durability is '%s', must be memory or disk",
                    raw->durability);
        return FALSE;
    }
    settings->size = raw->size;
    settings->members = raw->members;
    settings->disk = !strcmp(raw->durability, "disk");
    settings->warmup = raw->warmup * SECOND;
    settings->duration = raw->duration * SECOND;
    settings->json = raw->json;
    if (!parse_list(&settings->inflight, "inflight", raw->inflight, 1,
                    BENCH_MAX_INFLIGHT, errp)) {
        return FALSE;
    }
    return !raw->pin || parse_list(&settings->cpus, "pin", raw->pin, 0, 1023,
                                   errp);
}

gboolean bench_settings_parse(BenchSettings *settings, const char *summary,
                              const GOptionEntry *more, int argc, char **argv,
                              GError **errp)
{
    Raw raw = { .size = 64, .members = 3, .warmup = 1, .duration = 5,
                .inflight = g_strdup("1"),
                .durability = g_strdup("memory") };
    const GOptionEntry entries[] = {
        { "members", 0, 0, G_OPTION_ARG_INT, &raw.members,
          "of the group, 3 or 5 (3)", "N" },
        { "size", 0, 0, G_OPTION_ARG_INT, &raw.size,
          "of an entry, in bytes (64)", "BYTES" },
        { "inflight", 0, 0, G_OPTION_ARG_STRING, &raw.inflight,
          "under way at a time; each is measured (1)", "N,N,..." },
        { "durability", 0, 0, G_OPTION_ARG_STRING, &raw.durability,
          "memory or disk (memory)", "WHERE" },
        { "warmup", 0, 0, G_OPTION_ARG_DOUBLE, &raw.warmup,
          "not measured, before each measurement (1)", "SECONDS" },
        { "duration", 0, 0, G_OPTION_ARG_DOUBLE, &raw.duration,
          "of each measurement (5)", "SECONDS" },
        { "directory", 0, 0, G_OPTION_ARG_FILENAME, &raw.directory,
          "for what the members store (that for temporary files)", "PATH" },
        { "pin", 0, 0, G_OPTION_ARG_STRING, &raw.pin,
          "one CPU for each process, in turn", "CPU,CPU,..." },
        { "json", 0, 0, G_OPTION_ARG_NONE, &raw.json,
          "a JSON object for each measurement, on a line", NULL },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    gboolean good;

    memset(settings, 0, sizeof(*settings));
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (more) {
        g_option_context_add_main_entries(context, more, NULL);
    }
    good = g_option_context_parse(context, &argc, &argv, errp);
    if (good && argc > 1) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "unexpected argument '%s'", argv[1]);
        good = FALSE;
    }
    good = good && check(settings, &raw, errp);
    settings->directory = raw.directory ? raw.directory
                                        : g_strdup(g_get_tmp_dir());
    g_free(raw.inflight);
    g_free(raw.durability);
    g_free(raw.pin);
    return good;
}

void bench_settings_clear(BenchSettings *settings)
{
    g_clear_pointer(&settings->directory, g_free);
}
