-- What the bridge knows: how far each sink has come, and what a peer refused.

CREATE TABLE sinks (
  name                 TEXT    PRIMARY KEY,  -- 'postgres', 'rabbitmq'
  journal_id           TEXT    NOT NULL,     -- the journal that the cursor belongs to
  start_sequence       INTEGER NOT NULL,     -- events up to here are none of this sink's business
  cursor               INTEGER NOT NULL,     -- events up to here are delivered or parked
  cursor_hash          BLOB    NOT NULL CHECK (length(cursor_hash) = 32),  -- the journal's chain there
  delivered            INTEGER NOT NULL,     -- counted as they are delivered, not derived
  state                TEXT    NOT NULL CHECK (state IN ('starting', 'running', 'down', 'stopped')),
  breaker              TEXT    NOT NULL CHECK (breaker IN ('closed', 'open', 'half-open')),
  last_delivered_at_ms INTEGER,
  last_error           TEXT,
  last_error_at_ms     INTEGER
) STRICT;

-- Events at or before a cursor that were not delivered when their turn came. A row is never deleted:
-- it moves from refused or held to delivered (by a replay) or discarded (by a person, with a reason).
CREATE TABLE parked (
  sink             TEXT    NOT NULL,
  sequence         INTEGER NOT NULL,
  event_id         TEXT    NOT NULL,
  event_type       TEXT    NOT NULL,
  order_id         INTEGER,               -- NULL: of no order
  state            TEXT    NOT NULL CHECK (state IN ('refused', 'held', 'delivered', 'discarded')),
  reason           TEXT    NOT NULL,      -- why it was refused, or what it is held behind
  attempts         INTEGER NOT NULL,
  dead_lettered    INTEGER NOT NULL CHECK (dead_lettered IN (0, 1)),
  parked_at_ms     INTEGER NOT NULL,
  settled_at_ms    INTEGER,
  settled_reason   TEXT,
  PRIMARY KEY (sink, sequence)
) STRICT, WITHOUT ROWID;

CREATE INDEX parked_open ON parked (sink, order_id) WHERE state IN ('refused', 'held');
