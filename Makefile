# make demo    look under the surface of a real model; ends with the path of a page to open
# make test    every check that continuous integration runs
# make check   the same, and the page's own checks where Node is installed
# make interop exchange dictionaries with SAELens, sparsify and dictionary_learning, each in an environment of its own
# make peers   set up those three and overcomplete, so that benchmarks/train_speed.py and others time them too
# make interop-clients  ask a steered server through openai, lm-eval and Inspect, each in an environment of its own
# make clean   remove what these commands made (downloads in the user's cache folder stay)
#
# Needs Python 3.11 or newer with pip and venv. PYTHON=/path/to/python3.11 chooses another one than `python3`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := sae-lens eai-sparsify dictionary-learning
TRAINERS := $(PEERS) overcomplete
CLIENTS := openai lm-eval inspect-ai

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check clean lint types contracts pytest page interop peers interop-clients

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(INSTALLED)
	@$(BIN)/bathyscope demo

test: lint types contracts pytest
	@echo "== all checks passed"

check: test page

lint: $(INSTALLED)
	@echo "== ruff: format and lint"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(INSTALLED)
	@echo "== basedpyright: types"
	@$(BIN)/basedpyright

contracts: $(INSTALLED)
	@echo "== import-linter: who may import whom"
	@$(BIN)/lint-imports --no-logo

pytest: $(INSTALLED)
	@echo "== pytest: rooms, contracts, end to end on a tiny model, the demo on the real model at reduced size"
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses=4 --dist loadfile --no-loadscope-reorder

page:
	@if ! command -v npm >/dev/null; then echo "== page: skipped, npm is not installed"; exit 0; fi; \
	echo "== page: types, tests, and that the built files are those of the sources"; \
	npm --prefix frontend ci --no-audit --no-fund --loglevel=error && \
	npm --prefix frontend run --silent check && \
	npm --prefix frontend run --silent test && \
	npm --prefix frontend run --silent build && \
	git diff --exit-code --stat -- bathyscope/web/static

interop: $(INSTALLED) $(PEERS:%=.interop/%/.installed)
	@echo "== interop: our files there, their files here; the table is benchmarks/interop/results.md"
	@$(BIN)/python benchmarks/interop/run.py

peers: $(INSTALLED) $(TRAINERS:%=.interop/%/.installed)
	@echo "== peers are set up; docs/speed.md names the commands that time them"

.interop/clients/%/.installed: benchmarks/interop/clients/%.txt
	@echo "== setting up .interop/clients/$* with the versions in $< (a few minutes the first time)"
	@$(PYTHON) -m venv .interop/clients/$*
	@.interop/clients/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

.interop/%/.installed: benchmarks/interop/%.txt
	@echo "== setting up .interop/$* with the versions in $< (a few minutes the first time)"
	@$(PYTHON) -m venv .interop/$*
	@.interop/$*/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r $<
	@touch $@

interop-clients: $(INSTALLED) $(CLIENTS:%=.interop/clients/%/.installed)
	@echo "== interop-clients: real clients against a steered server"
	@$(BIN)/python benchmarks/interop/serve_clients.py

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "error: bathyscope needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1 | head -n 1); try make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "== setting up .venv with the versions in constraints.txt (a few minutes the first time)"
	@$(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make a virtual environment; install its venv module" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev,science]'
	@touch $@

clean:
	rm -rf .venv .interop runs dist .pytest_cache .ruff_cache .import_linter_cache frontend/node_modules
	find bathyscope tests -name __pycache__ -type d -prune -exec rm -rf {} +
