/*
 * Whether a text is OpenMetrics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <math.h>
#include <string.h>

#include "tests/unit/openmetrics.h"

typedef struct {
    GHashTable *families, *samples; /* names of all; samples with labels */
    char *family, *type; /* of the one whose lines these are */
    gboolean has_unit, has_help, has_sample;
} Checker;

static const char *const types[] = {
    "gauge", "counter", "summary", "stateset", "info", NULL
};

static gboolean is_name_char(char c, gboolean first)
{
    return g_ascii_isalpha(c) || c == '_' || (!first && g_ascii_isdigit(c));
}

/* The name that @at begins with; "": none */
static char *take_name(const char **at)
{
    const char *start = *at;

    while (is_name_char(**at, *at == start)) {
        (*at)++;
    }
    return g_strndup(start, *at - start);
}

/* --- lines that describe -------------------------------------------------- */

static const char *begin_family(Checker *checker, const char *name)
{
    if (!g_hash_table_add(checker->families, g_strdup(name))) {
        return "a family that was there before";
    }
    g_free(checker->family);
    g_free(checker->type);
    checker->family = g_strdup(name);
    checker->type = NULL;
    checker->has_unit = checker->has_help = checker->has_sample = FALSE;
    return NULL;
}

static const char *check_unit(Checker *checker, const char *unit)
{
    g_autofree char *end = g_strconcat("_", unit, NULL);

    if (checker->has_unit || !*unit) {
        return "a second unit, or none";
    }
    checker->has_unit = TRUE;
    return g_str_has_suffix(checker->family, end) ? NULL :
           "a name that does not end with its unit";
}

static const char *check_description(Checker *checker, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    const char *wrong = NULL;

    if (g_strv_length(words) != 4) {
        return "a description of less than four words";
    }
    if (g_strcmp0(checker->family, words[2])) {
        wrong = begin_family(checker, words[2]);
    }
    if (wrong || checker->has_sample) {
        return wrong ? wrong : "a description behind a sample";
    }
    if (!strcmp(words[1], "TYPE")) {
        if (checker->type || !g_strv_contains(types, words[3])) {
            return "a second type, or none that there is";
        }
        checker->type = g_strdup(words[3]);
        return NULL;
    }
    if (!strcmp(words[1], "UNIT")) {
        return check_unit(checker, words[3]);
    }
    if (strcmp(words[1], "HELP") || checker->has_help || !*words[3]) {
        return "a second help, or no help";
    }
    checker->has_help = TRUE;
    return NULL;
}

/* --- samples -------------------------------------------------------------- */

static char *take_string(const char **at)
{
    g_autoptr(GString) value = g_string_new(NULL);

    if (*(*at)++ != '"') {
        return NULL;
    }
    for (; **at && **at != '"'; (*at)++) {
        if (**at == '\\' && !strchr("\\\"n", *++*at)) {
            return NULL;
        }
        if (!**at) {
            return NULL;
        }
        g_string_append_c(value, **at);
    }
    return *(*at)++ == '"' ? g_strdup(value->str) : NULL;
}

static const char *take_labels(const char **at, GHashTable *labels)
{
    if (**at != '{') {
        return "no labels";
    }
    do {
        char *name, *value;

        (*at)++;
        name = take_name(at);
        value = *name && *(*at)++ == '=' ? take_string(at) : NULL;
        if (!value) {
            g_free(name);
            return "no label, or a value without quotes";
        }
        if (!g_hash_table_insert(labels, name, value)) {
            return "a label twice";
        }
    } while (**at == ',');
    return *(*at)++ == '}' ? NULL : "labels without an end";
}

