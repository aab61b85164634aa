# Tillbox. `make help` lists the targets; `make run` and `make test` set up what they need.
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := build
.SECONDARY:
comma := ,

VERSION := $(shell cat VERSION)
BUILD   ?= build
CC      ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PYTHON  ?= /usr/bin/python3
PYTEST   = $(PYTHON) -m pytest -q -p no:cacheprovider

WARNINGS := -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wcast-qual -Wvla -Wswitch-enum -Wundef -Wpointer-arith
HARDEN   := -fstack-protector-strong -fPIE
OPTIMIZE ?= -O2 -D_FORTIFY_SOURCE=2
CFLAGS   += -std=c11 -g $(OPTIMIZE) $(WARNINGS) $(HARDEN) -pthread
CPPFLAGS += -I. -D_GNU_SOURCE -DTILLBOX_VERSION='"$(VERSION)"' -MMD -MP
LDFLAGS  += -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread
LDLIBS   := -lmicrohttpd -lsqlite3 -lcjson -linih -lcrypto -lcurl -lsystemd -lm
CPPFLAGS += -isystem /usr/include/postgresql

CORE      := $(wildcard core/*.c)
APPLIANCE := $(wildcard appliance/*.c)
BRIDGE    := $(wildcard bridge/*.c)
UNITS     := $(wildcard tests/unit/test_*.c)
SUPPORT   := $(wildcard tests/support/*.c)
BENCH     := $(wildcard tests/bench/*.c)
FUZZ      := $(wildcard tests/fuzz/*.c)
HANG      := $(BUILD)/tests/hang.so

object     = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE_OBJ  := $(call object,$(CORE))
# everything of the program but its main, for tests and benchmarks to link
APPLIANCE_OBJ := $(call object,$(filter-out appliance/main.c,$(APPLIANCE))) \
                 $(BUILD)/obj/gen/schema_journal.o $(BUILD)/obj/gen/till_page_files.o
BRIDGE_OBJ    := $(call object,$(filter-out bridge/main.c,$(BRIDGE))) \
                 $(BUILD)/obj/gen/schema_bridge.o $(BUILD)/obj/gen/schema_central.o \
                 $(BUILD)/obj/gen/templates.o
SUPPORT_OBJ   := $(call object,$(SUPPORT))
UNIT_BIN  := $(patsubst %.c,$(BUILD)/%,$(UNITS))
BENCH_BIN := $(patsubst %.c,$(BUILD)/%,$(BENCH))
LIBRARY   := $(APPLIANCE_OBJ) $(CORE_OBJ)
ALL_OBJ   := $(call object,$(APPLIANCE) $(BRIDGE) $(UNITS) $(BENCH) $(FUZZ)) $(SUPPORT_OBJ) $(LIBRARY)

.PHONY: build
build: $(BUILD)/appliance $(BUILD)/bridge ## compile the programs into build/

$(BUILD)/appliance: $(BUILD)/obj/appliance/main.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/bridge: $(BUILD)/obj/bridge/main.o $(BRIDGE_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lpq -lrabbitmq -lssl

# An archive: a test takes from it what it needs.
$(BUILD)/libbridge.a: $(BRIDGE_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT_OBJ) $(LIBRARY) $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBRARY)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lpq -lrabbitmq

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIBRARY) $(BUILD)/libbridge.a
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

schema_symbol = SCHEMA_$(shell echo $* | tr a-z A-Z)
.SECONDEXPANSION:
$(BUILD)/gen/schema_%.c: tools/embed-sql.sh $$(sort $$(wildcard schema/$$*/*.sql))
	@mkdir -p $(@D)
	@sh $< $(schema_symbol) $(filter %.sql,$^) > $@

