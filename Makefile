PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

OHIF := .venv/ohif-3.12.10
STUDY ?= demo/study
RESULTS ?= demo/out

.PHONY: setup demo test check schema ohif

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

ohif: setup $(OHIF)  ## screenshots of STUDY and RESULTS in OHIF; needs chromium, npm, dcmtk, orthanc
	$(BIN)/pip install --quiet 'playwright>=1.60,<2'
	$(BIN)/python -m tests.ohif $(STUDY) $(RESULTS) $(OHIF)/package/dist demo/ohif

$(OHIF):
	mkdir -p $@
	npm pack --silent --pack-destination $@ @ohif/app@3.12.10
	tar --extract --gzip --file $@/*.tgz --directory $@