static const char *check_kind(const Checker *checker, const char *name,
                              GHashTable *labels, double value)
{
    gboolean is_counter = !g_strcmp0(checker->type, "counter");
    gboolean is_info = !g_strcmp0(checker->type, "info");
    const char *suffix = is_counter ? "_total" : is_info ? "_info" : "";
    g_autofree char *expected = g_strconcat(checker->family, suffix, NULL);

    if (strcmp(name, expected)) {
        return "a sample that is not of its family";
    }
    if (is_counter && !(value >= 0)) {
        return "a counter below 0";
    }
    if (is_info && value != 1) {
        return "an info that is not 1";
    }
    if (!g_strcmp0(checker->type, "stateset") &&
        (!g_hash_table_contains(labels, checker->family) ||
         (value != 0 && value != 1))) {
        return "a state without a name, or that is neither 0 nor 1";
    }
    if (!g_strcmp0(checker->type, "summary")) {
        const char *quantile = g_hash_table_lookup(labels, "quantile");
        double q = quantile ? g_ascii_strtod(quantile, NULL) : -1;

        if (!(q >= 0 && q <= 1) || value < 0) {
            return "a quantile that is none";
        }
    }
    return NULL;
}

static const char *check_sample(Checker *checker, const char *line)
{
    g_autoptr(GHashTable) labels = g_hash_table_new_full(
        g_str_hash, g_str_equal, g_free, g_free);
    const char *at = line, *wrong;
    g_autofree char *name = take_name(&at);
    char *end;
    double value;

    if (!checker->family || !checker->type) {
        return "a sample before its type";
    }
    wrong = take_labels(&at, labels);
    if (wrong) {
        return wrong;
    }
    if (!g_hash_table_add(checker->samples, g_strndup(line, at - line))) {
        return "a sample that was there before";
    }
    if (!g_hash_table_contains(labels, "vm") ||
        !g_hash_table_contains(labels, "node")) {
        return "a sample that does not say whose it is";
    }
    if (*at++ != ' ') {
        return "no value";
    }
    value = g_ascii_strtod(at, &end);
    if (end == at || *end || isnan(value)) {
        return "a value that is no number";
    }
    checker->has_sample = TRUE;
    return check_kind(checker, name, labels, value);
}

/* --- all ------------------------------------------------------------------ */

static const char *check_lines(Checker *checker, char **lines, guint count,
                               guint *number)
{
    for (*number = 0; *number < count; ++*number) {
        const char *line = lines[*number];
        const char *wrong = *line == '#' ? check_description(checker, line) :
                            check_sample(checker, line);

        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

char *openmetrics_check(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint count = g_strv_length(lines), number = 0;
    Checker checker = {
        .families = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                          NULL),
        .samples = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         NULL),
    };
    const char *wrong = "no # EOF at the end, or not UTF-8";
    char *result = NULL;

    if (count >= 2 && !*lines[count - 1] &&
        !strcmp(lines[count - 2], "# EOF") && g_utf8_validate(text, -1, NULL)) {
        wrong = check_lines(&checker, lines, count - 2, &number);
    }
    if (wrong) {
        result = g_strdup_printf("line %u: %s: %s", number + 1, wrong,
                                 lines[MIN(number, count - 1)]);
    }
    g_hash_table_unref(checker.families);
    g_hash_table_unref(checker.samples);
    g_free(checker.family);
    g_free(checker.type);
    return result;
}

static GHashTable *collect(const char *text, const char *before)
{
    GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                              NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        const char *at = *line + strlen(before);

        if (g_str_has_prefix(*line, before) && is_name_char(*at, TRUE)) {
            g_hash_table_add(names, take_name(&at));
        }
    }
    return names;
}

GHashTable *openmetrics_samples(const char *text)
{
    return collect(text, "");
}

GHashTable *openmetrics_families(const char *text)
{
    return collect(text, "# TYPE ");
}

double openmetrics_value(const char *text, const char *name)
{
    g_autofree char *start = g_strconcat("\n", name, " ", NULL);
    const char *found = strstr(text, start);

    return found ? g_ascii_strtod(found + strlen(start), NULL) : NAN;
}
