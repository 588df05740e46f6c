"""Attacks on runs, each on a copy of runs that nobody touched, whose results are known to the bit."""

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from helpers.config import configuration
from helpers.victim import TINY, End, lived, scripts, train

from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.runs.folder import open_run
from oodbench.runs.identity import Config
from oodbench.runs.lock import owner
from oodbench.runs.paths import run_folders
from oodbench.storage import load_arrays, read_json

HALO = (*TINY, "loss=halo", "recipe.optimizer.lr=0.01")
RUNS = {  # the run under attack, and others whose files may come into its folder
    "own": HALO,
    "seed": (*HALO, "seed=1"),
    "loss": (*TINY, "loss=ce", "recipe.optimizer.lr=0.01"),
    "lr": (*HALO, "recipe.optimizer.lr=0.02"),
}


class Arena(NamedTuple):
    """A place for attacks. `runs` has finished runs that are only copied; `tmp` is of one attack."""

    tmp: Path
    runs: Path
    folders: dict[str, Path]  # {name in RUNS: the run's place below a results folder}
    expected: dict[str, Any]  # what the run under attack leaves behind

    def results(self, *names: str) -> Path:
        """Return a results folder with copies of these runs, an earlier one removed."""
        results = self.tmp / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        for name in names:
            shutil.copytree(self.runs / self.folders[name], results / self.folders[name])
        return results

    @property
    def folder(self) -> Path:
        """The folder under attack."""
        return self.tmp / "results" / self.folders["own"]

    def config(self, name: str = "own") -> Config:
        return configuration(*RUNS[name], results_dir=str(self.tmp / "results"))

    def lived(self, work: Any, *arguments: Any, **guard: Any) -> End:
        return lived(self.tmp / "log", work, *arguments, below=str(self.tmp / "results"), **guard)

    def trained(self, name: str = "own", **guard: Any) -> End:
        """Give a run's own command."""
        return self.lived(train, self.config(name), **guard)

    def read(self, *more: tuple[str, ...], **guard: Any) -> End:
        """Have every script read the results; `more`: further commands."""
        results = ["--results-dir", str(self.tmp / "results")]
        tables, status = ("scripts/tables.py", *results), ("scripts/status.py", *results)
        compare = ("scripts/compare.py", str(self.folder), "--detector-b", "msp")
        return self.lived(scripts, tables, status, compare, *more, **guard)

    def check_ends_well(self) -> None:
        """Assert that the run's own command ends as it should; directories are moved away where it says so."""
        end = self.trained()
        assert not end.problem, end.problem
        while found := re.search(r"cannot write (\S+): .*moved away", end.text):
            moved = Path(found[1])
            moved.rename(self.tmp / f"moved{uuid4().hex}")
            end = self.trained()
        assert end.code == 0, end.text[-1000:]

    def check_ends_as_untouched(self, but: tuple[str, ...] = ()) -> None:
        """Assert that the run's own command ends well, with the bits of a run that nobody touched, `but` left out."""
        self.check_ends_well()
        left = left_behind(self.folder)
        assert_same(left | {key: self.expected[key] for key in but}, self.expected)


def left_behind(folder: Path) -> dict[str, Any]:
    """Return weights, outputs, resamples and numbers of a run. Raises AssertionError where something lies about.

    The lock of a process that was killed after the last file may lie there: it binds nobody.
    """
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
    record = read_json(folder / "metrics.json")
    assert files.pop(record["resamples"]["file"])  # its name has the seconds of the training in it
    assert not [name for name in files if name.startswith("resamples")]
    assert not [path.name for path in folder.glob(".*") if path.name != ".lock"], "half of a file"
    assert owner(folder) is None
    assert not (folder / "error.txt").exists()
    resamples = load_arrays(folder / record["resamples"]["file"])[0]
    history = folder / "train.csv"
    lines = history.read_bytes().splitlines() if history.is_file() else []
    parts = ("accuracy", "ece", "nll", "brier", "ood", "calibration", "intervals", "weights", "not_applicable")
    return {
        **files,
        **resamples,
        **{key: record[key] for key in parts},
        "rows": [line.split(b",")[:4] for line in lines],
    }


def assert_same(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Assert that two runs left the same behind; the message names what is not."""
    assert actual.keys() == expected.keys()
    unlike = [key for key in actual if not np.array_equal(actual[key], expected[key])]
    assert not unlike, f"other bits: {unlike}"


def arena_of(runs: Path) -> Arena:
    """Train the runs."""
    folders = {}
    for name, overrides in RUNS.items():
        config = configuration(*overrides, results_dir=str(runs))
        before = set(run_folders(runs))
        end = lived(runs.with_suffix(".log"), train, config, below=str(runs))
        assert end.code == 0, end.text
        (folder,) = set(run_folders(runs)) - before
        folders[name] = folder.relative_to(runs)
    return Arena(runs.with_name("unset"), runs, folders, left_behind(runs / folders["own"]))


def is_whole(folder: Path) -> bool:
    """Tell whether every number of a finished run that has resamples has them, in files that can be read."""
    run = open_run(folder)[0]
    record = run.read_record()
    ood = record["ood"].items()
    resampled = {name for name, metric in OOD_METRICS.items() if metric.resampled}
    names = {f"{name}/{d}/{m}" for name, of in ood for d, values in of.items() for m in values.keys() & resampled}
    return names == {key for key in run.read_resamples(record) if "/" in key}
