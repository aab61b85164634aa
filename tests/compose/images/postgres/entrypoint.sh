#!/bin/bash
# What of the official image's start is relied on: a password from a file, a new database's scripts,
# and the server under its own user.
set -eu
as_server() {
    setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$PGDATA" "$@"
}

if [ "$1" != postgres ]; then
    exec "$@"
fi
export POSTGRES_USER=${POSTGRES_USER:-postgres}
install -d -o postgres -g postgres -m 2775 /var/run/postgresql
chown postgres:postgres "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    cat "${POSTGRES_PASSWORD_FILE:?is needed}" >"$password"
    chown postgres "$password"
    as_server initdb --username="$POSTGRES_USER" --pwfile="$password" --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --no-sync -D "$PGDATA"
    rm "$password"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    as_server pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        as_server "$script"
    done
    as_server pg_ctl -D "$PGDATA" -w -m fast stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@" -D "$PGDATA" \
    -c listen_addresses='*'
