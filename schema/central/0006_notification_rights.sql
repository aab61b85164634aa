-- The notification service may read contacts, and keep its own table; whoever reads all else may see what
-- was sent, though not to whom.
GRANT SELECT ON contacts, schema_migrations TO tillbox_notification;
GRANT SELECT, INSERT, UPDATE ON notifications TO tillbox_notification;
GRANT SELECT ON notifications TO tillbox_reader;
