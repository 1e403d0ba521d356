/*
 * The kinds of values that a config has
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "config-internal.h"

#define INTERFACE_MAX 15 /* IFNAMSIZ without its end */

/* --- texts ---------------------------------------------------------------- */

static char *set_text(const char *value, void *to)
{
    char **field = to;

    g_free(*field);
    *field = g_strdup(value);
    return NULL;
}

static char *print_text(const void *from)
{
    return g_strdup(*(char *const *)from ?: "");
}

static char *parse_text(const ColonyKey *key G_GNUC_UNUSED,
                        const char *value, void *to)
{
    return set_text(value, to);
}

static gboolean has_only(const char *value, const char *more)
{
    for (; *value; value++) {
        if (!g_ascii_isalnum(*value) && !strchr(more, *value)) {
            return FALSE;
        }
    }
    return TRUE;
}

static char *parse_name(const ColonyKey *key, const char *value, void *to)
{
    if (!g_ascii_isalpha(*value) || !has_only(value, "-_") ||
        strlen(value) > key->max) {
        g_autofree char *quoted = colony_ini_quote(value);

        return g_strdup_printf("%s cannot be a name; take a letter, then "
                               "letters, digits, \"-\" and \"_\", at most %u "
                               "in all", quoted, (unsigned)key->max);
    }
    return set_text(value, to);
}

static char *parse_word(const ColonyKey *key G_GNUC_UNUSED,
                        const char *value, void *to)
{
    for (const char *at = value; *at; at++) {
        if (!g_ascii_isgraph(*at)) {
            g_autofree char *quoted = colony_ini_quote(value);

            return g_strdup_printf("%s has spaces, or is not ASCII; give one "
                                   "word", quoted);
        }
    }
    return set_text(value, to);
}

static char *parse_path(const ColonyKey *key, const char *value, void *to)
{
    gsize length = strlen(value);

    if (!g_path_is_absolute(value)) {
        g_autofree char *quoted = colony_ini_quote(value);

        return g_strdup_printf("%s is not absolute; begin with \"/\"",
                               quoted);
    }
    if (key->max && length > key->max) {
        return g_strdup_printf("%" G_GSIZE_FORMAT " bytes are too long for "
                               "the sockets below it; take at most %u",
                               length, (unsigned)key->max);
    }
    return set_text(value, to);
}

static char *parse_interface(const ColonyKey *key G_GNUC_UNUSED,
                             const char *value, void *to)
{
    if (strlen(value) > INTERFACE_MAX || !has_only(value, "-_.") ||
        *value == '.' || *value == '-') {
        g_autofree char *quoted = colony_ini_quote(value);

        return g_strdup_printf("%s cannot be a network interface; take "
                               "letters, digits, \"-\", \"_\" and \".\", at "
                               "most %d in all", quoted, INTERFACE_MAX);
    }
    return set_text(value, to);
}

static char *parse_mac(const ColonyKey *key G_GNUC_UNUSED,
                       const char *value, void *to)
{
    g_autofree char *lower = g_ascii_strdown(value, -1);
    gboolean good = strlen(value) == 17 && strcmp(lower, "00:00:00:00:00:00");

    for (unsigned i = 0; good && i < 17; i++) {
        good = i % 3 == 2 ? value[i] == ':' : g_ascii_isxdigit(value[i]);
    }
    /* The lowest bit of the first byte is that of groups. */
    if (!good || g_ascii_xdigit_value(value[1]) & 1) {
        g_autofree char *quoted = colony_ini_quote(value);

        return g_strdup_printf("%s is no address of a card; write it like "
                               "52:54:00:12:34:56, or leave it out", quoted);
    }
    return set_text(lower, to);
}

/* --- addresses ------------------------------------------------------------ */

typedef struct Address {
    char text[INET6_ADDRSTRLEN];
    gboolean unspecified, unfit;
} Address;

/*
 * A name may take seconds to look up, and may not be found just when a host
 * has died.
 */
