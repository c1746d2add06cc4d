# Everything that is done with this checkout. Needs make and Python 3.11 or newer; the rest is installed into
# .venv. `make` alone prints this list.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
export VENV

.PHONY: help venv demo demo-meeting test check format bench clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 21

venv: ## Make or update the virtual environment
	@scripts/venv.sh dev

demo: ## Two daemons on this machine call each other by ID (FILE=movie.mkv sends that instead of a test picture)
	@scripts/venv.sh run
	@$(BIN)/python scripts/demo.py $(if $(FILE),--source "$(FILE)")

demo-meeting: venv ## Five daemons meet on a LAN that leads nowhere, each in a network namespace of its own
	@$(BIN)/python scripts/demo_meeting.py

test: venv ## Run every test; installs missing system packages where it may
	@scripts/system_packages.sh
	@$(BIN)/python -m pytest

check: venv ## Format, lint, types, import contracts, generated docs, unit and property tests (under 3 minutes)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@for script in scripts/print_*.py; do \
		if [ -e "$$script" ]; then echo "$(BIN)/python $$script --check"; $(BIN)/python "$$script" --check || exit 1; fi; \
	done
	$(BIN)/python -m pytest -q tests/unit tests/property

format: venv ## Format the code and fix what the linter can fix
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: venv ## Measure what the project promises (BENCH="call-setup --quick" runs one)
	@scripts/system_packages.sh
	@$(BIN)/python -m netsim bench $(or $(BENCH),--all)

clean: ## Remove what make and the tests made
	rm -rf $(VENV) demo-out demo-meeting-out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
