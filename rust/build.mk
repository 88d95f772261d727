# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Building the module: for the stock kernel in the cache (KDIR unset), or for the
# kernel that KDIR names. The result is build/module/magni.ko.

KDIR ?=
MODULE_OUT ?= build/module

.PHONY: module lint-module
module:
	@scripts/build-module $(if $(KDIR),--kdir '$(KDIR)') --out '$(MODULE_OUT)'

# rustfmt and clippy over the three crates.
lint-module:
	@scripts/build-module $(if $(KDIR),--kdir '$(KDIR)') --out '$(MODULE_OUT)' --lint
