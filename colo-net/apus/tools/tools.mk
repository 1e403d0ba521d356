# SPDX-License-Identifier: GPL-2.0-or-later
#
# The programs of APUS, in build/bin: each .c file of this folder is one.

apus_tools := apus-bench apusctl apusd

$(apus_tools:%=build/bin/%): build/bin/%: \
    build/core/plain/colo-net/apus/tools/%.o build/core/plain/libbench.a \
    build/core/plain/libdaemon.a \
    build/core/plain/libruntime.a build/core/plain/libapus.a \
    build/core/plain/libverbs.a \
    build/core/plain/libnet.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@"; )$(CC) -o $@ $^ $(core_link)

.PHONY: tools
tools: $(apus_tools:%=build/bin/%)
