r"""Runs -> tables as one pastes them into a paper: LaTeX with booktabs, <dataset>.paper.tex.

Near and far OOD sets are grouped, each group with its mean. Where all sets need more columns than a page has, the means
alone stand there, unless sets are named. The best mean of a column is bold, the second underlined. The notes of a
table stand as a comment above it; names are commands (\lossHalo), which a paper renames in one place.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, groupby
from typing import NamedTuple

from oodbench.evaluation.metric import Metric
from oodbench.evaluation.metrics import metric_of
from oodbench.tables.cells import Cell, Cells, Column, cell_key, cells_of, fewer, id_columns, interval_of
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, row_labels, row_of
from oodbench.tables.latex_commands import Commands
from oodbench.tables.matrix import INTERVALS
from oodbench.tables.means import FAR, NEAR, SHORT, common_means, with_means
from oodbench.tables.names import paper_name, row_name, score_name, set_name
from oodbench.tables.notes import DIFFERENT_SEEDS
from oodbench.tables.render import comments, latex, latex_row
from oodbench.tables.results import Result
from oodbench.tables.sections import DEFAULT, by_protocol, means_alone, ood_metrics, ood_sets, section

MOST = 11  # columns of numbers that fit a page
MOST_WITH_DEVIATION = 7
OF_OOD = ("auroc", "fpr95")
KINDS = {Kind.NEAR: "Near-OOD", Kind.FAR: "Far-OOD", Kind.SHIFTED: "Shifted ID"}
PACKAGES = r"\usepackage{booktabs}"
RowScores = tuple[Row, tuple[str, ...]]  # a line's row, and the scores whose numbers it has
ON_TESTS = ("Bold", DIFFERENT_SEEDS)  # notes that begin so


class Style(NamedTuple):
    """The contents of a paper's table; an empty list stands for the default."""

    losses: Sequence[str] = ()
    sets: Sequence[str] = ()  # OOD sets; near and far are the means
    metrics: Sequence[str] = ()  # accuracy, ece, auroc, fpr95
    columns: Sequence[str] = ()  # in this order, in the place of sets and metrics: accuracy, ece, svhn:auroc
    digits: int = 2
    intervals: bool = False


def paper(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style) -> str:
    """Return the tables of one data set's runs, one per protocol. Raises ValueError where nothing is left to show."""
    some = [run for run in runs if not style.losses or run.loss in style.losses]
    commands = Commands()
    tables = _with_labels(_table(group, fpr, detectors, style, commands) for group in by_protocol(some))
    return "\n".join([f"% {PACKAGES}", *commands.definitions(), "", *tables])


def check_style(runs: Sequence[Result], style: Style) -> None:
    """Raise ValueError for a loss, set, metric or column that no run has."""
    of_id = [column.metric for column in id_columns()]
    known = {
        "loss": {run.loss for run in runs},
        "set": {ood for run in runs for ood in run.ood_images} | SHORT.keys(),
        "metric": {*of_id, *OF_OOD},
    }
    known["column"] = {*of_id, *(f"{ood}:{metric}" for ood in known["set"] for metric in OF_OOD)}
    asked = {"loss": style.losses, "set": style.sets, "metric": style.metrics, "column": style.columns}
    for what, given in asked.items():
        if unknown := sorted(set(given) - known[what]):
            raise ValueError(f"no run has the {what} {', '.join(unknown)}; available: {', '.join(sorted(known[what]))}")


def _with_labels(tables: Iterable[str]) -> list[str]:
    """Give each table its own label: tab:cifar10-resnet18-sgd200, then -2."""
    labelled, times = [], Counter[str]()
    for table in tables:
        label = re.findall(r"\\label{(.+?)}", table)[0]
        times[label] += 1
        labelled.append(table.replace(f"{{{label}}}", f"{{{label}-{times[label]}}}") if times[label] > 1 else table)
    return labelled


