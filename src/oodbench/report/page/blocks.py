"""The blocks of a section: its figures, the heat map, the threshold and the contact sheets, for the template."""

from typing import Any

from oodbench.report import heat, threshold
from oodbench.report.gallery import figures_of
from oodbench.report.images import sheets_of
from oodbench.report.material import Section
from oodbench.report.page.render import as_json
from oodbench.report.plot import Plot
from oodbench.report.svg import panel_svg
from oodbench.tables.names import score_name, set_name

NARROW = 560  # pixels; figures below it stand side by side
WITH_LEGEND = ("scores", "norms", "components")


def blocks(section: Section) -> list[dict[str, Any] | None]:
    """Return the figures in their order on the page."""
    plots = {plot.name: plot_block(plot) for plot in figures_of(section)}
    before = [plots.pop(name, None) for name in ("cliques", "accuracy")]
    scores = [plots.pop("scores", None), threshold.block(section)]
    return [*before, heat_block(section), *scores, *plots.values(), sheet_block(section)]


def plot_block(plot: Plot) -> dict[str, Any]:
    return {
        "kind": "plot",
        "name": plot.name,
        "title": plot.title,
        "columns": plot.columns,
        "panels": [panel_svg(panel) for panel in plot.panels],
        "caption": plot.caption,
        "has_legend": plot.name in WITH_LEGEND,
        "is_narrow": sum(panel.width for panel in plot.panels) < NARROW,
    }


def sheet_block(section: Section) -> dict[str, Any] | None:
    """Return the contact sheets of the first network of the section; None where its images are not there."""
    run = next((run for run in section.representatives() if run.summary), None)
    sheets = sheets_of(run) if run else []
    if run is None or not sheets:
        return None
    return {
        "kind": "sheet",
        "name": "sheet",
        "is_narrow": False,
        "title": "Most confidently wrong",
        "sheets": [{"title": set_name(s.ood), "image": s.image, "images": s.texts} for s in sheets],
        "caption": f"OOD images with the lowest own scores of {run.label}, seed {run.result.seed}, the lowest first: "
        "the predicted class and its probability.",
    }


def heat_block(section: Section) -> dict[str, Any] | None:
    found = heat.heat_of(section)
    if not found.columns or len(found.detectors) < 2:
        return None
    first = found.choices[0][0], "auroc"
    where = f" on {found.choices[0][1]}" if len(found.choices) > 1 else ""
    return {
        "kind": "heat",
        "name": "heat",
        "is_narrow": False,
        "title": "Loss \u00d7 detector" if len(found.choices) > 1 else "Detectors",
        "columns": list(zip(found.columns, found.seeds, strict=True)),
        "sets": found.choices,
        "metrics": [(name, heat.OOD_METRICS[name].heading + " (%)") for name in heat.METRICS],
        "rows": [
            (score_name(d), [heat.printed(n, "auroc", seeds) for n, seeds in zip(row, found.seeds, strict=True)])
            for d, row in zip(found.detectors, found.numbers[first], strict=True)
        ],
        "shown": f"AUROC (%){where}",
        "caption": (
            "Bold: the best mean of a column, not tested. Tint: from chance to a perfect detector. Rows: by the mean "
            f"AUROC{where} over the columns."
        ),
        "data": as_json(heat.packed(found)),
    }
