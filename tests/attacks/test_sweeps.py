"""Several processes want the same runs at once: each run is trained once, by one of them, to the same bits."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.attacks import Arena, assert_same, left_behind
from helpers.attempts import Attempts
from helpers.config import configuration
from helpers.victim import TINY, End, lived, score_again, scripts, train

pytestmark = pytest.mark.slow
RUNS = [*TINY, "dataset=digits", "recipe=smoke", "loss=halo", "recipe.optimizer.lr=0.01"]


def sweeping(results: str) -> None:
    scripts(("train.py", "-m", *RUNS, "seed=0,1,2", f"results_dir={results}"))


def at_once(count: int, tmp: Path, *work: object, **guard: object) -> list[End]:
    """Let as many processes do the same; return how they ended."""
    with ThreadPoolExecutor(count) as pool:
        ends = [pool.submit(lived, tmp / f"log{n}", *work, **guard) for n in range(count)]  # type: ignore[arg-type]
        return [end.result() for end in ends]


def test_sweeps_at_once_share_their_runs(arena: Arena, attempt: Attempts) -> None:
    results = arena.results()
    ends = at_once(2, arena.tmp, sweeping, str(results))
    lived(arena.tmp / "log", sweeping, str(results))
    for end in ends:
        assert not end.problem, end.problem
    for name, folder in (("own", results / arena.folders["own"]), ("seed", results / arena.folders["seed"])):
        with attempt("two sweeps over the same runs at once", name):
            assert_same(left_behind(folder), left_behind(arena.runs / arena.folders[name]))
    with attempt("two sweeps over the same runs at once", "all"):
        assert len(list(results.glob("runs/*/*/*/*/seed*/metrics.json"))) == 3


def test_starts_of_one_run_at_once_share_it(arena: Arena, attempt: Attempts) -> None:
    for number in range(3):
        with attempt("four starts of one run at once", f"round {number}"):
            arena.results()
            ends = at_once(4, arena.tmp, train, arena.config())
            assert not any(end.problem for end in ends), [end.problem for end in ends]
            assert [end.code for end in ends].count(0) >= 1
            assert all(end.code == 0 or "not run: process" in end.text for end in ends)
            arena.check_ends_as_untouched()


def test_scoring_at_once_loses_no_numbers(arena: Arena, attempt: Attempts) -> None:
    for number in range(3):
        with attempt("one run is scored by several processes at once", f"round {number}"):
            arena.results("own")
            detectors = [configuration(f"detector=[{name}]")["detector"] for name in ("gen", "entropy", "msp")]
            with ThreadPoolExecutor(3) as pool:
                ends = list(
                    pool.map(
                        lambda n, d: lived(arena.tmp / f"log{n}", score_again, str(arena.folder), d, {}),
                        range(3),
                        detectors,
                    )
                )
            assert not any(end.problem for end in ends), [end.problem for end in ends]
            numbers = left_behind(arena.folder)["ood"]["noise"]
            for name, end in zip(("gen", "entropy", "msp"), ends, strict=True):
                assert name in numbers if end.code == 0 else "not run: process" in end.text


def test_readers_meet_no_half_of_a_run(arena: Arena, attempt: Attempts) -> None:
    """Tables and status are read all the time while a run is trained and scored."""
    results = arena.results("loss")
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(lived, arena.tmp / "training", sweeping, str(results))
        while not training.done():
            with attempt("tables and status are read while runs are trained", f"{time.time():.0f}"):
                end = lived(
                    arena.tmp / "log",
                    scripts,
                    ("scripts/tables.py", "--results-dir", str(results)),
                    ("scripts/status.py", "--results-dir", str(results)),
                )
                assert not end.problem, end.problem
                assert "left out" not in end.text, end.text
                assert "== 1" not in end.text, end.text
    assert training.result().code == 0
