#!/bin/sh
# Compress and decompress a folder, and print sizes and PSNR: sh folder.sh photos/ work/
set -e
vaetools compress "$1" -o "$2/packed" --quality 60
vaetools decompress "$2/packed" -o "$2/back"
vaetools eval "$1" "$2/packed" # sizes are those of the .vae files
