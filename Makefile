# install, demo, test, lint, bench, clean. Each installs first what it needs, once.
#
# PYTHON  the interpreter that makes the virtual environment (3.11 or newer)
# VENV    the environment to use; one that exists already keeps the versions it has,
#         .venv gets those of constraints.txt

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.air3d-installed
PINS := $(if $(filter .venv,$(VENV)),-c constraints.txt)

.PHONY: install demo test lint bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(PY) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "air3d needs Python 3.11 or newer; name one, as in: make install PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -f $(PY); exit 1; }
	$(PY) -m pip install --quiet $(PINS) -e ".[dev]"
	@touch $@

demo: install
	$(PY) scripts/demo.py --out demo_out

test: install
	$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m basedpyright --pythonpath $(PY)
	$(VENV)/bin/lint-imports

bench: install
	$(PY) scripts/benchmark.py render

clean:
	rm -rf demo_out build .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find air3d scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
