#!/usr/bin/env bash
# Does a grid on SLURM lose nothing when a job is preempted and when a node dies? In an environment with oodbench[slurm],
# with SLURM installed and not running (Debian: apt-get install slurm-wlm munge); three minutes on two cores:
#   PYTHON=/path/to/the/environment/bin/python scripts/slurm_check.sh [results_dir]
# It starts a SLURM of its own, of two nodes with a GPU each, which is an empty file, and ends it. It writes to results_dir
# and to a temporary folder, which it removes. No root is needed: root's part is done in namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
for name in munged slurmctld slurmd; do
  command -v $name > /dev/null || { echo "$name is not installed; Debian: apt-get install slurm-wlm munge"; exit 1; }
done
if [ "${INSIDE:-}" != yes ]; then # among processes of its own, which end when it does
  user=()
  [ "$(id -u)" = 0 ] || user=(--user --map-current-user --keep-caps)
  INSIDE=yes exec unshare "${user[@]}" --pid --fork --kill-child=TERM --mount-proc scripts/slurm_check.sh "$@"
fi
python=${PYTHON:-python}
results=${1:-results/slurm_check}
at=$(mktemp -d -t slurm_check.XXXX)
trap 'kill -KILL $(jobs -p); wait 2> /dev/null; rm -rf "$at"' EXIT
trap 'exit 130' INT TERM
export SLURM_CONF=$at/slurm.conf OMP_NUM_THREADS=1
grid=('seed=0,1,2' dataset=digits recipe=smoke recipe.epochs=30 recipe.batch_size=64 recipe.optimizer.lr=0.01
  backbone.width=4 dataset.limit=200 dataset.limit_test=80 'ood=[noise]' device=cpu precision=fp32 threads=1
  checkpoint_share=1)

shown() { grep -E '^halo|^digits/|^[0-9]+ done' | cut -c 1-150; }
weights() { (cd "$1" && find . -name model.safetensors -exec sha256sum {} + | sort -k 2); }
until_true() {
  for _ in {1..300}; do "$@" && return; sleep 0.2; done
  tail -n 5 "$at"/*.log
  echo "waited for a minute in vain: $*"
  exit 1
}

# SLURM: who may talk to it, what controls it, and two nodes
read -r port port1 port2 < <("$python" -c 'import socket; servers = [socket.create_server(("", 0)) for _ in range(3)]
print(*[server.getsockname()[1] for server in servers])')
chmod 711 "$at" # or munged refuses it
mkdir "$at/state"
touch "$at/gpu"
echo "Name=gpu File=$at/gpu" > "$at/gres.conf"
cat > "$SLURM_CONF" << END
ClusterName=check
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPidFile=$at/slurmctld.pid
SlurmdPidFile=$at/%n.pid
StateSaveLocation=$at/state
SlurmdSpoolDir=$at/%n
AuthInfo=socket=$at/munge.socket,cred_expire=5  # seconds after which a requeued job may start
SlurmdTimeout=10                                # seconds after which a silent node is dead
ProctrackType=proctrack/linuxproc               # no cgroups
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides               # the sizes below hold, whatever the machine has
GresTypes=gpu
NodeName=one NodeAddr=127.0.0.1 Port=$port1 CPUs=4 RealMemory=16384 Gres=gpu:1
NodeName=two NodeAddr=127.0.0.1 Port=$port2 CPUs=4 RealMemory=16384 Gres=gpu:1
PartitionName=gpu Nodes=one,two
END
(umask 077 && head -c 128 /dev/urandom > "$at/munge.key")
munged --foreground --key-file="$at/munge.key" --socket="$at/munge.socket" --pid-file="$at/munge.pid" \
  --log-file="$at/munge.log" --seed-file="$at/munge.seed" 2> "$at/munged.log" &
until_true test -S "$at/munge.socket"
slurmctld -D 2> "$at/slurmctld.log" &
declare -A node
for name in one two; do # a name and processes of its own, so that it can die as a machine does
  unshare --uts --pid --fork --kill-child --mount-proc sh -c "hostname $name && exec slurmd -D -N $name" \
    2> "$at/$name.log" &
  node[$name]=$!
done
nodes_are_idle() { [ "$(sinfo -h -N -t idle 2> /dev/null | wc -l)" = 2 ]; }
until_true nodes_are_idle

amid() { # waits until the run of this seed has a checkpoint and trains; sets its folder, epochs and node
  while true; do
    kill -0 "$sweep" 2> /dev/null || { cat "$results/slurm.log"; echo "ended before seed $1 was amid its run"; exit 1; }
    for run in "$results"/slurm/runs/*/*/*/*/seed"$1"; do
      if [ -f "$run/checkpoint.previous.pt" ] && [ ! -f "$run/model.safetensors" ] &&
        at_node=$(grep -oE '"host": "(one|two)"' "$run/lock.json"); then
        at_node=$(cut -d '"' -f 4 <<< "$at_node")
        epochs=$(tail -n 1 "$run/train.csv" | cut -d , -f 2)
        return
      fi
    done
    sleep 0.05
  done
}

rm -rf "$results/basic" "$results/slurm"
mkdir -p "$results"
echo "== one run after the other, in one process"
"$python" train.py -m "${grid[@]}" results_dir="$results/basic" | shown

echo "== on $(sinfo --version), two jobs at a time"
"$python" train.py -m "${grid[@]}" hydra/launcher=slurm hydra.launcher.partition=gpu results_dir="$results/slurm" \
  > "$results/slurm.log" 2>&1 &
sweep=$!
amid 0
echo "seed 0 is preempted on node $at_node in epoch $((epochs + 1))"
scancel --signal=USR2 "$(squeue -h -o %F | head -n 1)_0"
amid 2
echo "node $at_node dies with seed 2 in epoch $((epochs + 1))"
{ kill -KILL "${node[$at_node]}" && wait "${node[$at_node]}"; } 2> /dev/null || true # bash tells of it, too
code=0
wait "$sweep" || code=$?
shown < "$results/slurm.log"
echo "exit code $code"

echo "== from the jobs' logs"
cat "$results"/slurm/runs/.submitit/*/*.out |
  grep -oE 'Caught signal.*|Requeued job \w+|watching for [0-9]+ s|continues after epoch [0-9]+ of [0-9]+'

echo "== weights"
weights "$results/slurm" | cut -c 1-16,65-
diff <(weights "$results/basic") <(weights "$results/slurm")
echo "equal to the bit"
