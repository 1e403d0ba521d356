# SPDX-License-Identifier: GPL-2.0-or-later
#
# The protocol of APUS as a model, looked at by spin: two searches at a time
# that may use 1.5 GB each, or, in the long form, one that may use 8 GB.

.PHONY: check-model-long
check-model-long: build/packages-check
	@$(PYTHON) -B tests/model/run.py --long --jobs=1 build/model/long \
	    $(results)/model-long.xml

check-soak: check-model-long
