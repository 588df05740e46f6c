"""What a published run keeps of its outputs: the data of its figures, as JSON beside its numbers."""

from pathlib import Path

from oodbench.report.figures import histogram, norms
from oodbench.report.plain import from_plain, to_plain
from oodbench.report.summary import Summary, summarise
from oodbench.runs.folder import open_run
from oodbench.tables.results import Result, load_run


def keep_summary(path: Path, copy: Path) -> None:
    """Keep the data of a run's figures in its copy; of a run with neither outputs nor such data, nothing.

    Raises ValueError where the outputs, or the data, cannot be used.
    """
    run, _ = open_run(path)
    if run.outputs("test").exists() or run.figures.exists():
        folder, _ = open_run(copy)
        folder.write_figures(folder.load_record(), to_plain(read_summary(load_run(path))))


def read_summary(run: Result) -> Summary:
    """Return the data of a run's figures, from its outputs or, where it has none, as they were kept.

    Raises ValueError, in one sentence, where there is nothing that can be used.
    """
    folder, _ = open_run(run.folder)
    if folder.outputs("test").exists() or not folder.figures.exists():
        return summarise(run)
    data = folder.read_figures(folder.load_record())
    try:
        summary = Summary(*from_plain(Summary, data))
        check_summary(summary, run)
    except ValueError as error:
        raise ValueError(f"{folder.figures} cannot be drawn: {error}") from error
    return summary


def check_summary(summary: Summary, run: Result) -> None:
    """Raise ValueError where data that were read are not of this run's images, or do not fit one another."""
    images = {"": run.test_images, **run.ood_images}
    counts = [(histogram.BINS, each.ids, each.oods) for each in summary.histograms.values()]
    for bins, ids, oods in [*counts, (norms.BINS, summary.norms.ids, summary.norms.oods)]:
        for name, each in {"": ids, **oods}.items():
            if each.shape != (bins,) or each.min() < 0 or each.sum() != images.get(name):
                raise ValueError(f"{bins} counts of {images.get(name)} images are needed, not {each.tolist()}")
    for detector, found in summary.histograms.items():
        curves = summary.rocs.get(detector, {})
        if not found.oods.keys() == found.oodpos.keys() == found.at.keys() == curves.keys():
            raise ValueError(f"{detector} has several choices of sets")
        if len(found.edges) != found.bins - 1 or not found.scale.high > found.scale.low:
            raise ValueError(f"{detector} has no {found.bins} bins")
    together = [*(curve for curves in summary.rocs.values() for curve in curves.values()), summary.before]
    for arrays in [*together, *([summary.after] if summary.after else [])]:
        if arrays[0].ndim != 1 or len({each.shape for each in arrays}) > 1:
            raise ValueError(f"arrays of shapes {[each.shape for each in arrays]} belong together")
    for name, wrong in summary.wrong.items():
        if not all(0 <= each.row < images.get(name, 0) for each in wrong):
            raise ValueError(f"{name} has {images.get(name, 0)} images, and others are named")
    points = summary.components
    shapes = {each.shape[1:] for each in (points.ids, points.centroids, *points.oods.values(), points.origin[None])}
    if shapes != {(2,)} or len(points.classes) != len(points.centroids):
        raise ValueError(
            f"points of shapes {shapes}, {len(points.classes)} classes and {len(points.centroids)} centroids"
        )
