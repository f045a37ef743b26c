PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

PACKAGER := .venv-map/bin
PACKAGER_INSTALLED := .venv-map/.installed
MAP ?= lungct:$(shell sed -n 's/^  version: //p' app.yaml)

SERVICES_LOCK := deploy/orthanc/requirements-services.txt
OHIF := .venv/ohif-3.12.10
STUDY ?= demo/study
RESULTS ?= demo/out

.PHONY: setup setup-map demo test check lock wheel wheel-check map sbom audit schema faults fuzz ohif

PIP := $(shell grep --only-matching 'pip==[0-9.]*' pyproject.toml)
SDK := $(shell grep --only-matching 'monai-deploy-app-sdk==[0-9.]*' pyproject.toml)

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(PIP)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

setup-map: $(PACKAGER_INSTALLED)

# The packager takes the base image from the version of Holoscan beside it, and knows its own version only.
$(PACKAGER_INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv-map
	$(PACKAGER)/pip install --quiet $(PIP)
	$(PACKAGER)/pip install --quiet holoscan-cli==4.2.0 wheel-axle-runtime
	$(PACKAGER)/pip install --quiet --no-deps holoscan-cu13==4.2.0 $(SDK)
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

# For the image: its Python, its platform, wheels alone. What is locked stays as it is; LOCK_OPTIONS=--upgrade renews it.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate \
  --only-binary :all: --python-version 3.12 --python-platform x86_64-manylinux_2_39 $(LOCK_OPTIONS)

lock: setup  ## pin what the image and its services install, with the hashes of the package index
	$(COMPILE) --extra image --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra services --constraint requirements.txt --output-file $(SERVICES_LOCK) pyproject.toml

wheel: setup  ## the distribution, weights included, in dist
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

wheel-check: wheel  ## install the wheel into an empty environment and analyse a phantom there
	$(BIN)/pytest --quiet tests/packaging/test_wheel.py

map: setup-map  ## package the application as the image MAP; needs docker with buildx
	$(PACKAGER)/monai-deploy package app -c app.yaml -m models -t $(MAP) --platform x86_64 $(MAP_OPTIONS)

sbom: setup  ## bills of materials of the image and of its services, licences checked
	$(BIN)/python deploy/sbom.py image > sbom.json
	$(BIN)/python deploy/sbom.py services > sbom-services.json

# --strict: a package that the service does not know is an error, not a package without faults.
audit: setup  ## known vulnerabilities of what the lock files hold; needs the JSON interface of pypi.org
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
	  --requirement requirements.txt --requirement $(SERVICES_LOCK) $(AUDIT_OPTIONS)

schema: setup  ## JSON Schema of result.json
	$(BIN)/python -c 'import json; from lungct.report.result import make_result_schema; \
	  print(json.dumps(make_result_schema(), indent=2))' > docs/reference/result.schema.json

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
