PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
WORKERS ?= 2
TASK ?= llome/ehr-V32-L32-c4-k4-q4
BUDGET ?= 10000
SEED ?= 0

BIN = $(VENV)/bin
DEMO = runs/demo
TYPES = build/types
# What is slow, and reaches the kernels only as the other tests do.
UNCHECKED = agents baselines card cli crowded_board habits iohprofiler lambo leaderboard ledger_kill llome llome_best \
	llome_objectives llome_pairs llome_policy llome_training llome_true_value package report reproduce rl_agents rounds \
	site site_access site_browser submission_kill sweep sweep_ray workflow

.PHONY: setup test lint style types demo bench

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
		|| { echo "$(PYTHON) is not Python 3.10 or later; give one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt setuptools
	$(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e ".[all]"
	touch $@

# First with every index checked, compiled into a cache of its own; Numba takes code from any cache, checked or not.
test: setup
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/build/boundscheck \
		$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests $(UNCHECKED:%=--ignore=tests/test_%.py)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests

lint: setup style types

style:
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# mypy reads no package-dir mapping, so it is shown the package as it is when installed.
types:
	@rm -rf $(TYPES) && mkdir -p $(TYPES)/bioseq_gym
	@ln -s $(CURDIR)/bioseq_gym/* $(CURDIR)/agents $(TYPES)/bioseq_gym
	MYPYPATH=$(TYPES) $(BIN)/mypy -p bioseq_gym

demo: setup
	rm -rf $(DEMO)
	$(BIN)/bioseq-gym run llome --task $(TASK) --budget $(BUDGET) --seed $(SEED) --out $(DEMO)/llome
	$(BIN)/bioseq-gym run genetic --task $(TASK) --budget $(BUDGET) --seed $(SEED) --out $(DEMO)/genetic
	$(BIN)/bioseq-gym report $(DEMO)/llome $(DEMO)/genetic --out $(DEMO)
	for agent in llome genetic; do \
		$(BIN)/bioseq-gym pack $(DEMO)/$$agent --suite $(TASK) --out $(DEMO)/$$agent.zip || exit 1; done
	$(BIN)/bioseq-gym submit $(DEMO)/llome.zip $(DEMO)/genetic.zip --board $(DEMO)/leaderboard
	$(BIN)/bioseq-gym leaderboard --board $(DEMO)/leaderboard

bench: $(BENCH_VENV)/.installed
	NUMBA_CACHE_DIR=$(CURDIR)/build/bench $(BENCH_VENV)/bin/python -m pytest benchmarks --write

# An environment of its own, since holo-bench needs NumPy 1, and with it a Python before 3.13.
$(BENCH_VENV)/.installed: pyproject.toml benchmarks/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
		|| { echo "holo-bench needs Python 3.10 to 3.12, and $(PYTHON) is not; give one: make bench PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install -c benchmarks/constraints.txt setuptools
	$(BENCH_VENV)/bin/python -m pip install -c benchmarks/constraints.txt --no-build-isolation -e ".[bench]"
	touch $@
