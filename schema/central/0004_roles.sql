-- Who may do what. Whoever runs the migrations owns the tables; it needs CREATEROLE and must own the
-- database, and need not be a superuser. Everyone else is a login in one of these groups:
--
--   tillbox_box           a box: its own rows, by row-level security
--   tillbox_inventory     bridge inventory
--   tillbox_notification  bridge notification
--   tillbox_reader        reads everything but the contacts
--
-- Roles belong to the whole server, so another database of it may have brought them already.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['tillbox_box', 'tillbox_inventory', 'tillbox_notification',
                                'tillbox_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted);
  END LOOP;
  -- A stranger may not even connect, and nobody may bring tables of its own.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Which box a login is. A login may see its own row alone.
CREATE TABLE device_roles (
  role_name  name        PRIMARY KEY,
  device_id  text        NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE device_roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON device_roles FOR SELECT TO tillbox_box USING (role_name = current_user);

-- NULL for a login that is no box. Its body is bound to the table now: no search_path or table of
-- the caller's can put another in its place.
CREATE FUNCTION tillbox_own_device() RETURNS text STABLE PARALLEL SAFE
RETURN (SELECT d.device_id FROM device_roles d WHERE d.role_name = current_user);

ALTER TABLE devices    ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders     ENABLE ROW LEVEL SECURITY;

-- The sub-select makes it one look-up a statement instead of one a row.
CREATE POLICY own ON devices    TO tillbox_box USING (device_id = (SELECT tillbox_own_device()));
CREATE POLICY own ON event_logs TO tillbox_box USING (device_id = (SELECT tillbox_own_device()));
CREATE POLICY own ON orders     TO tillbox_box USING (device_id = (SELECT tillbox_own_device()));
CREATE POLICY read ON devices    FOR SELECT TO tillbox_reader USING (true);
CREATE POLICY read ON event_logs FOR SELECT TO tillbox_reader USING (true);
CREATE POLICY read ON orders     FOR SELECT TO tillbox_reader USING (true);

-- Columns, not tables: a box can't give itself another journal, rewrite an event, or lock others out
-- (LOCK TABLE asks for the privilege on the whole table).
GRANT SELECT ON device_roles, devices, event_logs, orders TO tillbox_box;
GRANT INSERT (device_id, journal_id, location, last_sequence, chain_head),
      UPDATE (location, last_sequence, chain_head, last_seen_at) ON devices TO tillbox_box;
GRANT INSERT (event_id, device_id, sequence, order_id, event_type, event_version, payload,
              occurred_at) ON event_logs TO tillbox_box;
GRANT INSERT, UPDATE (status, created_at, cancelled_at) ON orders TO tillbox_box;
GRANT SELECT ON devices, event_logs, orders, schema_migrations TO tillbox_reader;

REVOKE EXECUTE ON FUNCTION tillbox_own_device(), tillbox_store_events(text, jsonb),
  tillbox_take_events(text, uuid, text, bigint, bigint, bytea, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tillbox_own_device(), tillbox_store_events(text, jsonb),
  tillbox_take_events(text, uuid, text, bigint, bigint, bytea, jsonb) TO tillbox_box;

-- For the operator: gives a group a login, or the login another password (NULL: none, for a
-- certificate). A password may come as a SCRAM-SHA-256 verifier. A login that isn't the group's
-- already is left alone.
CREATE FUNCTION tillbox_add_login(login text, for_group text, password text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF for_group NOT IN ('tillbox_box', 'tillbox_inventory', 'tillbox_notification',
                       'tillbox_reader') THEN
    RAISE EXCEPTION '% is no group of tillbox', for_group USING ERRCODE = '22023';
  ELSIF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
    EXECUTE format('CREATE ROLE %I LOGIN CONNECTION LIMIT 20', login);
    EXECUTE format('GRANT %I TO %I', for_group, login);
  ELSIF NOT EXISTS (SELECT FROM pg_auth_members m
                     WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = login)
                       AND m.roleid = (SELECT oid FROM pg_roles WHERE rolname = for_group)) THEN
    RAISE EXCEPTION 'the role % is there already and not in %', login, for_group
      USING ERRCODE = '42710';
  END IF;
  EXECUTE format('ALTER ROLE %I PASSWORD %L', login, password);
END
$$;

-- The login of a box: "box-" and its device_id. Gives its name, which is the box's name on the
-- broker too. PostgreSQL's names end at 63 bytes: a longer one is refused, not cut.
CREATE FUNCTION tillbox_add_box(device text, password text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  login text := 'box-' || device;
BEGIN
  IF device !~ '^[A-Za-z0-9._-]{1,59}$' THEN
    RAISE EXCEPTION 'a device_id that has a login is 1 to 59 letters, digits, "-", "_" or "."'
      USING ERRCODE = '22023';
  END IF;
  PERFORM tillbox_add_login(login, 'tillbox_box', password);
  INSERT INTO device_roles (role_name, device_id) VALUES (login, device)
  ON CONFLICT (role_name) DO NOTHING;
  RETURN login;
END
$$;

-- Takes a box's login away; its events stay. A session that it has open sees and writes nothing from
-- now on, since no row is its own any more.
CREATE FUNCTION tillbox_remove_box(device text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  login text := (SELECT role_name FROM device_roles WHERE device_id = device);
BEGIN
  IF login IS NULL THEN
    RAISE EXCEPTION 'box % has no login', device USING ERRCODE = '42704';
  END IF;
  DELETE FROM device_roles WHERE device_id = device;
  EXECUTE format('DROP ROLE %I', login);
END
$$;
REVOKE EXECUTE ON FUNCTION tillbox_add_login(text, text, text), tillbox_add_box(text, text),
  tillbox_remove_box(text) FROM PUBLIC;
