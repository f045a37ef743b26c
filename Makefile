PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup demo test check schema

setup: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$(grep '^pip==' requirements.txt)
	$(BIN)/pip install --quiet --editable '.[dev,training]'
	touch $@

demo: setup  ## analyse a phantom study and compare the findings with the truth
	rm -rf demo
	$(BIN)/python -m phantom demo/study --seed 1 --pattern covid --truth demo/truth.json
	$(BIN)/python app -i demo/study -o demo/out -m models
	$(BIN)/python -m phantom.compare demo/truth.json demo/out/result.json

test: setup
	$(BIN)/pytest

check: setup  ## style, types, import direction
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_import_direction.py

schema: setup  ## JSON Schema of result.json
	$(BIN)/python -m lungct.report.schema > docs/reference/result.schema.json
