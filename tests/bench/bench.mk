# SPDX-License-Identifier: GPL-2.0-or-later
#
# The C programs of bench-apus, in build/bench: what APUS is compared with.
# They share their load, histogram and processes with apus-bench.

bench_peers := tcp-pingpong tcp-stream raft-bench
bench_libs_raft-bench := -lraft -luv

build/core/plain/tests/bench/apus/raft-bench.o: | build/packages-bench

$(bench_peers:%=build/bench/%): build/bench/%: \
    build/core/plain/tests/bench/apus/%.o build/core/plain/libbench.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ \
	    $(bench_libs_$*) $(glib_libs)

.PHONY: bench-peers
bench-peers: $(bench_peers:%=build/bench/%)
