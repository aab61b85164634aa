-- Head office. Every event of every box arrives here once.

CREATE TABLE devices (
  device_id     text        PRIMARY KEY,
  journal_id    uuid        NOT NULL,
  location      text        NOT NULL,
  last_sequence bigint      NOT NULL,
  chain_head    bytea       NOT NULL CHECK (length(chain_head) = 32),
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  last_seen_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event_logs (
  event_id      uuid        PRIMARY KEY,
  device_id     text        NOT NULL,
  sequence      bigint      NOT NULL,
  order_id      bigint,
  event_type    text        NOT NULL,
  event_version text        NOT NULL,
  payload       jsonb       NOT NULL,
  occurred_at   timestamptz NOT NULL,
  received_at   timestamptz NOT NULL DEFAULT now(),
  UNIQUE (device_id, sequence)
);

CREATE TABLE orders (
  device_id    text        NOT NULL,
  order_id     bigint      NOT NULL,
  location     text        NOT NULL,
  user_id      bigint      NOT NULL,
  status       text        NOT NULL CHECK (status IN ('created', 'cancelled')),
  items        jsonb       NOT NULL,
  total        bigint      NOT NULL,
  created_at   timestamptz,           -- NULL while only the cancellation has come
  cancelled_at timestamptz,
  PRIMARY KEY (device_id, order_id)
);

-- Stores a box's events: a JSON array of envelopes in order of sequence. Those that are here already
-- change nothing. Gives the number that were new.
CREATE FUNCTION tillbox_store_events(device text, events jsonb)
RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  arrived bigint;
BEGIN
  WITH batch AS MATERIALIZED (
    SELECT e, e -> 'data' AS data FROM jsonb_array_elements(events) AS e
  ), logged AS (
    INSERT INTO event_logs (event_id, device_id, sequence, order_id, event_type, event_version,
                            payload, occurred_at)
    SELECT (e ->> 'event_id')::uuid, device, (e ->> 'sequence')::bigint,
           (data ->> 'order_id')::bigint, e ->> 'event_type', e ->> 'event_version', e,
           (e ->> 'occurred_at')::timestamptz
      FROM batch
    ON CONFLICT (event_id) DO NOTHING
    RETURNING 1
  ), created AS (
    INSERT INTO orders AS o (device_id, order_id, location, user_id, status, items, total,
                             created_at)
    SELECT device, (data ->> 'order_id')::bigint, e ->> 'location', (data ->> 'user_id')::bigint,
           'created', data -> 'items', (data ->> 'total')::bigint,
           (e ->> 'occurred_at')::timestamptz
      FROM batch
     WHERE e ->> 'event_type' = 'order.created'
    ON CONFLICT (device_id, order_id) DO UPDATE SET created_at = excluded.created_at
     WHERE o.created_at IS NULL
    RETURNING 1
  )
  SELECT count(*) INTO arrived FROM logged;

  -- A statement of its own: it must see the orders that the one above inserted.
  INSERT INTO orders AS o (device_id, order_id, location, user_id, status, items, total,
                           cancelled_at)
  SELECT device, (e -> 'data' ->> 'order_id')::bigint, e ->> 'location',
         (e -> 'data' ->> 'user_id')::bigint, 'cancelled', e -> 'data' -> 'items',
         (e -> 'data' ->> 'total')::bigint, (e ->> 'occurred_at')::timestamptz
    FROM jsonb_array_elements(events) AS e
   WHERE e ->> 'event_type' = 'order.cancelled'
  ON CONFLICT (device_id, order_id) DO UPDATE
    SET status = 'cancelled', cancelled_at = excluded.cancelled_at
   WHERE o.status <> 'cancelled';
  RETURN arrived;
END
$$;

-- Stores a batch and moves the box's cursor from `after` to `through`, both or neither: the box says
-- that it has nothing else in between. Raises
--   TB001 when the box's cursor isn't `after`: another bridge, or a restored database
--   TB002 when the box comes with another journal
CREATE FUNCTION tillbox_take_events(device text, journal uuid, place text, after bigint,
                                    through bigint, head bytea, events jsonb)
RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '10s' AS $$
DECLARE
  known   devices%ROWTYPE;
  arrived bigint;
BEGIN
  SELECT * INTO known FROM devices d WHERE d.device_id = device FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'box % is not known', device USING ERRCODE = 'TB001';
  ELSIF known.journal_id <> journal THEN
    RAISE EXCEPTION 'box % has journal %, not %', device, known.journal_id, journal
      USING ERRCODE = 'TB002';
  ELSIF known.last_sequence <> after THEN
    RAISE EXCEPTION 'box % is at sequence %, not %', device, known.last_sequence, after
      USING ERRCODE = 'TB001';
  END IF;
  arrived := tillbox_store_events(device, events);
  UPDATE devices d
     SET last_sequence = through, chain_head = head, location = place, last_seen_at = now()
   WHERE d.device_id = device;
  RETURN arrived;
END
$$;
