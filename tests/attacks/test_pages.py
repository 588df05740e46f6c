"""Pages, figures, ensembles and published copies: killed, fed with damaged runs and foreign outputs, on a full disk."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.attacks import Arena, assert_same
from helpers.attempts import Attempts
from helpers.stranger import forge
from helpers.victim import End, scripts

from oodbench.outputs import Outputs
from oodbench.runs.folder import open_run

DRAWN = int(os.environ.get("ATTACKS", "60"))
FILES = ("config.yaml", "train.csv", "training.json", "resamples", "metrics.json")
FILES += ("outputs/test.safetensors", "outputs/noise.safetensors")
pytestmark = pytest.mark.slow


def commands(arena: Arena) -> dict[str, list[tuple[str, ...]]]:
    """{what: its commands}; all of them write below the results folder."""
    results = str(arena.tmp / "results")
    page, figures = ("scripts/report.py", "--results-dir", results), ("--figures", f"{results}/figures")
    return {
        "pages and figures": [
            page,
            ("scripts/report.py", str(arena.folder)),
            (*page, *figures, "--format", "svg"),
        ],
        "ensembles": [("scripts/ensemble.py", results)],
        "published copies": [("scripts/publish.py", f"results_dir={results}", "--target", f"{results}/copies")],
    }


WHAT = ("pages and figures", "ensembles", "published copies")


def given(arena: Arena, what: str, **guard: Any) -> End:
    return arena.lived(scripts, *commands(arena)[what], **guard)


def written(results: Path) -> dict[str, bytes]:
    """{file: content} of what the commands add to the runs' own files; half-written ones left out"""
    own = [path.parent for path in results.glob("runs/*/*/*/*/seed*/metrics.json")]
    files = [path for path in results.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in files
        if path.name == "report.html" or not any(path.is_relative_to(folder) for folder in own)
    }


def check_runs_are_untouched(arena: Arena) -> None:
    """Assert that the run has the files, to the byte, that it had; a page and half of one may lie beside them."""

    def content(folder: Path) -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "report.html"}

    assert_same(content(arena.folder), content(arena.runs / arena.folders["own"]))


