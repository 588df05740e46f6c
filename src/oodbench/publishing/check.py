"""Checks of published runs, others' and our own, before they enter the leaderboard.

An entry is a folder as scripts/publish.py makes it. It is not trusted: its files may name code only by the rule of
targets.py. If its outputs are given, every number and interval is computed again.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from oodbench.evaluation.metric import SHARE
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS, metric_of
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.record import Record
from oodbench.tables.results import Result

AGREE = 1e-4  # another machine's rounding may swap two of 10,000 images
METRICS = ID_METRICS | CALIBRATION_METRICS | OOD_METRICS
PARTS = ("calibration", "ood", "validation", "intervals")  # of a record, beside the metrics of the test images
NO_NUMBERS = {("validation", "of"), ("validation", "not_applicable")}  # places in these parts that hold none


class Entry(NamedTuple):
    """A checked run."""

    run: Result
    recomputed: bool  # every number of it, from its outputs
    problems: list[str]  # why it may not stand on the leaderboard


def check_run(run: Result, whole_runs: Path | None = None) -> Entry:
    """Check the files of a published run against one another, and its numbers against its outputs where they are given.

    whole_runs: a results folder that may have the run with its outputs and weights; else its own folder may have them.
    """
    from oodbench.scoring.recompute import recompute  # brings torch, which only outputs need

    try:
        folder, _ = open_run(run.folder)
        record = folder.read_record()
        folder.read_training()  # or it says what is wrong with the file
        given = outputs_of(folder, whole_runs)
        computed, missing = recompute(given, record) if given else ({}, [])
        problems = [*out_of_range(run), *(differences(record, computed, missing) if given else [])]
        problems = problems or problems_of_summary(folder, record)  # the summary of an altered record never fits
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Entry(run, False, [f"{run.folder}: {type(error).__name__}: {error}"])
    return Entry(run, bool(given) and not missing, [f"{run.folder}: {problem}" for problem in problems])


def outputs_of(folder: RunFolder, whole_runs: Path | None) -> Path | None:
    """Return the folder that has the run with its outputs, if there is one."""
    places = [folder.path, *([whole_runs / "runs" / folder.run.place] if whole_runs else [])]
    return next((place for place in places if (place / "outputs" / "test.safetensors").exists()), None)


def problems_of_summary(folder: RunFolder, record: Record) -> list[str]:
    """Name what is wrong with a stored summary, if the run has one: it is damaged, or of another run or record."""
    try:
        if folder.summary.exists():
            folder.read_summary(record)
    except ValueError as error:
        return [str(error)]
    return []


def out_of_range(run: Result) -> list[str]:
    """Name the numbers that are outside the range of their metric."""
    odd = []
    for key, value in run.numbers.items():
        largest = metric_of(key[-1]).unit.largest
        ends = run.intervals.get(key, (value, value))
        if not 0 <= value <= largest or not 0 <= ends[0] <= ends[1] <= largest:
            odd.append(f"{' '.join(filter(None, key))} is {value} with the interval {list(ends)}")
    return odd


def differences(record: Record, computed: Mapping[str, Any], missing: list[str]) -> list[str]:
    """Name the numbers of a record that its outputs do not give; missing: detectors whose scores are not given."""
    found = []
    stated = [key for key in record if key in (*PARTS, *ID_METRICS) or isinstance(record[key], float)]
    for path, value in _leaves({key: record[key] for key in stated}):
        if set(path) & set(missing):
            continue
        node = _at(computed, path)
        if not isinstance(node, int | float) or not abs(node - value) <= tolerance(path, value):
            what = node if isinstance(node, int | float) else "nothing"
            found.append(f"{' '.join(map(str, path))} is {value}, and {what} from the outputs")
    return found


def tolerance(path: tuple[Any, ...], value: float) -> float:
    """Return how far a number may be from the computed one: AGREE of it, or, of one below 1, of a percent's unit.

    Of a metric that is printed in a smaller unit, as AURC in thousandths, it is as much smaller.
    """
    factors = [metric_of(name).unit.factor for name in path if name in METRICS]
    return AGREE * max(min(1.0, SHARE.factor / max(factors, default=1.0)), abs(value))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    """Return what stands at these keys in a nest of dictionaries and lists, None where there is nothing."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for key in path:
            node = node[key]
        return node
    return None


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], float]]:
    """Yield (keys, number) of every number in a nest of dictionaries and lists"""
    if isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        if (*path, key) not in NO_NUMBERS:
            yield from _leaves(value, (*path, key))
