#!/usr/bin/env bash
# Does a grid on Ray lose nothing when a run is killed? In an environment with oodbench[ray]; two minutes on two cores:
#   PYTHON=/path/to/ray/environment/bin/python scripts/ray_check.sh [results_dir]
# It starts a Ray of its own and ends it, and writes below results_dir only, but for Ray's own session in /tmp/ray.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
results=${1:-results/ray_check}
export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
grid=('seed=0,1' dataset=digits recipe=smoke recipe.epochs=12 recipe.batch_size=64 recipe.optimizer.lr=0.01
  backbone.width=4 dataset.limit=200 dataset.limit_test=80 'ood=[noise]' device=cpu precision=fp32 threads=1
  checkpoint_share=1)
ray=(hydra/launcher=ray_cluster hydra.launcher.ray.remote.num_gpus=0 hydra.launcher.ray.remote.num_cpus=1)

shown() { grep -E 'will be retried|finished already|^digits/|^[0-9]+ done' | sed 's/\x1b\[[0-9;]*m//g' | cut -c 1-150; }
weights() { (cd "$1" && find . -name model.safetensors -exec sha256sum {} + | sort -k 2); }

rm -rf "$results/basic" "$results/ray"
echo "== one run after the other, in one process"
"$python" train.py -m "${grid[@]}" results_dir="$results/basic" | shown

echo "== on Ray, and one run's process is killed half-way"
"$python" train.py -m "${grid[@]}" "${ray[@]}" results_dir="$results/ray" > "$results/ray.log" 2>&1 &
sweep=$!
while true; do
  kill -0 "$sweep" || { cat "$results/ray.log"; echo "ended before a run could be killed"; exit 1; }
  for run in "$results"/ray/runs/*/*/*/*/seed1/; do
    if [ -f "$run/checkpoint.previous.pt" ] && [ ! -f "$run/model.safetensors" ] && [ -f "$run/lock.json" ]; then
      kill -KILL "$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$run/lock.json")"
      break 2
    fi
  done
  sleep 0.05
done
code=0
wait "$sweep" || code=$?
shown < "$results/ray.log"
echo "exit code $code"

echo "== the same command again"
"$python" train.py -m "${grid[@]}" "${ray[@]}" results_dir="$results/ray" 2>&1 | shown

echo "== weights"
weights "$results/ray"
diff <(weights "$results/basic") <(weights "$results/ray")
echo "equal to the bit"
