# What CI runs is "make test"; see .ci/run.

GO       ?= go
FUZZTIME ?= 500x
LINT     := $(GO) tool -modfile=tools/go.mod golangci-lint

.PHONY: all build test vet lint race fuzz-smoke interop bench

all: build

build:
	$(GO) build ./...

# The order puts what fails fast first.
test: vet race fuzz-smoke lint

vet:
	$(GO) vet ./...

lint:
	$(LINT) run ./...

race:
	$(GO) test -race -timeout 10m ./...

# Every fuzz target for a moment; they are found, not listed. A number of runs, not a time, whose end Go before 1.27 takes for a failure on a busy machine
# (go.dev/issue/75804).
fuzz-smoke:
	GO="$(GO)" FUZZTIME="$(FUZZTIME)" ./tools/fuzz-smoke

interop:
	$(GO) test -count=1 -v ./interop

# The whole proxy beside Kamailio; needs sipp and kamailio.
bench:
	$(GO) run ./bench/proxybench
