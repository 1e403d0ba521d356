# SPDX-License-Identifier: GPL-2.0-or-later
#
# `make help` says what can be done. Everything is built under build/. QEMU is
# built by its own ninja, called by the scripts in qemu/; the core libraries
# and their tests by tests/unit/unit.mk.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
PYTHON := /usr/bin/python3

# make's own default, cc, would not share the compiler cache with gcc.
ifeq ($(origin CC),default)
CC := gcc
endif

# What needs neither a configuration nor packages.
plain := help clean distclean
ifneq ($(filter-out $(plain),$(or $(MAKECMDGOALS),all)),)
include build/config.mk
endif

# make -jN reaches ninja, which would otherwise use every CPU.
JOBS ?= $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),$(shell nproc))

export PREFIX QEMU_SRC CC WITH_CCACHE WITHOUT QEMU_OPTIONS JOBS V

.PHONY: all qemu stock guest demo install docs help clean distclean
all: qemu core tools ## QEMU with Colony and the core libraries (the default)

# --- configuration and packages --------------------------------------------

# With the options of the last time, after installing what is missing.
build/config.mk: configure qemu/packages qemu/base.conf
	@qemu/packages.sh build
	@./configure $(CONFIGURE_ARGUMENTS)

build/packages-%: qemu/packages build/config.mk
	@qemu/packages.sh $*
	@touch $@

# --- QEMU ------------------------------------------------------------------

