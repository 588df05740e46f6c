"""Sections -> HTML: what the template is filled with. Everything that comes from a run is escaped by the template."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from oodbench import __version__
from oodbench.report import heat, threshold
from oodbench.report.gallery import figures_of, legend
from oodbench.report.images import sheets_of
from oodbench.report.material import Material, Run, Section, all_runs
from oodbench.report.names import score_name, set_name
from oodbench.report.plot import Plot
from oodbench.report.svg import panel_svg
from oodbench.report.table import Line, group_name, main_table
from oodbench.tables import CONVENTIONS
from oodbench.tables.beside import published_table
from oodbench.tables.labels import row_labels
from oodbench.tables.means import FAR, NEAR, common_means, mean_notes
from oodbench.tables.notes import other_images
from oodbench.tables.published import Published
from oodbench.tables.sections import Table

NARROW = 560  # pixels; figures below it stand side by side
WITH_LEGEND = ("scores", "norms", "components")


class Index:
    """Classes of rows and columns, by which the page's style hides what a filter leaves out."""

    def __init__(self, losses: Sequence[str], scores: Sequence[str], sets: Sequence[str]) -> None:
        self.losses, self.scores, self.sets = losses, scores, sets
        self.together = [c for n in range(2, len(scores) + 1) for c in combinations(range(len(scores)), n)]

    def set(self, key: str) -> str:
        return f"s{self.sets.index(key)}" if key in self.sets else ""

    def row(self, line: Line) -> str:
        """Return a row's classes; one of several scores goes only with all of them."""
        scores = "-".join(str(self.scores.index(key)) for key in line.scores)
        return f"l{self.losses.index(line.loss)} d{scores}"

    def filters(self) -> Markup:
        """Return the rules that hide rows and columns, which need no script."""
        kinds = (("l", self.losses), ("d", self.scores), ("s", self.sets))
        names = [f"{kind}{i}" for kind, each in kinds for i in range(len(each))]
        rules = [f":root:has(#{name}:not(:checked)) .{name}{{display:none}}" for name in names]
        for several in self.together:
            unchecked = "".join(f":has(#d{i}:not(:checked))" for i in several)
            rules.append(f":root{unchecked} .d{'-'.join(map(str, several))}{{display:none}}")
        return Markup("\n".join(rules))


def report_html(material: Material, detectors: Sequence[str], published: Sequence[Published], command: str) -> str:
    """Return the page of a results folder."""
    sections = material.sections
    index = index_of(sections, detectors)
    runs = all_runs(sections)
    context = {
        "title": "OOD detection and calibration",
        "lead": lead(sections),
        "facts": facts(runs, material),
        "left_out": material.left_out,
        "losses": names_of_losses(sections, index),
        "scores": [score_name(d) for d in index.scores],
        "sets": sets_of(index),
        "index": index,
        "filters": index.filters(),
        "sections": [
            section_context(f"p{i}", s, detectors, published, material.results_dir) for i, s in enumerate(sections)
        ],
        "data": as_json({f"p{i}": threshold.packed(section) for i, section in enumerate(sections)}),
        "command": command,
        "details": [],
    }
    return render("report.html.j2", context)


def index_of(sections: Sequence[Section], detectors: Sequence[str]) -> Index:
    losses = sorted({run.result.loss for run in all_runs(sections)})
    sets = dict.fromkeys(ood for section in sections for ood in [NEAR, FAR, *section.sets])
    measured = {ood for run in all_runs(sections) for ood in run.result.ood_images}
    return Index(losses, list(detectors), [ood for ood in sets if ood in measured])


def sets_of(index: Index) -> list[str]:
    """Return the printed names of the groups of columns."""
    return [group_name(ood) for ood in index.sets]


def names_of_losses(sections: Sequence[Section], index: Index) -> list[str]:
    labels = {run.result.loss: run.label.partition(" (")[0] for run in all_runs(sections)}
    return [labels[loss] for loss in index.losses]


def lead(sections: Sequence[Section]) -> str:
    """Say in a sentence what was run."""
    runs = all_runs(sections)
    datasets = join(set_name(name) for name in dict.fromkeys(section.dataset for section in sections))
    losses, seeds = len({run.result.loss for run in runs}), len({run.result.seed for run in runs})
    return (
        f"{counted(len(runs), 'trained network')}: {counted(losses, 'loss', 'losses')} on {datasets}, "
        f"{counted(seeds, 'seed')}, in {counted(len(sections), 'protocol')}."
    )


def facts(runs: Sequence[Run], material: Material) -> list[tuple[str, str]]:
    """Return what a reader wants to know first, as (name, value)."""
    of = [run.provenance for run in runs]
    seconds = sum(float(p.get("wall_time_s") or 0) for p in of if isinstance(p.get("wall_time_s"), int | float))
    dates = sorted(run.written for run in runs)
    found = [
        ("Seeds", ", ".join(str(seed) for seed in sorted({run.result.seed for run in runs}))),
        ("OOD sets", ", ".join(dict.fromkeys(set_name(ood) for section in material.sections for ood in section.sets))),
        ("Machine", ", ".join(filter(None, dict.fromkeys(map(machine, of))))),
        ("Training", f"{seconds / 3600:.1f} h in all" if seconds else ""),
        ("Numbers written", f"{dates[0]}" + (f" to {dates[-1]}" if dates[0] != dates[-1] else "")),
        ("Versions", ", ".join(filter(None, dict.fromkeys(map(versions, of))))),
    ]
    found = [(name, value) for name, value in found if value]
    return [*found, ("Not finished", counted(material.unfinished, "run"))] if material.unfinished else found


