# reanchor: what a person runs. `make help` lists it.

SHELL  := /bin/bash
.SHELLFLAGS := -o pipefail -ec
ROOT   := $(CURDIR)
BIN    := $(ROOT)/.bin
TOOL   := go tool -modfile=$(ROOT)/tools/go.mod
# Tests that need the control plane and TLS clients carry the build tag e2e. The longest
# come first: two packages run at a time, and neither is to wait for the other in the end.
E2E    := ./fixtures/aio-root ./fixtures/aio-intermediate ./fixtures/bring-your-own ./fixtures/starlingx-internal ./fixtures/registrar \
          ./cmd/reanchor ./fixtures/qiot ./fixtures/starlingx-acme ./gitsource ./fixtures/acme ./fixtures/aio-default ./fixtures/import \
          ./fixtures/controlplane ./fixtures/plant ./applier ./registrar ./fixtures/...
# Where generated files lie.
GENERATED := api config docs/reference
PACKAGES := mosquitto mosquitto-clients openssl git bind9 strace curl strongswan-pki libstrongswan-standard-plugins default-jdk-headless libbcpkix-java

.PHONY: help deps build check lint generated test e2e demo cluster-up cluster-down golden generate diagrams bench soak mutate import

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing: Debian packages, Go modules, the control plane's binaries
	@missing=; for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; as=; [ "$$(id -u)" = 0 ] || as=sudo; \
		$$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@go mod download
	@$(MAKE) --no-print-directory -C fixtures/controlplane build

build: ## build .bin/reanchor, and the names under which kubectl finds it
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(BIN)/reanchor ./cmd/reanchor
	@for name in kubectl-reanchor kubectl_complete-reanchor; do ln -sf reanchor $(BIN)/$$name; done

check: lint generated ## the quick checks: linters, generated files, unit tests and simulation
	go test -short -vet=off ./...

lint:
	@unformatted=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go' | grep -v zz_generated)); \
	if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	go vet -tags e2e ./...
	$(TOOL) staticcheck -tags e2e ./...

generated:
	@before=$$(git status --porcelain -- $(GENERATED) | sha256sum; git diff -- $(GENERATED) | sha256sum); \
	$(MAKE) --no-print-directory generate; \
	after=$$(git status --porcelain -- $(GENERATED) | sha256sum; git diff -- $(GENERATED) | sha256sum); \
	if [ "$$before" != "$$after" ]; then echo "generated files were stale: commit what \`make generate\` wrote"; git status --short -- $(GENERATED); exit 1; fi

generate: ## write deep copies, the CRD, the JSON Schemas and the reference anew
	$(TOOL) controller-gen object crd paths=./api/... output:crd:dir=config/crd
	go run ./api/v1alpha1/schemas/generate api/v1alpha1 api/v1alpha1/schemas config/crd/reanchor.dev_trustdomains.yaml docs/reference planner
	go test ./cmd/reanchor ./registrar -count=1 -vet=off -run 'TestReference|TestOpenAPI' -update

golden: ## write the golden files anew; read the difference before you commit it
	go test $$(grep -rlF 'reanchor/fixtures/golden"' --include=*_test.go . | xargs -n1 dirname | sort -u) -update

diagrams: ## parse the diagrams of the golden plans with Mermaid itself; needs npm
	npm ci --prefix tools/mermaid --silent --no-audit --no-fund
	node tools/mermaid/parse.mjs planner/report/testdata/*.md fixtures/history/plans/*.md

# The packages with tests end to end run all of their tests there, and are left out before.
test: deps lint generated ## everything: the quick checks, then end to end on a real control plane
	go test -short -vet=off $$(comm -23 <(go list ./... | sort) <(go list -tags e2e $(E2E) | sort))
	@$(MAKE) --no-print-directory e2e

e2e: build
	go test -tags e2e -count=1 -p 2 -vet=off -timeout 40m $(E2E)

import: build ## the same for an import of 1,000 Certificates, which takes ten minutes
	IMPORT_SENSORS=1000 go test -tags e2e -count=1 -timeout 40m -v ./fixtures/import

demo: deps build ## roll a root over before your eyes; KEEP=1 leaves it running
	@go run ./fixtures/demo $(if $(KEEP),-keep)

cluster-up: deps ## start a control plane in .cluster/
	@$(MAKE) --no-print-directory -C fixtures/controlplane up

cluster-down: ## end it
	@$(MAKE) --no-print-directory -C fixtures/controlplane down

bench: ## measure: ratios side by side, with allocations
	go test -run '^$$' -bench . -benchmem ./gitsource ./renderer ./planner/... ./reconciler ./cmd/reanchor

mutate: ## put faults into the planner, one after the other, and see what catches them
	go run ./fixtures/mutation docs/explanation/mutations.md

# Without -rapid.seed each property draws a seed of its own, and so other worlds than the others;
# the command that a failure prints has the seed of the world that failed.
soak: ## look at other random worlds for MINUTES (10), and run each fuzz target for FUZZTIME (1m)
	@end=$$(( $$(date +%s) + 60 * $(or $(MINUTES),10) )); \
	while [ $$(date +%s) -lt $$end ]; do \
		go test -count=1 ./planner/simulation ./planner/forecast -rapid.checks=200 -timeout 0 || exit 1; \
	done
	go run ./fixtures/soak -time $(or $(FUZZTIME),1m)
