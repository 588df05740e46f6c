"""Data of a published run's figures, stored as JSON beside its numbers: the copy has no outputs to draw them from."""

from collections.abc import Iterator
from pathlib import Path

from oodbench.evaluation.metrics.classification import ECE_BINS
from oodbench.report.figures import histogram, norms
from oodbench.report.figures.histogram import Histogram
from oodbench.report.figures.norms import Norms
from oodbench.report.serialize import from_json, to_json
from oodbench.report.summary import Summary, summarise
from oodbench.runs.folder import open_run
from oodbench.tables.results import Result

DECADES = 400  # of a logarithmic axis below and above 1; float64 has fewer


def read_summary(run: Result) -> Summary:
    """Return the data of a run's figures, from its outputs or, where it has none, as they are stored.

    Raises ValueError, in one sentence, where there is nothing that can be used.
    """
    folder, _ = open_run(run.folder)
    if folder.outputs("test").exists() or not folder.summary.exists():
        return summarise(run)
    stored = folder.read_summary(folder.read_record())
    try:
        summary: Summary = from_json(Summary, stored)
        check_summary(summary, run)
    except ValueError as error:
        raise ValueError(f"{folder.summary} cannot be drawn: {error}; publish the run again") from error
    return summary


def summary_to_store(run: Result) -> Summary | None:
    """Return the data of a run's figures; None for a run with neither outputs on the test images nor such data.

    Raises ValueError, in one sentence, where a page could not be drawn from them.
    """
    folder, _ = open_run(run.folder)
    if not folder.outputs("test").exists() and not folder.summary.exists():
        return None
    summary = read_summary(run)
    check_summary(summary, run)
    return summary


def write_summary(summary: Summary, copy: Path) -> None:
    """Store the data of a run's figures in its published copy."""
    folder, _ = open_run(copy)
    folder.write_summary(folder.read_record(), to_json(summary))


def check_summary(summary: Summary, run: Result) -> None:
    """Raise ValueError for a summary of other numbers of images than the run's, and for one that cannot be drawn."""
    if problem := next(_problems(summary, run), None):
        raise ValueError(problem)


def _problems(summary: Summary, run: Result) -> Iterator[str]:
    """Yield what outputs of the run never give, and no figure could be drawn from."""
    sets = run.ood_images
    counted: dict[str, tuple[Histogram | Norms, int]] = {"norms": (summary.norms, norms.BINS)}
    counted |= {detector: (each, histogram.BINS) for detector, each in summary.histograms.items()}
    for what, (found, bins) in counted.items():
        pairs = [("test", found.ids, run.test_images), *((name, of, sets.get(name)) for name, of in found.oods.items())]
        for name, counts, images in pairs:
            if counts.shape != (bins,) or counts.min() < 0 or not images or counts.sum() != images:
                yield f"{what} on {name} has {counts.sum()} images in bins of shape {counts.shape}, the run {images}"
    for detector, each in summary.histograms.items():
        if each.oods.keys() != summary.rocs.get(detector, {}).keys() or not _fits(each):
            yield f"the histogram of {detector} lacks thresholds, curves or an axis"
    if not summary.norms.low < summary.norms.high:
        yield f"norms from {summary.norms.low} to {summary.norms.high}"
    reliabilities = [each for each in (summary.before, summary.after) if each]
    if any(each.images.shape != (ECE_BINS,) or each.images.sum() != run.test_images for each in reliabilities):
        yield f"reliability of other images than {run.test_images}"
    for arrays in (*reliabilities, *(curve for curves in summary.rocs.values() for curve in curves.values())):
        if len({each.shape for each in arrays}) > 1 or arrays[0].ndim != 1:
            yield f"coordinates of shapes {[each.shape for each in arrays]}"
    points = summary.components
    shapes = {each.shape[1:] for each in (points.ids, points.centroids, *points.oods.values(), points.origin[None])}
    if shapes != {(2,)} or len(points.classes) != len(points.centroids):
        yield f"points of shapes {shapes}, {len(points.classes)} classes and {len(points.centroids)} centroids"
    for name, wrong in summary.wrong.items():
        if not all(0 <= each.row < sets.get(name, 0) for each in wrong) or name not in sets:
            yield f"an image of {name}, of which the run has {sets.get(name)}"


def _fits(found: Histogram) -> bool:
    """Tell whether a histogram has the inner edges of its bins, and of every set both thresholds"""
    scale = found.scale
    has_axis = scale.low < scale.high and not (scale.is_log and max(-scale.low, scale.high) > DECADES)
    has_thresholds = found.oods.keys() == found.oodpos.keys() == found.at.keys() and all(
        each.keys() == {"idpos", "oodpos"} for each in found.at.values()
    )
    return has_axis and has_thresholds and found.edges.shape == (found.bins - 1,)
