# Every target does its own set-up: `make demo` and `make test` work on a machine with Python 3.11+ and make alone.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
WORKERS ?= 2

# Tests of a module stay together, because they share what is made once; in their order, so that none of the slow
# modules, which have few tests each, is left for the end.
SPREAD := -n 2 --dist loadscope --no-loadscope-reorder

# One intra-op thread per process: on small tensors more are slower, many times so on a busy machine.
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

.PHONY: help setup demo test check lint types imports unit bench bench-gpu fuzz chaos validate-nb201 seeds three-datasets two-spaces all-spaces generality campaign cards pytorchcv validate-estimators correlations every-space estimator-costs search-tables aggregates assessment oneshot blocks clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

setup: $(VENV)/installed  ## virtual environment with the pinned versions

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[dev]"
	touch $@

demo: setup  ## evolve, report, export and use a proxy: eleven spaces, and four left out, some minutes on two quiet cores
	$(BIN)/eznas evolve experiments/demo.toml --run-dir $(RUN) --workers $(WORKERS)
	$(BIN)/eznas export $(RUN) best --to python --output $(RUN)/proxy.py
	$(BIN)/python experiments/fresh_network.py $(RUN)/proxy.py
	@echo "Open $(RUN)/report.html in a browser."

test: check  ## everything that must hold: style, types, import direction, tests

check: lint types imports unit  ## the same, by its parts

lint: setup  ## ruff
	$(BIN)/ruff check .

types: setup  ## mypy
	$(BIN)/mypy

imports: setup  ## import direction
	$(BIN)/lint-imports

unit: setup  ## pytest on two cores; over the language with every shape annotation enforced
	$(BIN)/python -m pytest $(SPREAD) tests/conformance tests/primitives --jaxtyping-packages=primitives,beartype.beartype
	$(BIN)/python -m pytest $(SPREAD) tests --ignore tests/conformance --ignore tests/primitives

bench: setup  ## speed and memory of the evaluation, in ratios of one run (about eight minutes)
	$(BIN)/python experiments/bench.py

bench-gpu: setup  ## capture, scoring and a population on a CUDA device and on the CPU; says so where there is none
	$(BIN)/python experiments/bench_gpu.py

fuzz: setup  ## damage to whatever is read: a value or one sentence; OPTIONS is how often, 1000 (a quarter of an hour)
	EZNAS_FUZZ=$(or $(OPTIONS),1000) $(BIN)/python -m pytest $(SPREAD) tests/eznas/fuzz

chaos: setup  ## kill -9 of driver, worker and node, of banks, benchmarks and supernets: equal results (half an hour)
	$(BIN)/python experiments/chaos.py

validate-nb201: setup  ## EZNAS-A and NASWOT on 1,000 cells of the full skeleton, beside the published figures (hours)
	$(BIN)/python experiments/validate_nb201.py

seeds: setup  ## the quickstart on five other seeds (a quarter of an hour)
	$(BIN)/python experiments/seeds.py

two-spaces: setup  ## one formula for NAS-Bench-201 and NAS-Bench-101, with EZNAS_DATA (a quarter of an hour)
	$(BIN)/eznas evolve experiments/two_spaces.toml --workers $(WORKERS) $(OPTIONS)

all-spaces: setup  ## one formula for all search spaces with accuracies, with EZNAS_DATA (hours)
	$(BIN)/eznas evolve experiments/all_spaces.toml --workers $(WORKERS) $(OPTIONS)

