-- An event_id is one event's, whoever publishes it.

CREATE FUNCTION tillbox_refuse_event(event uuid)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'event_id % belongs to another event', event USING ERRCODE = '23505';
END
$$;
REVOKE EXECUTE ON FUNCTION tillbox_refuse_event(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tillbox_refuse_event(uuid) TO tillbox_inventory;

-- As before, but an event that comes again must be the same event: one that makes other moves under an
-- event_id that is known, in stock_logs or in this batch, is refused, and nothing of the batch is applied.
--
-- Applies moves, a JSON array with an object for each event and product, in one go: those whose
-- (event_id, location, product_id) is in stock_logs change nothing. The first row tells how many
-- events were new; further rows tell which products went below zero or came back.
--
-- Replicas may run it at the same time, with the same events or on the same products: everyone takes
-- rows table by table in this order (stock_logs, product_sources, products), each sorted by its key.
CREATE OR REPLACE FUNCTION tillbox_move_stock(moves json)
RETURNS TABLE (applied bigint, at_location text, of_product bigint, now_stock bigint)
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
  RETURN QUERY
  WITH batch AS MATERIALIZED (
    SELECT * FROM json_to_recordset(moves) AS m (
      number int, event_id uuid, location text, product_id bigint, change bigint, reason text,
      note text, device_id text, journal_id uuid, sequence bigint, order_id bigint,
      occurred_at timestamptz, product_name text, price bigint, sku text)
  ), seen AS MATERIALIZED (
    SELECT l.* FROM (SELECT DISTINCT b.event_id FROM batch b) b
     CROSS JOIN LATERAL (SELECT s.event_id, s.location, s.product_id, s.change FROM stock_logs s
                          WHERE s.event_id = b.event_id OFFSET 0) l -- by the index, whatever is planned
  ), twice AS (
    SELECT b.event_id, count(DISTINCT b.number) AS times FROM batch b
     GROUP BY b.event_id HAVING min(b.number) <> max(b.number)
  ), other AS (
    SELECT s.event_id FROM seen s
     WHERE NOT EXISTS (SELECT FROM batch b
                        WHERE (b.event_id, b.location, b.product_id, b.change) =
                              (s.event_id, s.location, s.product_id, s.change))
    UNION ALL
    SELECT b.event_id FROM batch b JOIN twice t USING (event_id)
     GROUP BY b.event_id, b.location, b.product_id, b.change, t.times HAVING count(*) <> t.times
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
  SELECT count(DISTINCT l.event_id)
         + coalesce((SELECT tillbox_refuse_event(o.event_id) FROM other o LIMIT 1), 0),
         NULL::text, NULL::bigint, NULL::bigint
    FROM logged l
  UNION ALL
  SELECT NULL, m.location, m.product_id, m.stock
    FROM moved m JOIN sums s USING (location, product_id)
   WHERE (m.stock < 0) <> (m.stock - s.change < 0);
END
$$;
