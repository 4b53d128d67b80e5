# `make` alone lists the commands. Two of them are the whole story: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml operator/pyproject.toml runtime/pyproject.toml
	@echo "preparing the Python environment in $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --group dev --editable 'operator[cli]' --editable 'runtime[client]'
	@touch $@

venv: $(VENV)/.installed ## the Python environment of the developer tools

demo: venv ## one manifest becomes a served model on a local Kubernetes (first run builds Kubernetes: about 20 minutes)
	@$(BIN)/python -m tests.demo

test: venv ## every check and test; brings up what it needs
	@$(BIN)/python -m tests.run

check: venv ## lint, formatting, types (offline)
	@$(BIN)/python -m tests.run check

unit: venv ## unit tests (offline, seconds)
	@$(BIN)/python -m tests.run unit

cluster-up: venv ## the local cluster alone
	@$(BIN)/python -m tests.cluster up

cluster-status: venv ## what runs of it
	@$(BIN)/python -m tests.cluster status

cluster-down: venv ## stop it and leave nothing behind
	@$(BIN)/python -m tests.cluster down

generate: venv ## the chart's copy of the CRD and the reference pages, from their sources
	@$(BIN)/python -m tests.support.generate

format: venv ## format the code
	@$(BIN)/ruff check --fix --quiet operator runtime tests; $(BIN)/ruff format operator runtime tests

.PHONY: help venv demo test check unit cluster-up cluster-status cluster-down generate format
