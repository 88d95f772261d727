# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What a person can do here: `make help`.

DRIVER ?= magni
KERNEL ?= stock
export DRIVER KERNEL

.DEFAULT_GOAL := all
-include rust/build.mk

.PHONY: all
all: module

.PHONY: help
help:
	@echo 'make                     build magni.ko for the stock kernel: build/module/magni.ko'
	@echo 'make module-debug        the same for the debug kernel: build/module-debug/magni.ko'
	@echo 'make KDIR=FOLDER         the same for another kernel: a tree or installed headers, with Rust'
	@echo 'make run                 boot the stock kernel on an emulated GPU, load Magni, run smoke'
	@echo 'make run PROGRAM="..."   run another shell command there: stress, conformance, ls /sys ...'
	@echo 'make shell               the same guest with a shell instead of a program'
	@echo 'make kunit               the KUnit suites, on the debug kernel'
	@echo 'make test                every test; the last line says how many passed and failed'
	@echo 'make test FILTER=WORD    the boot tests whose name contains WORD'
	@echo 'LANES=1                  test, test-full: one boot at a time instead of two'
	@echo 'make bench               Magni beside the C driver: table, charts and build/bench/results.json'
	@echo 'make bench QUICK=1       a few rounds; fails on counts that cannot be noise'
	@echo 'make test-full           the same, and everything on the debug kernel, faults on every driver'
	@echo '                         and kernel (build/log/faults.md); much longer; FILTER=WORD too'
	@echo 'make soak MINUTES=10     run jobs on the debug kernel while the firmware writes garbage'
	@echo 'make lint                rustfmt and clippy, warnings denied'
	@echo 'make setup               make what building and testing needs, in the cache folder'
	@echo 'make setup UPDATE=1      the same, for the newest stock kernel of today'
	@echo 'make clean               remove what was built here; the cache stays'
	@echo
	@echo 'DRIVER=panthor           run, shell: use the stock C driver instead of Magni'
	@echo 'KERNEL=debug             run, shell: on the debug kernel, which watches memory, locks and leaks;'
	@echo '                         it is built when first needed, from scripts/debug.config'
	@echo 'MODULE_ARGS="..."        run, shell: parameters for magni.ko'
	@echo 'MODEL_ARGS="..."         run, shell: further arguments for the emulated GPU; see build/bin/mali-csf --help'
	@echo 'MAGNI_CACHE=FOLDER       where toolchain and kernel are kept (default: ~/.cache/magni)'
	@echo 'MAGNI_MIRROR=ADDRESS     Debian mirror (default: the one in this machine'\''s apt configuration)'

.PHONY: setup
setup:
	@scripts/setup $(if $(UPDATE),--update)

.PHONY: programs
programs:
	@scripts/build-programs

# The stock driver needs no module of ours.
driver-under-test := $(if $(filter panthor,$(DRIVER)),,module$(if $(filter debug,$(KERNEL)),-debug))

PROGRAM ?= smoke

.PHONY: run
run: $(driver-under-test) programs
	@scripts/harness run '$(subst ','\'',$(PROGRAM))'

.PHONY: shell
shell: $(driver-under-test) programs
	@scripts/harness shell

.PHONY: kunit
kunit: module-debug programs
	@scripts/harness --with-debug test kunit::

.PHONY: test
test:
	@scripts/test '$(FILTER)'

.PHONY: test-full
test-full:
	@scripts/test --full '$(FILTER)'

MINUTES ?= 10

.PHONY: soak
soak: module-debug programs
	@KERNEL=debug scripts/harness soak $$(($(MINUTES) * 60))

# FILTER, ROUNDS: only some scenarios, and how often.
.PHONY: bench
bench: module programs
	@scripts/harness bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FILTER),--filter '$(FILTER)')

.PHONY: lint lint-programs
lint: lint-module lint-programs
lint-programs:
	@scripts/lint-programs

.PHONY: clean
clean:
	rm -rf build
