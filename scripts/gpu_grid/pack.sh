#!/usr/bin/env bash
# At home: this checkout's HEAD, wheels and data as parts that can be copied one by one.
#   pack.sh OUT MB WHEELS DATA FILE...      OUT/part.00, part.01, ... of at most MB megabytes; FILEs are below DATA
set -euo pipefail
mkdir -p "$1"
out=$(realpath "$1") mb=$2 wheels=$3 data=$(realpath "$4")
shift 4
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
[ -z "$(git -C "$root" status --porcelain)" ] || echo "changes that are not committed stay behind"
git clone -q --depth 1 "file://$root" "$stage/clone"
tar -C "$stage/clone" -cf "$stage/repository.tar" . # with its commit, which every record of a run names
mkdir "$stage/wheels"
cp "$wheels"/*.whl "$stage/wheels"
ln -s "$data" "$stage/data"
cd "$stage"
files=(wheels/*.whl repository.tar "${@/#/data/}")
sha256sum "${files[@]}" > SHA256SUMS
tar -cf - SHA256SUMS "${files[@]}" | split -b "${mb}MB" -d - "$out/part."