FAMILIES = $(basename $(notdir $(wildcard eznas/spaces/families/*.toml)))
families: $(FAMILIES:%=family-%)  ## the shipped trainings, with EZNAS_DATA; goes on where it stopped (hours; make -j2)

family-%: setup
	$(BIN)/eznas benchmark build --space net:$* --name net_$* --n 60 --epochs 10 --seeds 2 --repeated 10 --train 4000 \
	  --output eznas/benchmarks/shipped

generality: setup  ## one space against many: quickstart and many_spaces on three seeds, both on every space (an hour)
	for s in 0 1 2; do \
	  test -f runs/seeds/seed-$$s/front.json || \
	    $(BIN)/eznas evolve experiments/quickstart.toml --set seed=$$s --run-dir runs/seeds/seed-$$s --workers $(WORKERS); \
	  test -f runs/generality/many-$$s/front.json || \
	    $(BIN)/eznas evolve experiments/many_spaces.toml --set seed=$$s --run-dir runs/generality/many-$$s --workers $(WORKERS); \
	  $(BIN)/python experiments/every_space.py runs/seeds/seed-$$s:best runs/generality/many-$$s:best --only --n 200 \
	    --outside runs/seeds/seed-$$s runs/generality/many-$$s --into runs/generality/seed-$$s.json $(OPTIONS); \
	done
	$(BIN)/python -m experiments.blocks generality runs/generality

campaign: setup  ## discovery: three data sets, every space, each space left out in turn, with EZNAS_DATA (a day)
	for s in 0 1 2; do \
	  for q in three_datasets every_space top one_dataset early_labels; do \
	    test -f runs/campaign/$$q-$$s/report.html || \
	      $(BIN)/eznas evolve experiments/campaign/$$q.toml --set seed=$$s --run-dir runs/campaign/$$q-$$s --workers $(WORKERS); \
	  done; \
	done
	$(BIN)/python experiments/campaign/leave_one_out.py --workers $(WORKERS) $(OPTIONS)
	$(BIN)/python experiments/campaign/all_cells.py runs/campaign/three_datasets-? runs/campaign/top-? \
	  runs/campaign/one_dataset-? runs/campaign/early_labels-? --into runs/campaign/cells.json
	$(BIN)/python -m experiments.campaign.word_ablation --into runs/campaign/words.json

cards: setup  ## model cards of the gallery and docs/gallery.md, with EZNAS_DATA; banks make it minutes (OPTIONS="NAME ...")
	$(BIN)/python -m experiments.cards --workers $(WORKERS) $(OPTIONS)

pytorchcv: setup  ## own networks: those of the package pytorchcv with its errors, cross-fitted (an hour)
	$(BIN)/python -m pip install --quiet --no-deps pytorchcv==0.0.74
	$(BIN)/python experiments/pytorchcv_zoo.py --csv runs/pytorchcv/accuracies.csv
	$(BIN)/eznas evolve experiments/pytorchcv.toml --run-dir runs/pytorchcv/run $(OPTIONS)

validate-estimators: setup  ## published estimators beside the scores of their own code, with EZNAS_DATA (an hour)
	$(BIN)/python experiments/validate_estimators.py --workers $(WORKERS) $(OPTIONS)

correlations: setup  ## every published estimator's rank correlation beside the published ones; OPTIONS="--n 1000" (half an hour)
	$(BIN)/python experiments/correlations.py --workers $(WORKERS) $(OPTIONS)

every-space: setup  ## every published estimator on every space at hand, with intervals; EZNAS_DATA adds some (an hour or two)
	$(BIN)/python experiments/every_space.py --n 200 --workers $(WORKERS) --into runs/every-space/table.csv $(OPTIONS)

estimator-costs: setup  ## milliseconds per network of every estimator, on one core (minutes)
	$(BIN)/python experiments/estimator_costs.py $(OPTIONS)

search-tables: setup  ## architecture searches beside the published tables; SCORES="FILE.csv ..." adds proxies (a minute)
	$(BIN)/python experiments/search_tables.py $(SCORES)

aggregates: setup  ## aggregates by rank beside their members, on 400 cells outside the reference (two minutes)
	$(BIN)/python experiments/aggregates.py

assessment: setup  ## the study of estimators on every space, with EZNAS_DATA; goes on where it stopped (an hour)
	$(BIN)/python experiments/assessment.py --workers $(WORKERS) $(OPTIONS)
	$(BIN)/python -m experiments.blocks

oneshot: setup  ## a reduced supernet of NAS-Bench-201, beside zero-shot proxies, with EZNAS_DATA (half an hour)
	$(BIN)/python experiments/oneshot.py --into runs/oneshot.json $(OPTIONS)

blocks: setup  ## the blocks of numbers in README and docs, from experiments/results
	$(BIN)/python -m experiments.blocks

three-datasets: setup  ## worst of three data sets, with the official accuracies in EZNAS_DATA
	$(BIN)/eznas evolve experiments/three_datasets.toml --workers $(WORKERS)

clean:  ## remove what the targets made, runs excepted
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
