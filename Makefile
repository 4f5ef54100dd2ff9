# One-word commands for maintainers; CONTRIBUTING.md explains them. `make PYTHON=.venv/bin/python`
# uses another interpreter.
PYTHON ?= python

.PHONY: help check format test coverage docs site bench dist

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: ## formatting, lint, types and layers
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

format: ## format the code and apply safe fixes
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

test: ## the default tests
	$(PYTHON) -m pytest

coverage: ## the default tests with branch coverage, processes they start included
	$(PYTHON) -m coverage run -m pytest
	$(PYTHON) -m coverage combine -q
	$(PYTHON) -m coverage report

docs: ## regenerate docs/api.md, docs/errors.md and tables of results, then test pages, commands and examples
	$(PYTHON) docs/make_api.py
	$(PYTHON) docs/make_benchmarks.py
	$(PYTHON) -m vaetools explain --markdown > docs/errors.md
	$(PYTHON) -m pytest tests/test_pages.py tests/test_docs.py tests/test_services.py tests/examples

site: ## the documentation as a site in site/, strictly; needs pip install -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

bench: ## a quick benchmark of the codec; KODAK=FOLDER names the images
	$(PYTHON) benchmarks/codec.py "$${KODAK:?set KODAK to a folder of images}" --quick 4

dist: ## wheel and sdist in dist/, checked for completeness
	$(PYTHON) -m build --outdir dist .
	$(PYTHON) -m tests.packaging dist
