# Every target sets up what it needs by itself, and again only when that has changed.
# More words for the program behind a target go into ARGS: make run ARGS=--reset, make test ARGS="-k pkce".

PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done || true)
ifeq ($(PYTHON),)
PYTHON := python3
endif
PREPARE := $(PYTHON) tools/prepare.py
BIN := .venv/bin
WORKERS ?= 3
ARGS ?=

# Somebody else's virtual environment is none of our business.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help run demo-plan-b test nightly check format-check lint types contracts house pinned format bench bench-db synth cdk test-infra lambda lock clean

help: ## say what the other words do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: ## start Tegata on this machine, with its own PostgreSQL and two tenants to try
	@exec $(PREPARE) start $(ARGS)

demo-plan-b: dev ## start Plan B on this machine, to click through: load balancers, nginx, Cognito's stand-in, application
	@cd examples/plan-b && exec ../../$(BIN)/python -m demo $(ARGS)

test: ## run every test; as root on Debian, fetch the browser and servers they drive
	@status=0; $(PREPARE) test -n $(WORKERS) --dist loadfile $(ARGS) || status=$$?; \
	$(if $(ARGS),,$(PREPARE) infra pytest -n $(WORKERS) --dist load || status=$$?;) exit $$status

nightly: ## tell 2,000 other histories of rotations than those of make test; within the hour
	@TEGATA_HISTORIES=nightly exec $(PREPARE) test -n $(WORKERS) --dist loadfile packages/tegata-credentials/tests/rotation_histories $(ARGS)

check: format-check lint types contracts house pinned ## look for faults without running anything: format, lint, types, contracts

dev:
	@$(PREPARE) dev

format-check: dev
	@$(BIN)/ruff format --check --quiet . || { echo 'make format mends this'; exit 1; }

lint: dev
	@$(BIN)/ruff check --quiet .

types: dev
	@$(BIN)/mypy --no-error-summary packages/*/src tools benchmarks infra/tegata_infra

contracts: dev
	@$(BIN)/lint-imports --no-logo

house: dev
	@PYTHONPATH=tools $(BIN)/python -m house

pinned: dev
	@$(BIN)/python -m pip check --disable-pip-version-check

format: dev ## rewrite the code in the one format, and mend what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

bench: dev ## measure the cost of the hot endpoints, in operations per second of server CPU, of reading secrets and of verifying tokens
	@$(BIN)/python -m benchmarks $(ARGS)
	@$(BIN)/python -m benchmarks.secrets
	@$(BIN)/python -m benchmarks.verification

bench-db: dev ## measure what the store's acts cost PostgreSQL with ever more rows and ever more tenants
	@exec $(BIN)/python -m benchmarks.database $(ARGS)

synth: ## write the CloudFormation templates of every deployment and environment into infra/build
	@exec $(PREPARE) infra tegata_infra.synthesis $(ARGS)

cdk: ## CDK's command line, pinned: make cdk ARGS="deploy --all"
	@exec $(PREPARE) infra tegata_infra.command_line $(ARGS)

test-infra: ## test the infrastructure alone
	@exec $(PREPARE) infra pytest -n $(WORKERS) --dist load $(ARGS)

lambda: dev ## build the rotation function for AWS Lambda: one zip for each architecture, in dist/lambda
	@PYTHONPATH=tools $(BIN)/python -m artefact $(ARGS)

lock: dev ## choose the newest allowed versions again and pin them, with hashes and without addresses
	@$(BIN)/python tools/lock.py $(ARGS)

clean: ## remove what make has made: the environments, caches, the data of `make run`, templates; not what is in dist
	@rm -rf .venv .tegata .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf infra/node_modules infra/build infra/cdk.out
