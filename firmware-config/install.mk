# make install, make man: what a package holds. DESTDIR goes before every path, PREFIX into it.
# Settings and state are where systemd and the programs look for them, whatever the PREFIX.
PREFIX  ?= /usr/local
DESTDIR ?=
BOX     := firmware-config

UNITDIR       ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR   ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR   ?= $(PREFIX)/lib/tmpfiles.d
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DOCDIR        ?= $(PREFIX)/share/doc/tillbox
SETTINGS_DIR  ?= /etc/tillbox

SCRIPTS := tillbox-backup tillbox-restore tillbox-metrics tillbox-start-over \
           tillbox-add-box
FIREWALL := tillbox-firewall.service
UNITS   := $(filter-out $(FIREWALL),$(notdir $(wildcard $(BOX)/systemd/*.service $(BOX)/systemd/*.timer)))
PAGES   := $(addprefix $(BUILD)/man/,$(addsuffix .8,tillbox-appliance tillbox-bridge $(SCRIPTS)))
INSTALL := install -D -m 644
# in texts: where the programs are, and which version they have
FILL    := sed -e 's|/usr/bin/|$(PREFIX)/bin/|g' -e 's|@VERSION@|$(VERSION)|g'

about_tillbox-appliance := takes a shop's orders, and keeps every one
about_tillbox-bridge    := brings a box's sales to head office, once
about_tillbox-backup    := copies a box's journal into a backup
about_tillbox-restore   := puts a backup in the journal's place
about_tillbox-metrics   := writes metrics of a box for node_exporter
about_tillbox-start-over := gives a restored box that can't go on a new name and journal
about_tillbox-add-box   := gives a box its logins at head office

# Under the names that they are installed by.
$(BUILD)/install/tillbox-%: $(BUILD)/%
	@mkdir -p $(@D)
	@cp $< $@
$(BUILD)/install/tillbox-%: $(BOX)/bin/tillbox-% VERSION
	@mkdir -p $(@D)
	@$(FILL) $< >$@
	@chmod 755 $@

$(BUILD)/install/tillbox-add-box: tools/add-box.sh VERSION
	@mkdir -p $(@D)
	@$(FILL) $< >$@
	@chmod 755 $@

$(BUILD)/man/%.8: $(BUILD)/install/%
	@mkdir -p $(@D)
	@LC_ALL=C.UTF-8 help2man --locale=C.UTF-8 $(if $(filter tillbox-appliance tillbox-bridge,$*),--help-option=help) --no-info --section=8 --manual=Tillbox \
	    --name="$(about_$*)" --output=$@ $<

.PHONY: man install
man: $(PAGES) ## manual pages, from what --help says

install: build $(PAGES) ## programs, units, manual pages … into DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(patsubst %,$(BUILD)/install/%,tillbox-appliance tillbox-bridge $(SCRIPTS)) \
	    $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(UNITDIR)/tillbox-.service.d $(DESTDIR)$(PREFIX)/share/man/man8
	for unit in $(UNITS); do \
	    $(FILL) $(BOX)/systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit || exit; done
	$(INSTALL) -t $(DESTDIR)$(UNITDIR)/tillbox-.service.d $(BOX)/systemd/tillbox-.service.d/*.conf
	$(INSTALL) $(BOX)/sysusers.d/tillbox.conf $(DESTDIR)$(SYSUSERSDIR)/tillbox.conf
	$(INSTALL) $(BOX)/tmpfiles.d/tillbox.conf $(DESTDIR)$(TMPFILESDIR)/tillbox.conf
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/share/man/man8 $(PAGES)
	$(INSTALL) $(BOX)/completion/tillbox $(DESTDIR)$(COMPLETIONDIR)/tillbox-appliance
	ln -sf tillbox-appliance $(DESTDIR)$(COMPLETIONDIR)/tillbox-bridge
	$(INSTALL) docs/box.md $(DESTDIR)$(DOCDIR)/box.md
	install -d $(DESTDIR)$(SETTINGS_DIR)
	$(BUILD)/appliance print-config | $(SETTINGS_HERE) >$(DESTDIR)$(SETTINGS_DIR)/appliance.conf
	$(BUILD)/bridge print-config | $(SETTINGS_HERE) >$(DESTDIR)$(SETTINGS_DIR)/bridge.conf
	for service in migrate inventory notification; do \
	    $(BUILD)/bridge print-config | $(SETTINGS_CENTRAL) >$(DESTDIR)$(SETTINGS_DIR)/$$service.conf || \
	    exit; done

# What makes a plain machine a till box: see docs/box.md. The clock's floor is the package's age: PID 1
# sets a clock that is behind to the time of this file (systemd(1)).
.PHONY: install-box
install-box: ## limits, firewall, watchdog … of a box, into DESTDIR
	install -d $(DESTDIR)/etc $(DESTDIR)/usr/lib $(DESTDIR)$(UNITDIR)
	cp -r --no-preserve=mode,ownership $(BOX)/etc/. $(DESTDIR)/etc
	$(FILL) $(BOX)/systemd/$(FIREWALL) >$(DESTDIR)$(UNITDIR)/$(FIREWALL)
	$(INSTALL) -t $(DESTDIR)$(UNITDIR)/$(FIREWALL).d $(BOX)/systemd/$(FIREWALL).d/*.conf
	touch $(DESTDIR)/usr/lib/clock-epoch

# On an installed box the bridge has a folder of its own; head office has logins for each box.
SETTINGS_HERE := sed 's|^\#bridge_dir =.*|bridge_dir = /var/lib/tillbox-bridge|'
SETTINGS_CENTRAL := sed 's|^\#amqp_user_prefix =.*|amqp_user_prefix = box-|'

.PHONY: deb units
deb: ## build the Debian package into build/
	tools/install-deps.sh deb
	tools/build-deb.sh $(VERSION) $(BUILD)
units: build ## systemd's own judgement of the units
	tools/check-units.sh $(BUILD)

.PHONY: package-test
package-test: build tests-build ## the package's life in a clean Debian: install, sell, upgrade, purge
	tools/install-deps.sh test
	tools/install-deps.sh deb
	$(PYTEST) tests/package $(ARGS)

.PHONY: image-test
image-test: ## the box's image, from its first start through hangs and power cuts, in QEMU
	tools/install-deps.sh image
	$(PYTEST) tests/image $(ARGS)
