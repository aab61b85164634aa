-- Head office's stock: what the boxes of a location have, sold and got back, in sum. It moves by deltas
-- only, so that several boxes can share a product and events may come in any order.

CREATE TABLE products (
  location     text        NOT NULL,
  product_id   bigint      NOT NULL,
  product_name text,                  -- NULL while only sales of it have come
  stock        bigint      NOT NULL,  -- below zero when more was sold than was known: a sale is a fact
  price        bigint,
  sku          text,
  below_zero   boolean     NOT NULL GENERATED ALWAYS AS (stock < 0) STORED,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (location, product_id)
) WITH (fillfactor = 50);             -- a product's row is updated in place, again and again

-- Why the stock is what it is: a row for every event and product. It is what makes an event count once.
CREATE TABLE stock_logs (
  event_id    uuid        NOT NULL,
  location    text        NOT NULL,
  product_id  bigint      NOT NULL,
  change      bigint      NOT NULL,
  reason      text        NOT NULL,   -- the event's type; of head office's own: stock.adjusted, product.created
  note        text,                   -- of an adjustment, in its author's words
  device_id   text,                   -- NULL: head office's own
  journal_id  uuid,
  sequence    bigint,
  order_id    bigint,
  occurred_at timestamptz NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (event_id, location, product_id)
);

-- The last event of each journal that named a product: an older one that comes late changes nothing.
CREATE TABLE product_sources (
  location   text   NOT NULL,
  product_id bigint NOT NULL,
  device_id  text   NOT NULL,
  journal_id uuid   NOT NULL,
  sequence   bigint NOT NULL,
  PRIMARY KEY (location, product_id, device_id, journal_id)
);

-- Applies moves, a JSON array with an object for each event and product, in one go: those whose
-- (event_id, location, product_id) is in stock_logs change nothing. The first row tells how many
-- events were new; further rows tell which products went below zero or came back.
--
-- Replicas may run it at the same time, with the same events or on the same products: everyone takes
-- rows table by table in this order (stock_logs, product_sources, products), each sorted by its key.
CREATE FUNCTION tillbox_move_stock(moves json)
RETURNS TABLE (applied bigint, at_location text, of_product bigint, now_stock bigint)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
  RETURN QUERY
  WITH batch AS MATERIALIZED (
    SELECT * FROM json_to_recordset(moves) AS m (
      number int, event_id uuid, location text, product_id bigint, change bigint, reason text,
      note text, device_id text, journal_id uuid, sequence bigint, order_id bigint,
      occurred_at timestamptz, product_name text, price bigint, sku text)
  ), logged AS (
    INSERT INTO stock_logs (event_id, location, product_id, change, reason, note, device_id,
                            journal_id, sequence, order_id, occurred_at)
    SELECT b.event_id, b.location, b.product_id, b.change, b.reason, b.note, b.device_id,
           b.journal_id, b.sequence, b.order_id, b.occurred_at
      FROM batch b
     ORDER BY b.event_id, b.location, b.product_id
    ON CONFLICT DO NOTHING
    RETURNING stock_logs.event_id, stock_logs.location, stock_logs.product_id, stock_logs.change
  ), named AS (
    SELECT DISTINCT ON (b.location, b.product_id, b.device_id, b.journal_id) b.*
      FROM batch b JOIN logged l USING (event_id, location, product_id)
     WHERE b.product_name IS NOT NULL
     ORDER BY b.location, b.product_id, b.device_id, b.journal_id, b.sequence DESC
  ), newer AS (
    INSERT INTO product_sources AS s (location, product_id, device_id, journal_id, sequence)
    SELECT n.location, n.product_id, n.device_id, n.journal_id, n.sequence
      FROM named n
     ORDER BY n.location, n.product_id, n.device_id, n.journal_id
    ON CONFLICT (location, product_id, device_id, journal_id) DO UPDATE
      SET sequence = excluded.sequence
     WHERE s.sequence < excluded.sequence
    RETURNING s.location, s.product_id, s.device_id, s.journal_id
  ), latest AS (
    SELECT DISTINCT ON (n.location, n.product_id) n.*
      FROM named n JOIN newer USING (location, product_id, device_id, journal_id)
     ORDER BY n.location, n.product_id, n.number DESC
  ), sums AS (
    SELECT l.location, l.product_id, sum(l.change)::bigint AS change
      FROM logged l GROUP BY l.location, l.product_id
  ), moved AS (
    INSERT INTO products AS p (location, product_id, product_name, stock, price, sku)
    SELECT s.location, s.product_id, n.product_name, s.change, n.price, n.sku
      FROM sums s LEFT JOIN latest n USING (location, product_id)
     ORDER BY s.location, s.product_id
    ON CONFLICT (location, product_id) DO UPDATE
      SET stock = p.stock + excluded.stock,
          product_name = coalesce(excluded.product_name, p.product_name),
          price = CASE WHEN excluded.product_name IS NULL THEN p.price ELSE excluded.price END,
          sku = CASE WHEN excluded.product_name IS NULL THEN p.sku ELSE excluded.sku END,
          updated_at = now()
    RETURNING p.location, p.product_id, p.stock
  )
  SELECT count(DISTINCT l.event_id), NULL::text, NULL::bigint, NULL::bigint FROM logged l
  UNION ALL
  SELECT NULL, m.location, m.product_id, m.stock
    FROM moved m JOIN sums s USING (location, product_id)
   WHERE (m.stock < 0) <> (m.stock - s.change < 0);
