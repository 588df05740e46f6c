#!/usr/bin/env bash
# On the machine: what is to come back. All numbers so far, and the weights of up to N runs that have not gone yet.
#   collect.sh RESULTS OUT [N]      OUT/small.tar.gz, OUT/<run>.tar.00, .01, ... of 16 MB; oodbench is on the PATH
# At home: tar -xzf small.tar.gz, and for each run: cat <run>.tar.* | tar -x
set -euo pipefail
results=$(realpath "$1") out=$(realpath "$2") n=${3:-0}
small=$(mktemp -d)
trap 'rm -rf "$small"' EXIT
oodbench status results_dir="$results" | tee "$small/status.txt"
cd "$results"
find . \( -name train.csv -o -name error.txt -o -name '*.log' \) -exec cp --parents -t "$small" {} +
oodbench publish results_dir="$results" --target "$small" || true # none is finished, or one is damaged
tar -C "$small" -czf "$out/small.tar.gz" .
touch sent
mapfile -t new < <(find runs -name model.safetensors | sort | grep -vxFf sent | head -n "$n")
for file in "${new[@]}"; do
  run=${file%/*}
  tar -cf - "$file" | split -b 16MB -d - "$out/${run//\//-}.tar."
  echo "$file" >> sent
done
