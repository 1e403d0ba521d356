# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzz targets: every tests/fuzz/fuzz-NAME.c becomes a program that clang's
# libFuzzer drives, linked with the core libraries and what tests share, all of
# it with ASan and UBSan, below build/core/fuzz/. What they find stays below
# build/fuzz/NAME/.

fuzz_programs := $(patsubst tests/fuzz/%.c,build/core/fuzz/%,\
    $(wildcard tests/fuzz/fuzz-*.c))
fuzz_helpers := $(filter-out tests/fuzz/fuzz-%,$(wildcard tests/fuzz/*.c))

# For each target; all together take about a minute on four CPUs.
FUZZ_SECONDS ?= 10

# Other versions of clang know other warnings; gcc's are enough to stop at.
core_flags_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined \
    -fno-sanitize-recover=all -Wno-error
$(eval $(call core_variant,fuzz))
build/core/fuzz/%: CC := clang

$(fuzz_programs): build/core/fuzz/%: build/core/fuzz/tests/fuzz/%.o \
    $(fuzz_helpers:%.c=build/core/fuzz/%.o) build/core/fuzz/libunit.a \
    $(core_libraries:%=build/core/fuzz/lib%.a) tests/fuzz/fuzz.mk
	$(if $(V),,@echo "  LINK    $@"; )$(CC) $(core_flags_fuzz) \
	    -fsanitize=fuzzer -o $@ $(filter %.o %.a,$^) $(core_link)

# Is there a clang, and does it have libFuzzer? Before anything is compiled.
build/core/fuzz/works: build/packages-check
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	    clang -fsanitize=fuzzer,address -x c -o $@ - || { \
	    echo "make check-fuzz needs clang with libFuzzer; in Debian that is" \
	        "apt-get install clang libclang-rt-dev"; exit 1; }

$(patsubst %.c,build/core/fuzz/%.o,$(wildcard */core/*.c */*/core/*.c \
    tests/unit/*.c tests/fuzz/*.c)): | build/core/fuzz/works

check-fuzz: $(fuzz_programs)
