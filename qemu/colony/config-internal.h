/*
 * How a config comes about: text, values, and what does not go together
 *
 *   config-ini.c    text -> groups and keys, and where they are; errors
 *   config-value.c  the kinds of values there are
 *   config-read.c   which groups and keys there are
 *   config-check.c  what is right by itself, and wrong together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CONFIG_INTERNAL_H
#define COLONY_CONFIG_INTERNAL_H

#include "config.h"

/* --- lines ---------------------------------------------------------------- */

/* GKeyFile would merge what is there twice, and knows no line numbers. */

typedef struct ColonyIniEntry {
    unsigned line;
    char *key, *value;
} ColonyIniEntry;

typedef struct ColonyIniGroup {
    unsigned line;
    char *name; /* all that is between the brackets */
    GHashTable *entries; /* key -> ColonyIniEntry */
} ColonyIniGroup;

typedef struct ColonyIni {
    char *path;
    gboolean is_text; /* else that is the only error, and there are no groups */
    GPtrArray *groups; /* ColonyIniGroup, in the order of the file */
    GHashTable *names; /* of groups -> ColonyIniGroup */
    GPtrArray *errors; /* what is wrong so far */
    GHashTable *refused; /* "GROUP\nKEY" that have one */
} ColonyIni;

/* What is no text, or no INI file, is among the errors. */
ColonyIni *colony_ini_new(const char *path, const char *text, gsize length);
void colony_ini_free(ColonyIni *ini);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColonyIni, colony_ini_free)

/* NULL if it is not there, or was refused as a duplicate. */
const ColonyIniGroup *colony_ini_group(const ColonyIni *ini,
                                       const char *group);
/* The value of a key, likewise; it is @ini's. */
const char *colony_ini_value(const ColonyIni *ini, const char *group,
                             const char *key);

/*
 * Note an error, at the line of @key, or of @group if @key is NULL or not
 * there, or 1. Only the first of a key counts: what else is found wrong with
 * it follows from that.
 */
void colony_ini_refuse(ColonyIni *ini, const char *group, const char *key,
                       ColonyConfigError code, const char *format, ...)
    G_GNUC_PRINTF(5, 6);

/* All errors in the order of the file, as one. FALSE: there are some. */
gboolean colony_ini_finish(ColonyIni *ini, GError **error);

/* For messages: in quotes, and not longer than a line. */
char *colony_ini_quote(const char *value);
/* "; did you mean X?" if one of @names is close to @name, else "". */
char *colony_ini_suggest(const char *name, const char *const *names);

/* --- values --------------------------------------------------------------- */

typedef struct ColonyKey ColonyKey;

typedef struct ColonyType {
    /*
     * Set *@to; what is wrong with @value, as in "memory: what is wrong; what
     * to do", or NULL.
     */
    char *(*parse)(const ColonyKey *key, const char *value, void *to);
    /* The same value always as the same text. */
    char *(*print)(const void *from);
} ColonyType;

struct ColonyKey {
    const char *name;
    const ColonyType *type; /* NULL: file and file.NODE */
    gsize offset; /* of the field in its struct */
    gboolean required;
    gboolean local; /* hosts may differ in it: no part of the digest */
    /*
     * It was not in the first release: part of the digest only if it is not
     * what it is by default (@fallback, as it is printed), so that supervisors
     * of both releases take the file for the same.
     */
    gboolean added;
    const char *fallback; /* when it is not given; NULL: 0, or none */
    guint64 min, max; /* of numbers; @max: of characters of a name */
    const char *const *choices;
};

extern const ColonyType colony_type_name; /* char *: for files and ids */
extern const ColonyType colony_type_word; /* char *: without spaces */
extern const ColonyType colony_type_text; /* char * */
extern const ColonyType colony_type_path; /* char *: absolute */
extern const ColonyType colony_type_interface; /* char *: of Linux */
extern const ColonyType colony_type_mac; /* char * */
extern const ColonyType colony_type_address; /* char *: numeric */
extern const ColonyType colony_type_listen; /* char *: or unspecified */
extern const ColonyType colony_type_option; /* char *: one of choices */
extern const ColonyType colony_type_words; /* char **: as a shell splits */
extern const ColonyType colony_type_choice; /* an enum or gboolean */
extern const ColonyType colony_type_number; /* unsigned */
extern const ColonyType colony_type_time; /* unsigned: ms */
extern const ColonyType colony_type_port; /* guint16 */
extern const ColonyType colony_type_size; /* guint64 */

/* A number of bytes as one would write it: "1536M". */
char *colony_size_text(guint64 size);

/* --- config --------------------------------------------------------------- */

/* Without nodes, disks, NICs, and values. */
ColonyConfig *colony_config_new(const char *path);

/* Our own QEMU: it is installed with this program, or was built with it. */
char *colony_config_emulator(void);

/* All that counts for colony_config_digest(), in one order. */
char *colony_config_print(const ColonyConfig *config);

/* --- checks --------------------------------------------------------------- */

/* Values that were refused are the defaults here, or NULL and 0. */
void colony_config_check(const ColonyConfig *config, ColonyIni *ini);

#endif
