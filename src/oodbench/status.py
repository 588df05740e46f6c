"""What has become of every run below a results folder."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from oodbench.claim import owner

RUNS = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
NAMES = {"done": "✓", "running": "…", "failed": "✗", "stopped": "‖"}


class State(NamedTuple):
    """One run. done: it has its numbers; running: a live process owns it; failed: its last start ended in an error;
    stopped: it was killed, or waits to be started again."""

    cell: str  # dataset/backbone/loss/recipe-hash/seed
    state: str
    epochs_done: int
    epochs: int
    idle: float  # seconds since something was last written
    note: str


def state_of(folder: Path, results_dir: Path) -> State:
    """Of the run in a folder; nothing is written."""
    config = yaml.safe_load((folder / "config.yaml").read_text()) if (folder / "config.yaml").exists() else {}
    history = folder / "train.csv"
    epochs_done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
    written = [file.stat().st_mtime for file in folder.glob("[!.]*") if file.name != "claim.json"]
    who, error = owner(folder), folder / "error.txt"
    if (folder / "metrics.json").exists():
        state, note = "done", ""
    elif who:
        state, note = "running", f"process {who['pid']} on {who['host']}"
    elif error.exists():
        state, note = "failed", error.read_text().strip().rpartition("\n")[2]
    else:
        state, note = "stopped", "the same command goes on"
    cell = str(folder.relative_to(results_dir / "runs"))
    epochs = config.get("recipe", {}).get("epochs", 0)
    return State(cell, state, epochs_done, epochs, time.time() - max(written, default=time.time()), note)


def states(results_dir: Path) -> list[State]:
    """Of all runs, sorted by their cells."""
    return [state_of(folder, results_dir) for folder in sorted(results_dir.glob(RUNS)) if folder.is_dir()]


def table(rows: Sequence[State]) -> str:
    """A line a run, and how many are in which state."""
    width = max((len(row.cell) for row in rows), default=4)
    lines = [f"{'run':<{width}}  {'state':<9} {'epochs':>9}  {'idle':>8}"]
    for row in rows:
        idle = "" if row.state == "done" else _duration(row.idle)
        progress = f"{row.epochs_done}/{row.epochs}"
        lines.append(
            f"{row.cell:<{width}}  {NAMES[row.state]} {row.state:<7} {progress:>9}  {idle:>8}  {row.note}".rstrip()
        )
    counts = Counter(row.state for row in rows)
    return "\n".join([*lines, "", ", ".join(f"{counts[state]} {state}" for state in NAMES)])


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{int(seconds)} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
