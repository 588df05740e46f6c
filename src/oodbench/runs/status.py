"""The state of every run below a results folder, a line each."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from oodbench.phrases import duration, printable
from oodbench.runs.config import read_config
from oodbench.runs.identity import Config, identify
from oodbench.runs.lock import owner
from oodbench.runs.paths import LOCK_FILES, place_of, run_folders
from oodbench.storage import regular

MARKS = {"done": "✓", "running": "…", "failed": "✗", "stopped": "‖", "missing": " ", "foreign": "≠"}
RARE = ("missing", "foreign")  # states that a summary names only where there are any
RUN = re.compile(rb'\{\s*"run": "([0-9a-f]{8}/seed\d+)"')  # the first entry of metrics.json


class State(NamedTuple):
    """One run. done: it has its numbers; running: a live process works on it; failed: its last start ended in an error;
    stopped: it was killed, or waits to be started again; missing: it was never started; foreign: its files are another
    run's."""

    run: str  # dataset/backbone/loss/recipe-hash/seed
    state: str
    epochs_done: int
    epochs: int | None  # None where its configuration does not say
    idle: float  # seconds since something was last written
    note: str


def state_of(path: Path, results_dir: Path, done: bool) -> State:
    """Return the state of the run in a folder; done: whether it has all its numbers. Nothing is written."""
    who, error = owner(path), path / "error.txt"
    config, problem = _config(path / "config.yaml")
    if who:
        age = duration(time.time() - who.since)
        state, note = "running", f"for {age}, process {who.pid} on {who.host}"
    elif other := _other_run(path, config):
        state, note = "foreign", f"{other}; no table has it"
    elif done:
        state, note = "done", "" if config or problem else "config.yaml is missing, so that no table has it"
    elif error.exists():
        state, note = "failed", _first_line(error)
    elif path.exists():
        state, note = "stopped", "the same command continues it"
    else:
        state, note = "missing", "the same command starts it"
    epochs, unknown = _epochs(config)
    run = str(path.relative_to(results_dir / "runs"))
    why = note or problem or (unknown and f"{path / 'config.yaml'}: {unknown}")
    return State(run, state, epochs_done(path / "train.csv"), epochs, _idle(path), why)


def states(results_dir: Path) -> list[State]:
    """Return the states of all runs, sorted by their folders."""
    return [state_of(path, results_dir, (path / "metrics.json").is_file()) for path in run_folders(results_dir)]


def _first_line(file: Path) -> str:
    """Return the sentence that says what went wrong."""
    with contextlib.suppress(OSError, ValueError), regular(file).open(encoding="utf-8", errors="replace") as opened:
        lines = opened.read(10_000).strip().splitlines()
        return lines[0][:300] if lines else "error.txt is empty"
    return f"{file.name} cannot be read"


def _config(file: Path) -> tuple[Config, str]:
    """Return a run's configuration, and why it cannot be read, if it cannot."""
    try:
        return (read_config(file), "") if file.exists() else ({}, "")
    except ValueError as error:
        return {}, f"{file}: {error}"


def _epochs(config: Config) -> tuple[int | None, str]:
    """Return the epochs that a run is to have, and why they are not known, if they are not."""
    if not config:
        return None, ""
    try:
        epochs = config["recipe"]["epochs"]
    except (KeyError, TypeError) as error:
        return None, str(error)
    return (epochs, "") if type(epochs) is int else (None, "" if epochs is None else f"epochs is {epochs!r}")


def _other_run(path: Path, config: Config) -> str:
    """Name the other run that the files of a folder state they are of; "" if they are its own, or do not say.

    Of metrics.json the first line is read, not the numbers: whether these are whole is said by whoever uses them.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        run = identify(config)
        if run.place != place_of(path):
            return f"config.yaml is of {run.place}"
        with regular(path / "metrics.json").open("rb") as file:
            named = RUN.match(file.read(100))
        if named and named[1].decode() != str(run):
            return f"metrics.json is of run {named[1].decode()}, this folder of {run}"
    return ""


def epochs_done(history: Path) -> int:
    """Return how many epochs train.csv has; 0 where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return max(0, len(regular(history).read_bytes().splitlines()) - 1)
    return 0


def _idle(path: Path) -> float:
    """Return the seconds since something was written; files that vanish meanwhile are passed over."""
    newest = 0.0
    with contextlib.suppress(OSError):
        for file in path.glob("[!.]*"):
            with contextlib.suppress(OSError):
                newest = max(newest, file.stat().st_mtime if file.name not in LOCK_FILES else 0.0)
    return time.time() - newest if newest else 0.0


def table(rows: Sequence[State]) -> str:
    """Return one line per run, and how many are in which state."""
    width = max((len(row.run) for row in rows), default=4)
    lines = [f"{'run':<{width}}  {'state':<9} {'epochs':>9}  {'idle':>8}"]
    for row in rows:
        idle = "" if row.state in ("done", "missing") else duration(row.idle)
        progress = f"{row.epochs_done}/{'?' if row.epochs is None else row.epochs}"
        line = f"{row.run:<{width}}  {MARKS[row.state]} {row.state:<7} {progress:>9}  {idle:>8}  {row.note}".rstrip()
        lines.append(printable(line))
    return "\n".join([*lines, "", summary(row.state for row in rows)])


def summary(found: Iterable[str]) -> str:
    """Return how many runs are in which state."""
    counts = Counter(found)
    return ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state] or state not in RARE)
