# make demo: the main job, shown live.   make test: everything.   Both install what they need (npm packages, and system packages by the machine's own manager).

MACHINE := $(shell uname -m)
BUN := node_modules/@oven/bun-linux-$(MACHINE:x86_64=x64-baseline)/bin/bun
BIOME := node_modules/@biomejs/cli-linux-$(subst aarch64,arm64,$(MACHINE:x86_64=x64))/biome
TSC := $(BUN) node_modules/typescript/bin/tsc
# What is built for: ARCH=arm64 or ARCH=amd64 makes executable and tarball of the other architecture, in a folder of their own.
NATIVE := $(subst aarch64,arm64,$(MACHINE:x86_64=amd64))
ARCH := $(NATIVE)
OUT := dist$(if $(filter-out $(NATIVE),$(ARCH)),/$(ARCH))
VERSION := $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
SOURCES := $(shell find src -name '*.ts') package.json package-lock.json
# Threads of their own, each an entry point of the build.
WORKERS := src/packet_loop/worker.ts
# A root daemon must not run code that a bunfig.toml or .env of its current folder names.
COMPILE := --compile --minify --bytecode --format=esm --splitting --no-compile-autoload-dotenv --no-compile-autoload-bunfig

.PHONY: all build dist check format test test-unit test-vm test-arm64 test-long demo bench docs kubernetes image proto wasm tools test-tools bench-tools clean

all: build

build: $(OUT)/flanneld $(OUT)/flannelctl $(OUT)/flannel

dist/flanneld: $(SOURCES) node_modules/.installed
	@mkdir -p dist
	@$(BUN) build $(COMPILE) --outfile dist/flanneld.new src/main.ts $(WORKERS) >/dev/null && mv dist/flanneld.new dist/flanneld
	@echo "built dist/flanneld ($$(du -h dist/flanneld | cut -f1))"

# The same program, in the runtime of another architecture.
dist/arm64/flanneld dist/amd64/flanneld: dist/%/flanneld: $(SOURCES) node_modules/.installed dist/runtime-%/bun
	@mkdir -p dist/$*
	@$(BUN) build $(COMPILE) --target=bun-linux-$(RUNTIME_$*) --compile-executable-path=dist/runtime-$*/bun --outfile $@.new src/main.ts $(WORKERS) >/dev/null && mv $@.new $@
	@echo "built $@ ($$(du -h $@ | cut -f1))"

RUNTIME_arm64 := arm64
RUNTIME_amd64 := x64-baseline

# By npm from the lock file, which holds its checksum; the packages of this machine stay as they are.
dist/runtime-arm64/bun dist/runtime-amd64/bun: dist/runtime-%/bun: package.json package-lock.json
	@echo "installing the runtime for $*"
	@rm -rf dist/runtime-$*.new && mkdir -p dist/runtime-$*.new dist/runtime-$* && cp package.json package-lock.json dist/runtime-$*.new
	@cd dist/runtime-$*.new && npm ci --silent --no-audit --no-fund --ignore-scripts --omit=dev --os=linux --libc=glibc --cpu=$(*:amd64=x64)
	@mv dist/runtime-$*.new/node_modules/@oven/bun-linux-*/bin/bun $@ && rm -rf dist/runtime-$*.new && touch $@

$(OUT)/flannelctl $(OUT)/flannel: $(OUT)/flanneld
	@ln -sf flanneld $@

node_modules/.installed: package.json package-lock.json
	@echo "installing npm packages"
	@npm ci --silent --no-audit --no-fund
	@touch $@

# flannel-ts-VERSION-linux-ARCH.tar.gz in dist, or in dist/ARCH for the other architecture: all that a host needs, with checksums.
dist: build
	@packaging/make-tarball.sh $(OUT)/flanneld $(OUT) $(VERSION) $(ARCH)
	@cat $(OUT)/SHA256SUMS

# Formatter and linter, types, unit tests: seconds.
check: node_modules/.installed
	@$(BIOME) check --error-on-warnings .
	@$(TSC)
	@$(BUN) test/run.ts unit

format: node_modules/.installed
	@$(BIOME) check --write .

test-unit: node_modules/.installed
	@$(BUN) test/run.ts unit

test: test-tools dist
	@$(BIOME) check --error-on-warnings .
	@$(TSC)
	@$(BUN) test/run.ts all

# Only what runs in virtual machines (part of make test): minutes.
test-vm: test-tools build
	@$(BUN) test/run.ts vm

# flanneld for arm64 on an emulated machine: minutes.
test-arm64: test-tools
	@packaging/install-tools.sh qemu-system-aarch64
	@$(MAKE) --no-print-directory dist ARCH=arm64
	@$(BUN) test/run.ts arm64

# Outages and silences at their true length: some ninety minutes.
test-long: test-tools build
	@$(BUN) test/run.ts long

demo: tools build
	@dist/flannelctl lab demo

bench: bench-tools build
	@$(BUN) bench/run.ts

# docs/flags.md from the flag table.
docs: node_modules/.installed
	@$(BUN) src/config/flag_reference.ts > docs/flags.md

# The manifest, the kustomize base and the table of values, from the objects and values of an installation.
kubernetes: node_modules/.installed
	@mkdir -p packaging/kubernetes/base
	@$(BUN) src/ctl/install/generate.ts

# The image for Kubernetes, by podman, buildah or docker. For another architecture: ARCH=arm64.
IMAGE ?= flannel-ts:$(VERSION)
FLANNELD ?= $(OUT)/flanneld
image: $(FLANNELD)
	@packaging/kubernetes/make-image.sh $(FLANNELD) $(IMAGE) $(ARCH)

# etcd's messages from etcd's own definitions.
proto: node_modules/.installed
	@$(BUN) src/subnet/etcd/rpc_generate.ts

# The packet path's checksum from WebAssembly text.
wasm: node_modules/.installed
	@$(BUN) src/dataplane/checksum_generate.ts

bench-tools: tools
	@packaging/install-tools.sh iperf3 ethtool iptables etcd etcdctl curl /usr/lib/cni/bridge

tools:
	@packaging/install-tools.sh ip bridge ping nsenter unshare setpriv mount tc

test-tools: tools
	@packaging/install-tools.sh iperf3 ethtool strace curl dash bash systemd-analyze etcd etcdctl cfssl cfssljson openssl dnsmasq qemu-system-x86_64 \
	  podman containerd ctr runc busybox-static /usr/lib/cni/bridge iptables nft conntrack flock tshark tcpdump fping wg kubectl mmdebstrap go \
	  /usr/share/gocode/src/github.com/Masterminds/sprig /usr/share/gocode/src/sigs.k8s.io/yaml

clean:
	rm -rf dist node_modules
