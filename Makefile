# Everything a newcomer needs: `make demo` and `make test`. Both set up what they use in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo app test check lint docs samples bench accuracy endurance fuzz screenshots clean

demo: .venv/installed
	$(BIN)/flyball demo

app: .venv/installed
	$(BIN)/flyball app

# Two at a time, whole files each: half of the time is spent waiting for servers, browsers and processes.
test: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist loadfile

# Format, lint, types, the one-way picture of the design, and the tests (stale generated pages are a failing test).
check: lint test

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Writes the pages of docs/ that come out of the code.
docs: .venv/installed-dev
	$(BIN)/python -m analyzer.docs

# Records sample_traces/ anew: real SDK, local model server.
samples: .venv/installed-dev
	$(BIN)/python -m analyzer.demo.samples

# What recording promises when processes are killed or crowd one database: 200 kills, then four recorders for a minute.
endurance: .venv/installed-dev
	$(BIN)/python -m benchmarks.endurance

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

# A million mutated inputs through every reader, on one core for about half an hour, into docs/fuzzing.md. INPUTS=... for another number.
fuzz: .venv/installed-dev
	$(BIN)/python -m benchmarks.fuzz --write --inputs $(or $(INPUTS),1000000)

# Precision and recall of every detector, into docs/accuracy.md and the detectors' pages.
accuracy: .venv/installed-dev
	$(BIN)/python -m benchmarks.accuracy

screenshots: .venv/installed-dev
	$(BIN)/python docs/screenshots.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("flyball needs Python 3.11 or later; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
