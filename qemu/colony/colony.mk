# SPDX-License-Identifier: GPL-2.0-or-later
#
# The program colony, in build/bin. All but main.c is in a library, which the
# unit tests are linked with, too (tests/unit/unit.mk).

build/bin/colony: build/core/plain/qemu/colony/main.o \
    build/core/plain/libcolony.a build/core/plain/libgannet.a \
    build/core/plain/libnet.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(core_link)

tools: build/bin/colony