static gboolean read_address(const char *value, Address *address)
{
    struct in_addr four;
    struct in6_addr six;

    if (inet_pton(AF_INET, value, &four) == 1) {
        guint32 number = ntohl(four.s_addr);

        address->unspecified = number == INADDR_ANY;
        address->unfit = IN_MULTICAST(number) || number == INADDR_BROADCAST;
        return inet_ntop(AF_INET, &four, address->text,
                         sizeof(address->text)) != NULL;
    }
    if (inet_pton(AF_INET6, value, &six) == 1) {
        address->unspecified = IN6_IS_ADDR_UNSPECIFIED(&six);
        address->unfit = IN6_IS_ADDR_MULTICAST(&six) ||
                         IN6_IS_ADDR_LINKLOCAL(&six) ||
                         IN6_IS_ADDR_V4MAPPED(&six);
        return inet_ntop(AF_INET6, &six, address->text,
                         sizeof(address->text)) != NULL;
    }
    return FALSE;
}

static char *parse_any_address(const char *value, gboolean unspecified,
                               void *to)
{
    g_autofree char *quoted = colony_ini_quote(value);
    Address address;

    if (!read_address(value, &address)) {
        return g_strdup_printf("%s is no address; write it in numbers, like "
                               "192.0.2.1 or 2001:db8::1, without a port",
                               quoted);
    }
    if (address.unfit || (address.unspecified && !unspecified)) {
        return g_strdup_printf("%s cannot be reached from all hosts; give an "
                               "address of one host", quoted);
    }
    return set_text(address.text, to);
}

static char *parse_address(const ColonyKey *key G_GNUC_UNUSED,
                           const char *value, void *to)
{
    return parse_any_address(value, FALSE, to);
}

static char *parse_listen(const ColonyKey *key G_GNUC_UNUSED,
                          const char *value, void *to)
{
    return parse_any_address(value, TRUE, to);
}

/* --- choices -------------------------------------------------------------- */

static char *refuse_choice(const ColonyKey *key, const char *value)
{
    g_autofree char *quoted = colony_ini_quote(value);
    g_autofree char *all = g_strjoinv(", ", (char **)key->choices);

    return g_strdup_printf("%s is none of %s", quoted, all);
}

static char *parse_option(const ColonyKey *key, const char *value, void *to)
{
    if (!g_strv_contains(key->choices, value)) {
        return refuse_choice(key, value);
    }
    return set_text(value, to);
}

static char *parse_choice(const ColonyKey *key, const char *value, void *to)
{
    for (unsigned i = 0; key->choices[i]; i++) {
        if (!strcmp(key->choices[i], value)) {
            *(unsigned *)to = i;
            return NULL;
        }
    }
    return refuse_choice(key, value);
}

/* --- words ---------------------------------------------------------------- */

static char *parse_words(const ColonyKey *key G_GNUC_UNUSED,
                         const char *value, void *to)
{
    char ***field = to;
    char **words;

    if (!g_shell_parse_argv(value, NULL, &words, NULL)) {
        return g_strdup("cannot be split into words; close all quotes, as "
                        "for a shell");
    }
    g_strfreev(*field);
    *field = words;
    return NULL;
}

static char *print_words(const void *from)
{
    char *const *words = *(char *const *const *)from;
    GString *text = g_string_new(NULL);

    for (; words && *words; words++) {
        g_autofree char *quoted = g_shell_quote(*words);

        g_string_append_printf(text, " %s", quoted);
    }
    return g_string_free(text, FALSE);
}

/* --- numbers -------------------------------------------------------------- */

typedef struct Unit {
    const char *name; /* what stands behind the digits */
    guint64 factor;
} Unit;

static const Unit size_units[] = {
    { "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 },
    { "T", 1ull << 40 }, { NULL },
};

/* @units: ends with one that has no name. */
static gboolean read_number(const ColonyKey *key, const char *value,
                            const Unit *units, guint64 *number)
{
    gsize digits = strspn(value, "0123456789");
    g_autofree char *text = g_strndup(value, digits);

    while (units->name && g_ascii_strcasecmp(value + digits, units->name)) {
        units++;
    }
    if (!units->name ||
        !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64 / units->factor,
                                    number, NULL)) {
        return FALSE;
    }
    *number *= units->factor;
    return *number >= key->min && *number <= key->max;
}

