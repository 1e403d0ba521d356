# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs that use RDMA, in guests that have it in software: README.rst. Each
# test-*.c here becomes a program, build/rdma/test-*, of tests that run there.

rdma_programs := $(patsubst tests/rdma/%.c,build/rdma/%,\
    $(if $(filter rdma,$(WITHOUT)),,$(wildcard tests/rdma/test-*.c)))
rdma_needs := qemu guest tools build/rdma/agent build/cluster/node \
    $(rdma_programs) build/packages-check
rdma_pytest = $(PYTHON) -B -m pytest -p no:cacheprovider tests/rdma

build/rdma/agent: tests/rdma/guest/agent.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@"; )$(CC) -std=gnu11 -O2 -Wall -Wextra \
	    -Werror -static -s -o $@ $<

$(rdma_programs): build/rdma/%: build/core/plain/tests/rdma/%.o \
    build/core/plain/libunit.a $(core_libraries:%=build/core/plain/lib%.a)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(core_link) \
	    -lrdmacm -libverbs

# For bench-rdma.
build/rdma/page-transfer: build/core/plain/tests/rdma/page-transfer.o \
    $(core_libraries:%=build/core/plain/lib%.a)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(core_link)

build/rdma/rdma-pingpong: build/core/plain/tests/bench/apus/rdma-pingpong.o \
    build/core/plain/libbench.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(glib_libs) \
	    -lrdmacm -libverbs

# One guest at a time, or three that are one test: no workers.
.PHONY: check-rdma check-rdma-short
check-rdma-short: $(rdma_needs)
	@mkdir -p $(results)
	@$(rdma_pytest) -m 'not soak' --junitxml=$(results)/rdma-short.xml

check-rdma: $(rdma_needs) ## APUS over RDMA, in guests; some minutes
	@mkdir -p $(results)
	@$(rdma_pytest) -m 'soak or not soak' \
	    --junitxml=$(results)/rdma.xml; \
	$(PYTHON) -B tests/summary.py $(results) rdma

check-soak: check-rdma

bench-rdma: qemu guest tools build/rdma/agent build/rdma/rdma-pingpong \
    build/rdma/page-transfer build/bench/tcp-pingpong build/packages-check
	@$(PYTHON) -B tests/bench/rdma.py
