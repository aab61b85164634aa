-- By whose knowledge of the stock an order was sold: 'remote' when the inventory service was asked
-- and had enough, 'local' when it could not be asked; NULL where the box has no such service.
ALTER TABLE orders ADD COLUMN stock_checked TEXT CHECK (stock_checked IN ('local', 'remote'));
