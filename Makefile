# A fresh machine needs Python 3.10 to 3.13 and make; each of these does all its set-up, in .venv, once:
#
#   make demo     open the annotator on the sample volume in the browser; without a screen, print its address
#   make demo-cli   segment the sample volume with scripted clicks; mask and montage go to demo/
#   make test     run the whole test suite (installs all extras, torch and ray among them)
#   make test-viewers   the real napari plugin, headless, on a server of ours (1.3 GB in build/viewers)
#   make check    format, lint, types, import contracts, fast tests; not these with TESTED=yes, after make test
#   make clean    remove .venv, so that the next of these sets up anew

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$name -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo demo-cli test check clean test-viewers

demo: $(VENV)/.demo
	$(BIN)/limnet serve --sample

demo-cli: $(VENV)/.core
	$(BIN)/limnet demo --out demo

test: $(VENV)/.test
	$(BIN)/python -m pytest

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(TESTED),,$(BIN)/python -m pytest -m "not slow")

# The plugin's environment is its own: napari brings 1.3 GB that nothing else needs.
VIEWERS ?= build/viewers

test-viewers: $(VENV)/.test $(VIEWERS)/.napari
	$(BIN)/python tests/viewers $(VIEWERS)/bin/python

$(VIEWERS)/.napari: $(VENV)/.made
	$(BIN)/python -m venv $(VIEWERS)
	$(VIEWERS)/bin/python -m pip install --quiet --disable-pip-version-check "napari[pyqt6]" "napari-nninteractive>=2.5,<3"
	touch $@

clean:
	rm -rf $(VENV)

# One stamp per step, each on top of the last, so that two targets at once never install at once.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "no Python 3.10 to 3.13 found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml src/limnet/__init__.py
	$(INSTALL) --editable .
	touch $@

$(VENV)/.demo: $(VENV)/.core
	$(INSTALL) --editable '.[server]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "installing what the tests need; torch and ray are large, so the first time takes minutes"
	$(INSTALL) --editable '.[train,benchmark,ray,dicom,server]' --group test
	touch $@

$(VENV)/.check: $(VENV)/.test
	$(INSTALL) --group check
	touch $@
