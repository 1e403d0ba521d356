/*
 * The rules that can be broken, by name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "sim.h"

/* One after another, each with its 0. */
#define NAME(mutation, text) #mutation "\0"
static const char names[] = "NONE\0" APUS_MUTATION_LIST(NAME);
#undef NAME

const char *sim_mutation_name(ApusMutation mutation)
{
    const char *name = names;

    while (mutation-- > 0) {
        name += strlen(name) + 1;
    }
    return name;
}

gboolean sim_mutation_find(const char *name, ApusMutation *mutation)
{
    for (unsigned i = 0; i < APUS_MUTATIONS_END; i++) {
        if (g_ascii_strcasecmp(name, sim_mutation_name(i)) == 0) {
            *mutation = i;
            return TRUE;
        }
    }
    return FALSE;
}
