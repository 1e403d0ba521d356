# SPDX-License-Identifier: GPL-2.0-or-later
#
# The core libraries and their unit tests, without QEMU: every .c file of a
# core/ folder, but for main.c, goes into that folder's library, every
# tests/unit/test-NAME.c becomes a program that is linked with all of them, and
# with what it needs of the other .c files in tests/unit/. Each is built plain,
# with ASan and UBSan, and with TSan, below build/core/.

core_libraries := colony bench daemon runtime apus plover gannet verbs net
core_colony := qemu/colony
core_net := colo-net/core
core_apus := colo-net/apus/core
core_runtime := colo-net/apus/runtime
core_bench := colo-net/apus/tools/bench
core_daemon := colo-net/apus/tools/daemon
core_plover := plover-sync/core
core_gannet := gannet-blk/core
core_verbs := colo-net/verbs

# RDMA can be left out: what needs its libraries, and the tests of that.
ifneq ($(filter rdma,$(WITHOUT)),)
core_left_out := $(patsubst %,colo-net/verbs/%.c,calls connect device gate \
    host link probe queue receive)
unit_left_out := $(filter-out tests/unit/test-colony-% \
    tests/unit/test-verbs-ring.c tests/unit/test-verbs-offer.c,\
    $(wildcard tests/unit/*verbs*.c tests/unit/*rdma*.c))
else
core_left_out := colo-net/verbs/none.c
core_rdma := -lrdmacm -libverbs
endif

# Most programs need only some of these.
core_link = -Wl,--as-needed $(glib_libs) -lxxhash -llz4 -lgnutls -luring \
    -lsystemd $(core_rdma) -pthread

core_variants := plain asan tsan
core_flags_plain := -O2
core_flags_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
core_flags_tsan := -O1 -fsanitize=thread

core_cflags = -std=c11 -g -Wall -Wextra -Werror -Wmissing-prototypes \
    -Wstrict-prototypes -Wold-style-definition -Wvla -fno-omit-frame-pointer \
    -D_GNU_SOURCE -I. $(glib_cflags)
core_packages := glib-2.0 gio-unix-2.0 json-glib-1.0 libmicrohttpd ncursesw
# Asked for once, and only when something is compiled.
glib_cflags = $(eval glib_cflags := $$(shell pkg-config --cflags \
    $(core_packages))\
    )$(glib_cflags)
glib_libs = $(eval glib_libs := $$(shell pkg-config --libs \
    $(core_packages))\
    )$(glib_libs)

unit_sources := $(filter-out $(unit_left_out),$(wildcard tests/unit/*.c))
unit_names := $(patsubst tests/unit/%.c,%,\
    $(filter tests/unit/test-%,$(unit_sources)))
unit_helpers := $(filter-out tests/unit/test-%,$(unit_sources))
unit_tests := $(foreach variant,$(core_variants),\
    $(unit_names:%=build/core/$(variant)/%))

core: $(core_libraries:%=build/core/plain/lib%.a)
check-unit: $(unit_tests)

# core_variant(variant)
define core_variant
build/core/$(1)/%.o: %.c build/config.mk tests/unit/unit.mk
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo "  CC      $$@"; )$$(CC) \
	    $$(core_cflags) $$(core_flags_$(1)) -MMD -MP -c -o $$@ $$<

build/core/$(1)/libunit.a: $(unit_helpers:%.c=build/core/$(1)/%.o)
	@rm -f $$@
	$$(if $$(V),,@echo "  AR      $$@"; )ar rcs $$@ $$^

build/core/$(1)/test-%: build/core/$(1)/tests/unit/test-%.o \
    build/core/$(1)/libunit.a $(core_libraries:%=build/core/$(1)/lib%.a)
	$$(if $$(V),,@echo "  LINK    $$@"; )$$(CC) $$(core_flags_$(1)) \
	    -o $$@ $$^ $$(core_link)

$(foreach library,$(core_libraries),$(call core_library,$(1),$(library)))
endef

# core_library(variant, library)
define core_library
build/core/$(1)/lib$(2).a: $(patsubst %.c,build/core/$(1)/%.o,\
    $(filter-out %/main.c $(core_left_out),$(wildcard $(core_$(2))/*.c)))
	@rm -f $$@
	$$(if $$(V),,@echo "  AR      $$@"; )ar rcs $$@ $$^

endef

$(foreach variant,$(core_variants),$(eval $(call core_variant,$(variant))))

# Objects are kept: make would take them for intermediate files.
.SECONDARY:

-include $(shell find build/core -name '*.d' 2> /dev/null)
