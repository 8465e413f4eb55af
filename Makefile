# make demo                  install, fetch, and say who spoke when in a sample conversation
# make run AUDIO=meeting.m4a the same for a recording of yours; writes out/meeting.rttm
# make test                  everything that CI checks
#
# On Linux, PyTorch from the default index brings gigabytes of CUDA libraries. For the CPU alone:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
TORCH_INDEX ?=

BIN := $(VENV)/bin
DIARIZE := $(BIN)/diarize
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo run test lint clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

demo: $(VENV)/.installed
	@$(DIARIZE) models pull campplus-zh-en segmentation-3.0 sample > /dev/null
	@$(DIARIZE) run "$$($(DIARIZE) models where sample)" -o $(OUT) --show --overwrite

run: $(VENV)/.installed
	@test -n "$(AUDIO)" || { echo 'name the recording: make run AUDIO=meeting.m4a' >&2; exit 2; }
	@$(DIARIZE) run "$(AUDIO)" -o $(OUT) --show --overwrite

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(DIARIZE) models pull campplus-zh-en campplus-zh-cn segmentation-3.0 sample
	$(BIN)/python -m pytest -n 2

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

# The environment; made anew parts only when what it is made of changed.

$(VENV)/.python: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d; name one with PYTHON=" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	@touch $@

$(VENV)/.torch: $(VENV)/.python constraints.txt
ifneq ($(TORCH_INDEX),)
	$(PIP) install -c constraints.txt --no-deps --index-url $(TORCH_INDEX) torch torchaudio
endif
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@
