# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulator of APUS: whole groups in one process, built with a core whose
# rules can be broken, below build/core/sim/.

# Schedules for each size of a group.
SIM_SEEDS ?= 2000
SIM_SOAK_SEEDS ?= 100000

core_flags_sim := -O2 -DAPUS_MUTATIONS
$(eval $(call core_variant,sim))

sim_mains := apus-sim test-sim
sim_programs := $(sim_mains:%=build/sim/%)
sim_objects := $(patsubst %.c,build/core/sim/%.o,\
    $(filter-out $(sim_mains:%=tests/sim/%.c),$(wildcard tests/sim/*.c)))

$(sim_programs): build/sim/%: build/core/sim/tests/sim/%.o $(sim_objects) \
    build/core/sim/libapus.a tests/sim/sim.mk
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) $(core_flags_sim) \
	    -o $@ $(filter %.o %.a,$^) $(core_link)

.PHONY: check-sim check-soak-sim
check-sim: $(sim_programs) ## APUS under thousands of seeded faults; seconds
	@APUS_SIM_SEEDS=$(SIM_SEEDS) $(PYTHON) -B tests/run.py --deadline=3600 \
	    $(results)/sim.xml build/sim/test-sim

check-soak-sim: $(sim_programs)
	@APUS_SIM_SEEDS=$(SIM_SOAK_SEEDS) $(PYTHON) -B tests/run.py \
	    --deadline=7200 $(results)/sim-soak.xml build/sim/test-sim

check-soak: check-soak-sim