def _table(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style, commands: Commands) -> str:
    measured = with_means(runs, common_means(runs))
    several = len({run.seed for run in runs}) > 1
    most = sys.maxsize if style.columns else MOST_WITH_DEVIATION if several else MOST
    columns, labels = _columns(measured, most, fpr, style), row_labels(runs)
    cells = cells_of(measured, row_of, detectors, {column.metric for column in columns})
    rows, seeds = _rows(labels, detectors, columns, cells, style), Counter(map(row_of, runs))
    words = {
        "Loss": True,
        "Score": len({scores for _, scores in rows}) > 1,
        "$n$": len(set(seeds.values())) > 1,
    }
    body = [
        [*compress(line, words.values()), *line[len(words) :]]
        for line in _body(rows, labels, seeds, columns, cells, style, commands)
    ]
    heads = [word for word, is_shown in words.items() if is_shown]
    of = f"{runs[0].dataset} {runs[0].backbone} {runs[0].recipe} {fpr if fpr != DEFAULT else ''}"
    slug = re.sub(r"[^a-z0-9]+", "-", of.lower()).strip("-")
    return "\n".join(
        [
            *_comments(runs, fpr, detectors, style),
            r"\begin{table*}[t]",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            r"\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{_caption(runs, seeds, columns, style, commands)}}}",
            rf"\label{{tab:{slug}}}",
            rf"\begin{{tabular}}{{{'l' * len(heads)}{'c' * len(columns)}}}",
            r"\toprule",
            *_heads(columns, heads, commands),
            r"\midrule",
            *map(latex_row, body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _body(
    rows: Sequence[RowScores],
    labels: Mapping[Row, str],
    seeds: Mapping[Row, int],
    columns: Sequence[Column],
    cells: Cells,
    style: Style,
    commands: Commands,
) -> list[list[str]]:
    """-> label, score, n and numbers of each line; from a loss's second line on, what depends on the score alone"""
    marks = {c: _marks([cells.get(cell_key(row, scores[0], c)) for row, scores in rows], c) for c in columns}
    lines = []
    for row, group in groupby(rows, key=lambda each: each[0]):
        label = _label(row, labels[row], commands)
        for at, (_, scores) in enumerate(group):
            numbers = [
                _cell(cells.get(cell_key(row, scores[0], c)), c, marks[c], style, seeds[row]) if c.ood or not at else ""
                for c in columns
            ]
            of_row = [label, str(seeds[row])] if not at else ["", ""]
            lines.append([of_row[0], latex(" / ".join(map(score_name, scores))), of_row[1], *numbers])
    return lines


def _label(row: Row, label: str, commands: Commands) -> str:
    """-> the command of a loss, and what sets it apart from its namesakes"""
    name = paper_name("loss", row.loss)
    return commands.use("loss", row.loss, name) + latex(row_name(row.loss, label).removeprefix(name))


def _columns(runs: Sequence[Result], most: int, fpr: str, style: Style) -> list[Column]:
    """-> those of the style; where it names no sets and all need more than `most` columns, sets give way to means"""
    metrics = [metric for metric in ood_metrics(fpr) if not style.metrics or _short(metric) in style.metrics]
    of_id = [column for column in id_columns() if not style.metrics or column.metric in style.metrics]
    sets = sorted(ood_sets(runs), key=lambda each: (each[0].rank, each[1] in (NEAR, FAR), each[1]))
    if style.sets:
        wanted = [SHORT.get(name, name) for name in style.sets]
        sets = [each for each in sets if each[1] in wanted]
    elif len(of_id) + len(sets) * len(metrics) > most:
        sets = means_alone(sets)
    columns = of_id + [Column(*each, metric.name) for each in sets for metric in metrics]
    if style.columns:
        named = {_column_name(column): column for column in columns}
        columns = [named[name] for name in style.columns if name in named]
    if not columns:
        raise ValueError("nothing is left to show: no run has these sets, metrics or columns")
    return columns


def _column_name(column: Column) -> str:
    short = {mean: name for name, mean in SHORT.items()}
    metric = _short(metric_of(column.metric))
    return f"{short.get(column.ood, column.ood)}:{metric}" if column.ood else metric


def _short(metric: Metric) -> str:
    return "fpr95" if metric.convention else metric.name


def _rows(
    labels: Mapping[Row, str], detectors: Sequence[str], columns: Sequence[Column], cells: Cells, style: Style
) -> list[RowScores]:
    """-> one line per row and score; scores whose printed numbers agree in every column share one"""
    of_score = [column for column in columns if column.ood]
    lines = []
    for row in labels:
        same: dict[tuple[str, ...], list[str]] = {}
        for score in detectors:
            found = [(cells.get(cell_key(row, score, column)), column) for column in of_score]
            if any(cell for cell, _ in found) or not found:
                printed = tuple(_cell(cell, column, (), style, 0) for cell, column in found)  # each with its seeds
                same.setdefault(printed, []).append(score)
        lines += [(row, tuple(scores)) for scores in same.values()]
    return lines


def _marks(column: Sequence[Cell | None], of: Column) -> list[float]:
    """-> the best mean and the second of a column, in the digits' full precision; fewer where there are fewer"""
    means = {cell.mean for cell in column if cell}
    return sorted(means, reverse=metric_of(of.metric).higher_is_better)[:2] if len(means) > 1 else []


def _cell(cell: Cell | None, column: Column, marks: Sequence[float], style: Style, n: int) -> str:
    """Format mean and deviation, or of one seed the value; with intervals, where asked for. n: seeds of the row."""
    if cell is None:
        return "--"
    unit = metric_of(column.metric).unit
    spread, text = cell.spread(unit), unit.text(cell.mean, style.digits)
    if cell.mean in marks:
        text = rf"\textbf{{{text}}}" if cell.mean == marks[0] else rf"\underline{{{text}}}"
    if spread.deviation is not None:
        text += rf"{{\scriptsize\,$\pm$\,{unit.text(spread.deviation, style.digits)}}}"
    interval = interval_of(cell, unit) if style.intervals else None
    return text + fewer(cell, n) + (rf" {{\scriptsize {unit.ends(interval)}}}" if interval else "")


def _heads(columns: Sequence[Column], words: Sequence[str], commands: Commands) -> list[str]:
    """-> the three lines of headings: near and far, sets, metrics, with rules between them"""
    kinds = [KINDS[c.kind] if c.kind else "" for c in columns]
    sets = [_set(c, commands) for c in columns]
    metrics = [
        commands.use("metric", _short(metric_of(c.metric)), _heading(c.metric)) + _arrow(c.metric) for c in columns
    ]
    return [
        *_spanned(kinds, [(kind,) for kind in kinds], len(words)),
        *_spanned(sets, list(zip(kinds, sets, strict=True)), len(words)),
        latex_row([*words, *metrics]),
    ]


def _spanned(texts: Sequence[str], keys: Sequence[tuple[str, ...]], words: int) -> list[str]:
    """-> a line of headings over several columns and the rules beneath; none where all are empty"""
    if not any(texts):
        return []
    cells, rules, at = [""] * words, [], words + 1
    for key, members in groupby(zip(keys, texts, strict=True), key=lambda pair: pair[0]):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{key[-1]}}}" if key[-1] else " & " * (width - 1))
        rules += [rf"\cmidrule(lr){{{at}-{at + width - 1}}}"] * bool(key[-1])
        at += width
    return [latex_row(cells), " ".join(rules)]


def _set(column: Column, commands: Commands) -> str:
    if column.ood in (NEAR, FAR):
        return "Average"
    return commands.use("ood", column.ood, set_name(column.ood)) if column.ood else ""


def _heading(metric: str) -> str:
    return "FPR95" if _short(metric_of(metric)) == "fpr95" else metric_of(metric).heading.replace("Accuracy", "Acc.")


def _arrow(metric: str) -> str:
    return r"\,$\uparrow$" if metric_of(metric).higher_is_better else r"\,$\downarrow$"


def _caption(
    runs: Sequence[Result], seeds: Counter[Row], columns: Sequence[Column], style: Style, commands: Commands
) -> str:
    data = commands.use("ood", runs[0].dataset, set_name(runs[0].dataset))
    counts = sorted(set(seeds.values()))
    over = f"{counts[0]} seeds" if len(counts) == 1 else "$n$ seeds" + ", of one the value" * (counts[0] == 1)
    what = "one training" if counts == [1] else f"mean and sample standard deviation over {over}"
    of = ["of the mean over seeds"] * (counts[-1] > 1) + ["of one training over the test images"] * (counts[0] == 1)
    brackets = f", in brackets 95\\,\\% intervals, {', '.join(of)}" * style.intervals
    backbone = latex(paper_name("backbone", runs[0].backbone))
    return (
        f"OOD detection with backbone {backbone} trained on {data} ({what}; in percent{brackets}): "
        r"the best of a column is bold, the second \underline{underlined}." + _about(runs, columns, commands)
    )


def _about(runs: Sequence[Result], columns: Sequence[Column], commands: Commands) -> str:
    """-> the definition of FPR95, and the sets that an average is over where they have no columns of their own"""
    fpr = [metric_of(column.metric) for column in columns if metric_of(column.metric).convention][:1]
    text = "".join(f" FPR95 has {latex(metric.heading.partition('(')[2].rstrip(')'))}." for metric in fpr)
    shown = {column.ood for column in columns}
    for mean, sets in common_means(runs).items():
        if mean in shown and not shown & set(sets):
            names = ", ".join(commands.use("ood", ood, set_name(ood)) for ood in sets)
            text += f" {KINDS[Kind.NEAR if mean == NEAR else Kind.FAR]}: the average over {names}."
    return text


def _comments(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style) -> list[str]:
    """-> what explains the table at length, as lines of comment"""
    table = section(runs, fpr, detectors)
    bold = "Bold and underlined here are the best means alone, whatever chance may do; <dataset>.md has the tests."
    notes = [note for note in table.notes if not note.startswith(ON_TESTS)]
    return comments([table.title, bold, *[INTERVALS] * style.intervals, *notes])
