#!/bin/sh
# The role that Grafana reads with, made before the schema: it may read the views of schema reporting and nothing else.
set -eu
psql --quiet --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --set=owner="$POSTGRES_USER" \
  --set=password_file=/run/secrets/reader_password --file=/etc/monitor/reader.sql
