/*
 * The rules that can be broken, by name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "sim.h"

SimRule sim_rule;

#define NAME(mutation, text) #mutation
static const char *const names[] = { "NONE", APUS_MUTATION_LIST(NAME) };
static const char *const rules[] = { "NONE", SIM_RULE_LIST(NAME) };
#undef NAME

const char *sim_mutation_name(unsigned mutation)
{
    return mutation < APUS_MUTATIONS_END
           ? names[mutation] : rules[mutation - APUS_MUTATIONS_END + 1];
}

gboolean sim_mutation_find(const char *name, unsigned *mutation)
{
    for (unsigned i = 0; i < SIM_MUTATIONS; i++) {
        if (g_ascii_strcasecmp(name, sim_mutation_name(i)) == 0) {
            *mutation = i;
            return TRUE;
        }
    }
    return FALSE;
}

void sim_mutation_set(unsigned mutation)
{
    gboolean core = mutation < APUS_MUTATIONS_END;

    apus_mutation = core ? mutation : APUS_MUTATION_NONE;
    sim_rule = core ? SIM_RULE_NONE : mutation - APUS_MUTATIONS_END + 1;
}

unsigned sim_mutation_get(void)
{
    return sim_rule ? APUS_MUTATIONS_END + sim_rule - 1 : apus_mutation;
}
