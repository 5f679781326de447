# `make bench` and `make test` set up everything they need in .venv; uv is used if it is there, else pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/bench
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
SEEDS ?= 10
CALLS ?= 15000
KILLS ?= 200

export PYTHONUNBUFFERED = 1

COMMA := ,

.PHONY: help agents agents-blackbox bench chaos demo fuzz leaderboard tune test test-slow lint docs site results papers universal speed calibrate clean

help:  ## the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | awk -F '\t' '{printf "make %-10s %s\n", $$1, $$2}'

define install
	@test -x $(BIN)/python || { (command -v uv >/dev/null && uv venv -q --python $(PYTHON) $(VENV)) || $(PYTHON) -m venv $(VENV); }
	@if command -v uv >/dev/null; then uv pip install --python $(BIN)/python -e '.[$(1)]'; \
	 else $(BIN)/python -m pip install --disable-pip-version-check -e '.[$(1)]'; fi
	@touch $@
endef

$(VENV)/.bench: pyproject.toml
	@echo "setting up $(VENV) for the benchmark: about 150 MB to download, a minute or two; once only"
	$(call install,plots)

$(VENV)/.test: pyproject.toml
	@echo "setting up $(VENV) for the tests: torch, Stable-Baselines3 and others, some GB to download, minutes; once only"
	$(call install,test)

$(VENV)/.agents: pyproject.toml
	@echo "setting up $(VENV) for training: torch and Stable-Baselines3, some GB to download, minutes; once only"
	$(call install,agents$(COMMA)plots)

$(VENV)/.site: pyproject.toml
	@echo "setting up $(VENV) for the documentation site"
	$(call install,docs$(COMMA)agents$(COMMA)vision$(COMMA)fast$(COMMA)minari)

$(VENV)/.dev: pyproject.toml
	@echo "setting up $(VENV) for linting"
	$(call install,dev)

bench: $(VENV)/.bench  ## oracles and baselines on the embedded data, with a report
	@echo "running the benchmark with $(SEEDS) seeds: a minute or two on 2 CPUs; make bench again resumes"
	$(BIN)/teach-gym bench --seeds $(SEEDS) --out $(OUT)

demo: $(VENV)/.agents  ## a PPO teacher trained and scored beside the oracles, in a report
	@echo "training a teacher for LabelMomentum: a few seconds on one CPU"
	$(BIN)/teach-gym train LabelMomentum --algo ppo --out runs/demo/agent --resume
	$(BIN)/teach-gym bench smoke --tasks LabelMomentum --seeds 20 --out runs/demo/report \
	  --teachers greedy anticipating agent:runs/demo/agent/policy.safetensors
	$(BIN)/teach-gym render LabelMomentum passive greedy agent:runs/demo/agent/policy.safetensors \
	  --out runs/demo/lesson.html
	@echo "open runs/demo/report/report.html and runs/demo/lesson.html"

test: $(VENV)/.test  ## the default tests
	@echo "running the default tests on all CPUs: 2 to 6 minutes on 2 CPUs; each dot is a test"
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.test  ## the long ones
	@echo "running the tests marked slow, one after the other: half an hour or more"
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/.test  ## random calls with bad input: 15,000 of them (CALLS, SEED), the findings at the end
	@echo "calling everything with random values: about ten minutes on one CPU"
	$(BIN)/python tests/fuzz --calls $(CALLS) $(if $(SEED),--seed $(SEED))

chaos: $(VENV)/.test  ## 200 kills of everything that writes results (KILLS, SEED), full disks, two at a time
	@echo "killing benchmarks, trainings, experiments and reports: half an hour on one CPU"
	$(BIN)/python tests/chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/.test $(VENV)/.dev  ## ruff and mypy, which reads the types of torch and others
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.test calibrate  ## the environments' pages and the README's tables (the MNIST tasks need the data)
	$(BIN)/python -m tools.docs docs/environments --images
	$(BIN)/python -m tools.readme

site: $(VENV)/.site  ## the documentation site, in site/
	$(BIN)/python -m tools.site
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site
	@echo "open site/index.html"

results: $(VENV)/.bench  ## docs/results/benchmark.md and its curves: all tasks, 10 seeds, timed without contention
	@echo "running all tasks on one CPU: about half an hour; make results again resumes"
	$(BIN)/teach-gym bench full --seeds 10 --executor serial --out runs/full
	(printf '# Benchmark\n\n`teach-gym bench full --seeds 10 --executor serial`\n\n'; cat runs/full/report.md) \
	  > docs/results/benchmark.md
	$(BIN)/python -m tools.reference runs/full

papers: $(VENV)/.test  ## docs/results/papers.md, blackbox.md: all experiments with verdicts (about a day on 2 CPUs; resumes; needs image data)
	$(BIN)/teach-gym reproduce all --scale laptop --out runs/papers-laptop
	$(BIN)/teach-gym reproduce all --map --scale laptop --out runs/papers-laptop
	for page in papers blackbox; do \
	  $(BIN)/python -m teach_gym.papers.report runs/papers-laptop --page $$page \
	    --command 'teach-gym reproduce all --scale laptop' || exit; done

tune: $(VENV)/.bench  ## plain SGD's best learning rate of every omniscient task (then put it into the registry)
	$(BIN)/python -m tools.tune_sgd

calibrate: $(VENV)/.bench  ## docs/results/calibration.json: what passive and greedy remove of the distance
	$(BIN)/python -m tools.calibrate --out docs/results/calibration.json
	$(BIN)/python -m tools.thresholds

leaderboard: $(VENV)/.bench  ## leaderboard/*.json of the oracles and the pretrained agents, and the site's table
	$(BIN)/python -m tools.leaderboard
	$(BIN)/python -m tools.site

agents: $(VENV)/.test  ## docs/results/agents.md: trains all agents (hours; a second call resumes; MNIST needs the data)
	$(BIN)/python agents/scoreboard.py --other-seeds 2 --out runs/agents --page docs/results/agents.md

universal: $(VENV)/.test  ## docs/results/universal.md: the teachers for all tasks of a medium (half an hour; resumes)
	$(BIN)/python agents/universal.py --out runs/universal --page docs/results/universal.md --publish

agents-blackbox: $(VENV)/.test  ## docs/results/agents-blackbox.md and label-noise.md: the agents without w* (an hour)
	$(BIN)/python agents/blackbox.py --out runs/agents --page docs/results/agents-blackbox.md
	$(BIN)/python agents/network_mixup.py --out runs/agents --page docs/results/agents-blackbox.md
	$(BIN)/python agents/label_noise.py --out runs/agents --page docs/results/label-noise.md

speed: $(VENV)/.test  ## docs/results/speed.md: speed as ratios, measured on this machine
	$(BIN)/python -m tools.speed --out docs/results/speed.md

clean:  ## remove the environment, results and caches
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache
