# Every target works on a fresh checkout with Go and the network; `make test`
# as root runs the live tests too, which make cgroups and namespaces.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s
SOAK        ?= 500
TESTFLAGS   ?=
OUT         := build

# The tag leaves the command-line library's manual page generator out.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
	-ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: help build test lint fuzz bench soak cover clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, build/nsinspect
	@mkdir -p $(OUT)
	$(BUILD) -o $(OUT)/nsinspect .

# The live tests share the host's cgroups, so one package runs at a time.
# Every line is kept in build/test.log; what is shown is what went wrong.
test: ## all tests; NSINSPECT_LIVE=require makes a skipped live test a failure
	@mkdir -p $(OUT)
	@status=0; \
	$(GO) test -count=1 -p 1 -timeout 20m -v $(TESTFLAGS) ./... 2>&1 | tee $(OUT)/test.log \
		| grep -a --line-buffered -E '^(ok|FAIL|panic:|\?) |^ *--- (FAIL|SKIP)' || status=$${PIPESTATUS[0]}; \
	if [ $$status -ne 0 ]; then \
		echo; echo "what failed said:"; \
		awk '!/^=== (PAUSE|CONT) |^ +--- PASS: / { kept = kept $$0 "\n" } \
			/^=== PAUSE / { mixed = 1 } \
			/^--- (PASS|SKIP): / && !mixed { kept = "" } \
			/^--- FAIL: |^FAIL\t/ { printf "%s", kept; kept = "" } \
			/^(ok|\?|FAIL)[ \t]/ { kept = ""; mixed = 0 }' $(OUT)/test.log; \
	fi; \
	awk -v required="$${NSINSPECT_LIVE:-}" -v status=$$status ' \
		/^--- (PASS|FAIL): TestLive/ { ran++ } \
		/^ *--- SKIP: TestLive/ { skipped++ } \
		/^ *--- FAIL: / { failed++ } \
		END { \
			printf "\nlive tests: %d ran, %d skipped; failed tests of any kind: %d\n", ran, skipped, failed; \
			if (required == "require" && (skipped > 0 || ran == 0)) { print "live tests are required, so this is a failure"; exit 1 } \
			exit (status != 0 || failed > 0) \
		}' $(OUT)/test.log

lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted as gofmt does:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

fuzz: ## each fuzz target for FUZZTIME (default 20s)
	@found=0; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			found=$$((found + 1)); echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done; echo "$$found fuzz targets ran for $(FUZZTIME) each"

# As root, on a host that has nothing else to do.
bench: build ## the tables of docs/performance.md, measured anew
	$(GO) build -o $(OUT)/bench ./internal/bench
	$(OUT)/bench -tool $(OUT)/nsinspect -doc docs/performance.md

# Each of the rounds is a few runs of the tool on a host that keeps moving, or
# one random tree of cgroups; what is shown is how many, and what went wrong.
soak: ## the live tests of busy and of random hosts, SOAK (default 500) rounds of each
	@mkdir -p $(OUT)
	@NSINSPECT_SOAK=$(SOAK) $(GO) test -count=1 -timeout 24h -v -run '^TestLive(Churn|ReusedIDs|RandomTrees|ManyThreads)$$' ./internal/endtoend 2>&1 \
		| tee $(OUT)/soak.log | grep -a --line-buffered -E '^(ok|FAIL|panic:)|^ *--- (FAIL|SKIP)|_test\.go:'

cover: ## how much of the code the tests reach, build/cover.html
	@mkdir -p $(OUT)
	$(GO) test -count=1 -p 1 -coverpkg=./... -coverprofile=$(OUT)/cover.out ./...
	$(GO) tool cover -func=$(OUT)/cover.out | tail -n 1
	$(GO) tool cover -html=$(OUT)/cover.out -o $(OUT)/cover.html

clean: ## what the other targets made
	rm -rf $(OUT)
