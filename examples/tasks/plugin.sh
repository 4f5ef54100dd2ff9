#!/bin/sh
# An operation of one's own over a folder: sh plugin.sh photos/ out/
set -e
vaetools --plugins-dir "$(dirname "$0")/plugins" local-contrast "$1" -o "$2" --clip 3
