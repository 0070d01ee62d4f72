# What a newcomer runs. `make help` lists it.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
FUZZ_SECONDS ?= 60
CHAOS_SECONDS ?= 180

.PHONY: help run up scale down test chaos reliability rolling bench compare peers audit licences sbom fuzz loom

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## builds and starts the gateway, in-process or on Redis: REDIS_URL=redis://127.0.0.1:6379 make run
	cargo build --locked --profile quick --bin fanline
	$(TARGET)/quick/fanline serve

# stack.py has its variables from the environment, whatever signs are in them, and make puts there what its command line says.
up: ## starts Redis, REPLICAS (3) replicas, HAProxy, Prometheus and a producer, as docker-compose.yml does; Ctrl-C ends them
	tests/setup.sh redis haproxy $(if $(filter off,$(PROMETHEUS)),,prometheus)
	$(if $(GATEWAY_BIN),,cargo build --locked --profile quick --bin fanline)
	python3 examples/stack/stack.py up

scale: ## starts or drains replicas of `make up` while it runs: make scale REPLICAS=4
	@python3 examples/stack/stack.py scale

down: ## ends `make up`, as Ctrl-C does: the replicas drain first
	@python3 examples/stack/stack.py down

test: ## installs what the tests need, then runs every check; OFFLINE=1 skips by name what cannot run
	tests/run.sh

chaos: ## draws faults for CHAOS_SECONDS (180) and prints what was lost, doubled or told; CHAOS_SEED=n draws the same again
	cargo build --locked --profile quick --bin fanline
	GATEWAY_BIN=$(TARGET)/quick/fanline CHAOS_SECONDS=$(CHAOS_SECONDS) \
	cargo test --locked --profile quick --test ledger -- --nocapture --exact chaos::faults_in_a_row_leave_nothing_lost_without_a_word

reliability: ## the same after each fault by itself, as long as in life, and writes load/RELIABILITY.md; about ten minutes
	RELIABILITY=1 $(MAKE) --no-print-directory chaos

rolling: ## restarts three replicas behind HAProxy in turn, under 5,000 clients, and writes what it saw into load/RELIABILITY.md
	tests/setup.sh redis haproxy
	cargo build --locked --profile quick --bin fanline
	PATH="$$PATH:/usr/sbin" GATEWAY_BIN=$(abspath $(TARGET))/quick/fanline ROLLING_REPORT=1 \
	cargo test --locked --test rolling -- --nocapture

bench: ## measures the gateway against the floor, then a fleet of it, then it beside whatever peers are on the machine
	cargo build --locked --release --workspace
	$(TARGET)/release/fanline-load bench --gateway $(TARGET)/release/fanline; questions=$$?; \
	$(TARGET)/release/fanline-load fleet --gateway $(TARGET)/release/fanline --out load || questions=$$?; \
	$(TARGET)/release/fanline-load compare --gateway $(TARGET)/release/fanline --growth && exit $$questions

compare: ## only the latter: Bun, nchan, ws, Socket.IO, in one table and pictures
	cargo build --locked --release --workspace
	$(TARGET)/release/fanline-load compare --gateway $(TARGET)/release/fanline --growth

peers: ## installs the peers: npm packages into load/peers, nchan by apt-get
	load/peers/setup.sh

audit: ## asks the advisory database about every dependency; needs the network
	tests/setup.sh cargo-deny
	PATH="$(CURDIR)/tests/.tools/bin:$$PATH" cargo deny check advisories

# --frozen: texts come from the crates alone, so that everybody writes the same.
licences: ## writes what the binary is made of and under which licences into .licences/THIRD-PARTY.txt; some minutes
	tests/setup.sh cargo-about
	cargo fetch --locked
	tests/.tools/bin/cargo-about about generate --frozen --fail --config .licences/about.toml \
		--output-file .licences/THIRD-PARTY.txt .licences/notices.hbs
	sed -i 's/\r$$//' .licences/THIRD-PARTY.txt

# cargo-cyclonedx writes beside each manifest of the workspace; only the gateway's is handed out.
sbom: ## writes the gateway's bill of materials in CycloneDX's form to target/fanline.cdx.json
	tests/setup.sh cargo-cyclonedx
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) tests/.tools/bin/cargo-cyclonedx cyclonedx --quiet --format json \
		--spec-version 1.5 --describe binaries --target x86_64-unknown-linux-gnu --no-build-deps
	mkdir -p $(TARGET) && mv fanline_bin.cdx.json $(TARGET)/fanline.cdx.json
	rm load/fanline-load_bin.cdx.json tests/cost/fanline-cost_bin.cdx.json

fuzz: ## fuzzes the frame codec, compression and the json protocol for FUZZ_SECONDS (60); needs a nightly toolchain and cargo-fuzz
	cargo +nightly fuzz run --fuzz-dir tests/fuzz -s none frame -- -max_total_time=$(FUZZ_SECONDS)
	cargo +nightly fuzz run --fuzz-dir tests/fuzz -s none deflate -- -max_total_time=$(FUZZ_SECONDS)
	cargo +nightly fuzz run --fuzz-dir tests/fuzz -s none json -- -max_total_time=$(FUZZ_SECONDS)

loom: ## model-checks the hand-over of a full socket: every order of threads
	RUSTFLAGS="--cfg fanline_loom" cargo test --locked --profile quick --lib --target-dir $(TARGET)/loom outbox::loom
