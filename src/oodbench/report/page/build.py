"""Sections -> HTML: what the template is filled with. Everything that comes from a run is escaped by the template."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from markupsafe import Markup

from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.report import threshold
from oodbench.report.gallery import legend
from oodbench.report.material import Material, Section, all_runs
from oodbench.report.page.blocks import blocks
from oodbench.report.page.published import published_tables
from oodbench.report.page.render import as_json, render
from oodbench.report.page.words import best, disagreements, facts, gaps, lead, notes, run_row
from oodbench.report.table import Head, Line, group_name, headings, main_table
from oodbench.tables.means import FAR, NEAR
from oodbench.tables.names import score_name, set_name
from oodbench.tables.published import Published


class Index:
    """Classes of rows and columns, by which the page's style hides what a filter leaves out."""

    def __init__(self, losses: Sequence[str], scores: Sequence[str], sets: Sequence[str]) -> None:
        self.losses, self.scores, self.sets = losses, scores, sets
        self.of_ood = headings(OOD_METRICS.values())
        self.columns = [*headings(ID_METRICS.values()), *self.of_ood]

    def column(self, head: Head) -> str:
        """Return a column's classes."""
        return " ".join(filter(None, (head.convention, f"m{self.columns.index(head.text)}", self.set(head.group))))

    def set(self, key: str) -> str:
        return f"s{self.sets.index(key)}" if key in self.sets else ""

    def row(self, line: Line) -> str:
        """Return a row's classes; one of several scores goes only with all of them."""
        scores = "-".join(str(self.scores.index(key)) for key in line.scores)
        return f"l{self.losses.index(line.loss)} d{scores}"

    def filters(self, rows: Iterable[Line]) -> Markup:
        """Return the rules that hide rows and columns, which need no script."""
        kinds = (("l", self.losses), ("d", self.scores), ("s", self.sets), ("m", self.columns))
        names = [f"{kind}{i}" for kind, each in kinds for i in range(len(each))]
        rules = [f":root:has(#{name}:not(:checked)) .{name}{{display:none}}" for name in names]
        for several in dict.fromkeys(row.scores for row in rows if len(row.scores) > 1):
            numbers = [str(self.scores.index(key)) for key in several]
            unchecked = "".join(f":has(#d{i}:not(:checked))" for i in numbers)
            rules.append(f":root{unchecked} .d{'-'.join(numbers)}{{display:none}}")
        return Markup("\n".join([*rules, *self._widths()]))

    def _widths(self) -> Iterator[str]:
        """Yield rules that hide, of an OOD set's headings, those for another number of columns than is shown."""
        names = [f"m{self.columns.index(text)}" for text in self.of_ood]
        for checked in product((True, False), repeat=len(names)):
            state = "".join(
                f":has(#{name}{'' if is_on else ':not'}{':checked' if is_on else '(:checked)'})"
                for name, is_on in zip(names, checked, strict=True)
            )
            others = ",".join(f"{state} .w{n}" for n in range(1, len(names) + 1) if n != sum(checked))
            yield f":root{others.replace(',', ',:root')}{{display:none}}"


def report_html(material: Material, detectors: Sequence[str], published: Sequence[Published], command: str) -> str:
    """Return the page of a results folder."""
    sections = material.sections
    index = index_of(sections, detectors)
    runs = all_runs(sections)
    shown = [section_context(f"p{i}", s, detectors, published, material.results_dir) for i, s in enumerate(sections)]
    own = {
        "title": "OOD detection and calibration",
        "lead": lead(sections),
        "facts": facts(runs, material),
        "left_out": material.left_out,
        "losses": names_of_losses(sections, index),
        "command": command,
        "details": [],
    }
    return page_html(sections, shown, index, own)


def page_html(sections: Sequence[Section], shown: Sequence[dict[str, Any]], index: Index, own: dict[str, Any]) -> str:
    """Fill the template with `own`, which each kind of page says for itself, and what all make from their sections.

    shown: what `section_context` returns of each section.
    """
    common = {
        "scores": [score_name(d) for d in index.scores],
        "sets": [group_name(ood) for ood in index.sets],
        "columns": index.columns,
        "index": index,
        "filters": index.filters(row for each in shown for row in each["table"].rows),
        "sections": shown,
        "data": as_json({each["id"]: threshold.packed(s) for each, s in zip(shown, sections, strict=True)}),
    }
    return render("report.html.j2", common | own)


def index_of(sections: Sequence[Section], detectors: Sequence[str]) -> Index:
    losses = sorted({run.result.loss for run in all_runs(sections)})
    sets = dict.fromkeys(ood for section in sections for ood in [NEAR, FAR, *section.sets])
    measured = {ood for run in all_runs(sections) for ood in run.result.ood_images}
    return Index(losses, list(detectors), [ood for ood in sets if ood in measured])


def names_of_losses(sections: Sequence[Section], index: Index) -> list[str]:
    labels = {run.result.loss: run.label.partition(" (")[0] for run in all_runs(sections)}
    return [labels[loss] for loss in index.losses]


def section_context(
    name: str, section: Section, detectors: Sequence[str], published: Sequence[Published], results_dir: Path
) -> dict[str, Any]:
    table = main_table(section, detectors)
    return {
        "id": name,
        "title": set_name(section.dataset),
        "protocol": section.protocol,
        "best": best(section, table),
        "table": table,
        "notes": notes(section, table),
        "published": published_tables(section, published),
        "gaps": gaps(section),
        "disagreements": disagreements(section),
        "legend": legend(section),
        "blocks": [block for block in blocks(section) if block],
        "runs": [run_row(run, results_dir) for run in section.runs],
    }
