#!/usr/bin/env bash
# One call on a borrowed GPU; see README.md. It needs torch, onnx, Pillow and OpenCV, and no network.
#
#   bash benchmarks/gpu/train.sh RECIPE DATA OUT SECONDS [options of vaetools train]
#
# The weights come to OUT in parts of 15 MB; the run stays in runs/, and another call resumes it.
set -euo pipefail
recipe=$1 data=$2 out=$3 seconds=$4
shift 4
device=${DEVICE:-cuda}
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONPATH=$root:$root/plugins:$root/exported_models
run=runs/gpu-$(basename "$recipe" .toml)
start=$(date +%s)
mkdir -p "$run" "$out"
if [ -d .whl ]; then
  python3 -m pip install -q --no-index --no-deps .whl/*.whl || true
fi
if [ ! -e "$run.toml" ]; then
  python3 "$root/benchmarks/gpu/fastest.py" "$recipe" --data "$data" --to "$run.part" \
    --device "$device" --seconds "${TRIAL:-2.5}" | tee "$run.variants"
  mv "$run.part" "$run.toml"
fi
left=$((seconds - ($(date +%s) - start)))
# SIGTERM ends a run with a whole checkpoint.
timeout --signal TERM --kill-after 60 "$left" python3 -m vaetools train "$run.toml" \
  --data "$data" --run "$run" --device "$device" --weights "$run/weights.pt" "$@" |
  tee -a "$run.log" || true
cp "$run/recipe.toml" "$run/log.csv" "$run.variants" "$out"
split --bytes 15M --numeric-suffixes "$run/weights.pt" "$out/weights.pt."
