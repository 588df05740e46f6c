#!/usr/bin/env bash
# On the machine: what it has, and images/s of a training on noise, alone and two at once, step by step, as a CUDA graph, compiled.
#   probe.sh [override ...]      about three minutes, most of them for the compiler; oodbench is on the PATH
set -euo pipefail
at=$(mktemp -d)
trap 'rm -rf "$at"' EXIT
nvidia-smi --query-gpu=name,memory.total,driver_version,power.limit --format=csv,noheader || echo no GPU
nproc --all
df -h "$at" | tail -n 1
"${PYTHON:-python3}" - "$at/noise" << 'END'
import io, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, torch
from PIL import Image

print("torch", torch.__version__, "cuda", torch.version.cuda, "cudnn", torch.backends.cudnn.version())
def image(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng((1, seed)).integers(256, size=(32, 32, 3), dtype=np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}

root = Path(sys.argv[1])
root.mkdir()
for name, seeds in (("train", range(256)), ("test", range(256, 276))):
    rows = [image(seed) for seed in seeds] * (100 if name == "train" else 1)  # speed does not depend on the pixels
    pq.write_table(pa.table({"image": rows, "label": [i % 10 for i in range(len(rows))]}), root / f"{name}.parquet")
END
for how in "cuda_graph=false compile=false" "cuda_graph=true compile=false" "cuda_graph=true compile=true"; do
  for runs in 1 2; do
    results="$at/${how//[ =]/_}_$runs"
    for ((seed = 0; seed < runs; seed++)); do
      # shellcheck disable=SC2086  # two overrides
      oodbench train dataset=parquet dataset.path="$at/noise" loss=halo recipe=sgd200 recipe.epochs=4 seed=$seed \
        recipe.optimizer.lr=0.001 $how runs_per_gpu=$runs results_dir="$results" "$@" \
        > "$at/log.$seed" 2>&1 || tail -n 3 "$at/log.$seed" &
    done
    wait
    tail -qn 1 "$results"/runs/*/*/*/*/*/train.csv | # the last epoch's, the last column but one
      awk -F, -v how="$how, $runs at once" '{ sum += $(NF - 1) } END { printf "%s: %.0f images/s\n", how, sum }'
  done
done
