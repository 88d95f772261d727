# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Building the module: for the stock kernel in the cache (KDIR unset), or for the
# kernel that KDIR names. The result is build/module/magni.ko. For the debug kernel in
# the cache it is build/module-debug/magni.ko.

KDIR ?=
MODULE_OUT ?= build/module

.PHONY: module module-debug lint-module
module:
	@scripts/build-module $(if $(KDIR),--kdir '$(KDIR)') --out '$(MODULE_OUT)'

module-debug:
	@scripts/build-module --debug

# rustfmt and clippy over the three crates.
lint-module:
	@scripts/build-module $(if $(KDIR),--kdir '$(KDIR)') --out '$(MODULE_OUT)' --lint
