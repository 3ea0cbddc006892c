# `make help` lists what can be made. Everything runs in .venv, which is set up from the lock the first time.
PRESET ?= demo
DATA ?=
PROFILE ?=
GPUS ?= 0
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PRESET DATA PROFILE GPUS

.PHONY: help report test bench fuzz lab

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'
	@echo
	@echo '  PRESET=smoke|demo|laptop|...     what is run (default: demo); see workflow/presets'
	@echo '  DATA=path/to/covidqu             real films; without it the preset says which'
	@echo '  PROFILE=workflow/profiles/slurm  where jobs run; without it: on this machine'
	@echo '  GPUS=4                           so many trainings at once on this machine, each on a GPU of its own'

report: .venv/ready  ## the report of a preset: report/build/<preset>/report.pdf and .html
	@.venv/bin/python -m labkit report "$$PRESET" --data "$$DATA" --profile "$$PROFILE" --gpus "$$GPUS"

# Two at a time, for many tests wait or start processes; and each network with one thread, lest two wait for the same core.
# The notebooks are run with a thread for each core, as a user's are, and so are tests that say `threads=2`.
test: .venv/ready  ## all tests: pytest, and nbval over the notebooks
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2
	@.venv/bin/python -m pytest --nbval-lax --nbval-current-env notebooks

bench: .venv/ready  ## measure speed into bench/RESULTS.md (half an hour or more); ONLY='step epoch' names some
	@TQDM_DISABLE=1 .venv/bin/python bench/run.py $(ONLY)

fuzz: .venv/ready  ## damage files and kill processes, a thousand times and more, into bench/RESULTS.md
	@TQDM_DISABLE=1 .venv/bin/python bench/run.py fuzz

lab: .venv/ready  ## JupyterLab on the notebooks
	@.venv/bin/jupyter lab --ip=127.0.0.1 notebooks

.venv/ready: .venv/lock pyproject.toml
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch .venv/ready

.venv/lock: requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or newer is needed; PYTHON=path names one")'
	@echo 'setting up .venv from requirements.txt (once; some minutes, most of it torch)'
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch .venv/lock
