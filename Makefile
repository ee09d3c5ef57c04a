# The two commands that do everything are `make demo` and `make test`.

# The guests are for another target than the rest, so they are not among the default members.
GUESTS := $(foreach guest,plugin-backup plugin-build plugin-command plugin-deploy \
	plugin-gray-release plugin-load plugin-notify plugin-push plugin-restore plugin-scale plugin-script plugin-source plugin-test \
	test-guest-noop test-guest-probe,--package yuanli-$(guest))

.PHONY: help demo test soak lint bench install image
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: ## Build the engine and watch it build and test a small web service
	scripts/setup
	cargo build --release --locked --package yuanli-cli
	scripts/demo

test: ## Run all tests, with a real Docker engine
	scripts/setup
	cargo test --locked --no-fail-fast
	cargo test --locked --package yuanli-plugin-build --package yuanli-plugin-command --package yuanli-plugin-gray-release \
		--package yuanli-plugin-load --package yuanli-plugin-notify --package yuanli-plugin-push --package yuanli-plugin-source \
		--package yuanli-plugin-test

soak: ## Kill, damage and fuzz for as long as that takes: an hour
	scripts/setup
	YUANLI_SOAK=1 cargo test --locked --package yuanli-store --test kill --test power --test damage --test model --test transfer
	YUANLI_SOAK=1 cargo test --locked --package yuanli-fuzz
	YUANLI_SOAK_SECONDS=$${YUANLI_SOAK_SECONDS:-900} cargo test --locked --package yuanli-simulator -- --nocapture
	YUANLI_SOAK=1 cargo test --locked --test e2e -- whoever_is_killed so_does_one faults::
	scripts/fuzz 120

lint: ## Check formatting, lints and documentation
	scripts/setup --build-only
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --target wasm32-wasip2 $(GUESTS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

bench: ## Print every figure that the project promises, with its conditions
	scripts/setup --bench
	cargo build --release --locked --package yuanli-cli
	cargo run --release --locked --package yuanli-bench

BINARY ?= target/release/yuanli
PREFIX ?= /usr

install: ## Put the engine and its systemd unit in place (DESTDIR, PREFIX); see docs/install.md
	install -D --mode=755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/yuanli
	install -D --mode=644 packaging/systemd/yuanli.service $(DESTDIR)$(PREFIX)/lib/systemd/system/yuanli.service
	sed -i 's#=/usr/bin/#=$(PREFIX)/bin/#' $(DESTDIR)$(PREFIX)/lib/systemd/system/yuanli.service
	install -D --mode=644 packaging/systemd/yuanli.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/yuanli.conf
	install -D --mode=644 -t $(DESTDIR)$(PREFIX)/share/doc/yuanli docs/install.md packaging/systemd/secrets-key.conf

image: ## Make the engine's own image, yuanli:dev (IMAGE)
	packaging/image/make $(or $(IMAGE),yuanli:dev) $(BINARY)
