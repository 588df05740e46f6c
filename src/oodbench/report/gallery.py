"""A section's figures, in the order of the page. A figure that its runs have no data for is left out."""

from collections.abc import Sequence

import numpy as np

from oodbench.evaluation.metrics import OOD_METRICS, metric_of
from oodbench.report.figures import accuracy, cliques, components, histogram, norms, reliability, roc, sweep, training
from oodbench.report.figures.sweep import Measured
from oodbench.report.material import Run, Section
from oodbench.report.plot import Plot, tones_of
from oodbench.runs.record import OWN_SCORE
from oodbench.tables.cells import Cell, cells_of, interval_of
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, row_of
from oodbench.tables.marks import common_seeds, untested
from oodbench.tables.means import FAR, KIND, NEAR, common_means
from oodbench.tables.names import set_name

TONES = {Kind.NEAR: "near", Kind.FAR: "far", Kind.SHIFTED: "shifted"}
SWEPT = ("loss.", "recipe.", "dataset.mean", "dataset.std")  # what rows of a sweep may differ in, but for one key
ROWS = 12  # losses with small pictures of their own


def figures_of(section: Section) -> list[Plot]:
    """Return all figures of a section."""
    shown = [run for run in section.representatives() if run.summary][:ROWS]
    of_outputs = [_scores(section, shown), _roc(section, shown), _reliability(shown), _norms(section, shown)]
    of_outputs = [_said_of(plot, section, shown) for plot in [*of_outputs, _components(section, shown)] if plot]
    plots = [_cliques(section), _accuracy(section), *of_outputs, _training(section), *_sweeps(section)]
    return [plot for plot in plots if plot and plot.panels]


def _said_of(plot: Plot, section: Section, shown: Sequence[Run]) -> Plot:
    """Add to a caption which networks it is of, where there are others"""
    if len(section.runs) == len(shown):
        return plot
    seeds = sorted({run.result.seed for run in shown})
    return plot._replace(caption=f"{plot.caption} One network per loss, seed {', '.join(map(str, seeds))}.")


def tones(section: Section) -> dict[str, str]:
    """{OOD set: name of its colour}"""
    return {ood: TONES[kind] for ood, kind in section.kinds.items()}


def near_and_far(section: Section) -> list[tuple[str, str]]:
    """Return (key, printed name) of the means over near and far sets, or of the sets where there is no mean."""
    found, means = [], common_means(section.results)
    for key, printed in ((NEAR, "near OOD"), (FAR, "far OOD")):
        if key in means:
            found.append((key, f"{printed}, mean of {len(means[key])}"))
        else:
            found += [(ood, f"{set_name(ood)}, {printed}") for ood in section.sets if section.kinds[ood] == KIND[key]]
    return found


def _scores(section: Section, shown: Sequence[Run]) -> Plot | None:
    rows = {
        run.label: run.summary.histograms[OWN_SCORE]
        for run in shown
        if run.summary and OWN_SCORE in run.summary.histograms
    }
    sets = [(ood, set_name(ood), tones(section)[ood]) for ood in section.sets]
    said = {
        (run.label, ood): (
            f"AUROC {100 * run.result.numbers[ood, OWN_SCORE, 'auroc']:.2f}, "
            f"FPR@95 {100 * run.result.numbers[ood, OWN_SCORE, 'fpr95_idpos']:.2f}",
            f"AUROC{_ends(run, ood, OWN_SCORE, 'auroc')}, "
            f"FPR@95 (95 % of ID accepted){_ends(run, ood, OWN_SCORE, 'fpr95_idpos')}",
        )
        for run in shown
        for ood in section.sets
        if {(ood, OWN_SCORE, "auroc"), (ood, OWN_SCORE, "fpr95_idpos")} <= run.result.numbers.keys()
    }
    return histogram.plot(rows, sets, said) if rows else None


def _ends(run: Run, ood: str, detector: str, metric: str) -> str:
    """Format the 95 % interval over the images; "" where there is none"""
    interval = run.result.interval((ood, detector, metric))
    return f" {metric_of(metric).unit.ends(interval)}" if interval else ""


def _roc(section: Section, shown: Sequence[Run]) -> Plot | None:
    panels = []
    for ood in section.sets:
        curves = {}
        for run in shown:
            found = run.summary.rocs.get(OWN_SCORE, {}).get(ood) if run.summary else None
            numbers = [run.result.numbers.get((ood, OWN_SCORE, m)) for m in ("auroc", "fpr95_idpos", "fpr95_oodpos")]
            if found and numbers[0] is not None:
                curves[run.label] = roc.Curve(found, numbers[0], numbers[1], numbers[2])
        if curves:
            panels.append(roc.panel(curves, tones_of(section.labels.values()), set_name(ood)))
    return roc.plot(panels)


