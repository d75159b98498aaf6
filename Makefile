# Every target sets up what it needs: a .venv in this folder, created once and reused until
# pyproject.toml or constraints.txt changes, or the folder is moved.
PYTHON ?= python3
WORKERS ?= auto

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup browser test test-slow faults lint format docs demo check clean FORCE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with skelbench and its development tools

test: $(STAMP)  ## run the tests (WORKERS=2 sets the number of processes)
	$(BIN)/pytest $(TIER) --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal

test-slow: TIER := --slow
test-slow: test  ## run all tests, also those that take minutes or repeat for each what `make test` does for one

FAULTS ?= 120
SEED ?= 0

faults: $(STAMP)  ## inject faults into small runs (FAULTS=120 SEED=0); fails if a record is lost or silently wrong
	$(BIN)/python tests/faults/matrix.py --faults $(FAULTS) --seed $(SEED)

# Debian's Chromium if apt-get may install it, else Playwright's; without either the tests of the page are skipped.
browser: $(STAMP)  ## install a browser for the tests of the web page, if possible
	@if command -v chromium chromium-browser google-chrome >/dev/null; then echo "A browser is already installed."; \
	elif { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1; \
	then echo "Chromium was installed."; \
	elif timeout 300 $(BIN)/playwright install chromium >/dev/null 2>&1; then echo "Playwright's Chromium was installed."; \
	else echo "No browser could be installed: the tests of the web page will be skipped."; fi

lint: $(STAMP)  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

format: $(STAMP)  ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## generate the pages that are built from the code and the committed records
	$(BIN)/python docs/make/deviations.py > docs/deviations.md
	$(BIN)/python docs/make/leaderboard.py results/reference docs/leaderboard.md

demo: $(STAMP)  ## pre-train two methods on generated motion and compare them with the untrained floor, in minutes
	$(BIN)/skelbench grid --preset demo --out runs/demo

CHECKED ?= untrained,skeletonclr,skelemixclr

check: $(STAMP)  ## run the demo again and compare it with its committed records (CHECKED=METHODS); fails if one became worse
	rm -rf runs/check
	$(BIN)/skelbench grid --preset demo --methods $(CHECKED) --out runs/check
	$(BIN)/skelbench check --out runs/check --against results/reference/demo --tolerances results/reference/tolerances.yaml

clean:  ## remove .venv, builds and caches; runs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A moved .venv still runs, but its scripts and its link to the code refer to the old folder.
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell cat $(STAMP)),$(CURDIR))
MOVED := --clear
$(STAMP): FORCE
endif
endif

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"skelbench needs Python 3.11 or newer and {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@echo "Setting up .venv (once; torch alone may download several GB)"
	@test -z "$(MOVED)" -a -x $(BIN)/python || $(PYTHON) -m venv $(MOVED) .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@mkdir -p .venv/typing && ln -sfn ../.. .venv/typing/skelbench
	@echo '$(CURDIR)' > $@
