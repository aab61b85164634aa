# Tillbox. `make help` lists the targets; `make run` and `make test` set up what they need.
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := build
.SECONDARY:

VERSION := $(shell cat VERSION)
BUILD   ?= build
CC      ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PYTHON  ?= /usr/bin/python3
PYTEST   = $(PYTHON) -m pytest -q -p no:cacheprovider

# Warnings stop nobody who only builds; `make lint` turns them into errors.
WERROR   ?=
WARNINGS := -Wall -Wextra $(WERROR) -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wformat=2 -Wcast-qual -Wvla -Wswitch-enum -Wundef -Wpointer-arith
HARDEN   := -fstack-protector-strong -fPIE
OPTIMIZE ?= -O2 -D_FORTIFY_SOURCE=2
CFLAGS   += -std=c11 -g $(OPTIMIZE) $(WARNINGS) $(HARDEN) -pthread
CPPFLAGS += -I. -D_GNU_SOURCE -DTILLBOX_VERSION='"$(VERSION)"' -MMD -MP
LDFLAGS  += -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread
LDLIBS   := -lmicrohttpd -lsqlite3 -lcjson -linih -lcrypto -lcurl -lsystemd -lm
CPPFLAGS += -isystem /usr/include/postgresql

CORE      := $(wildcard core/*.c core/*/*.c)
APPLIANCE := $(wildcard appliance/*.c)
BRIDGE    := $(wildcard bridge/*/*.c)

object     = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE_OBJ  := $(call object,$(CORE))
# everything of the program but its main, for tests and benchmarks to link
APPLIANCE_OBJ := $(call object,$(filter-out appliance/main.c,$(APPLIANCE))) \
                 $(BUILD)/obj/gen/schema_journal.o $(BUILD)/obj/gen/till_page_files.o
BRIDGE_OBJ    := $(call object,$(filter-out bridge/commands/main.c,$(BRIDGE))) \
                 $(BUILD)/obj/gen/schema_bridge.o $(BUILD)/obj/gen/schema_central.o \
                 $(BUILD)/obj/gen/templates.o
LIBRARY   := $(APPLIANCE_OBJ) $(CORE_OBJ)
LINK       = @mkdir -p $(@D) && echo "  LD   $@" && $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: build
build: $(BUILD)/appliance $(BUILD)/bridge ## compile the programs into build/

$(BUILD)/appliance: $(BUILD)/obj/appliance/main.o $(LIBRARY)
	$(LINK)

$(BUILD)/bridge: $(BUILD)/obj/bridge/commands/main.o $(BRIDGE_OBJ) $(CORE_OBJ)
	$(LINK) -lpq -lrabbitmq -lssl

schema_symbol = SCHEMA_$(shell echo $* | tr a-z A-Z)
.SECONDEXPANSION:
$(BUILD)/gen/schema_%.c: tools/embed-sql.sh $$(sort $$(wildcard schema/$$*/*.sql))
	@mkdir -p $(@D)
	@sh $< $(schema_symbol) $(filter %.sql,$^) > $@

$(BUILD)/gen/templates.c: tools/embed-text.sh $(sort $(wildcard bridge/notification/templates/*.txt))
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

-include $(patsubst %.o,%.d,$(call object,$(CORE) $(APPLIANCE) $(BRIDGE)))
include tests/tests.mk
include firmware-config/install.mk

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

.PHONY: lint layers sizes format
lint: ## formatter, compilers, analysers
	tools/lint.sh
layers: ## who may include whom
	tools/layers.py
sizes: ## lengths of functions and files
	tools/sizes.py
format: ## apply clang-format
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
