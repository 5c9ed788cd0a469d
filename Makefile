# Cordon's commands. `make help` lists them; each can be repeated, and does only what is not done yet.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/.cache/bin:$(PATH)

.PHONY: help run demo venv servers test unit lint format types docs picture bench peers endure lock image clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: $(VENV)/.runtime  ## Start Cordon here: configuration, first key and console link at the first start
	@exec $(BIN)/cordon up --first-run

demo: $(VENV)/.runtime  ## Play a real session against a Cordon of its own and show what happened
	@exec $(BIN)/cordon demo

venv: $(VENV)/.development  ## Virtual environment with everything pinned, tools for development included

# What `cordon` needs; the tools for development come on top, with the same pins.
$(VENV)/.runtime: requirements.lock pyproject.toml scripts/venv
	@scripts/venv $(VENV) requirements.lock
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	@scripts/venv $(VENV) requirements-dev.lock
	@touch $@

servers:  ## Real servers that the tests talk to (OPA, a log checker, nginx, wrk, Chromium), into .cache/
	@scripts/servers

# Files are handed out in order, the slow ones of whole Cordons first, so that no core waits for the last of them.
test: venv servers lint types  ## Every check and every test; what could not be tested is named at the end
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

unit: venv  ## The quick tests only
	$(BIN)/python -m pytest tests/unit

lint: venv  ## Style, format and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

format: venv  ## Put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: venv  ## Static types, strictly
	$(BIN)/mypy

docs: venv  ## Write the generated references again (configuration, metrics, commands, refusals, errors)
	$(BIN)/python -m cordon.reference docs/reference

picture: venv servers  ## Draw the README's picture again, from a real session
	$(BIN)/python -m bench.picture

bench: venv servers  ## Measure beside nginx and write bench/RESULTS.md
	$(BIN)/python -m bench

peers: venv servers  ## Measure beside Envoy with OPA, LiteLLM and a Rust proxy too (builds them once: some 15 minutes)
	@scripts/peers
	$(BIN)/python -m bench --peers

KILLS ?= 1000
SEED ?=
endure: venv  ## Kill processes of a Cordon under load, a thousand times (KILLS=, SEED=), and check its promises
	$(BIN)/python -m bench.endure --kills $(KILLS) $(if $(SEED),--seed $(SEED))

lock: venv  ## Resolve the dependencies again into the lock files, hashes and no addresses
	@scripts/lock $(BIN)/uv

image:  ## Build the container image
	docker build --tag cordon-gateway .

clean:  ## Remove what the commands above made, except data (var/) and cordon.yaml
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
