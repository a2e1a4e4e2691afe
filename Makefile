# make demo: the main job on measured runs. make test: every check. Both set up all that they need.
.PHONY: demo test setup lint types layers house coverage mutants slow trainers-test benchmarks profile clean

python := .venv/bin/python

demo: setup
	@.ci/demo

test: setup lint types layers
	@OMP_NUM_THREADS=1 $(python) -m pytest -n 2 --dist worksteal -q

setup:
	@.ci/setup

lint: setup
	@$(python) -m ruff check .
	@$(python) -m ruff format --check -q .

types: setup
	@$(python) -m mypy

layers: setup
	@$(python) -c "from importlinter.cli import lint_imports_command as lint; lint(['--no-logo'])"

house: setup # layers, sizes, cycles, names, and what one solve runs through
	@$(python) .ci/house.py

coverage: setup # the suite again, with the lines that no test runs; minutes
	@OMP_NUM_THREADS=1 $(python) -m pytest -n 2 --dist worksteal -q --cov=climbopt --cov-report=term-missing:skip-covered

mutants: setup # one changed operator or number at a time, and the tests of its module; hours for all, resumable
	@OMP_NUM_THREADS=1 $(python) .ci/mutants.py

slow: setup # minutes; run by hand
	@$(python) -m pytest -m slow

trainers-test: # what export writes is read by the real packages, in a venv of their own; gigabytes, run by hand
	@.ci/trainers

benchmarks: setup # minutes; run by hand
	@OMP_NUM_THREADS=1 $(python) benchmarks/joint.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/convex.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/constraints.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/uncertainty.py

profile: setup # minutes; run by hand
	@OMP_NUM_THREADS=1 $(python) benchmarks/profile.py -o docs/profile.svg

clean:
	rm -rf .venv .venv-trainers demo build *.egg-info
