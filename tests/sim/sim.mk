# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulator of APUS: whole groups in one process, built with a core whose
# rules can be broken, below build/core/sim/; and once more with ASan and UBSan,
# below build/core/sim-asan/.

# Schedules for each size of a group; with ASan a tenth.
SIM_SEEDS ?= 2000
SIM_SOAK_SEEDS ?= 100000

core_flags_sim := -O2 -DAPUS_MUTATIONS
core_flags_sim-asan := -DAPUS_MUTATIONS -DSIM_SHARE=10 $(core_flags_asan)
$(foreach variant,sim sim-asan,$(eval $(call core_variant,$(variant))))

sim_mains := apus-sim test-sim
sim_programs := $(sim_mains:%=build/sim/%)
sim_asan := build/sim/asan/test-sim
sim_sources := $(filter-out $(sim_mains:%=tests/sim/%.c),\
    $(wildcard tests/sim/*.c))

define sim_link
@mkdir -p $(@D)
$(if $(V),,@echo "  LINK    $@"; )$(CC) $(core_flags_$(1)) -o $@ \
    $(filter %.o %.a,$^) $(core_link)
endef

$(sim_programs): build/sim/%: build/core/sim/tests/sim/%.o \
    $(sim_sources:%.c=build/core/sim/%.o) \
    build/core/sim/colo-net/verbs/ring.o build/core/sim/libapus.a \
    tests/sim/sim.mk
	$(call sim_link,sim)

$(sim_asan): build/sim/asan/%: build/core/sim-asan/tests/sim/%.o \
    $(sim_sources:%.c=build/core/sim-asan/%.o) \
    build/core/sim-asan/colo-net/verbs/ring.o \
    build/core/sim-asan/libapus.a tests/sim/sim.mk
	$(call sim_link,sim-asan)

sim_tests := build/sim/test-sim '$(sim_asan) -p /sim/nothing-is-violated'

.PHONY: check-sim check-soak-sim
check-sim: $(sim_programs) $(sim_asan) ## APUS under thousands of seeded faults
	@APUS_SIM_SEEDS=$(SIM_SEEDS) $(PYTHON) -B tests/run.py --deadline=3600 \
	    $(results)/sim.xml $(sim_tests)

check-soak-sim: $(sim_programs) $(sim_asan)
	@APUS_SIM_SEEDS=$(SIM_SOAK_SEEDS) $(PYTHON) -B tests/run.py \
	    --deadline=7200 $(results)/sim-soak.xml $(sim_tests)

check-soak: check-soak-sim