END
$$;

-- What requests with an Idempotency-Key were answered, so that their repetition changes nothing.
CREATE TABLE inventory_keys (
  key        bytea       PRIMARY KEY, -- SHA-256 of the key
  request    bytea       NOT NULL,    -- SHA-256 of method, path and body
  outcome    text        NOT NULL,
  product    jsonb,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON inventory_keys (created_at);

-- Head office's own change of a product's stock, logged under an event_id of its own. The outcome is
-- done, not_found or insufficient; the product is as it is afterwards.
CREATE FUNCTION tillbox_adjust_stock(event uuid, place text, product bigint, delta bigint,
                                     note text)
RETURNS TABLE (outcome text, product_row jsonb)
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
  known products%ROWTYPE;
BEGIN
  SELECT * INTO known FROM products p
   WHERE p.location = place AND p.product_id = product FOR UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'not_found', NULL::jsonb;
    RETURN;
  ELSIF delta < 0 AND known.stock + delta < 0 THEN
    RETURN QUERY SELECT 'insufficient', to_jsonb(known);
    RETURN;
  END IF;
  INSERT INTO stock_logs (event_id, location, product_id, change, reason, note, occurred_at)
  VALUES (event, place, product, delta, 'stock.adjusted', note, now());
  UPDATE products p SET stock = p.stock + delta, updated_at = now()
   WHERE p.location = place AND p.product_id = product
  RETURNING * INTO known;
  RETURN QUERY SELECT 'done', to_jsonb(known);
END
$$;

-- A product of head office's. Without a number of its own it gets one from 1000000001 on, which no box
-- counts to. One that only sales have named so far gets its name, and its stock is added. The outcome
-- is done or exists.
CREATE FUNCTION tillbox_add_product(event uuid, place text, product bigint, name text, amount bigint,
                                    unit_price bigint, code text)
RETURNS TABLE (outcome text, product_row jsonb)
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
  known  products%ROWTYPE;
  number bigint;
BEGIN
  LOOP
    SELECT coalesce(product, max(p.product_id) + 1, 1000000001) INTO number FROM products p
     WHERE p.location = place AND p.product_id BETWEEN 1000000001 AND 1999999999;
    INSERT INTO products AS p (location, product_id, product_name, stock, price, sku)
    VALUES (place, number, name, amount, unit_price, code)
    ON CONFLICT (location, product_id) DO UPDATE
      SET product_name = excluded.product_name, stock = p.stock + excluded.stock,
          price = excluded.price, sku = excluded.sku, updated_at = now()
     WHERE p.product_name IS NULL AND product IS NOT NULL
    RETURNING * INTO known;
    EXIT WHEN FOUND OR product IS NOT NULL;
  END LOOP;
  IF known.product_id IS NULL THEN
    RETURN QUERY SELECT 'exists', to_jsonb(p) FROM products p
                  WHERE p.location = place AND p.product_id = product;
    RETURN;
  END IF;
  INSERT INTO stock_logs (event_id, location, product_id, change, reason, occurred_at)
  VALUES (event, place, number, amount, 'product.created', now());
  RETURN QUERY SELECT 'done', to_jsonb(known);
END
$$;

-- Does what a request asks for, an object with a member `delta` or, for a new product, without; once
-- for each key (NULL: none was given). The outcome may also be key_reused: the key is another
-- request's. Raises 55P03 while the first request with this key is under way.
CREATE FUNCTION tillbox_stock_request(its_key bytea, its_hash bytea, asked jsonb)
RETURNS TABLE (outcome text, product_row jsonb)
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
  known  inventory_keys%ROWTYPE;
  answer record;
BEGIN
  IF its_key IS NOT NULL THEN
    INSERT INTO inventory_keys (key, request, outcome) VALUES (its_key, its_hash, '')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT * INTO STRICT known FROM inventory_keys k WHERE k.key = its_key;
      RETURN QUERY SELECT CASE WHEN known.request = its_hash THEN known.outcome
                               ELSE 'key_reused' END, known.product;
      RETURN;
    END IF;
  END IF;
  IF asked ? 'delta' THEN
    SELECT * INTO answer FROM tillbox_adjust_stock(
      (asked ->> 'event_id')::uuid, asked ->> 'location', (asked ->> 'product_id')::bigint,
      (asked ->> 'delta')::bigint, asked ->> 'reason');
  ELSE
    SELECT * INTO answer FROM tillbox_add_product(
      (asked ->> 'event_id')::uuid, asked ->> 'location', (asked ->> 'product_id')::bigint,
      asked ->> 'product_name', (asked ->> 'stock')::bigint, (asked ->> 'price')::bigint,
      asked ->> 'sku');
  END IF;
  UPDATE inventory_keys k SET outcome = answer.outcome, product = answer.product_row
   WHERE k.key = its_key;
  RETURN QUERY SELECT answer.outcome, answer.product_row;
END
$$;
