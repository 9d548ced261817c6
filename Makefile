# What people and CI call. Two commands matter: `make demo` and `make test`.

# Build output goes to a cache folder when the environment names one, so that fresh clones share it.
ifndef CARGO_TARGET_DIR
ifdef XDG_CACHE_HOME
export CARGO_TARGET_DIR := $(XDG_CACHE_HOME)/rstudio-pm/target
else ifdef CI
export CARGO_TARGET_DIR := $(HOME)/.cache/rstudio-pm/target
else
export CARGO_TARGET_DIR := $(CURDIR)/target
endif
endif

# One process for each test when cargo-nextest is there, threads of one process otherwise.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
CARGO := cargo --locked

.PHONY: demo test setup lint unit bench build docs clean help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo    build, serve the example packages, install one with R, keep serving (CRAN_URL=… syncs that mirror too)
demo: build
	@BIN=$(CARGO_TARGET_DIR)/release CRAN_URL=$(CRAN_URL) examples/demo

## make test    install what the tests need, then formatting, lints and all tests
test: setup lint unit

## make setup   install what the tests need (Debian and Ubuntu, as root)
setup:
	@tests/setup

lint:
	cargo fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings

unit:
ifdef NEXTEST
	. tests/setup.env && $(CARGO) nextest run --no-fail-fast
else
	. tests/setup.env && $(CARGO) test --no-fail-fast
endif

## make build   release binaries
build:
	$(CARGO) build --release --bins

## make bench   the measured promises, as ratios taken in one run (ARGS="serving index" for some of them)
bench: setup
	@command -v libdeflate-gzip >/dev/null || apt-get install -y -qq --no-install-recommends libdeflate-tools >/dev/null
	. tests/setup.env && $(CARGO) bench --bench promises -- $(ARGS)

## make docs    write the generated pages of docs/ again
docs:
	UPDATE_DOCS=1 $(CARGO) test --lib -- docs reference defaults

## make clean   remove build output and the demo's directory
clean:
	cargo clean
	rm -rf demo
