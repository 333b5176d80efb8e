#!/bin/sh
# Before the daemon: the schema of this release, and the token that Prometheus reads /metrics with.
set -eu
monitor db upgrade
if ! [ -s /run/scrape/token ]; then
  monitor tokens revoke prometheus 2>/dev/null || true
  umask 022
  monitor tokens create prometheus --scope read --days 3650 > /run/scrape/token.new
  mv /run/scrape/token.new /run/scrape/token
fi
