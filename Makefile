# Each target sets itself up; none needs a step by hand before it.
PY := .venv/bin/python

.PHONY: setup demo test check format docs bench test-editors test-databases test-corpus test-gpu clean
.DEFAULT_GOAL := demo

setup:
	@scripts/setup.sh

demo: setup ## the whole story on examples/softmax.py: lens, evolve, verdict, apply, report
	@$(PY) scripts/demo

test: setup ## unit, judge, protocol and lifecycle tests; no root, no GPU
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

check: setup ## format, lint, types, import contracts, generated documentation
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --config pyproject.toml
	@$(PY) scripts/docs.py --check

format: setup
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

docs: setup ## regenerate the generated parts of docs/
	@$(PY) scripts/docs.py

test-editors: setup ## the story in real VS Code and real Neovim; installs what it needs
	@scripts/test-editors.sh

test-databases: setup ## the knowledge base on a real PostgreSQL; installs what it needs
	@scripts/test-databases.sh

test-corpus: setup ## kernels found in liger-kernel and fla-core, against Python's own ast
	@scripts/corpus.sh
	@$(PY) -m pytest tests/corpus

test-gpu: setup ## the demo's story with measured verdicts; needs a GPU
	@$(PY) -m pytest tests/gpu -m gpu

bench: setup ## what the performance claims rest on
	@$(PY) -m benchmarks

clean:
	rm -rf .venv .artifacts .cache build dist
