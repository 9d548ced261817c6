# Entry points for people and CI. The main ones are `make demo`, `make check` and `make test`.

# Build output goes to a cache folder if the environment names one, so that clones share it.
ifndef CARGO_TARGET_DIR
ifdef XDG_CACHE_HOME
export CARGO_TARGET_DIR := $(XDG_CACHE_HOME)/rstudio-pm/target
else ifdef CI
export CARGO_TARGET_DIR := $(HOME)/.cache/rstudio-pm/target
else
export CARGO_TARGET_DIR := $(CURDIR)/target
endif
endif

CARGO := cargo --locked

.PHONY: demo check test test-exhaustive setup compiler style lint unit unit-data fuzz fuzz-lock map bench build portable install install-downloader downloader deb rpm sign deny package-test tested-packages packages soak docs screenshots clean help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo    build, serve the example packages, install one with R, keep serving (CRAN_URL=… syncs that mirror too)
demo: compiler
	@examples/demo --check
	@[ -x $(CARGO_TARGET_DIR)/demo/rstudio-pm ] || echo "Compiling: the first time it takes about five minutes on two processors, later seconds."
	$(CARGO) build --profile demo --bin rstudio-pm --bin rspm
	@BIN=$(CARGO_TARGET_DIR)/demo CRAN_URL=$(CRAN_URL) examples/demo

## make check   check formatting and lints, and run the tests that need only Rust and a C compiler: no root, no network
check: compiler style
	@tests/check

## make test    install the tools that the tests need, then check formatting and lints and run all tests
test:
	@tests/stages setup lint unit+packages

## make test-exhaustive  make test with all tests of which it runs a tenth (tests/exhaustive.txt), and the packages on Debian 11 too
test-exhaustive:
	@EXHAUSTIVE=1 TENTH=0 tests/stages setup lint unit+packages

## make setup   install the tools that the tests need (Debian and Ubuntu, as root)
setup:
	@tests/setup

style:
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

lint: style
	@. tests/setup.env && cargo deny --locked check licenses bans sources
	@$(CARGO) metadata --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null || { echo "fuzz/Cargo.lock differs from Cargo.lock: make fuzz-lock" >&2; exit 1; }

unit:
	@tests/unit

## make unit-data  run the tests that read the test data on another folder (RSPM_TEST_DATA=…); PART=3/10 for a part of them
unit-data:
	@tests/unit data $(PART)

# Rust needs a C compiler for linking and for SQLite.
compiler:
	@command -v cc >/dev/null || { echo "installing a C compiler (apt-get install gcc libc6-dev)"; apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }

## make build   build the programs in release mode
build: compiler
	$(CARGO) build --release --bins

## make bench   measure performance as ratios within one run (ARGS="serving index" for some groups)
bench: setup
	@command -v libdeflate-gzip >/dev/null || apt-get install -y -qq --no-install-recommends libdeflate-tools >/dev/null
	@command -v sqlite3 >/dev/null || apt-get install -y -qq --no-install-recommends sqlite3 >/dev/null
	@command -v h2load >/dev/null || apt-get install -y -qq --no-install-recommends nghttp2-client >/dev/null
	. tests/setup.env && $(CARGO) bench --bench promises -- $(ARGS)

## make fuzz    fuzz every parser of untrusted bytes (FUZZ_SECONDS=60 for each, TARGET=rds_item for one)
FUZZ_SECONDS ?= 60
fuzz: compiler
	@command -v c++ >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ >/dev/null; }
	@fuzz/run $(FUZZ_SECONDS) $(TARGET)

## make map     print the crates and the subject of each file (FIND=sign-in for some)
map:
	@tests/map "$(FIND)"

# After a change of dependencies: gives the fuzzing package the same versions.
fuzz-lock:
	cp Cargo.lock fuzz/Cargo.lock
	cargo metadata --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null

## make docs    regenerate the generated pages of docs/
docs:
	UPDATE_DOCS=1 $(CARGO) test --test interfaces -- packaging::generated

## make screenshots  write the pictures of the README, and pictures of all main pages to SCREENSHOTS (target/screenshots)
SCREENSHOTS ?= $(CARGO_TARGET_DIR)/screenshots
screenshots: setup
	. tests/setup.env && RSPM_SCREENSHOTS=$(SCREENSHOTS) $(CARGO) test --test interfaces -- web::screenshots::pictures
	@echo "$(SCREENSHOTS)"

# Profile of the programs in the packages.
export PROFILE ?= dist

## make portable  build the programs for every distribution with glibc 2.28 or newer, without debug information
portable:
	@CARGO_TARGET_DIR=$(CARGO_TARGET_DIR) tests/packaging/portable

