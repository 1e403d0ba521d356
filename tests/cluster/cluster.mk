# SPDX-License-Identifier: GPL-2.0-or-later
#
# Groups of real processes: build/cluster/node is one member, made of the .c
# files here and the library; the tests are the test_*.py. The long ones carry
# the marker "soak".

cluster_objects := $(patsubst %.c,build/core/plain/%.o,\
    $(wildcard tests/cluster/*.c))

build/cluster/node: $(cluster_objects) \
    $(core_libraries:%=build/core/plain/lib%.a) tests/cluster/cluster.mk
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $(filter %.o %.a,$^) \
	    $(core_link)

.PHONY: check-cluster check-soak-cluster bench-apus-failover
cluster_needs := build/cluster/node build/bin/apusd build/bin/apusctl \
    build/packages-check
check-cluster: $(cluster_needs)
	@mkdir -p $(results)
	@$(pytest) tests/cluster -m 'not soak' \
	    --junitxml=$(results)/cluster.xml

check-soak: check-soak-cluster
check-soak-cluster: $(cluster_needs)
	@mkdir -p $(results)
	@$(pytest) tests/cluster -m soak --junitxml=$(results)/soak-cluster.xml

bench-apus-failover: build/cluster/node build/packages-check
	@mkdir -p build/bench
	@$(PYTHON) -B tests/bench/apus-failover.py
