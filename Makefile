# Two commands do all the set-up that they need: downloads go to $XDG_CACHE_HOME/odoo-matrix (else ~/.cache/odoo-matrix).
#   make demo               everything from nothing, a story, and a place to look around until Ctrl-C
#   make demo DEMO_EXIT=1   the same, ending after the story; fails when a message is missing
#   make test               every check
#   make test-fast          the inner loop: format, lint, unit tests, rules of the sources, and delivery; two minutes when built before
#   make test-addons        the addons' tests alone; ODOO_CMD names an Odoo of your own
#   make reliability        the tests of faults, and docs/reliability.md from what they measured
#   make bench              what the release build delivers beside what this machine could, then what encryption costs; BENCH="--help" says more
#   make soak               the same with greater numbers
#   make deb                the Debian package of the worker, in target/deb
#   make test-systemd       the package in a container with a real systemd: install, faults, upgrade, purge (needs root)

CARGO ?= cargo
# PostgreSQL in a container, for machines where its server is neither installed nor can be. It is a third of the build.
HAS_POSTGRES = $(TEST_DATABASE_URL)$(wildcard /usr/lib/postgresql/*/bin/initdb)$(shell command -v initdb || { [ "$$(id -u)" = 0 ] && command -v apt-get; })
CONTAINERS ?= $(if $(strip $(HAS_POSTGRES)),,1)
FEATURES = $(if $(filter-out 0,$(CONTAINERS)),--features odoo-matrix-stack/containers)
# The example has its dependencies in common with the tests, which then need not build them once more.
LIKE_TESTS =
test test-fast test-systemd soak reliability: LIKE_TESTS = --example manual

STACK = "$${CARGO_TARGET_DIR:-target}/debug/stack"
# What the tests of faults have measured: rows of an earlier tree must not be mixed with those of this one.
RELIABILITY = "$${CARGO_TARGET_DIR:-target}/reliability"

.PHONY: build deb demo setup test test-fast test-addons test-systemd soak reliability bench

build:
	$(CARGO) build --locked --workspace $(FEATURES) --bin odoo-matrix-worker --bin stack $(LIKE_TESTS)

demo: build
	@$(STACK) demo $(if $(filter-out 0,$(DEMO_EXIT)),--exit)

test: build
	@$(STACK) test

test-fast: build
	@$(STACK) test --fast

test-addons: build
	@$(STACK) test-addons

deb: build
	@$(STACK) deb

test-systemd: build
	@$(STACK) setup-systemd
	$(CARGO) test --locked --test systemd

setup: build
	@$(STACK) setup

# Also in their long form: the same code with greater numbers.
soak: export SOAK = 1
soak: reliability
	$(CARGO) test --locked --test encryption -- faults whichever_worker_dies
	$(CARGO) test --locked --test encryption -- kills --ignored --test-threads 1
	@$(STACK) reliability-table
	$(CARGO) test --locked --test inbound -- two_databases away --ignored

reliability: build
	rm -rf $(RELIABILITY)
	$(CARGO) test --locked --no-fail-fast --test crash --test order
	$(CARGO) test --locked --no-fail-fast --test worker -- a_403_has_six_causes everything_that_the_worker_does_not_need a_refusal_of_the_account
	$(CARGO) test --locked --no-fail-fast --test inbound -- restarts soon --include-ignored
	@$(STACK) reliability-table

bench:
	$(CARGO) build --release --locked --bin odoo-matrix-worker
	$(CARGO) build --release --locked -p odoo-matrix-stack --bin bench
	@"$${CARGO_TARGET_DIR:-target}/release/bench" --binary "$${CARGO_TARGET_DIR:-target}/release/odoo-matrix-worker" $(BENCH)
	$(if $(BENCH),,$(CARGO) test --locked --test encryption -- throughput --ignored --nocapture)
