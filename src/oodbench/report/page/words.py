"""Sentences of the page: what was run, what the numbers mean, what is missing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.phrases import counted, duration, join
from oodbench.report.gallery import near_and_far
from oodbench.report.material import Material, Run, Section, all_runs
from oodbench.report.table import Line, Main, other_sizes
from oodbench.runs.record import OWN_SCORE
from oodbench.tables.caveats import caveats
from oodbench.tables.ensembles import ensemble_notes
from oodbench.tables.labels import row_of
from oodbench.tables.marks import notes_on_marks, shared_seeds
from oodbench.tables.means import common_means, mean_notes, shifted_notes
from oodbench.tables.names import set_name
from oodbench.tables.notes import definitions, directions, loss_settings

NAMED = 3  # rows; of more, the best alone


def lead(sections: Sequence[Section]) -> str:
    """Say in a sentence what was run."""
    runs = all_runs(sections)
    datasets = join(set_name(name) for name in dict.fromkeys(section.dataset for section in sections))
    losses = len({run.result.loss for run in runs})
    seeds = sorted(Counter(row_of(run.result) for run in runs).values())
    each = counted(seeds[0], "seed") if seeds[0] == seeds[-1] else f"{seeds[0]} to {seeds[-1]} seeds each"
    return (
        f"{counted(len(runs), 'trained network')}: {counted(losses, 'loss', 'losses')} on {datasets}, "
        f"{each}, in {counted(len(sections), 'protocol')}."
    )


def facts(runs: Sequence[Run], material: Material) -> list[tuple[str, str]]:
    """Return what a reader wants to know first, as (name, value)."""
    of = [run.provenance for run in runs]
    seconds = sum(float(p.get("wall_time_s") or 0) for p in of if isinstance(p.get("wall_time_s"), int | float))
    found = [
        ("Seeds", ", ".join(str(seed) for seed in sorted({run.result.seed for run in runs}))),
        ("OOD sets", ", ".join(dict.fromkeys(set_name(ood) for section in material.sections for ood in section.sets))),
        ("Machine", ", ".join(filter(None, dict.fromkeys(map(machine, of))))),
        ("Training", f"{duration(seconds)} in all" if seconds else ""),
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


def best(section: Section, table: Main) -> list[tuple[str, str]]:
    """Return (what, the best rows of its column: with those that tests cannot tell from the best, or where they are
    many the best alone and their number); of near and far OOD the means, or the sets where there is none. Of one
    configuration nothing is the best.
    """
    if len(section.labels) < 2:
        return []
    shown = {"": "", **dict(near_and_far(section))}
    found = []
    for i, head in enumerate(table.heads):
        if head.group not in shown or head.convention:
            continue
        cells = {_row_name(row, head.group): row.cells[i] for row in table.rows if row.cells[i].mark}
        order = sorted(cells, key=lambda name: cells[name].value or 0, reverse=head.higher_is_better)
        texts = [f"{name} {cells[name].text}{_in_brackets(cells[name].interval)}" for name in order]
        where = f", {shown[head.group]}" if head.group else ""
        heading = head.text.lower() if head.text[1:].islower() else head.text
        alone = f"{len(texts) - 1} others are not distinguishable from it"
        found.append((f"Best {heading}{where}", join(texts) if len(texts) <= NAMED else f"{texts[0]}; {alone}"))
    return [(name, value) for name, value in found if value]


def _row_name(row: Line, group: str) -> str:
    is_own = not group or OWN_SCORE in row.scores
    return row.label if is_own else f"{row.label} with {row.score}"


def _in_brackets(interval: str) -> str:
    return f" ({interval})" if interval else ""


def notes(section: Section, table: Main) -> list[str]:
    """Say what the table's numbers mean."""
    metrics = [metric for metric in (ID_METRICS | OOD_METRICS).values() if metric.in_tables]
    return [
        "In percent. Mean over n seeds; beneath, the 95 % interval: of the mean over seeds on these test images alone, "
        f"for n = 1 over the test images of this network alone. {directions(metrics)} {_bold(section, table)}",
        definitions(metrics),
        "own: the OOD score that belongs to the loss.",
        *notes_on_marks(table.marks),
        *shared_seeds(table.marks),
        *mean_notes(section.results, section.labels, common_means(section.results)),
        *shifted_notes(section.results),
        *other_sizes(section),
        *caveats(section.results, section.labels, sorted({d for run in section.results for d in run.detectors})),
        *loss_settings(section.results, section.labels),
        *ensemble_notes(section.ensembles, section.labels),
        *sorted({run.result.note for run in section.runs} - {""}),
    ]


def _bold(section: Section, table: Main) -> str:
    tested = {mark.seeds for mark in table.marks.values() if mark.seeds}
    if not tested:
        return "Bold: the best of a column, not tested."
    alone = ", ".join(str(seeds[0]) for seeds in sorted(tested) if len(seeds) == 1 < len(section.labels))
    networks = f", on seed {alone} alone: networks are compared, not losses" * bool(alone)
    return f"Bold: the best of a column; italics: what paired tests cannot tell from it at 5 %{networks}."


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
    said = [duration(seconds)] if isinstance(seconds, int | float) else []
    folder = str(run.result.folder)
    return {
        "label": run.label,
        "seed": str(run.result.seed),
        "folder": folder.removeprefix(f"{results_dir}/"),
        "said": ", ".join([*said, *([run.without] if run.without else [])]),
    }
