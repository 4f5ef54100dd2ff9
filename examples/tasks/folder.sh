#!/bin/sh
# A folder compressed and decompressed, sizes and PSNR: sh folder.sh photos/ work/
set -e
vaetools compress "$1" -o "$2/packed" --quality 60
vaetools decompress "$2/packed" -o "$2/back"
vaetools eval "$1" "$2/packed" # bytes and bits per pixel are those of the .vae files
