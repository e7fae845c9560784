# make search    a virtual environment, the package, and a search on handwritten digits: its policy against
#                no dropout and tuned Dropout, and a report (make search OUT=runs/mine ARGS="--seed 1")
# make test      the test suite (make test-all: the slow tests, too)
# make report-test   a report and the site in headless Chromium, both widths; pictures in build/screenshots
# make lint      ruff and mypy
# make test-models   a policy onto every network of timm and torchvision and back (hours; goes on where it was
#                stopped), and the table in docs/models.md (make test-models ARGS='--match "resnet*"')
# make docs      the documentation's site in build/site; warnings are errors
# make bench     the measurements under benchmarks/results/
# make evidence  lists the experiments behind the results as jobs; make evidence JOB=landscape-mnist-small runs one
#                for at most two hours and, when called again, goes on (the data sets: AUTODROPOUT_DATA=...)
# make clean     removes the virtual environment and everything else that is generated, except runs/
#
# PYTHON chooses the interpreter. VENV may name an environment that exists already: what it has, such as
# a torch built for your machine, is kept. ARGS is passed on: make test ARGS="tests/test_policy.py -x".
# JOBS is the number of processes that run the tests.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
OUT ?= runs/digits
JOB ?=
JOBS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help search test test-all test-models report-test lint docs bench evidence clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

search: $(VENV)/.installed
	$(BIN)/autodropout search digits --out $(OUT) $(ARGS)
	$(BIN)/autodropout compare digits --policy $(OUT)/best.json --baselines none,dropout --tune-trials 8 --seeds 8
	$(BIN)/autodropout report $(OUT)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) -m "" $(ARGS)

test-models: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/models.py run $(ARGS)
	$(BIN)/python benchmarks/models.py page

report-test: $(VENV)/.installed-dev
	mkdir -p build/screenshots
	AUTODROPOUT_SCREENSHOTS=build/screenshots $(BIN)/python -m pytest -m slow tests/report/test_browser.py tests/test_site_browser.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/gather.py build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(VENV)/.installed-dev
	set -e; for script in $$(grep -l __main__ benchmarks/*.py | grep -v models.py); do echo "$$script"; $(BIN)/python "$$script" $(ARGS); done

evidence: $(VENV)/.installed-dev
	@$(BIN)/python experiments/jobs.py $(JOB) $(ARGS)

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install -e '.[digits,plots]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@ $(VENV)/.installed

# The second way is for systems that ship Python without the module ensurepip.
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
	    $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install pip; }
	touch $@
