# Two commands do everything on a fresh machine: `make run` and `make test`. `make` alone lists the rest.
#
# What is made stays inside this checkout: .venv (Python packages), target (Rust), .build (stamps, logs, bench and fuzz
# builds). A stamp is newer than what it was made from, so a repeated call does only what has changed. Versions are not
# chosen here: Cargo.lock and requirements/*.txt pin them all. The path of the checkout may have spaces: it is quoted,
# and scripts of .venv run by `python -m`, because a path in their first line may not.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

PYTHON ?= python3
PORT ?= 8080
APP ?= examples/chat.py
BROWSER ?= yes
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 30
# Seconds of the chaos run, under each of its runners.
CHAOS_SECONDS ?= 600
# Seconds of the stress test of the channels' log.
STRESS_SECONDS ?= 10
# How many failures of outer tests one run of `make test-python` may repeat. 0 when you hunt for one.
RERUNS ?= 3
# How many processes share the Python tests that mostly wait; two for each core that a small machine has.
WORKERS ?= 4
# Further arguments of pytest and of benches/run.py.
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := .venv/bin
STAMPS := .build/stamps
LOGS := .build/logs

# PyO3's build script asks an interpreter for its version; cargo alone would ask whatever python3 is.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PYTHON BROWSER

RUST_SOURCES := Cargo.toml Cargo.lock pyproject.toml \
    $(shell find crates bindings/python \( -name '*.rs' -o -name Cargo.toml \) -not -path '*/tests/*')
# The extension lies in the source tree; someone may have cleaned it away behind the stamp.
MODULE := $(wildcard python/fairlead/_engine*.so)

.PHONY: help setup build run test test-all check lint lint-format lint-rust lint-python format deny test-rust test-python coverage conformance chaos fuzz bench docs wheel lock clean FORCE

help: ## this list
	@echo "usage: make TARGET [NAME=value]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMPS)/test-packages $(STAMPS)/django-packages $(if $(filter no,$(BROWSER)),,$(STAMPS)/npm-packages) ## check the machine, make .venv, install the pinned packages

build: $(STAMPS)/extension ## build the engine into .venv (optimised; the tests use the same build)

run: $(STAMPS)/extension ## build all, then serve the chat page (PORT=8080, APP=examples/chat.py)
	@echo
	@echo "  Open http://127.0.0.1:$(PORT)/ in two browser windows. Ctrl-C stops the server."
	@echo
	@exec $(BIN)/python -m fairlead --http 127.0.0.1:$(PORT) --wsgi-file $(APP) --async 1000 --greenlet

test: setup build ## everything the tests need, then all tests: lints, Rust, Python
	@mkdir -p $(LOGS); failed=""; \
	for stage in lint test-rust test-python; do \
	    echo "== make $$stage"; SECONDS=0; \
	    $(MAKE) $$stage 2>&1 | tee $(LOGS)/$$stage.log || failed="$$failed $$stage"; \
	    echo "== make $$stage took $$SECONDS s"; \
	done; \
	echo "== what the runners said"; \
	awk '/^test result:/ { passed += $$4; failed += $$6; skipped += $$8 } \
	    END { printf "rust: %d passed, %d failed, %d skipped\n", passed, failed, skipped }' $(LOGS)/test-rust.log; \
	grep -E '^=+ .*(passed|failed|error|no tests ran).*=$$' $(LOGS)/test-python.log || echo "pytest did not end"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed (logs in $(LOGS))"; exit 1; fi

test-all: ## the same, with every test under every runner and a minute of stress: before a release, under an hour
	@$(MAKE) test STRESS_SECONDS=60 PYTEST_ARGS="--all-runners $(PYTEST_ARGS)"

check: setup build lint ## before a commit, under a minute after a build: lints, pure crates, unit and architecture tests
	cargo test --locked --quiet -p fairlead-http -p fairlead-websocket -p fairlead-channel -p fairlead-worker
	$(BIN)/python -m pytest -q tests/unit tests/architecture $(PYTEST_ARGS)

lint: ## formatting (`make format` mends it), clippy, ruff and mypy: all of them, whatever the first one says
	@$(MAKE) --keep-going lint-format lint-rust lint-python

lint-format: $(STAMPS)/test-packages
	cargo fmt --all --check -- -l
	cd benches/load && cargo fmt --check -- -l
	cd fuzz && cargo fmt --check -- -l
	$(BIN)/ruff format --check .

lint-rust: $(STAMPS)/test-packages
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

