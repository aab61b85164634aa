# What tests need, and every check beyond `make test`: included by the Makefile.
comma := ,

UNITS       := $(wildcard tests/unit/test_*.c)
BENCH       := $(wildcard tests/bench/*.c)
FUZZ        := $(wildcard tests/fuzz/*.c)
SUPPORT_OBJ := $(call object,$(wildcard tests/support/*.c))
UNIT_BIN    := $(patsubst %.c,$(BUILD)/%,$(UNITS))
BENCH_BIN   := $(patsubst %.c,$(BUILD)/%,$(BENCH))
HANG        := $(BUILD)/tests/hang.so

-include $(patsubst %.o,%.d,$(call object,$(UNITS) $(BENCH) $(FUZZ)) $(SUPPORT_OBJ))

# An archive: a test takes from it what it needs.
$(BUILD)/libbridge.a: $(BRIDGE_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT_OBJ) $(LIBRARY) $(BUILD)/libbridge.a
	$(LINK) -lcmocka

$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBRARY)
	$(LINK) -lpq -lrabbitmq

$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIBRARY) $(BUILD)/libbridge.a
	$(LINK) -fsanitize=fuzzer

.PHONY: tests-build
tests-build: $(UNIT_BIN) $(BENCH_BIN) $(HANG)

# Preloaded into a program under test: see the file.
$(HANG): tests/preload/hang.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -fPIC -shared -o $@ $<

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
	$(PYTHON) tests/integration/support/crash.py --build $(BUILD) --kills $(or $(KILLS),100)

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
	$(PYTHON) tests/integration/support/bridge_soak.py --build $(BUILD) --kills $(or $(KILLS),100) \
	    --seconds $(or $(SECONDS_EACH),30)

.PHONY: bench bench-appliance bench-bridge
bench: bench-appliance bench-bridge ## each figure beside its ceiling (ARGS=--quick)
bench-appliance: build tests-build ## … of the appliance alone
	tools/install-deps.sh bench
	$(PYTHON) tests/bench/bench.py --build $(BUILD) $(ARGS)
bench-bridge: build tests-build ## … of the bridge alone
	tools/install-deps.sh bench
	$(PYTHON) tests/bench/bridge_bench.py --build $(BUILD) $(ARGS)

.PHONY: selftest fresh
selftest: ## plant a fault for each gate and see it go red
	tools/selftest.py
fresh: ## make run and make test in a clean Debian tree
	tests/fresh/fresh_system.sh

.PHONY: compose-test
compose-test: ## docker-compose.yml for real, on a Docker engine of its own, as root
	tools/install-deps.sh compose
	$(PYTHON) tests/compose/run.py $(ARGS)