# Remade when a patch is changed, added or removed.
build/qemu-src.stamp: build/config.mk qemu/fetch.sh qemu/prepare.sh \
    qemu/base.conf qemu/patches $(wildcard qemu/patches/*.patch)
	@qemu/fetch.sh
	@qemu/prepare.sh
	@touch $@

qemu: build/qemu-src.stamp
	@qemu/build.sh patched

stock: build/qemu-src.stamp ## the unpatched QEMU, in build/stock/bin
	@qemu/build.sh stock

.PHONY: series series-save
series: build/qemu-src.stamp ## the patches as git commits, in build/series
	@qemu/series.sh open

series-save: ## its commits written back to qemu/patches
	@qemu/series.sh save

# --- the core libraries ----------------------------------------------------

.PHONY: core
include tests/unit/unit.mk
include tests/fuzz/fuzz.mk
include tests/bench/bench.mk
-include $(wildcard colo-net/apus/tools/tools.mk tests/sim/sim.mk \
    tests/model/model.mk tests/cluster/cluster.mk tests/storage/storage.mk \
    tests/rdma/rdma.mk qemu/colony/colony.mk qemu/packaging/packaging.mk)

# --- the guest -------------------------------------------------------------

guest: build/packages-guest ## the test guest, in build/guest
	$(call landed,tests/guest/build.sh,the guest)
	@tests/guest/build.sh --out=build/guest

# landed(file, what): stop, saying so, where a part is not there yet.
define landed
@test -e $(1) || { echo "$(2): not part of Colony yet ($(1))"; exit 1; }
endef

# --- demo, tests, benchmarks -----------------------------------------------

# A system test needs about two CPUs.
workers ?= $(shell n=$$(($$(nproc) / 2)); echo $$((n > 1 ? n : 1)))
# Unit tests and fuzzing draw the same numbers each time; 0: other ones.
SEED ?= 1
pytest = $(PYTHON) -B -m pytest -p no:cacheprovider -n $(workers)
results = build/check

.PHONY: check check-unit check-fuzz check-model check-qtest check-system
.PHONY: check-soak check-upgrade check-upstream bench

demo: qemu tools guest build/packages-check ## a VM survives the death of its host
	$(call landed,tests/system/demo.py,the demo)
	@$(PYTHON) -B tests/system/demo.py

parts := unit fuzz model sim $(if $(wildcard tests/qtest/*.c),qtest) \
    cluster storage packaging rdma-short \
    $(if $(wildcard tests/system/conftest.py),system)
check: all build/packages-check ## all tests but the long ones
	@rm -f $(parts:%=$(results)/%.xml); \
	for part in $(parts); do \
	    $(MAKE) --no-print-directory check-$$part || :; \
	done; \
	$(PYTHON) -B tests/summary.py $(results) $(parts)

check-unit: ## the core libraries alone; seconds
	@$(PYTHON) -B tests/run.py --seed=$(SEED) $(results)/unit.xml \
	    $(unit_tests)

check-fuzz: ## garbage for each decoder; a minute, or FUZZ_SECONDS for each
	@$(PYTHON) -B tests/fuzz/run.py --seconds=$(FUZZ_SECONDS) \
	    --seed=$(SEED) --jobs=$(shell nproc) build/fuzz $(results)/fuzz.xml $(fuzz_programs)

check-model: build/packages-check ## APUS as a model, in spin; a minute
	@$(PYTHON) -B tests/model/run.py --jobs=2 build/model \
	    $(results)/model.xml

check-qtest: qemu ## our tests of QEMU's objects and commands
	@qemu/build.sh patched colony-qtests
	@mkdir -p $(results)
	@rc=0; qemu/meson-test.sh qtest --suite colony || rc=$$?; \
	cp build/qemu/meson-logs/qtest.junit.xml $(results)/qtest.xml; exit $$rc

check-system: qemu guest build/packages-check ## real guests, real failures
	$(call landed,tests/system/conftest.py,system tests)
	@mkdir -p $(results)
	@$(pytest) tests/system -m 'not soak' \
	    --junitxml=$(results)/system.xml

check-soak: qemu guest build/packages-check ## the long system tests
	$(call landed,tests/system/conftest.py,system tests)
	@mkdir -p $(results)
	@$(pytest) tests/system -m soak --junitxml=$(results)/soak.xml

# Tests with an older build are skipped unless OLD names its revision.
check-upgrade: all guest build/packages-check ## OLD=REVISION: from that to this
	@mkdir -p $(results)
	@old=; test -z "$(OLD)" || \
	    old=$$(tests/upgrade/build.sh "$(OLD)") || exit 1; \
	COLONY_OLD_BIN=$$old $(pytest) tests/system/test_colony_upgrade.py \
	    -m soak -rs --junitxml=$(results)/upgrade.xml

# QEMU's own tests of what the patches touch, without the long ones. Each case
# of migration-test takes half a minute, so they run side by side.
upstream := tests/unit/test-replication $(addprefix tests/qtest/,\
    test-filter-mirror test-filter-redirector test-netfilter \
    machine-none-test qom-test qmp-cmd-test)
check-upstream: qemu ## QEMU's own tests of what we patch; some minutes
	@qemu/build.sh patched tests/qtest/migration-test $(upstream)
	@cd build/qemu && export QTEST_QEMU_IMG=./qemu-img \
	    QTEST_QEMU_BINARY=$(CURDIR)/tests/tcg-only/qemu-system-x86_64; \
	for case in $$(tests/qtest/migration-test -l | grep ^/); do \
	    set -- "$$@" "tests/qtest/migration-test -p $$case"; \
	done; \
	PYTHON=pyvenv/bin/python3 $(PYTHON) -B ../../tests/run.py \
	    --deadline=300 $(CURDIR)/$(results)/upstream.xml $(upstream) "$$@"; \
	cd $(CURDIR) && $(PYTHON) -B tests/summary.py $(results) upstream

benches := $(patsubst tests/bench/%.py,bench-%,$(wildcard tests/bench/*.py))
bench: $(benches) ## every benchmark; FULL=1 for the whole matrix

bench-%: qemu stock guest build/packages-check ## one: bench-colo, ...
	$(call landed,tests/bench/$*.py,this benchmark)
	@mkdir -p build/bench
	@$(PYTHON) -B tests/bench/$*.py

# BENCH_OPTIONS: see tests/bench/presets.py --help.
bench-presets: qemu stock guest tools build/packages-check ## all presets
	@$(PYTHON) -B tests/bench/presets.py $(BENCH_OPTIONS)

# BENCH_OPTIONS: see tests/bench/life.py --help.
bench-life: qemu guest tools build/packages-check ## of a protected VM
	@$(PYTHON) -B tests/bench/life.py $(BENCH_OPTIONS)

# Neither a virtual machine nor root is needed for this one.
bench-hash: build/config.mk ## how fast pages are hashed, and memory is
	@$(PYTHON) -B tests/bench/hash.py

# Nor for this one.
bench-apus: build/packages-bench bench-peers tools ## commits of APUS
	@$(PYTHON) -B tests/bench/apus.py

# Nor for this one. BENCH_OPTIONS: see tests/bench/blk.py --help.
bench-blk: qemu stock build/packages-bench ## replicated disks
	@$(PYTHON) -B tests/bench/blk.py $(BENCH_OPTIONS)

# --- documents, installation, cleaning -------------------------------------

docs: build/packages-docs ## this manual as HTML, in build/docs; man pages
	@$(PYTHON) -m sphinx -q -W --keep-going -d build/doctrees docs build/docs
	@$(PYTHON) -m sphinx -q -W --keep-going -d build/doctrees/man -b man \
	    docs build/man
	@echo "build/docs/index.html, and manual pages in build/man"

# How: qemu/packaging/packaging.mk
.PHONY: uninstall deb
install: all docs ## programs, manual, units; DESTDIR and PREFIX are respected
uninstall: ## removes what make install has put there
deb: all docs ## Debian packages of what was built, in build/deb

help: ## this text
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z%-]*\):.* ## /\1 /p' Makefile | \
	    while read -r target text; do \
	        printf '  %-16s %s\n' "$$target" "$$text"; \
	    done
	@echo 'V=1 shows every command; -jN bounds the parallel jobs.'
	@echo 'Options that decide what is built: ./configure --help'

clean: ## removes what was built, keeps the configuration and the sources
	rm -rf build/bin build/core build/qemu build/stock/bin build/stock/qemu \
	    build/guest build/check build/fuzz build/bench build/docs build/doctrees \
	    build/man build/deb build/upgrade

distclean: ## removes build/, as in a fresh clone
	rm -rf build
