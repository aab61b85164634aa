#!/bin/bash
# Runs once, on an empty database server: the role that owns the tables, and its database. It makes
# roles for others (CREATEROLE) and is no superuser.
set -eu
psql --no-psqlrc -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set password `cat /run/secrets/migrator/postgres_password`
CREATE ROLE migrator LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE tillbox OWNER migrator;
SQL
