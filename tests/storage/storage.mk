# SPDX-License-Identifier: GPL-2.0-or-later
#
# Pairs of qemu-storage-daemons whose disks gannet replicates. The tests are
# the test_*.py; the long ones carry the marker "soak". They are mostly
# waiting, so there is a worker for each CPU, not for every two.

storage_pytest = $(PYTHON) -B -m pytest -p no:cacheprovider -n $(shell nproc)

.PHONY: check-storage check-soak-storage
check-storage: qemu build/packages-check ## replicated disks, without a guest
	@mkdir -p $(results)
	@$(storage_pytest) tests/storage -m 'not soak' \
	    --junitxml=$(results)/storage.xml

check-soak: check-soak-storage
check-soak-storage: qemu build/packages-check
	@mkdir -p $(results)
	@$(storage_pytest) tests/storage -m soak \
	    --junitxml=$(results)/soak-storage.xml
