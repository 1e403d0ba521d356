/*
 * The rules that can be broken, by name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "sim.h"

#define NAME(mutation, text) #mutation
static const char *const names[] = { "NONE", APUS_MUTATION_LIST(NAME) };
#undef NAME

const char *sim_mutation_name(ApusMutation mutation)
{
    return names[mutation];
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
