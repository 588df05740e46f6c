"""Material of a page: finished runs, grouped by protocol, with the data of their figures."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oodbench.report.figures.training import History, history_of
from oodbench.report.stored_summary import read_summary
from oodbench.report.summary import Summary
from oodbench.runs.folder import open_run
from oodbench.runs.paths import ENSEMBLE
from oodbench.runs.record import MAIN_SCORES, OWN_SCORE
from oodbench.tables.ensembles import Ensembles, load_ensembles
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.load import load_run, load_runs
from oodbench.tables.means import FAR, NEAR, common_means, with_means
from oodbench.tables.names import row_names
from oodbench.tables.results import Found, Result
from oodbench.tables.sections import by_protocol


class Run(NamedTuple):
    """A run with all that its figures need."""

    result: Result  # with the means over near and far sets
    label: str  # of its row, with names as papers write them
    summary: Summary | None
    without: str  # why there is no summary
    history: History | None
    provenance: dict[str, Any]


class Section(NamedTuple):
    """Runs that may stand in one table."""

    dataset: str
    protocol: str
    runs: list[Run]
    labels: dict[Row, str]
    ensembles: Ensembles  # of rows, with the means over near and far sets

    @property
    def results(self) -> list[Result]:
        """Return the numbers of all runs, with the means over near and far sets."""
        return [run.result for run in self.runs]

    @property
    def sets(self) -> list[str]:
        """OOD sets, near ones first"""
        return list(self.kinds)

    @property
    def sizes(self) -> dict[tuple[str, Kind], int]:
        """Return {(OOD set or mean, kind): images}; of sets of one name that differ in number, that of most runs."""
        times = Counter((ood, result.kind(ood), n) for result in self.results for ood, n in result.ood_images.items())
        found = sorted(times, key=lambda each: (times[each], each[2]))  # the last one stays
        return {(ood, kind): n for ood, kind, n in found}

    @property
    def alike(self) -> list[Result]:
        """Return the numbers of all runs, less those on sets of another size than `sizes`."""
        sizes = self.sizes
        return [_less_other_sizes(result, sizes) for result in self.results]

    @property
    def kinds(self) -> dict[str, Kind]:
        """{OOD set: its kind}, near ones first"""
        found = {ood: run.result.kind(ood) for run in self.runs for ood in run.result.ood_images}
        names = sorted(found.keys() - {NEAR, FAR}, key=lambda name: (found[name].rank, name))
        return {name: found[name] for name in names}

    def of_row(self, label: str) -> list[Run]:
        return [run for run in self.runs if run.label == label]

    def representatives(self) -> list[Run]:
        """Return one run per loss, for small pictures: the lowest seed with outputs of its row with the most seeds.

        The row is chosen by the number of seeds and then by its name, never by a result.
        """
        chosen: dict[str, Run] = {}
        for label in self.labels.values():
            of_row = sorted(self.of_row(label), key=lambda run: (run.summary is None, run.result.seed))
            loss = of_row[0].result.loss
            if loss not in chosen or len(of_row) > len(self.of_row(chosen[loss].label)):
                chosen[loss] = of_row[0]
        return list(chosen.values())


class Material(NamedTuple):
    """All sections of a results folder, and one line per run that is left out."""

    results_dir: Path
    sections: list[Section]
    unfinished: int
    left_out: list[str]


def read_material(
    results_dir: Path, detectors: Sequence[str] = MAIN_SCORES, progress: Callable[[str], None] = lambda line: None
) -> Material:
    """Read all finished runs; progress is told of each.

    Raises FileNotFoundError where there is none, ValueError where none can be read.
    """
    return material_of(load_runs(results_dir, {*detectors, OWN_SCORE}), results_dir, progress)


def material_of(found: Found, results_dir: Path, progress: Callable[[str], None] = lambda line: None) -> Material:
    """Read what figures need of these runs; folders are named as below results_dir. Raises ValueError for none."""
    odd = {run.folder: what for run in found.runs if (what := not_finite(run, run.folder / "metrics.json"))}
    usable = [run for run in found.runs if run.folder not in odd]
    if not usable:
        raise ValueError(f"none of {len(found.runs)} runs can be drawn: {next(iter(odd.values()))}")
    datasets = sorted({run.dataset for run in usable})
    groups = [group for name in datasets for group in by_protocol(run for run in usable if run.dataset == name)]
    sections = [section_of(group, progress) for group in groups]
    reasons = [reason.replace(f"{results_dir}/", "") for reason in [*dict(found.unreadable).values(), *odd.values()]]
    return Material(results_dir, sections, found.unfinished, reasons)


def not_finite(run: Result, file: Path) -> str:
    """Name a number or an end of an interval of a file that is not finite, so that it cannot be drawn; or ""."""
    values = {key: [number, *run.intervals.get(key, ())] for key, number in run.numbers.items()}
    odd = [" ".join(filter(None, key)) for key, some in values.items() if not np.isfinite(some).all()]
    return f"{file}: {odd[0]} is not finite" if odd else ""


def read_one(folder: Path) -> Section:
    """Read one run. Raises ValueError naming the file that cannot be read."""
    run = load_run(folder)
    if what := not_finite(run, run.folder / "metrics.json"):
        raise ValueError(what)
    return section_of([run], lambda line: None)


def section_of(results: Sequence[Result], progress: Callable[[str], None]) -> Section:
    """Read what figures need of runs of one protocol, one run after the other."""
    means, ensembles = common_means(results), load_ensembles(results)
    found = dict(zip(ensembles.found, with_means(list(ensembles.found.values()), means), strict=True))
    odd = {row: what for row, one in found.items() if (what := not_finite(one, one.folder.parent / ENSEMBLE))}
    found = {row: one for row, one in found.items() if row not in odd}
    labels = row_names(row_labels(results))
    runs = []
    for result, complete in zip(results, with_means(results, means), strict=True):
        label = labels[row_of(result)]
        progress(f"{result.dataset} {label} seed {result.seed}")
        runs.append(_run(result, label)._replace(result=complete))
    ensembles = Ensembles(found, {**ensembles.missing, **odd})
    return Section(results[0].dataset, protocol(results[0]), runs, labels, ensembles)


def _run(result: Result, label: str) -> Run:
    """Read a run's figure data, history and provenance, each of which may be missing"""
    try:
        summary, without = read_summary(result), ""
    except ValueError as error:
        summary, without = None, " ".join(str(error).split())
    folder, _ = open_run(result.folder)
    try:
        history = history_of(folder.read_history() or b"")
    except (OSError, ValueError):  # status.py and publish.py name it; a page has no curve
        history = None
    provenance = dict(folder.read_record()["provenance"])
    return Run(result, label, summary, without, history, provenance)


def _less_other_sizes(result: Result, sizes: Mapping[tuple[str, Kind], int]) -> Result:
    images = {ood: n for ood, n in result.ood_images.items() if n == sizes[ood, result.kind(ood)]}
    numbers = {key: value for key, value in result.numbers.items() if not key[0] or key[0] in images}
    return result._replace(ood_images=images, numbers=numbers)


def all_runs(sections: Iterable[Section]) -> list[Run]:
    return [run for section in sections for run in section.runs]