static char *refuse_number(const char *value, const char *kind,
                           const char *min, const char *max)
{
    g_autofree char *quoted = colony_ini_quote(value);

    return g_strdup_printf("%s is no %s from %s to %s", quoted, kind, min,
                           max);
}

/* The same for all that is kept as a number. */
static char *read_plain(const ColonyKey *key, const char *value,
                        const char *kind, guint64 *number)
{
    static const Unit units[] = { { "", 1 }, { NULL } };

    if (!read_number(key, value, units, number)) {
        g_autofree char *min = g_strdup_printf("%" G_GUINT64_FORMAT, key->min);
        g_autofree char *max = g_strdup_printf("%" G_GUINT64_FORMAT, key->max);

        return refuse_number(value, kind, min, max);
    }
    return NULL;
}

static char *parse_number(const ColonyKey *key, const char *value, void *to)
{
    guint64 number;
    char *wrong = read_plain(key, value, "whole number", &number);

    if (!wrong) {
        *(unsigned *)to = number;
    }
    return wrong;
}

static char *print_number(const void *from)
{
    return g_strdup_printf("%u", *(const unsigned *)from);
}

static char *parse_port(const ColonyKey *key, const char *value, void *to)
{
    guint64 number;
    char *wrong = read_plain(key, value, "port", &number);

    if (!wrong) {
        *(guint16 *)to = number;
    }
    return wrong;
}

static char *print_port(const void *from)
{
    return g_strdup_printf("%u", *(const guint16 *)from);
}

static char *parse_time(const ColonyKey *key, const char *value, void *to)
{
    static const Unit units[] = {
        { "", 1 }, { "ms", 1 }, { "s", 1000 }, { NULL },
    };
    guint64 number;

    if (!read_number(key, value, units, &number)) {
        g_autofree char *min = g_strdup_printf("%" G_GUINT64_FORMAT "ms",
                                               key->min);
        g_autofree char *max = g_strdup_printf("%" G_GUINT64_FORMAT "s",
                                               key->max / 1000);

        return refuse_number(value, "time", min, max);
    }
    *(unsigned *)to = number;
    return NULL;
}

static char *parse_size(const ColonyKey *key, const char *value, void *to)
{
    guint64 number;

    if (!read_number(key, value, size_units, &number)) {
        g_autofree char *min = colony_size_text(key->min);
        g_autofree char *max = colony_size_text(key->max);

        return refuse_number(value, "size", min, max);
    }
    *(guint64 *)to = number;
    return NULL;
}

static char *print_size(const void *from)
{
    return g_strdup_printf("%" G_GUINT64_FORMAT, *(const guint64 *)from);
}

char *colony_size_text(guint64 size)
{
    const Unit *unit = size_units;

    while (size && unit[1].name && size % unit[1].factor == 0) {
        unit++;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT "%s", size / unit->factor,
                           unit->name);
}

const ColonyType colony_type_name = { parse_name, print_text };
const ColonyType colony_type_word = { parse_word, print_text };
const ColonyType colony_type_text = { parse_text, print_text };
const ColonyType colony_type_path = { parse_path, print_text };
const ColonyType colony_type_interface = { parse_interface, print_text };
const ColonyType colony_type_mac = { parse_mac, print_text };
const ColonyType colony_type_address = { parse_address, print_text };
const ColonyType colony_type_listen = { parse_listen, print_text };
const ColonyType colony_type_option = { parse_option, print_text };
const ColonyType colony_type_words = { parse_words, print_words };
const ColonyType colony_type_choice = { parse_choice, print_number };
const ColonyType colony_type_number = { parse_number, print_number };
const ColonyType colony_type_time = { parse_time, print_number };
const ColonyType colony_type_port = { parse_port, print_port };
const ColonyType colony_type_size = { parse_size, print_size };
