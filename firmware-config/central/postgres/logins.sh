#!/bin/sh
# Gives the services, and the box named here, their logins, with the passwords of the secrets; what
# is there gets the password anew. usage: logins.sh BOX
set -eu
PGPASSWORD=$(cat /run/secrets/migrator/postgres_password)
export PGPASSWORD
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v box="$1" postgresql://migrator@postgres/tillbox <<'SQL'
\set inventory `cat /run/secrets/inventory/postgres_password`
\set notification `cat /run/secrets/notification/postgres_password`
\set box_password `cat /run/secrets/box/postgres_password`
SELECT tillbox_add_login('inventory', 'tillbox_inventory', :'inventory'),
       tillbox_add_login('notification', 'tillbox_notification', :'notification'),
       tillbox_add_box(:'box', :'box_password') AS box;
SQL
