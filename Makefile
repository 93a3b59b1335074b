# make run     build, and watch this node in the foreground (Ctrl-C ends it)
# make test    install what the tests need, and run them all
# make test-unit  run the unit tests alone: as any user, without iptables, nft and other packages
# make test-versions  the tests of rules again, written by the iptables and nft of Debian 11 to 14 (tests/tools/iptables-roots)
# make test-owners  firewalld, podman, Docker and others of Debian 12 to 14 write rules, which are adopted (tests/tools/owner-roots)
# make lint    formatting, clippy and documentation, warnings as errors
# make check-image  try the image's packages and build context, without pulling an image
# make bench   measure this machine and print a table (docs/performance.md)

SHELL := /bin/bash
export MONITOR_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
MONITOR := target/release/monitor

.PHONY: build run test test-unit test-versions test-owners lint bench check-image test-tools

build:
	cargo build --release --locked

run: build
	$(MONITOR) --profile base,kubernetes --interval 300

test: test-tools
	cargo test --locked

test-unit:
	cargo test --locked --lib

test-versions: test-tools
	roots=$$(tests/tools/iptables-roots) && IPTABLES_ROOTS=$$roots cargo test --locked --test it -- witness:: native::kernel::

test-owners: test-tools
	roots=$$(tests/tools/owner-roots) && OWNER_ROOTS=$$roots cargo test --locked --test it owners:: -- --include-ignored

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

bench: test-tools
	IPTABLES_ROOTS=$$(tests/tools/iptables-roots --cached) cargo bench --locked --bench bench

check-image:
	tests/tools/check-image

# Debian packages; elsewhere install the same programs by hand.
test-tools:
	tests/tools/install $$(cat tests/tools/apt-packages)
