# SPDX-License-Identifier: GPL-2.0-or-later
#
# Installation, and Debian packages of what was built. Nothing that is built
# depends on where it will be installed.

export DESTDIR OCFDIR

install uninstall:
	@qemu/packaging/install.sh $@

deb: build/packages-deb
	@qemu/packaging/deb.sh

.PHONY: check-packaging check-soak-packaging
check-packaging: all build/packages-check
	@mkdir -p $(results)
	@$(pytest) tests/packaging -m 'not soak' \
	    --junitxml=$(results)/packaging.xml

# In a Debian made by debootstrap, which needs root and a mirror. One after
# the other: it is made once.
check-soak: check-soak-packaging
check-soak-packaging: deb guest build/packages-soak
	@mkdir -p $(results)
	@$(PYTHON) -B -m pytest -p no:cacheprovider tests/packaging -m soak \
	    --junitxml=$(results)/soak-packaging.xml
