/*
 * A key file whose every key is accounted for
 *
 * GKeyFile merges groups and keys that occur twice, and knows neither which
 * keys there may be nor where a value came from. This does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_SOURCE_H
#define APUSD_SOURCE_H

#include <glib.h>
#include <stdint.h>

typedef struct ApusdSource ApusdSource;

/* Errors here and below: APUS_ERROR_CONFIG. */
ApusdSource *apusd_source_new(const char *file, const char *text, size_t size,
                              GError **errp);
void apusd_source_free(ApusdSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusdSource, apusd_source_free)

/* Their names, NULL behind the last. */
char **apusd_source_groups(const ApusdSource *source);
/* Are all keys of @group among @known? */
gboolean apusd_source_check_keys(const ApusdSource *source, const char *group,
                                 const char *const *known, GError **errp);

gboolean apusd_source_has(const ApusdSource *source, const char *group,
                          const char *key);
/* Not empty; to be freed. NULL if it is missing or no text. */
char *apusd_source_text(const ApusdSource *source, const char *group,
                        const char *key, GError **errp);
gboolean apusd_source_number(const ApusdSource *source, const char *group,
                             const char *key, uint64_t min, uint64_t max,
                             uint64_t *number, GError **errp);
gboolean apusd_source_boolean(const ApusdSource *source, const char *group,
                              const char *key, gboolean *value,
                              GError **errp);
/* One of @names; its place there in @choice. */
gboolean apusd_source_choice(const ApusdSource *source, const char *group,
                             const char *key, const char *const *names,
                             unsigned *choice, GError **errp);

/*
 * "FILE: [GROUP] KEY=VALUE: " and what is wrong with it; @group or @key may be
 * NULL. Returns FALSE.
 */
gboolean apusd_source_refuse(const ApusdSource *source, const char *group,
                             const char *key, GError **errp,
                             const char *format, ...) G_GNUC_PRINTF(5, 6);

#endif