# Folder of the programs for `install`, and release number of the package.
BIN ?= $(CARGO_TARGET_DIR)/x86_64-unknown-linux-gnu/$(PROFILE)
RELEASE ?= 1
# Target of the link /usr/bin/rspm: Debian requires an absolute one, rpm a relative one.
RSPM ?= /opt/rstudio-pm/bin/rspm
# Folder of zsh completions, which differs between Debian and other distributions.
ZSH ?= /usr/share/zsh/vendor-completions
# Name of the gpg key for signing packages; if empty, they are not signed.
SIGN_KEY ?=
export SIGN_KEY
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;/^version/q' Cargo.toml)

# Writes the licence texts of all crates, and the SBOM, to the documentation folder of a package.
define inventory
	install -d -m 755 $(1)
	tests/packaging/inventory $(1)/third-party-licences.txt $(1)/sbom.cdx.json
	gzip -9n $(1)/third-party-licences.txt
	chmod 644 $(1)/third-party-licences.txt.gz $(1)/sbom.cdx.json
endef

## make install DESTDIR=…  install all files to the documented paths; defines the contents of the package
install:
	install -d -m 755 $(DESTDIR)/opt/rstudio-pm/bin $(DESTDIR)/opt/rstudio-pm/lib $(DESTDIR)/usr/bin
	install -m 755 $(BIN)/rstudio-pm $(BIN)/rspm $(BIN)/migrate units/license-manager $(DESTDIR)/opt/rstudio-pm/bin/
	install -m 755 $(BIN)/rstudio-pm-builder $(DESTDIR)/opt/rstudio-pm/lib/
	echo $(VERSION)-$(RELEASE) > $(DESTDIR)/opt/rstudio-pm/VERSION
	chmod 644 $(DESTDIR)/opt/rstudio-pm/VERSION
	install -m 644 etc/schema $(DESTDIR)/opt/rstudio-pm/lib/schema
	install -m 755 units/open-sockets units/close-sockets units/reopen-logs units/removal-commands units/take-over $(DESTDIR)/opt/rstudio-pm/lib/
	ln -sf $(RSPM) $(DESTDIR)/usr/bin/rspm
	install -d -m 755 $(DESTDIR)/etc/rstudio-pm $(DESTDIR)/etc/logrotate.d
	install -m 644 etc/rstudio-pm.gcfg $(DESTDIR)/opt/rstudio-pm/lib/rstudio-pm.gcfg
	[ -e $(DESTDIR)/etc/rstudio-pm/rstudio-pm.gcfg ] || install -m 640 etc/rstudio-pm.gcfg $(DESTDIR)/etc/rstudio-pm/
	install -m 644 etc/rstudio-pm.gcfg.defaults $(DESTDIR)/etc/rstudio-pm/
	install -m 644 logrotate/rstudio-pm $(DESTDIR)/etc/logrotate.d/
	install -d -m 755 $(DESTDIR)/usr/lib/systemd/system $(DESTDIR)/usr/lib/systemd/system-generators
	install -m 644 units/rstudio-pm.service units/rstudio-pm-*@.socket units/rstudio-pm-backup* \
	    units/rstudio-pm-fetch* units/rstudio-pm-build* $(DESTDIR)/usr/lib/systemd/system/
	install -m 755 $(BIN)/rstudio-pm-generator $(DESTDIR)/usr/lib/systemd/system-generators/
	install -d -m 755 $(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)/usr/lib/tmpfiles.d
	install -m 644 units/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/rstudio-pm.conf
	install -m 644 units/tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/rstudio-pm.conf
	$(call inventory,$(DESTDIR)/usr/share/doc/rstudio-pm)
	for page in $$(cd docs && find . -path ./man -prune -o -type f -printf '%P\n'); do \
	    install -D -m 644 docs/$$page $(DESTDIR)/usr/share/doc/rstudio-pm/$$page; done
	install -d -m 755 $(DESTDIR)/usr/share/doc/rstudio-pm/examples/import
	install -m 644 examples/import/*.py $(DESTDIR)/usr/share/doc/rstudio-pm/examples/import/
	for page in docs/man/rspm.1 docs/man/rstudio-pm.8 docs/man/rstudio-pm-migrate.8 docs/man/rstudio-pm.gcfg.5; do \
	    dir=$(DESTDIR)/usr/share/man/man$${page##*.}; install -d -m 755 $$dir; \
	    gzip -9n < $$page > $$dir/$${page##*/}.gz; chmod 644 $$dir/$${page##*/}.gz; done
	install -d -m 755 $(DESTDIR)/usr/share/bash-completion/completions $(DESTDIR)$(ZSH) \
	    $(DESTDIR)/usr/share/fish/vendor_completions.d
	$(BIN)/rspm completion bash > $(DESTDIR)/usr/share/bash-completion/completions/rspm
	$(BIN)/rspm completion zsh > $(DESTDIR)$(ZSH)/_rspm
	$(BIN)/rspm completion fish > $(DESTDIR)/usr/share/fish/vendor_completions.d/rspm.fish
	chmod 644 $(DESTDIR)/usr/share/bash-completion/completions/rspm \
	    $(DESTDIR)$(ZSH)/_rspm $(DESTDIR)/usr/share/fish/vendor_completions.d/rspm.fish

## make install-downloader DESTDIR=…  the same for the downloader, which is a separate package
install-downloader:
	install -d -m 755 $(DESTDIR)/usr/bin $(DESTDIR)/usr/share/man/man1
	install -m 755 $(BIN)/rspm-offline-downloader $(DESTDIR)/usr/bin/
	$(call inventory,$(DESTDIR)/usr/share/doc/rspm-offline-downloader)
	gzip -9n < docs/man/rspm-offline-downloader.1 > $(DESTDIR)/usr/share/man/man1/rspm-offline-downloader.1.gz
	chmod 644 $(DESTDIR)/usr/share/man/man1/rspm-offline-downloader.1.gz
	install -d -m 755 $(DESTDIR)/usr/share/bash-completion/completions $(DESTDIR)$(ZSH) \
	    $(DESTDIR)/usr/share/fish/vendor_completions.d
	$(BIN)/rspm-offline-downloader completion bash > $(DESTDIR)/usr/share/bash-completion/completions/rspm-offline-downloader
	$(BIN)/rspm-offline-downloader completion zsh > $(DESTDIR)$(ZSH)/_rspm-offline-downloader
	$(BIN)/rspm-offline-downloader completion fish > $(DESTDIR)/usr/share/fish/vendor_completions.d/rspm-offline-downloader.fish
	chmod 644 $(DESTDIR)/usr/share/bash-completion/completions/rspm-offline-downloader \
	    $(DESTDIR)$(ZSH)/_rspm-offline-downloader $(DESTDIR)/usr/share/fish/vendor_completions.d/rspm-offline-downloader.fish

## make downloader  build dist/rspm-offline-downloader as .deb, .rpm and .tar.gz, without service, user or database
downloader: portable
	@VERSION=$(VERSION) RELEASE=$(RELEASE) BIN=$(BIN) debian/downloader
	@VERSION=$(VERSION) RELEASE=$(RELEASE) BIN=$(BIN) NAME=rspm-offline-downloader rpm/build
	@VERSION=$(VERSION) BIN=$(BIN) debian/tarball

## make deb     build dist/rstudio-pm_<version>-<release>_amd64.deb
deb: portable
	@VERSION=$(VERSION) RELEASE=$(RELEASE) BIN=$(BIN) debian/build

## make rpm     build dist/rstudio-pm-<version>-<release>.x86_64.rpm
rpm: portable
	@VERSION=$(VERSION) RELEASE=$(RELEASE) BIN=$(BIN) rpm/build

## make sign SIGN_KEY=…  sign the packages in dist/ with a gpg key; deb, rpm and downloader also do so if SIGN_KEY is set
sign:
	@rpm/sign dist/*.deb dist/*.rpm dist/*.tar.gz

## make deny    check the crates for known vulnerabilities, besides what lint checks of them: licenses, duplicates, origins (deny.toml)
deny:
	. tests/setup.env && cargo deny --locked check

## make soak    run a hundred restarts, reloads and upgrades during a million requests, none of which may fail (15 minutes)
soak:
	. tests/setup.env && $(CARGO) test --test integration -- --exact --ignored --nocapture \
	    daemon::soak::a_hundred_restarts_reloads_and_upgrades_and_a_million_requests_fail_none

# Profile of the programs in the packages of the tests, which are faster to build than released ones: without optimization, and
# not compressed as well. `dev` is that of the tests, whose programs do not run on Debian 11.
TESTED ?= tested

tested-packages:
	@PROFILE=$(TESTED) COMPRESSION="-Zgzip -z1" $(MAKE) --no-print-directory deb rpm downloader

## make package-test  install, run, upgrade and remove the packages, follow the runbooks, and build packages from git, on booted systems (as root, on Debian or Ubuntu)
package-test: tested-packages
	@PROFILE=$(TESTED) tests/packaging/all

# Part of `make test` where systems can be booted. In CI it is mandatory and fails if they cannot.
packages:
	@if [ -n "$$CI" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get && unshare -mpf true; } >/dev/null 2>&1; then \
	    tests/packaging/packages; \
	else echo "make test: the packages were not tested; this requires root on Debian or Ubuntu and permission to boot a system: make package-test"; fi

## make clean   remove build output and the demo's directory
clean:
	cargo clean
	rm -rf demo