def versions(provenance: Mapping[str, Any]) -> str:
    found = provenance.get("versions")
    known = [name for name in ("oodbench", "torch") if name in found] if isinstance(found, dict) else []
    return ", ".join(f"{name} {found[name]}" for name in known) if found else ""


def machine(provenance: Mapping[str, Any]) -> str:
    """Return the name of the GPU, or of the processor where the network was trained on that."""
    device = str(provenance.get("device", ""))
    return str(provenance.get("processor", device)) if device in ("cpu", "") else device


def section_context(
    name: str, section: Section, detectors: Sequence[str], published: Sequence[Published], results_dir: Path
) -> dict[str, Any]:
    table = main_table(section, detectors)
    return {
        "id": name,
        "title": set_name(section.dataset),
        "protocol": section.protocol,
        "table": table,
        "notes": notes(section, table.notes),
        "published": published_tables(section, published),
        "gaps": gaps(section),
        "disagreements": disagreements(section),
        "legend": legend(section),
        "blocks": [block for block in blocks(section) if block],
        "runs": [run_row(run, results_dir) for run in section.runs],
    }


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
    where = f" on {found.choices[0][1]}, or what is chosen above" if len(found.choices) > 1 else ""
    return {
        "kind": "heat",
        "name": "heat",
        "is_narrow": False,
        "title": "Loss \u00d7 detector" if len(found.choices) > 1 else "Detectors",
        "columns": list(zip(found.columns, found.seeds, strict=True)),
        "sets": found.choices,
        "metrics": [(name, heat.OOD_METRICS[name].heading + " (%)") for name in heat.METRICS],
        "rows": [
            (score_name(d), [heat.printed(n, "auroc") for n in row])
            for d, row in zip(found.detectors, found.numbers[first], strict=True)
        ],
        "caption": (
            f"AUROC (%){where}. Bold: the best mean of a column, not tested. Tint: from chance to a perfect detector. "
            "Rows: by the mean AUROC over the columns."
        ),
        "data": as_json(heat.packed(found)),
    }


def notes(section: Section, on_bold: Sequence[str]) -> list[str]:
    """Say what the table's numbers mean."""
    return [
        "In percent. Mean over n seeds; beneath, the 95 % interval: of the mean over seeds, for n = 1 over the test "
        "images alone. Bold: the best of a column, and what paired tests cannot tell from it at 5 %.",
        "FPR@95 (95 % of ID accepted): the share of OOD images accepted by the threshold that accepts 95 % of ID. "
        "FPR@95 (95 % of OOD caught): the share of ID images flagged by the threshold that catches 95 % of OOD.",
        "own: the OOD score that belongs to the loss.",
        *on_bold,
        *mean_notes(section.measured, section.labels, common_means(section.measured)),
        *other_images(section.measured),
        *sorted({run.result.note for run in section.runs} - {""}),
    ]


def published_tables(section: Section, published: Sequence[Published]) -> list[tuple[str, Table]]:
    """Return (convention, published rows of the section's protocol with ours beneath them), once where both agree."""
    found = {convention: published_table(section.measured, published, convention) for convention in CONVENTIONS}
    tables = [(convention, with_paper_names(table, section)) for convention, table in found.items() if table]
    same = len({str(table) for _, table in tables}) == 1
    return [("", tables[0][1])] if same else tables


def with_paper_names(table: Table, section: Section) -> Table:
    """Return the table with our rows, scores and sets named as papers write them."""
    labels = {label: section.labels[row] for row, label in row_labels(section.measured).items()}
    columns = []
    for group, name in table.columns:
        ood, bracket, kind = group.partition(" (")
        columns.append((f"{set_name(ood)}{bracket}{kind}", name))
    rows = [
        [labels.get(row[0], row[0]), score_name(row[1]), *row[2:]] if row[2] == "ours" else row for row in table.rows
    ]
    return table._replace(columns=columns, rows=rows)


def gaps(section: Section) -> list[str]:
    """Say which figures are missing, and why."""
    lines = [f"{run.label}, seed {run.result.seed}: {run.without}" for run in section.runs if run.without]
    if lines and len(lines) == len(section.runs) and len({run.without for run in section.runs}) == 1:
        lines = [f"{section.runs[0].without}, in none of these runs"]
    return [f"Without figures of scores, reliability and features: {'; '.join(lines)}."] if lines else []


def disagreements(section: Section) -> list[str]:
    """Name the numbers that the stored outputs do not confirm."""
    return [
        f"{run.label}, seed {run.result.seed}: {line}"
        for run in section.runs
        if run.summary
        for line in run.summary.disagreements
    ]


def run_row(run: Run, results_dir: Path) -> dict[str, str]:
    seconds = run.provenance.get("wall_time_s")
    said = (
        [f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"]
        if isinstance(seconds, int | float)
        else []
    )
    folder = str(run.result.folder)
    return {
        "label": run.label,
        "seed": str(run.result.seed),
        "folder": folder.removeprefix(f"{results_dir}/"),
        "said": ", ".join([*said, *([run.without] if run.without else [])]),
    }


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template; whatever is not marked as drawn by this package is escaped."""
    loader = PackageLoader("oodbench.report", "page")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("oodbench.report") / "page"
    style, script = (Markup((folder / name).read_text("utf-8")) for name in ("style.css", "script.js"))
    environment.filters["marked"] = marked
    return environment.get_template(template).render(
        context | {"style": style, "script": script, "version": __version__}
    )


def marked(text: str) -> Markup:
    """Escape a table's text; **bold** and `code` become elements."""
    html = str(escape(text))
    html = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def as_json(content: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def counted(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def join(names: Iterable[str]) -> str:
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