@pytest.mark.parametrize("what", WHAT)
def test_a_kill_at_every_operation_leaves_whole_files(what: str, arena: Arena, attempt: Attempts) -> None:
    results = arena.results("own", "seed")
    end = given(arena, what)
    assert not end.problem, end.problem
    assert "== 1" not in end.text, end.text
    whole = written(results)
    assert whole
    step = max(1, end.touched * 3 // DRAWN)
    for die_at in range(1, end.touched + 1, step):
        with attempt(f"SIGKILL at file operations of {what}", f"operation {die_at}"):
            results = arena.results("own", "seed")
            assert given(arena, what, die_at=die_at).code == -9
            assert written(results).items() <= whole.items()
            check_runs_are_untouched(arena)
            end = given(arena, what)
            assert "== 1" not in end.text, end.text
            assert written(results) == whole


@pytest.mark.parametrize("what", WHAT)
def test_a_full_disk_is_named(what: str, arena: Arena, attempt: Attempts) -> None:
    arena.results("own", "seed")
    touched = given(arena, what).touched
    for full_at in range(1, touched + 1, max(1, touched // 6)):
        with attempt(f"the disk is full from an operation of {what} on", f"operation {full_at}"):
            results = arena.results("own", "seed")
            end = given(arena, what, full_at=full_at)
            assert not end.problem, end.problem
            assert "== 1" not in end.text or "cannot write" in end.text, end.text
            check_runs_are_untouched(arena)
            end = given(arena, what)
            assert "== 1" not in end.text, end.text
            assert written(results)


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[random.Random(file.name).randrange(len(data))] ^= 4
    file.write_bytes(data)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def is_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def is_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {"flipped": flipped, "cut": cut, "a FIFO": is_fifo, "a folder": is_folder}


def place(folder: Path, name: str) -> Path:
    return next(folder.glob("resamples-*")) if name == "resamples" else folder / name


def check(arena: Arena) -> None:
    """Assert that all commands end well, and that what is published of the run under attack is what was measured."""
    end = arena.lived(scripts, *(command for each in commands(arena).values() for command in each), alone=True)
    assert not end.problem, end.problem
    for copy in (arena.tmp / "results" / "copies").rglob("metrics.json"):
        run = open_run(copy.parent)[0]
        if run.run.seed == 0:
            assert run.read_record()["ood"] == arena.expected["ood"]
            assert run.read_record()["weights"] == arena.expected["weights"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_end_no_page_and_no_copy(damage: str, arena: Arena, attempt: Attempts) -> None:
    for name in FILES:
        with attempt("a file is damaged under report, ensemble and publish", f"{name} is {damage}"):
            arena.results("own", "seed")
            DAMAGE[damage](place(arena.folder, name))
            check(arena)


def test_files_of_another_run_are_in_no_page_and_copy(arena: Arena, attempt: Attempts) -> None:
    for other in ("seed", "loss", "lr"):
        for name in FILES:
            with attempt("a file is swapped under report, ensemble and publish", f"{name} of {other}"):
                arena.results("own", "seed")
                shutil.copyfile(place(arena.runs / arena.folders[other], name), place(arena.folder, name))
                check(arena)


@pytest.mark.parametrize("damage", [*DAMAGE, "of other seeds", "nested"])
def test_a_damaged_ensemble_is_told(damage: str, arena: Arena, attempt: Attempts) -> None:
    results = arena.results("own", "seed")
    assert "== 1" not in given(arena, "ensembles").text
    (file,) = results.rglob("ensemble.json")
    if damage in DAMAGE:
        DAMAGE[damage](file)
    elif damage == "nested":
        file.write_text("[" * 100_000)
    else:
        shutil.copytree(arena.folder, arena.folder.with_name("seed2"))
    with attempt("an ensemble is damaged under report, tables and publish", damage):
        tables = ("scripts/tables.py", "--results-dir", str(results))
        some = commands(arena)
        end = arena.lived(scripts, tables, *some["pages and figures"], *some["published copies"], alone=True)
        assert not end.problem, end.problem


HOSTILE: dict[str, Callable[[Outputs], Outputs]] = {
    "other labels": lambda o: o._replace(labels=o.labels + 10**6),
    "negative labels": lambda o: o._replace(labels=o.labels - 10**6),
    "labels of float": lambda o: o._replace(labels=o.labels + 0.5),
    "no images": lambda o: Outputs(*(each[:0] for each in o)),
    "one image less": lambda o: o._replace(log_probs=o.log_probs[1:]),
    "one class": lambda o: o._replace(log_probs=o.log_probs[:, :1]),
    "no class": lambda o: o._replace(log_probs=o.log_probs[:, :0]),
    "another class": lambda o: o._replace(log_probs=np.repeat(o.log_probs, 2, axis=1)),
    "no dimensions": lambda o: o._replace(log_probs=np.float64(0.5) * np.ones(())),
    "NaN": lambda o: Outputs(*(np.full_like(each, np.nan) for each in o[:4]), o.labels),
    "inf": lambda o: Outputs(*(np.full_like(each, np.inf) for each in o[:4]), o.labels),
    "positive logarithms": lambda o: o._replace(log_probs=o.log_probs + 1e3),
    "zeros": lambda o: Outputs(*(np.zeros_like(each) for each in o[:4]), o.labels),
    "integers": lambda o: Outputs(*(np.zeros_like(each, int) for each in o[:4]), o.labels),
    "huge": lambda o: Outputs(*(np.full_like(each, 1e30) for each in o[:4]), o.labels),
}


@pytest.mark.parametrize("of", ["train", "test", "noise"])
def test_outputs_of_a_stranger_do_no_harm(of: str, arena: Arena, attempt: Attempts) -> None:
    """Whole by every checksum, of the run's own weights and images."""
    for what, change in HOSTILE.items():
        with attempt("hostile outputs", f"{what} of {of}"):
            results = arena.results("own")
            folder = forge(arena.folder, results, lambda config: None, seed=1)
            run = open_run(folder)[0]
            outputs = run.read_outputs(of)
            assert outputs is not None
            run.write_outputs(of, change(outputs), run.read_record()["provenance"]["digests"][of])
            some = [command for each in commands(arena).values() for command in each]
            evaluate = ("scripts/evaluate.py", str(folder), "detector=[knn,vim,energy]")
            end = arena.lived(scripts, *some, ("scripts/report.py", str(folder)), evaluate, alone=True)
            assert not end.problem, end.problem
            check_runs_are_untouched(arena)
