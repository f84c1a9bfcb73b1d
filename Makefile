# Everything a developer types. Only Go is needed; `race` also wants a C compiler, as the race detector does.
export CGO_ENABLED ?= 0
GO ?= go
TOOLS := $(CURDIR)/bin
FUZZTIME ?= 10s
EDITION ?= cpu
OUT ?= results
PYTHON ?= python3

.PHONY: help build test race fuzz check lint fmt gen kernels golden bench study results clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## the binary, in ./bin
	$(GO) build -trimpath -o bin/vitrine ./cmd/vitrine

test: ## vet, every test, the portable kernels, the static build, and the race detector where a C compiler is
	$(GO) vet ./...
	$(GO) test -shuffle=on -timeout 10m ./...
	$(GO) test -tags noasm -timeout 10m ./internal/engine/... ./internal/preproc/...
	$(GO) build -tags static -o /dev/null ./cmd/vitrine
	@if command -v gcc >/dev/null 2>&1; then $(MAKE) race; else echo 'no C compiler: race detector not run'; fi

race: ## every test under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m ./...

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) ./.ci/fuzz

check: fmt lint test ## what must hold before a change lands

fmt: ## fail on a file that gofmt would change
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

lint: $(TOOLS)/golangci-lint ## golangci-lint with .golangci.yml
	$(TOOLS)/golangci-lint run ./...

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

gen: ## regenerate assembly and protobuf (needs protoc 3.21); fails if the tree changes
	GOBIN=$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(TOOLS) $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	PATH="$(TOOLS):$$PATH" $(GO) generate ./...
	git diff --exit-code -- '*.s' '*_gen.go' '*.pb.go'

kernels: ## compile the CUDA kernels and their manifest (needs Python; the compiler comes from PyPI)
	python3 internal/engine/cuda/kernels/build.py

golden: ## rewrite golden files from their oracles and show the difference (needs Python; see testdata)
	./testdata/golden.sh
	git diff --stat

bench: ## the benchmarks of every package
	$(GO) test -run '^$$' -bench . -benchmem ./...

study: build ## the reference study, EDITION=cpu (under an hour on two cores), cpu-short (20 minutes), ci (five) or gpu, into OUT
	./bin/vitrine bench study studies/reference.yaml --edition $(EDITION) --out $(OUT) --resume --set python=$(PYTHON) || test $$? -eq 1 # a cell that failed is a result
	./bin/vitrine report $(OUT)/reference-$(EDITION).jsonl.zst --reference studies/reference-2026-02.jsonl --out $(OUT)/reference-$(EDITION).md
	./bin/vitrine report $(OUT)/reference-$(EDITION).jsonl.zst --reference studies/reference-2026-02.jsonl --format html --out $(OUT)/reference-$(EDITION).html

results: build ## what `make study` left in OUT, as the committed documents of docs/results
	PYTHON=$(PYTHON) ./docs/results/collect.sh $(OUT)/reference-$(EDITION).jsonl.zst

clean: ## remove what was built
	rm -rf bin
