/*
 * apusd's configuration file
 *
 * A key file ([group] and [member N]) becomes an ApusConfig and the members
 * that the group is founded with. docs/man/apusd.conf.rst describes each key.
 * Whatever is not understood is refused, with file, group, key and value, and
 * what to do: a setting that is misspelt must not become a default.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_CONFIG_H
#define APUSD_CONFIG_H

#include "colo-net/apus/apus.h"

#define APUSD_CONFIG_MAX (64u << 10) /* bytes of a configuration file */

typedef enum {
    APUSD_RUN, /* as a witness */
    APUSD_FOUND, /* make the state of a member, whatever it will run */
    APUSD_JOIN, /* likewise, of one that is added to a group */
} ApusdPurpose;

typedef struct {
    char *name, *directory, *listen; /* apus points at them */
    uint8_t key[APUS_KEY_MAX];
    ApusConfig apus;
    ApusMembers members;
    ApusId leader; /* that leads first, when the group is founded */
    char *key_file; /* or NULL */
    char *socket;
    GLogLevelFlags log_level; /* the least important one that is shown */
} ApusdConfig;

/*
 * What the @size bytes at @text say, which came from a file called @file. No
 * other file is read: config->apus has no key yet. Errors, here and below, are
 * APUS_ERROR_CONFIG.
 */
ApusdConfig *apusd_config_parse(const char *file, const char *text,
                                size_t size, ApusdPurpose purpose,
                                GError **errp);

/* Read @file and the key file that it names. */
ApusdConfig *apusd_config_load(const char *file, ApusdPurpose purpose,
                               GError **errp);

void apusd_config_free(ApusdConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusdConfig, apusd_config_free)

/*
 * 16 to 64 bytes as hexadecimal digits, alone, or in a line that begins with
 * "qemu:", as psktool writes it; returns how many bytes, 0 on error.
 */
size_t apusd_key_parse(uint8_t key[APUS_KEY_MAX], const char *text,
                       size_t size);

#endif