lint-python: $(STAMPS)/test-packages
	$(BIN)/ruff check --output-format concise .
	$(BIN)/python -m mypy

format: $(STAMPS)/test-packages ## let rustfmt and ruff format everything
	cargo fmt --all
	cd benches/load && cargo fmt
	cd fuzz && cargo fmt
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# Not part of `make test`: building cargo-deny takes five minutes, and tests/architecture checks deny.toml's licences,
# homes and sources in a second. This adds what only the tool knows, such as crates that come in two versions.
deny: $(STAMPS)/machine ## check deny.toml with cargo-deny, built once into .build/tools
	@test -x .build/tools/bin/cargo-deny || cargo install cargo-deny --version 0.20.2 --locked --root .build/tools
	.build/tools/bin/cargo-deny --offline --locked check licenses bans sources

# The Python binding has no Rust tests: it would have to link an interpreter, and tests/ runs all of it.
test-rust: $(STAMPS)/run-packages ## all Rust tests, STRESS_SECONDS of them a stress test of the channels' log
	FAIRLEAD_STRESS_SECONDS=$(STRESS_SECONDS) cargo test --locked --no-fail-fast --workspace --exclude fairlead-python
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$(CURDIR)/.build/loom" \
	    cargo test --locked --release -p fairlead-channel --lib model
	cd benches/load && CARGO_TARGET_DIR="$(CURDIR)/.build/bench" cargo test --locked --no-fail-fast

# Two runs of pytest: what mostly waits in several processes at once, and then, one after the other, what measures (the
# mark `alone`). PYTEST_ARGS may choose tests of one of them only, and then the other finds none. The library that
# tests/c_binding links against is built before, because a test that builds for minutes would count as one that hangs.
#
# A test that talks to real servers on a busy machine can fail for reasons of the machine's. It is run once more; if it
# passes then, the closing line counts it as "rerun" and its traceback stays in the log, because it may be a race of ours.
# Tests without a server are never repeated, and more than RERUNS failures in one run are no accident.
test-python: setup build ## all Python tests (PYTEST_ARGS='-k reload'), WORKERS of them at a time
	cargo build --locked --quiet --package fairlead-c
	@ran="" failed=""; \
	run() { \
	    local status=0; \
	    $(BIN)/python -m pytest "$$@" $(if $(filter no,$(BROWSER)),--ignore=tests/browser) \
	        $(if $(filter 0,$(RERUNS)),,--reruns 1 --max-suite-reruns $(RERUNS) --rerun-show-tracebacks -r aR \
	            --rerun-exclude-path tests/unit --rerun-exclude-path tests/architecture) $(PYTEST_ARGS) || status=$$?; \
	    case $$status in 0) ran=yes ;; 5) ;; *) ran=yes failed=yes ;; esac; \
	}; \
	run -m "not alone" -n $(WORKERS); run -m alone; \
	[ -n "$$ran" ] || echo "no test was chosen"; [ -n "$$ran" ] && [ -z "$$failed" ]

# It builds and runs in .build/coverage, beside the ordinary build and environment. BEFORE is the lines.json of an earlier
# run, kept elsewhere: each line that was run then and is not now is printed. COVERAGE_KEEP=yes adds to the data of the
# last run, for tests that a busy machine has failed (PYTEST_ARGS names them).
coverage: setup ## which lines of code the tests run: .build/coverage/table.txt, lines.json (BEFORE=old.json compares)
	@STRESS_SECONDS=$(STRESS_SECONDS) tools/coverage/measure.sh

conformance: setup build ## RFC 6455: the codec's own tests, and the wire's
	cargo test --locked --quiet -p fairlead-http -p fairlead-websocket
	$(BIN)/python -m pytest -q tests/conformance $(PYTEST_ARGS)

# A failure names its seed: CHAOS_SEED=4711 draws the same faults again. PYTEST_ARGS='-k threads' is one runner alone.
chaos: setup build ## workers killed, stopped, starved and reloaded while all publish, for CHAOS_SECONDS under two runners
	CHAOS_SECONDS=$(CHAOS_SECONDS) $(if $(CHAOS_SEED),CHAOS_SEED=$(CHAOS_SEED)) \
	    $(BIN)/python -m pytest -q -s tests/chaos --override-ini session_timeout=86400 $(PYTEST_ARGS)