$(BUILD)/gen/templates.c: tools/embed-text.sh $(sort $(wildcard bridge/templates/*.txt))
	@mkdir -p $(@D)
	@sh $< TEMPLATES $(filter %.txt,$^) > $@

$(BUILD)/gen/till_page_files.c: tools/embed-page.sh $(wildcard appliance/page/*)
	@mkdir -p $(@D)
	@sh $< $(filter appliance/page/%,$^) > $@

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

-include $(ALL_OBJ:.o=.d)
include firmware-config/install.mk

.PHONY: tests-build
tests-build: $(UNIT_BIN) $(BENCH_BIN) $(HANG)

# Preloaded into a program under test: see the file.
$(HANG): tests/preload/hang.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -fPIC -shared -o $@ $<

.PHONY: run
run: ## install what is missing, build, start on ./var
	tools/install-deps.sh run
	$(MAKE) build
	tools/run.sh $(ARGS)

.PHONY: replay migrate-up
replay: build ## send parked events of ./var again
	$(BUILD)/bridge replay --data-dir var $(ARGS)
migrate-up: build ## bring head office's database (TILLBOX_POSTGRES_URL) up to date
	$(BUILD)/bridge migrate $(ARGS)

.PHONY: test
test: ## install what is missing, run every test, end with "N passed, N failed"
	tools/install-deps.sh test
	$(MAKE) build tests-build
	$(PYTHON) tools/run_tests.py --build $(BUILD) $(TESTS)

# TESTS="test_json test_access" picks some, here and below.
.PHONY: check
check: build tests-build ## units on SQLite alone, under 30 s
	$(PYTHON) tools/run_tests.py --build $(BUILD) --only-units $(TESTS)

SANITIZED = $(MAKE) BUILD=build/$(1) OPTIMIZE="-O1 -fno-omit-frame-pointer -fsanitize=$(2)"

.PHONY: check-asan check-tsan
check-asan: ## units and API tests under AddressSanitizer and UBSan
	$(call SANITIZED,asan,address$(comma)undefined -fno-sanitize-recover=all) build tests-build
	$(PYTHON) tools/run_tests.py --build build/asan --without "central or dump" $(TESTS)
check-tsan: ## units and API tests under ThreadSanitizer
	$(call SANITIZED,tsan,thread) build tests-build
	$(PYTHON) tools/run_tests.py --build build/tsan --without "central or dump" $(TESTS)

.PHONY: check-crash
check-crash: build ## 100 x kill -9 under load, every 201 accounted for
	$(PYTHON) tests/integration/crash.py --build $(BUILD) --kills $(or $(KILLS),100)

.PHONY: coverage
coverage: ## which lines the tests run; build/coverage/index.html
	tools/install-deps.sh coverage
	$(MAKE) BUILD=build/coverage OPTIMIZE="-O0 --coverage" build tests-build
	$(PYTHON) tools/run_tests.py --build build/coverage $(TESTS)
	gcovr --root . --filter core/ --filter appliance/ --filter bridge/ --print-summary \
	    --html-details build/coverage/index.html --object-directory build/coverage

.PHONY: fuzz
fuzz: ## each parser for half a minute, by libFuzzer (SECONDS_EACH=N, TARGETS="json")
	tools/install-deps.sh lint
	SECONDS_EACH=$(or $(SECONDS_EACH),30) tools/fuzz.sh $(TARGETS)

.PHONY: check-soak
check-soak: build tests-build ## the bridge: 100 x kill -9 while draining, outages, bad lines, alarms
	$(PYTHON) tests/integration/bridge_soak.py --build $(BUILD) --kills $(or $(KILLS),100) \
	    --seconds $(or $(SECONDS_EACH),30)

.PHONY: bench bench-appliance bench-bridge
bench: bench-appliance bench-bridge ## each figure beside its ceiling (ARGS=--quick)
bench-appliance: build tests-build ## … of the appliance alone
	tools/install-deps.sh bench
	$(PYTHON) tests/bench/bench.py --build $(BUILD) $(ARGS)
bench-bridge: build tests-build ## … of the bridge alone
	tools/install-deps.sh bench
	$(PYTHON) tests/bench/bridge_bench.py --build $(BUILD) $(ARGS)

.PHONY: lint layers sizes selftest fresh
lint: ## formatter, compilers, analysers
	tools/lint.sh
layers: ## who may include whom
	tools/layers.py
sizes: ## lengths of functions and files
	tools/sizes.py
selftest: ## plant a fault for each gate and see it go red
	tools/selftest.py
fresh: ## make run and make test in a clean Debian tree
	tests/fresh/fresh_system.sh

.PHONY: compose-test
compose-test: ## docker-compose.yml for real, on a Docker engine of its own, as root
	tools/install-deps.sh compose
	$(PYTHON) tests/compose/run.py $(ARGS)

.PHONY: format
format: ## apply clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
