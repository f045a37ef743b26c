PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

PACKAGER := .venv-map/bin
PACKAGER_INSTALLED := .venv-map/.installed
MAP ?= lungct:$(shell sed -n 's/^  version: //p' app.yaml)

OHIF := .venv/ohif-3.12.10
STUDY ?= demo/study
RESULTS ?= demo/out

.PHONY: setup setup-map demo test check map sbom audit schema faults fuzz ohif

setup: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$(grep '^pip==' requirements.txt)
	$(BIN)/pip install --quiet --editable '.[dev,training,evaluation,gateway]'
	touch $@

setup-map: $(PACKAGER_INSTALLED)

# The packager takes the base image from the version of Holoscan beside it, and knows its own version only.
$(PACKAGER_INSTALLED): requirements.txt
	$(PYTHON) -m venv .venv-map
	$(PACKAGER)/pip install --quiet $$(grep '^pip==' requirements.txt)
	$(PACKAGER)/pip install --quiet holoscan-cli==4.2.0 wheel-axle-runtime
	$(PACKAGER)/pip install --quiet --no-deps holoscan-cu13==4.2.0 $$(grep '^monai-deploy-app-sdk==' requirements.txt)
	touch $@

demo: setup  ## analyse a phantom study and compare the findings with the truth
	rm -rf demo
	$(BIN)/lungct phantom demo/study --seed 1 --pattern covid --truth demo/truth.json
	$(BIN)/python app -i demo/study -o demo/out -m models
	$(BIN)/lungct evaluate phantom demo/truth.json demo/out/result.json

# Two processes share two cores: threads that spin while they wait would take the time of the other's.
test: setup  ## all tests
	OPENBLAS_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest --numprocesses 2 --dist worksteal

check: setup  ## style, types, import direction
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_import_direction.py

map: setup-map  ## package the application as the image MAP; needs docker with buildx
	$(PACKAGER)/monai-deploy package app -c app.yaml -m models -t $(MAP) --platform x86_64 $(MAP_OPTIONS)

sbom: setup  ## bill of materials of the image in sbom.json, licences checked
	$(BIN)/python deploy/sbom.py > sbom.json

# --strict: a package that the service does not know is an error, not a package without faults.
audit: sbom  ## known vulnerabilities of what sbom.json lists; needs jq and the JSON interface of pypi.org
	jq --raw-output '.components[] | select(.type == "library") | .name + "==" + (.version | sub("\\+.*"; ""))' sbom.json > .venv/audit.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement .venv/audit.txt $(AUDIT_OPTIONS)

schema: setup  ## JSON Schema of result.json
	$(BIN)/python -m lungct.report.schema > docs/reference/result.schema.json

faults: setup  ## what can go wrong and what the user gets, from the tests
	$(BIN)/python -m tests.fault_matrix > docs/reference/faults.md

FUZZ_SECONDS ?= 600

fuzz: setup  ## ten minutes of coverage-guided fuzzing of what reads input
	$(BIN)/pip install --quiet 'atheris>=3,<4'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

ohif: setup $(OHIF)  ## screenshots of STUDY and RESULTS in OHIF; needs chromium, npm, dcmtk, orthanc
	$(BIN)/pip install --quiet 'playwright>=1.60,<2'
	$(BIN)/python -m tests.ohif $(STUDY) $(RESULTS) $(OHIF)/package/dist demo/ohif

$(OHIF):
	mkdir -p $@
	npm pack --silent --pack-destination $@ @ohif/app@3.12.10
	tar --extract --gzip --file $@/*.tgz --directory $@
