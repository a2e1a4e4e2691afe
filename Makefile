# make demo: the main job on measured runs. make test: every check. Both set up all that they need.
.PHONY: demo test setup lint types layers slow benchmarks profile clean

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

slow: setup # minutes; run by hand
	@$(python) -m pytest -m slow

benchmarks: setup # minutes; run by hand
	@OMP_NUM_THREADS=1 $(python) benchmarks/joint.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/convex.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/constraints.py
	@OMP_NUM_THREADS=1 $(python) benchmarks/uncertainty.py

profile: setup # minutes; run by hand
	@OMP_NUM_THREADS=1 $(python) benchmarks/profile.py -o docs/profile.svg

clean:
	rm -rf .venv demo build *.egg-info
