#!/bin/sh
# Scores the golden and challenge sets of every contract each night at GOLDEN_AT (UTC), on the GPU that this has.
set -eu
: "${GOLDEN_AT:=02:00}"
while :; do
  now=$(date -u +%s)
  at=$(date -u -d "$GOLDEN_AT" +%s)
  [ "$at" -gt "$now" ] || at=$((at + 86400))
  sleep $((at - now))
  for contract in "$MONITOR_CONTRACTS_DIR"/*.toml; do
    for set in "" --challenge; do
      # A contract without such a set is no failure; what a run came to stands in the database and on the page.
      monitor golden run "$contract" $set || echo "$contract ${set:---golden}: not passed, or no such set"
    done
  done
done
