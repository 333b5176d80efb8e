#!/bin/sh
# The role that Grafana reads with, made before the schema: it may read the views of schema reporting and nothing else.
set -eu
psql --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --set=database="$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/reader_password`
CREATE ROLE monitor_reader LOGIN PASSWORD :'password';
ALTER ROLE monitor_reader SET default_transaction_read_only = on;
ALTER ROLE monitor_reader SET statement_timeout = '30s';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO monitor_reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL
