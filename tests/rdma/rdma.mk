# SPDX-License-Identifier: GPL-2.0-or-later
#
# Programs that use RDMA, in guests that have it in software: README.rst. Each
# test-*.c here becomes a program, build/rdma/test-*, of tests that run there.

rdma_programs := $(patsubst tests/rdma/%.c,build/rdma/%,\
    $(wildcard tests/rdma/test-*.c))

build/rdma/agent: tests/rdma/guest/agent.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@"; )$(CC) -std=gnu11 -O2 -Wall -Wextra \
	    -Werror -static -s -o $@ $<

$(rdma_programs): build/rdma/%: build/core/plain/tests/rdma/%.o \
    $(core_libraries:%=build/core/plain/lib%.a)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(core_link) \
	    -lrdmacm -libverbs
