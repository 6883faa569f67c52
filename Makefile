# The project's commands. Every target sets up what it needs; `make setup` alone is never required.
.PHONY: setup packages experiment test lint unit lab-tests docs-tests kernel-tests mutants bench lab-kernel clean

SHELL := /bin/bash
PYTHON := .venv/bin/python
# Whole files side by side, because the tests of a file share a lab and what is deployed there.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

setup: packages .venv/complete build/delay_element build/place

packages:
	@vagrant/packages.sh

.venv/complete: setup.py constraints.txt vagrant/environment.sh | packages
	vagrant/environment.sh
	touch $@

build/delay_element: testbed/network/switching/delay_element.c | packages
	mkdir -p build
	gcc -O2 -Wall -Wextra -Werror -o $@.new $<
	mv $@.new $@

# Static: it runs where no library can be found yet.
build/place: testbed/network/process/place.c | packages
	mkdir -p build
	gcc -O2 -Wall -Wextra -Werror -static -o $@.new $<
	mv $@.new $@

experiment: setup
	$(SUDO) $(PYTHON) -m testbed.run experiment

# lint, unit tests, lab tests on this machine's datapath, the README's commands, and the kernel datapath
test: setup lint unit lab-tests docs-tests kernel-tests

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

unit: setup
	$(PYTHON) -m pytest tests/unit $(SIDE_BY_SIDE)

lab-tests: setup
	$(SUDO) $(PYTHON) -m pytest tests/lab $(SIDE_BY_SIDE)

docs-tests: setup
	$(SUDO) $(PYTHON) -m pytest tests/docs

kernel-tests: setup lab-kernel
	$(PYTHON) -m pytest tests/kernel --numprocesses 2 --dist worksteal

# MUTANTS="gateway --only unit", "--changed main", "--resume" and the like: see python -m tests.mutants --help
mutants: setup
	$(SUDO) $(PYTHON) -m tests.mutants $(MUTANTS)

# BENCH="gateway --profile" and the like: see bench/__main__.py
bench: setup
	$(SUDO) $(PYTHON) -m bench $(BENCH)

lab-kernel: setup
	$(PYTHON) -m testbed.labkernel.build

clean:
	rm -rf build .venv .cache
