#!/bin/sh
# Writes the secrets of docker-compose.yml into a folder, once: what is there stays. The folder is for its owner alone;
# the files in it can be read by the containers' own users.
set -eu
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
write() {
  [ -s "$folder/$1" ] || { printf '%s' "$2" > "$folder/$1.new"; chmod 0444 "$folder/$1.new"; mv "$folder/$1.new" "$folder/$1"; }
}
write postgres_password "$(random)"
write reader_password "$(random)"
write grafana_admin_password "$(random)"
write database_url "postgresql://monitor:$(cat "$folder/postgres_password")@postgres:5432/monitor"
echo "secrets are in $folder; Grafana's administrator is admin, with the password in $folder/grafana_admin_password"
