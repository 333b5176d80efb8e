#!/bin/sh
# Writes the digest behind each image that is not built here, into docker-compose.yml and Dockerfile; needs Docker.
set -eu
cd "$(dirname "$0")/.."
{
  sed -n 's/^ *image: *//p' docker-compose.yml | grep -v '^monitor-vision'
  sed -n 's/^FROM \([^ ]*:[^ ]*\) AS .*/\1/p' Dockerfile
} | sed 's/@sha256:.*//' | sort -u | while read -r image; do
  docker pull --quiet "$image" > /dev/null
  digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image" | sed 's/.*@//')
  sed -i "s|$image\(@sha256:[0-9a-f]*\)\{0,1\}\( \|\$\)|$image@$digest\2|" docker-compose.yml Dockerfile
  echo "$image@$digest"
done
