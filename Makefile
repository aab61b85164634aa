# Tillbox. `make help` lists the targets; `make run` and `make test` set up what they need.
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := build

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
LDLIBS   := -lmicrohttpd -lsqlite3 -lcjson -linih -lcrypto -lm

CORE      := $(wildcard core/*.c)
APPLIANCE := $(wildcard appliance/*.c)
UNITS     := $(wildcard tests/unit/test_*.c)
SUPPORT   := $(wildcard tests/support/*.c)
BENCH     := $(wildcard tests/bench/*.c)
GENERATED := $(BUILD)/gen/schema_journal.c

object     = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJ  := $(call object,$(CORE))
# everything of a program but its main, for the unit tests
APPLIANCE_OBJ := $(call object,$(filter-out appliance/main.c,$(APPLIANCE))) \
                 $(BUILD)/gen/schema_journal.o
UNIT_BIN  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNITS))
BENCH_BIN := $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(BENCH))

.PHONY: build
build: $(BUILD)/appliance ## compile the programs into build/

$(BUILD)/appliance: $(BUILD)/appliance/main.o $(APPLIANCE_OBJ) $(CORE_OBJ)
