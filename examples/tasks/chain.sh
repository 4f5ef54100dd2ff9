#!/bin/sh
# A chain of two operations over a folder, one record per image: sh chain.sh photos/ packed/ report.ndjson
set -e
here=$(dirname "$0")
vaetools --plugins-dir "$here/plugins" run "$here/pipeline.toml" "$1" -o "$2" --json >"$3"
