"""The movable threshold: what the page's script needs, and what stands there without it."""

from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from oodbench.report.figures import histogram, roc
from oodbench.report.figures.histogram import Histogram
from oodbench.report.gallery import tones
from oodbench.report.material import Run, Section
from oodbench.report.summary import Summary
from oodbench.report.svg import panel_svg
from oodbench.tables.names import score_name, set_name

SAID = {
    "idpos": ("ID positive", "ID accepted, OOD accepted, ID among the accepted"),
    "oodpos": ("OOD positive", "OOD caught, ID flagged, OOD among the flagged"),
}
CAPTION = (
    "Drag the threshold, or use the arrow keys on the slider. Images with a score up to it are accepted as ID. It "
    "stands at edges of the histogram's bins and at the two thresholds of FPR@95, so that every number is exact."
)


class Rates(NamedTuple):
    """TPR, FPR and precision, shares; NaN where nothing is accepted or flagged."""

    tpr: float
    fpr: float
    precision: float


def rates(accepted: tuple[int, int], totals: tuple[int, int]) -> dict[str, Rates]:
    """(ID, OOD) images accepted, (ID, OOD) images -> {convention: rates}"""
    (ids, oods), (n, m) = accepted, totals
    flagged, caught = n - ids, m - oods
    return {
        "idpos": Rates(ids / n, oods / m, ids / (ids + oods) if ids + oods else float("nan")),
        "oodpos": Rates(caught / m, flagged / n, caught / (caught + flagged) if caught + flagged else float("nan")),
    }


def packed(section: Section) -> list[dict[str, Any]]:
    """Return the histograms of all runs with outputs, for the page's script."""
    kinds = tones(section)
    return [
        {
            "label": f"{run.label}, seed {run.result.seed}",
            "scores": {d: _packed(score_name(d), h, kinds) for d, h in summary.histograms.items() if h.oods},
        }
        for run, summary in _with_outputs(section)
    ]


def _with_outputs(section: Section) -> list[tuple[Run, Summary]]:
    """Return the runs with a histogram of OOD scores."""
    some = [(run, run.summary) for run in section.runs if run.summary]
    return [(run, summary) for run, summary in some if any(h.oods for h in summary.histograms.values())]


def _packed(name: str, h: Histogram, kinds: dict[str, str]) -> dict[str, Any]:
    axis = histogram.axis(h.scale, f"{name} score")

    def at(ood: str) -> dict[str, list[float]]:
        values = {"idpos": h.idpos, "oodpos": h.oodpos[ood]}
        return {c: [_u(h, v), *h.at[ood][c], _short(v)] for c, v in values.items()}

    return {
        "name": name,
        "axis": axis.label,
        "ticks": [[round(u, 4), text] for u, text in axis.ticks],
        "scale": [int(h.scale.is_log), *(_short(each) for each in h.scale[1:])],
        "ids": h.ids.tolist(),
        "sets": {
            ood: {
                "name": set_name(ood),
                "kind": kinds.get(ood, "far"),
                "counts": counts.tolist(),
                "merge": histogram.merged(h, ood),
                "at": at(ood),
            }
            for ood, counts in h.oods.items()
        },
    }


def _u(h: Histogram, value: float) -> float:
    return round(float(h.scale.position(np.array([value]))[0]), 4)


def _short(value: float) -> float:
    return float(f"{value:.9g}")


def block(section: Section) -> dict[str, Any] | None:
    """Return the first run's first OOD set at 95 % of ID accepted; None where no run has outputs.

    The first run is that of a picture, and where none of these has outputs the first that has.
    """
    some = _with_outputs(section)
    if not some:
        return None
    folders = [run.result.folder for run, _ in some]
    pictured = [run.result.folder for run in section.representatives()]
    shown = next((folders.index(folder) for folder in pictured if folder in folders), 0)
    run, summary = some[shown]
    detector, h = next((d, h) for d, h in summary.histograms.items() if h.oods)
    ood = next(iter(h.oods))
    panel = histogram.panel(h, ood, tones(section)[ood], "", "", f"{score_name(detector)} score", (620, 250))
    at = run.result.numbers.get((ood, detector, "auroc"), float("nan"))
    curve = roc.Curve(summary.rocs[detector][ood], at, None, None)
    totals = int(h.ids.sum()), int(h.oods[ood].sum())
    found = rates(h.at[ood]["idpos"], totals)
    return {
        "kind": "threshold",
        "name": "threshold",
        "is_narrow": False,
        "title": "Move the threshold",
        "run": shown,
        "said": f"{run.label}, seed {run.result.seed}, {score_name(detector)}, {set_name(ood)}",
        "histogram": _classed(panel_svg(panel), "histogram"),
        "roc": _classed(panel_svg(roc.panel({"": curve}, {"": ("id", False)}, "", (250, 250))), "roc"),
        "at": f"{h.idpos:.5g}",
        "stands": "FPR@95: 95 % of ID accepted",
        "rates": [(c, *SAID[c], [f"{100 * value:.2f}" for value in found[c]]) for c in ("idpos", "oodpos")],
        "caption": CAPTION,
    }


def _classed(svg: Markup, name: str) -> Markup:
    return Markup(str(svg).replace('class="panel"', f'class="panel {name}"', 1))
