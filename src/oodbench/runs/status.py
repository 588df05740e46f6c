"""What has become of every run below a results folder."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from oodbench.runs.lock import owner

RUNS = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
NAMES = {"done": "✓", "running": "…", "failed": "✗", "stopped": "‖", "missing": " "}


class State(NamedTuple):
    """One run. done: it has its numbers; running: a live process owns it; failed: its last start ended in an error;
    stopped: it was killed, or waits to be started again; missing: it was never started."""

    cell: str  # dataset/backbone/loss/recipe-hash/seed
    state: str
    epochs_done: int
    epochs: int
    idle: float  # seconds since something was last written
    note: str


def state_of(folder: Path, results_dir: Path, done: bool) -> State:
    """Of the run in a folder; `done`: whether it has all its numbers. Nothing is written."""
    history = folder / "train.csv"
    epochs_done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
    written = [file.stat().st_mtime for file in folder.glob("[!.]*") if file.name != "claim.json"]
    who, error = owner(folder), folder / "error.txt"
    if who:
        age = duration(time.time() - who["since"])
        state, note = "running", f"for {age}, process {who['pid']} on {who['host']}"
    elif done:
        state, note = "done", ""
    elif error.exists():
        state, note = "failed", error.read_text(errors="replace").strip().rpartition("\n")[2]
    elif folder.exists():
        state, note = "stopped", "the same command goes on"
    else:
        state, note = "missing", "the same command starts it"
    cell = str(folder.relative_to(results_dir / "runs"))
    return State(
        cell, state, epochs_done, _epochs(folder / "config.yaml"), time.time() - max(written, default=time.time()), note
    )


def _epochs(config: Path) -> int:
    """That the run is to have; 0 where its configuration is not there or cannot be read."""
    with contextlib.suppress(FileNotFoundError, yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError):
        return int(yaml.safe_load(config.read_text())["recipe"]["epochs"])
    return 0


def states(results_dir: Path) -> list[State]:
    """Of all runs, sorted by their cells."""
    folders = [folder for folder in sorted(results_dir.glob(RUNS)) if folder.is_dir()]
    return [state_of(folder, results_dir, done=(folder / "metrics.json").exists()) for folder in folders]


def table(rows: Sequence[State]) -> str:
    """A line a run, and how many are in which state."""
    width = max((len(row.cell) for row in rows), default=4)
    lines = [f"{'run':<{width}}  {'state':<9} {'epochs':>9}  {'idle':>8}"]
    for row in rows:
        idle = "" if row.state in ("done", "missing") else duration(row.idle)
        progress = f"{row.epochs_done}/{row.epochs}"
        lines.append(
            f"{row.cell:<{width}}  {NAMES[row.state]} {row.state:<7} {progress:>9}  {idle:>8}  {row.note}".rstrip()
        )
    counts = Counter(row.state for row in rows)
    return "\n".join([*lines, "", ", ".join(f"{counts[s]} {s}" for s in NAMES if counts[s] or s != "missing")])


def duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{int(seconds)} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
