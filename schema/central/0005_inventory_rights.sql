-- The inventory service keeps stock, and can't rewrite why it is what it is; a box may see what became
-- of its own events.
ALTER TABLE stock_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY keep ON stock_logs TO tillbox_inventory USING (true);
CREATE POLICY read ON stock_logs FOR SELECT TO tillbox_reader USING (true);
CREATE POLICY own  ON stock_logs FOR SELECT TO tillbox_box
  USING (device_id = (SELECT tillbox_own_device()));
GRANT SELECT ON stock_logs TO tillbox_box;

GRANT SELECT, INSERT ON products, stock_logs, product_sources, inventory_keys TO tillbox_inventory;
GRANT UPDATE (product_name, stock, price, sku, updated_at) ON products TO tillbox_inventory;
GRANT UPDATE (sequence) ON product_sources TO tillbox_inventory;
GRANT UPDATE (outcome, product), DELETE ON inventory_keys TO tillbox_inventory;
GRANT SELECT ON schema_migrations TO tillbox_inventory;
GRANT SELECT ON products, stock_logs TO tillbox_reader;

REVOKE EXECUTE ON FUNCTION tillbox_move_stock(json),
  tillbox_adjust_stock(uuid, text, bigint, bigint, text),
  tillbox_add_product(uuid, text, bigint, text, bigint, bigint, text),
  tillbox_stock_request(bytea, bytea, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tillbox_move_stock(json),
  tillbox_adjust_stock(uuid, text, bigint, bigint, text),
  tillbox_add_product(uuid, text, bigint, text, bigint, bigint, text),
  tillbox_stock_request(bytea, bytea, jsonb) TO tillbox_inventory;
