# SPDX-License-Identifier: GPL-2.0-or-later
#
# Groups of real processes: build/cluster/node is one member, made of the .c
# files here and the library; the tests are the test_*.py. The long ones carry
# the marker "soak".

# The same with ASan and UBSan, and with TSan: build/cluster/node-asan, ...
cluster_node = build/cluster/node$(if $(filter plain,$(1)),,-$(1))

# Built without RDMA there are no queue pairs.
cluster_sources := $(filter-out \
    tests/cluster/$(if $(filter rdma,$(WITHOUT)),part.c,part-none.c),\
    $(wildcard tests/cluster/*.c))

# cluster_variant(variant)
define cluster_variant
$(call cluster_node,$(1)): $(patsubst %.c,build/core/$(1)/%.o,\
    $(cluster_sources)) \
    $(core_libraries:%=build/core/$(1)/lib%.a) tests/cluster/cluster.mk
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo "  LINK    $$@"; )$$(CC) $$(core_flags_$(1)) -o $$@ \
	    $$(filter %.o %.a,$$^) $$(core_link)

endef
$(foreach variant,$(core_variants),$(eval $(call cluster_variant,$(variant))))

.PHONY: check-cluster check-soak-cluster bench-apus-failover
cluster_needs := build/cluster/node build/bin/apusd build/bin/apusctl \
    build/packages-check
check-cluster: $(cluster_needs)
	@mkdir -p $(results)
	@$(pytest) tests/cluster -m 'not soak' \
	    --junitxml=$(results)/cluster.xml

# The long tests, and the short ones once more with sanitizers. LeakSanitizer
# cannot work in the tests' PID namespace; TSan does not see the locks of
# GLib's own allocator.
check-soak: check-soak-cluster
check-soak-cluster: $(cluster_needs) build/cluster/node-asan \
    build/cluster/node-tsan
	@mkdir -p $(results)
	@rc=0; \
	$(pytest) tests/cluster -m soak \
	    --junitxml=$(results)/soak-cluster.xml || rc=$$?; \
	for variant in asan tsan; do \
	    ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1 \
	    G_SLICE=always-malloc COLONY_NODE=build/cluster/node-$$variant \
	    $(pytest) tests/cluster -m 'not soak' \
	        --junitxml=$(results)/soak-cluster-$$variant.xml || rc=$$?; \
	done; exit $$rc

bench-apus-failover: build/cluster/node build/packages-check
	@mkdir -p build/bench
	@$(PYTHON) -B tests/bench/apus-failover.py
