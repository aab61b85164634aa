-- The box's journal: what was sold, what is in stock, and every event in the order it happened.
-- Written by the appliance's committer alone; the bridge reads it.

-- One row: who this journal is.
CREATE TABLE meta (
  id                    INTEGER PRIMARY KEY CHECK (id = 1),
  journal_id            TEXT    NOT NULL,  -- UUID, new whenever a journal is created
  device_id             TEXT    NOT NULL,
  location              TEXT    NOT NULL,
  created_at_ms         INTEGER NOT NULL,  -- milliseconds since 1970, UTC
  stopped_cleanly       INTEGER NOT NULL CHECK (stopped_cleanly IN (0, 1)),
  chain_anchor_sequence INTEGER NOT NULL,  -- events up to here may have been removed
  chain_anchor_hash     BLOB    NOT NULL CHECK (length(chain_anchor_hash) = 32)
) STRICT;

CREATE TABLE products (
  product_id    INTEGER PRIMARY KEY AUTOINCREMENT,
  product_name  TEXT    NOT NULL,
  stock         INTEGER NOT NULL CHECK (stock >= 0),
  price         INTEGER NOT NULL CHECK (price >= 0),  -- minor units of the shop's currency
  sku           TEXT    UNIQUE,
  updated_at_ms INTEGER NOT NULL
) STRICT;

-- The order id is the receipt number: given out by the committer, without gaps.
CREATE TABLE orders (
  order_id        INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id         INTEGER NOT NULL,
  items           TEXT    NOT NULL,  -- JSON: [{"product_id", "quantity", "unit_price"}, …]
  total           INTEGER NOT NULL CHECK (total >= 0),
  created_at_ms   INTEGER NOT NULL,
  cancelled_at_ms INTEGER,           -- NULL while the order stands
  status          TEXT    GENERATED ALWAYS AS
                  (CASE WHEN cancelled_at_ms IS NULL THEN 'created' ELSE 'cancelled' END) VIRTUAL
) STRICT;

-- So that a page of cancelled orders doesn't read every order.
CREATE INDEX orders_cancelled ON orders (order_id) WHERE cancelled_at_ms IS NOT NULL;

-- Append-only. The payload is the whole envelope, byte for byte as it goes to head office;
-- hash = SHA-256(hash of the event before ‖ payload). The other columns are read out of the payload,
-- so they can't disagree with what the hash covers.
CREATE TABLE events (
  sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
  payload       TEXT    NOT NULL,
  hash          BLOB    NOT NULL CHECK (length(hash) = 32),
  event_id      TEXT    GENERATED ALWAYS AS (payload ->> '$.event_id') VIRTUAL,
  event_type    TEXT    GENERATED ALWAYS AS (payload ->> '$.event_type') VIRTUAL,
  event_version TEXT    GENERATED ALWAYS AS (payload ->> '$.event_version') VIRTUAL,
  occurred_at   TEXT    GENERATED ALWAYS AS (payload ->> '$.occurred_at') VIRTUAL,
  order_id      INTEGER GENERATED ALWAYS AS (payload ->> '$.data.order_id') VIRTUAL
) STRICT;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
  SELECT RAISE(ABORT, 'events are never changed');
END;

-- Answers given under an Idempotency-Key, kept in the order they were given, for a while.
CREATE TABLE idempotency_keys (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  key_hash      BLOB    NOT NULL UNIQUE,  -- first 16 bytes of SHA-256(key)
  request_hash  BLOB    NOT NULL,         -- SHA-256(method, path, body)
  status        INTEGER NOT NULL,         -- HTTP status
  location      TEXT,                     -- the Location header, where there was one
  body          TEXT    NOT NULL,
  created_at_ms INTEGER NOT NULL
) STRICT;
