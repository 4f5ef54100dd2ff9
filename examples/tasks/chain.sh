#!/bin/sh
# Two operations over a folder, a record for every picture: sh chain.sh photos/ packed/ report.ndjson
set -e
here=$(dirname "$0")
vaetools --plugins-dir "$here/plugins" run "$here/pipeline.toml" "$1" -o "$2" --json >"$3"
