#!/bin/sh
# A region of a file, and a preview of a truncated one: sh part.sh photo.png work/
set -e
vaetools compress "$1" -o "$2/whole.vae"
vaetools decompress "$2/whole.vae" -o "$2/part.png" --region 40,24,64,48
half=$(($(wc -c <"$2/whole.vae") / 2))
head -c "$half" "$2/whole.vae" >"$2/cut.vae"
vaetools decompress "$2/cut.vae" -o "$2/rough.png" --preview
