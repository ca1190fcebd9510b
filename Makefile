# `make book` builds the book, `make test` tests everything, `make help` lists the rest.

PYTHON ?= python3
# Test processes: one a core and 2 GiB, and no more than four, since a container has fewer than it sees.
JOBS ?= $(shell $(PYTHON) -c 'import os; s = os.sysconf; \
	print(max(1, min(4, s("SC_NPROCESSORS_ONLN"), (s("SC_PHYS_PAGES") * s("SC_PAGE_SIZE")) >> 31)))' 2>/dev/null || echo 2)
PORT ?= 8000
SHIFT ?= 1
CHAPTER ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RIVALS := $(VENV)/.rivals
PYTEST := $(BIN)/python -m pytest

# One thread per process: no fight over shared cores. The instructions with which chapters compute,
# and so how sums are rounded, stand in tools/rounding.py.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export NUMBA_NUM_THREADS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help env book serve test lint format test-package test-rules test-chapters test-pages
.PHONY: test-rounding test-seeds test-lowest refresh bench pins clean distclean

help:
	@echo "make book      build the book in _build/html"
	@echo "make serve     build it and serve it on http://localhost:$(PORT)"
	@echo "make test      lint, package, chapters, book, pages"
	@echo "make test-rounding       the chapters with sums rounded in other ways"
	@echo "make test-seeds SHIFT=1  the chapters with all seeds shifted"
	@echo "make test-lowest         the package with the oldest versions that it admits"
	@echo "make refresh   run the chapters and store their outputs (CHAPTER=path for one)"
	@echo "make format    rewrite the code in the house style"
	@echo "make bench     run the benchmarks, forty minutes or so, and keep what came out"
	@echo "make clean     remove what was built (distclean: the environment too)"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@new() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	if ! new $(BIN)/python; then \
	  python=; \
	  for candidate in $(PYTHON) python3.13 python3.12 python3.11; do \
	    if new $$candidate; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    found=$$($(PYTHON) --version 2>/dev/null) || found="not there"; \
	    echo "aebook needs Python 3.11 or newer; $(PYTHON) is $$found." >&2; \
	    echo "Install one, then: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "$$python has no venv module. On Debian and Ubuntu: apt install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	  $$python -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV): needs the network once, and a few minutes ..."
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[book,test]' || \
	  { echo "The installation failed; the message above says why. It needs the network once." >&2; exit 1; }
	@touch $@

# The libraries that only the benchmarks compare with.
$(RIVALS): $(STAMP)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@touch $@

# An incremental build can pass over an error, so every build is a fresh one.
book: $(STAMP)
	rm -rf _build
	$(BIN)/jupyter-book build -W --keep-going --quiet .
	@test -f _build/html/book/index.html
	@echo "The book: $(CURDIR)/_build/html/index.html"

serve: book
	@echo "http://localhost:$(PORT) (Ctrl-C stops)"
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# Fast failures first.
test: lint test-package test-rules test-chapters book test-pages

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-package: $(STAMP)
	$(PYTEST) -n $(JOBS) --ignore tests/book tests

test-rules: $(STAMP)
	$(PYTEST) $(filter-out tests/book/test_links.py tests/book/test_pages.py,$(wildcard tests/book/test_*.py))

# A new machine lacks what the imports build: matplotlib's font cache, which says so on stderr and in
# a chapter would be an output that differs, and the code that numba compiles for UMAP.
# No cell and no kernel fails on time: nbval's limits, in seconds, are out of reach.
NBVAL := $(PYTEST) --nbval-current-env --nbval-cell-timeout=1000000 --nbval-kernel-startup-timeout=100000 \
	-n $(JOBS) --dist loadfile
test-chapters: $(STAMP)
	@$(BIN)/python tools/rounding.py canonical $(BIN)/python -c 'import matplotlib.font_manager, umap'
	$(NBVAL) --nbval book

# Outputs compared as in `make test-chapters`, by other instructions than they were stored with:
# the plainest, and all that this processor has.
test-rounding: $(STAMP)
	@ROUNDING=plain $(NBVAL) --nbval book; plain=$$?; \
	ROUNDING=native $(NBVAL) --nbval book && exit $$plain

# Every seed another, by a start-up file of the kernel. What is asserted must hold; the outputs are
# others, and not compared.
test-seeds: $(STAMP)
	SHIFT=$(SHIFT) PYTHONSTARTUP=$(CURDIR)/tools/shift_seeds.py ROUNDING=native $(NBVAL) --nbval-lax book

# The oldest versions of all but ONNX, which needs a newer PyTorch; then those of ONNX too.
LOWEST := .venv-lowest
test-lowest: $(STAMP)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "The oldest versions exist for Python 3.11: make distclean, then PYTHON=python3.11" >&2; exit 1; }
	$(BIN)/python -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python tools/lowest.py test scale compression maps restoration bm3d chem translation -onnx > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet -r $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --no-deps -e .
	$(LOWEST)/bin/python -m pytest -n $(JOBS) --ignore tests/book tests
	$(LOWEST)/bin/python tools/lowest.py test > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet -r $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pytest tests/test_onnx.py

test-pages: $(STAMP)
	$(PYTEST) -n $(JOBS) tests/book/test_links.py tests/book/test_pages.py

refresh: $(STAMP)
	$(BIN)/python tools/refresh.py $(CHAPTER)
	$(BIN)/python tools/concordance.py
	$(BIN)/python tools/cover.py

# What came out goes into the package, from which the book reads it.
bench: $(RIVALS)
	@for script in $(filter-out benchmarks/measure.py,$(wildcard benchmarks/*.py)); do \
	  echo "$$script"; \
	  $(BIN)/python $$script --record || exit 1; \
	done

pins: $(RIVALS)
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	@touch $(STAMP) $(RIVALS)

clean:
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find aebook tests tools book -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(LOWEST)
