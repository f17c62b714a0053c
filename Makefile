.DEFAULT_GOAL := check
FUZZTIME ?= 1000000x
BENCH ?= .

.PHONY: check format vet lint test race model fuzz bench fleet peers cover quickstart node kubernetes help

check: ## formatting, vet, staticcheck, tests with -race (the default)
	@.ci/run format vet lint test

format: ## write all Go files in gofmt's form
	gofmt -w .

vet: ## go vet, for Linux, macOS and Windows
	@.ci/run vet

lint: ## staticcheck, in the version that .ci/run pins
	@.ci/run lint

test: ## tests, quickly
	go test ./...

race: ## tests with the race detector
	@.ci/run test

model: ## without each rule of the design, one at a time, some test must fail (minutes)
	@.ci/run model

fuzz: ## every fuzz target for FUZZTIME each (1000000x: inputs; or a time, such as 5m)
	@FUZZTIME=$(FUZZTIME) .ci/run fuzz

bench: ## the benchmarks that match BENCH (all)
	go test -run '^$$' -bench '$(BENCH)' -benchmem .

fleet: ## how every cost grows with the number of nodes, up to 300 of them
	go run ./bench/fleet -buses 10,30,100,300

peers: ## the same work on NATS KV by hand, etcd, Serf and gRPC
	cd bench/peers && go run .

cover: ## coverage of the root package, by all tests; the lines are in cover.out
	go test -coverpkg=. -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1

quickstart: ## see it work
	go run ./examples/quickstart

node: ## the client in JavaScript, which needs Node.js 20 or newer
	@.ci/run node

kubernetes: ## discovery in Kubernetes, against a real API server, which takes minutes to build the first time
	@.ci/run kubernetes

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