# The flags are those of cargo-fuzz, which is not needed then; see fuzz/README.md.
fuzz: ## fuzz each target for FUZZ_SECONDS (nightly Rust), or replay its seeds (stable)
	@if ! cargo +nightly --version >/dev/null 2>&1; then \
	    echo "there is no nightly Rust, so the seeds are replayed only (rustup toolchain install nightly)"; \
	    cargo test --locked -p fairlead-http -p fairlead-websocket -p fairlead-channel seeds; \
	    exit; \
	fi; \
	host=$$(rustc -vV | sed -n 's/^host: //p'); \
	for target in $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))); do \
	    mkdir -p fuzz/corpus/$$target; \
	    echo "== fuzzing $$target for $(FUZZ_SECONDS) s"; \
	    ( cd fuzz && CARGO_TARGET_DIR="$(CURDIR)/.build/fuzz" \
	        RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	            -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1" \
	        cargo +nightly run --locked --quiet --release --target "$$host" --bin $$target -- \
	            corpus/$$target seeds/$$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 ); \
	done

bench: $(STAMPS)/extension ## measure against the limit of this machine (BENCH_ARGS='--quick')
	$(BIN)/python benches/run.py $(BENCH_ARGS)

generate: $(STAMPS)/run-packages ## write what is made from the engine's table of settings: Python's copy, types, C header
	$(BIN)/python tools/engine_settings.py

docs: generate $(STAMPS)/extension ## write the pages' tables of options from the settings themselves
	$(BIN)/python tools/settings_page.py
	$(BIN)/python tools/uwsgi_options.py
	$(BIN)/python tools/package_readme.py

wheel: $(STAMPS)/run-packages ## build a wheel for this machine into .build/wheels, without debug information
	$(BIN)/maturin build --locked --compatibility linux --out .build/wheels

# pip-tools lives in an environment of its own, so that it pins nothing of ours by its presence. uWSGI is the one
# requirement that is left out, and the reason why test.txt is installed with --no-deps: Flask-uWSGI-WebSocket asks for
# the server that it was written for, which pip would compile for a minute, and Fairlead runs it instead.
lock: ## choose new versions for requirements/*.txt (Cargo: cargo update)
	$(PYTHON) -m venv .build/lock
	.build/lock/bin/pip install --quiet pip-tools
	cd requirements && for name in run test coverage bench; do \
	    CUSTOM_COMPILE_COMMAND="make lock" ../.build/lock/bin/pip-compile --quiet --upgrade --generate-hashes \
	        --strip-extras --unsafe-package uwsgi --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	        --output-file $$name.txt $$name.in; \
	done

clean: ## remove all that was made here
	rm -rf .venv .build target fuzz/target benches/load/target .mypy_cache .ruff_cache .pytest_cache
	rm -f python/fairlead/_engine*.so
	find python tests benches examples tools -name __pycache__ -prune -exec rm -rf {} +

# -- what the stamps stand for

$(STAMPS)/machine: tools/machine.sh Cargo.toml
	@mkdir -p $(@D)
	@tools/machine.sh build
	@touch $@

# BROWSER=no asks for less, so it leaves no stamp that a later call could trust.
$(STAMPS)/test-machine: tools/machine.sh Cargo.toml $(if $(filter no,$(BROWSER)),FORCE)
	@mkdir -p $(@D)
	@tools/machine.sh test
	$(if $(filter no,$(BROWSER)),,@touch $@)

$(STAMPS)/run-packages: requirements/run.txt $(STAMPS)/machine $(if $(wildcard $(BIN)/python),,FORCE)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@touch $@

$(STAMPS)/test-packages: requirements/test.txt $(STAMPS)/run-packages $(STAMPS)/test-machine
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/test.txt
	@touch $@

# Two more versions of Django, each in a folder of its own, for the test of its responses; both files say why.
$(STAMPS)/django-packages: requirements/django-oldest.txt requirements/django-newest.txt $(STAMPS)/test-packages
	rm -rf .build/django
	for version in oldest newest; do \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	        --ignore-requires-python --target .build/django/$$version -r requirements/django-$$version.txt; \
	done
	@touch $@

# What the tests' pages load in the browser; package-lock.json has the hashes.
$(STAMPS)/npm-packages: tests/libraries/package.json tests/libraries/package-lock.json $(STAMPS)/test-machine
	@mkdir -p .build/npm
	@cp tests/libraries/package.json tests/libraries/package-lock.json .build/npm
	cd .build/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

$(STAMPS)/extension: $(STAMPS)/run-packages $(RUST_SOURCES) $(if $(MODULE),,FORCE)
	VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/maturin develop --release --locked
	@touch $@
