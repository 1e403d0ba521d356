# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulator of APUS: whole groups in one process, built with a core whose
# rules can be broken, below build/core/sim/.

SIM_SEEDS ?= 2000

core_flags_sim := -O2 -DAPUS_MUTATIONS
$(eval $(call core_variant,sim))

sim_programs := build/sim/apus-sim
sim_objects := $(patsubst %.c,build/core/sim/%.o,\
    $(filter-out tests/sim/apus-sim.c tests/sim/test-sim.c,\
    $(wildcard tests/sim/*.c)))

$(sim_programs): build/sim/%: build/core/sim/tests/sim/%.o $(sim_objects) \
    build/core/sim/libapus.a tests/sim/sim.mk
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) $(core_flags_sim) \
	    -o $@ $(filter %.o %.a,$^) $(core_link)

.PHONY: sim
sim: $(sim_programs) ## the simulator of APUS, build/sim/apus-sim
