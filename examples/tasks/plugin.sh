#!/bin/sh
# An operation from a plugin over a folder: sh plugin.sh photos/ out/
set -e
vaetools --plugins-dir "$(dirname "$0")/plugins" local-contrast "$1" -o "$2" --clip 3
