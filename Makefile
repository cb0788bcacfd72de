# CWTS. `make run` opens the page, `make test` runs everything; `make help` lists the rest.
# Each step leaves a stamp under build/stamps, so the second time it starts at once.

PYTHON ?= python3
PORT ?= 8000
OPEN ?= 1
FUZZ_SECONDS ?= 10
FUZZ_RUNS ?= 10000000
TORTURE_SECONDS ?= 3
SOAK_SECONDS ?= 600
TORTURE_READS ?= 100000000

.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BIN := .venv/bin
STAMPS := build/stamps
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A download that breaks off is no reason to fail: pip retries connections, `thrice` whatever else went wrong.
export PIP_RETRIES ?= 10
export PIP_DEFAULT_TIMEOUT ?= 60
thrice = for again in 5 20 no; do $(1) && break; test $$again != no || exit 1; echo "again in $$again s: $(1)" >&2; sleep $$again; done

find = $(shell find $(1) -type f -not -path '*/__pycache__/*' -not -path '*/node_modules/*' $(2) 2>/dev/null)
KERNEL := $(call find,native_ext,)
PACKAGE := $(call find,app/cwts,-not -name '*.so' -not -name kernel.wasm)
WEB := $(call find,web,)
RECORDINGS := $(call find,tests/data,-name '*.gz')
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))
TORTURES := $(patsubst tests/torture/%.c,build/torture/%,$(wildcard tests/torture/*.c))

# One floating-point rule everywhere, as in pyproject.toml.
CFLAGS_KERNEL := -std=gnu11 -ffp-contract=off -fno-math-errno -fvisibility=hidden -Inative_ext/kernel
CFLAGS_STRICT := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wundef -Wvla -Wdouble-promotion \
  -Wno-bitwise-instead-of-logical

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: site ## set everything up and open the trading page (PORT=8000, OPEN=0 for no browser)
	exec $(BIN)/cwts serve --port "$(PORT)" $(if $(filter 0,$(OPEN)),--no-open)

##@ Build

.PHONY: setup
setup: system-run $(STAMPS)/native $(STAMPS)/node ## the virtual environment with cwts in it, and the npm packages

.PHONY: wasm
wasm: setup $(STAMPS)/wasm ## the kernel for WebAssembly: Pyodide's wheel and kernel.wasm

.PHONY: site
site: wasm $(STAMPS)/site ## the static site in build/site

.PHONY: system-run system-test
system-run system-test:
	@PYTHON=$(PYTHON) .ci/setup-system $(subst system-,,$@)

$(STAMPS):
	@mkdir -p $@

$(STAMPS)/venv: pyproject.toml | $(STAMPS)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")' > build/requirements-dev.txt
	@$(call thrice,$(BIN)/pip install -qq --requirement build/requirements-dev.txt)
	@touch $@

$(STAMPS)/native: $(STAMPS)/venv $(KERNEL) MANIFEST.in
	$(BIN)/pip install -qq --no-build-isolation --no-deps --editable .
	@touch $@

$(STAMPS)/node: web/package.json web/package-lock.json web/.npmrc | $(STAMPS)
	@$(call thrice,npm --prefix web ci --silent)
	@touch $@

$(STAMPS)/wasm: $(KERNEL) $(PACKAGE) wasm_ext/build.py wasm_ext/driver.c pyproject.toml LICENSE $(STAMPS)/venv $(STAMPS)/node
	$(BIN)/python wasm_ext/build.py
	@touch $@

$(STAMPS)/site: $(STAMPS)/wasm $(WEB) $(RECORDINGS)
	$(BIN)/python web/build_site.py
	@touch $@

$(STAMPS)/pyodide-tests: tests/pyodide/fetch.py pyproject.toml $(STAMPS)/venv
	@$(call thrice,$(BIN)/python tests/pyodide/fetch.py)
	@touch $@

##@ Check

.PHONY: test
test: system-test lint test-native test-wasmtime test-pyodide fuzz-short torture-short test-e2e ## everything below, from a bare machine
	@echo "make test: all passed"

.PHONY: lint
lint: setup lint-python lint-web lint-c lint-shell ## ruff, mypy --strict, tsc, gcc and clang warnings, shellcheck

.PHONY: lint-python lint-web lint-c lint-shell
lint-python: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy

lint-web: setup
	npm --prefix web run --silent check

lint-c: system-test
	@for compiler in gcc clang; do for source in native_ext/kernel/kernel*.c; do \
	  $$compiler $(CFLAGS_KERNEL) $(CFLAGS_STRICT) -Wmissing-prototypes -O2 -c -o /dev/null $$source; done; \
	  $$compiler $(CFLAGS_KERNEL) $(CFLAGS_STRICT) -O2 -DPy_LIMITED_API=0x030b0000 \
	    -isystem "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" -c -o /dev/null native_ext/module.c; done

lint-shell: system-test
	shellcheck .ci/run .ci/setup-system

.PHONY: format
format: setup ## rewrite the Python sources as lint wants them
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format --quiet .

.PHONY: test-native test-wasmtime test-pyodide test-e2e
test-native: site ## the suite on the native engine
	CWTS_ENGINE=native $(BIN)/pytest -q

test-wasmtime: site ## the suite on the standalone module in wasmtime
	CWTS_ENGINE=wasmtime $(BIN)/pytest -q --ignore=tests/exchanges --ignore=tests/live --ignore=tests/simulator

test-pyodide: site $(STAMPS)/pyodide-tests ## the suite inside Pyodide in Node
	node tests/pyodide/run.mjs -q

test-e2e: site system-test ## the page in a real Chromium against the simulated exchange
	$(BIN)/pytest -q e2e

# A fuzzer is one tests/fuzz/NAME.c with LLVMFuzzerTestOneInput; its seeds, and the inputs that once broke something, are in
# tests/fuzz/corpus/NAME. The kernel is built with a small block, so that all of it is checked after every input.
# A torture is one tests/torture/NAME.c: a main that takes the seconds to run, or the reads to do, and returns 0 if all is well.
CFLAGS_CHECK := $(CFLAGS_KERNEL) -Wall -Wextra -Werror -Wno-bitwise-instead-of-logical
CFLAGS_FUZZ := $(subst native_ext/kernel,build/fuzz/kernel,$(CFLAGS_CHECK)) -Wno-unused-function -DFUZZ_SMALL -g -O2 -fno-sanitize-recover=all
FUZZ_FLAGS := -entropic=0 -max_len=1024 -timeout=60 -verbosity=0 -dict=tests/fuzz/json.dict

build/fuzz/kernel/stamp: $(KERNEL)
	@rm -rf $(@D) && mkdir -p $(@D) && cp native_ext/kernel/*.[ch] $(@D)
	@sed -i -e 's/CWTS_WINDOW = 65536/CWTS_WINDOW = 4096/; s/CWTS_WINDOW_WORDS = 1024/CWTS_WINDOW_WORDS = 64/' \
	  -e 's/CWTS_SUMMARY_WORDS = 16/CWTS_SUMMARY_WORDS = 1/; s/CWTS_FAR = 32768/CWTS_FAR = 128/' \
	  -e 's/CWTS_STAGE = 32768/CWTS_STAGE = 256/; s/CWTS_TRADES = 4096/CWTS_TRADES = 64/' \
	  -e 's/CWTS_BAR_RING = 1024/CWTS_BAR_RING = 64/; s/CWTS_VOLUME_BAR_RING = 256/CWTS_VOLUME_BAR_RING = 8/' $(@D)/cwts.h
	@sed -i 's/64 - 15/64 - 7/; s/1 << 15/1 << 7/' $(@D)/book.c
	@sed -i '/CHECK_LAYOUT(cwts_side_book)/d' $(@D)/feed.c
	@touch $@

.SECONDARY: build/fuzz/kernel_avx2.o build/fuzz/kernel_avx512.o
build/fuzz/kernel_%.o: build/fuzz/kernel/stamp
	clang $(CFLAGS_FUZZ) -fsanitize=address,undefined -c -o $@ build/fuzz/kernel/kernel_$*.c

build/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h build/fuzz/kernel_avx2.o build/fuzz/kernel_avx512.o
	clang $(CFLAGS_FUZZ) -fsanitize=fuzzer,address,undefined -o $@ $< build/fuzz/kernel_avx2.o build/fuzz/kernel_avx512.o

build/torture/%: tests/torture/%.c $(KERNEL)
	@mkdir -p $(@D)
	clang $(CFLAGS_CHECK) -g -O2 -pthread -fsanitize=thread -o $@ $< native_ext/kernel/kernel.c

build/torture-fast/%: tests/torture/%.c $(KERNEL)
	@mkdir -p $(@D)
	clang $(CFLAGS_CHECK) -O3 -pthread -o $@ $< native_ext/kernel/kernel.c

.PHONY: fuzz fuzz-short fuzz-corpus torture torture-short
fuzz-short: system-test $(FUZZERS) ## libFuzzer with ASan and UBSan on every decoder, FUZZ_SECONDS each
	@for fuzzer in $(FUZZERS); do name=$$(basename $$fuzzer); echo "fuzz $$name, $(FUZZ_SECONDS) s"; mkdir -p build/fuzz/corpus/$$name; \
	  $$fuzzer $(FUZZ_FLAGS) -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/crash-$$name- \
	    build/fuzz/corpus/$$name tests/fuzz/corpus/$$name 2> build/fuzz/$$name.log || { tail -40 build/fuzz/$$name.log; exit 1; }; done

fuzz: system-test $(FUZZERS) ## the same for FUZZ_RUNS executions each (10^7)
	@for fuzzer in $(FUZZERS); do name=$$(basename $$fuzzer); mkdir -p build/fuzz/corpus/$$name; \
	  $$fuzzer $(FUZZ_FLAGS) -runs=$(FUZZ_RUNS) -print_final_stats=1 -artifact_prefix=build/fuzz/crash-$$name- \
	    build/fuzz/corpus/$$name tests/fuzz/corpus/$$name 2> build/fuzz/$$name.log || { tail -40 build/fuzz/$$name.log; exit 1; }; \
	  echo "fuzz $$name: $$(sed -n 's/.*number_of_executed_units: *//p' build/fuzz/$$name.log) executions, no finding"; done

fuzz-corpus: system-test $(FUZZERS) ## keep in tests/fuzz/corpus only what reaches code of its own
	@for fuzzer in $(FUZZERS); do name=$$(basename $$fuzzer); rm -rf build/fuzz/merged/$$name; mkdir -p build/fuzz/merged/$$name; \
	  $$fuzzer -merge=1 -max_len=4096 build/fuzz/merged/$$name tests/fuzz/corpus/$$name 2> build/fuzz/$$name.log; \
	  rm -rf tests/fuzz/corpus/$$name; mv build/fuzz/merged/$$name tests/fuzz/corpus/$$name; done

# ThreadSanitizer of LLVM 14 wants the old address-space layout; setarch gives it where the kernel allows.
torture-short: system-test $(TORTURES) ## ThreadSanitizer on the lock-free parts, TORTURE_SECONDS each
	@layout=""; setarch -R true 2>/dev/null && layout="setarch -R"; for torture in $(TORTURES); do \
	  echo "torture $$(basename $$torture), $(TORTURE_SECONDS) s"; $$layout $$torture $(TORTURE_SECONDS); done

torture: torture-short $(TORTURES:build/torture/%=build/torture-fast/%) test-slow ## the same optimised for TORTURE_READS reads (10^8), and the slow tests
	@for torture in $(TORTURES:build/torture/%=build/torture-fast/%); do $$torture 3600 $(TORTURE_READS); done

.PHONY: test-slow test-schedules soak
test-schedules: site ## 1,000 random fault schedules against the simulated exchange (CWTS_SCHEDULES=1000)
	CWTS_ENGINE=native $(BIN)/pytest -q -m slow tests/live -k thousand

soak: site ## 1,000 messages a second for SOAK_SECONDS (600), then 100,000 at once: nothing lost, memory flat
	CWTS_ENGINE=native CWTS_SOAK_SECONDS=$(SOAK_SECONDS) CWTS_BURST=100000 $(BIN)/pytest -q -s -m slow tests/live/test_soak.py

test-slow: site
	CWTS_ENGINE=native $(BIN)/pytest -q -m slow

##@ Measure

.PHONY: bench
bench: site $(STAMPS)/peers ## the speed table, against the peers, in one run
	PYTHONPATH=app build/peers/bin/python -m cwts.cli bench

# The peers have a virtual environment of their own: they are no part of development.
$(STAMPS)/peers: pyproject.toml $(STAMPS)/native
	@test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	@$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["peers"], *p["optional-dependencies"]["gpu"], sep="\n")' > build/requirements-peers.txt
	build/peers/bin/pip install -qq --requirement build/requirements-peers.txt --constraint build/requirements-dev.txt
	@touch $@

##@ Clean

.PHONY: clean
clean: ## remove what make made, except the cache of downloads
	rm -rf .venv build dist web/node_modules app/*.egg-info app/cwts/kernel.wasm app/cwts/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find app tests e2e web wasm_ext -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