def _reliability(shown: Sequence[Run]) -> Plot:
    panels = []
    for run in shown:
        if run.summary:
            before, after = run.summary.before, run.summary.after
            panels.append(
                reliability.panel(before, run.label, f"ECE {100 * before.ece:.2f}{_ends(run, '', '', 'ece')}")
            )
            if after and run.summary.temperatures:
                t = np.mean(run.summary.temperatures)
                panels.append(reliability.panel(after, f"{run.label}, T = {t:.2f}", f"ECE {100 * after.ece:.2f}"))
    return reliability.plot(panels)


def _norms(section: Section, shown: Sequence[Run]) -> Plot | None:
    if not section.sets:
        return None
    sets = {ood: (set_name(ood), tone) for ood, tone in tones(section).items()}
    return norms.plot([norms.panel(run.summary.norms, run.label, sets) for run in shown if run.summary])


def _components(section: Section, shown: Sequence[Run]) -> Plot:
    of = tones(section)
    return components.plot([components.panel(run.summary.components, run.label, of) for run in shown if run.summary])


def _training(section: Section) -> Plot | None:
    histories = {
        label: [run.history for run in section.of_row(label) if run.history] for label in section.labels.values()
    }
    some = {label: each for label, each in histories.items() if each}
    return training.plot(some, tones_of(section.labels.values())) if some else None


def _accuracy(section: Section) -> Plot | None:
    panels = []
    for ood, printed in near_and_far(section):
        points = [
            accuracy.Point(
                section.labels[row_of(result)],
                result.seed,
                result.numbers["", "", "accuracy"],
                result.numbers[ood, OWN_SCORE, "auroc"],
            )
            for result in section.alike
            if {("", "", "accuracy"), (ood, OWN_SCORE, "auroc")} <= result.numbers.keys()
        ]
        if len(points) > 1:
            panels.append(accuracy.panel(points, printed, tones_of(section.labels.values())))
    return accuracy.plot(panels)


def _cells(section: Section, ood: str, metric: str) -> dict[Row, Cell]:
    """{row: the cell of the loss's own score, or of a metric of the test images}"""
    cells = cells_of(section.alike, row_of, [OWN_SCORE], [metric])
    return {row: cell for (row, _, column), cell in cells.items() if column.ood == ood}


def _cliques(section: Section) -> Plot | None:
    panels = []
    for ood, printed in near_and_far(section):
        cells = _cells(section, ood, "auroc")
        seeds = common_seeds(cells.values())
        if len(cells) < 2 or untested(OOD_METRICS["auroc"], cells.values(), seeds):
            continue
        named = {section.labels[row]: cell for row, cell in cells.items()}
        found = cliques.ranked(
            {label: np.array([cell.values[s] for s in seeds]) for label, cell in named.items()},
            {label: np.stack([cell.resampled[s] for s in seeds]) for label, cell in named.items()},
            {label: interval_of(cell, OOD_METRICS["auroc"].unit) for label, cell in named.items()},
            {label: cell.mean for label, cell in named.items()},
        )
        of = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}: networks, not losses"
        panels.append(cliques.panel(found, printed, f"compared on {of}"))
    return cliques.plot(panels)


def _sweeps(section: Section) -> list[Plot]:
    rows = {section.labels[row_of(run.result)]: run.result for run in section.runs}
    settings = {
        label: {key: value for key, value in run.settings.items() if key.startswith(SWEPT)}
        for label, run in rows.items()
    }
    plots = []
    for i, found in enumerate(sweep.sweeps_of(settings, {label: r.loss for label, r in rows.items()})):
        wanted = [("", "accuracy", "accuracy"), ("", "ece", "ECE")]
        wanted += [(ood, "auroc", f"AUROC, {printed}") for ood, printed in near_and_far(section)]
        panels = []
        for ood, metric, title in wanted:
            unit, cells = metric_of(metric).unit, _cells(section, ood, metric)
            measured = {section.labels[row]: Measured(c.mean, interval_of(c, unit)) for row, c in cells.items()}
            if len(measured.keys() & {row for _, row in found.rows}) >= sweep.FEWEST:
                panels.append(sweep.panel(found, measured, title))
        name = next(label for _, label in found.rows).partition(" (")[0]
        plots.append(sweep.plot(f"sweep{i}", f"{name}: {found.key}", panels))
    return plots


def legend(section: Section) -> list[tuple[str, str]]:
    """Return (tone, text) of the colours of ID and OOD."""
    of = {kind: ", ".join(set_name(ood) for ood in section.sets if section.kinds[ood] == kind) for kind in Kind}
    return [("id", f"ID: {set_name(section.dataset)}")] + [
        (TONES[kind], f"{kind}{' OOD' * (kind != Kind.SHIFTED)}: {sets}") for kind, sets in of.items() if sets
    ]
