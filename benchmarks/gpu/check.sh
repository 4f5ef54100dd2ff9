#!/bin/bash
# On a machine with a GPU, in the root of the repository, after pack_runtime.py at home:
#   first call:  bash benchmarks/gpu/check.sh keep .gpu/a
#   second call: bash benchmarks/gpu/check.sh run .gpu/b PHOTOS OUT [options of check.py]
# `keep` puts the first half of the pack into $KEEP, because both do not fit into one transfer.
set -euo pipefail
keep=${KEEP:-/tmp/vaetools-gpu}
site=$keep/site
what=$1 pack=$2
mkdir -p "$site"
if [ "$what" = keep ]; then
    cp "$pack/provider.so.xz" "$keep/"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
    python3 -c 'import sys, torch; print(sys.version.split()[0], torch.__version__, torch.version.cuda)'
    exit
fi
photos=$3 out=$4
shift 4
tar -C "$site" -xJf "$pack/runtime.tar.xz"
xz -dc "$keep/provider.so.xz" > "$site/onnxruntime/capi/libonnxruntime_providers_cuda.so"
packages=$(python3 -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))')
libraries=$(printf '%s:' "$packages"/nvidia/*/lib)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:-} CUDA_MODULE_LOADING=LAZY PYTHONUNBUFFERED=1
export PYTHONPATH=$site:$PWD:$PWD/plugins:$PWD/exported_models
mkdir -p "$out"
python3 benchmarks/gpu/check.py "$photos" --out "$out" "$@" 2>&1 | tee "$out/check.log"
