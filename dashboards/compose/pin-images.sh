#!/bin/sh
# Writes the digest behind each image that is not built here, into docker-compose.yml and Dockerfile; needs Docker.
set -eu
cd "$(dirname "$0")/../.."
{
  sed -n 's/^ *image: *//p' docker-compose.yml | grep -v '^monitor-vision'
  sed -n 's/^FROM \([^ ]*:[^ ]*\) AS .*/\1/p' Dockerfile
} | sed 's/@sha256:.*//' | sort -u | while read -r image; do
  docker pull --quiet "$image" > /dev/null
  digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image" | sed 's/.*@//')
  sed -E -i "s,(image: |FROM )$image(@sha256:[0-9a-f]+)?( |\$),\1$image@$digest\3," docker-compose.yml Dockerfile
  echo "$image@$digest"
done
