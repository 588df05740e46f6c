r"""Runs -> tables as one pastes them into a paper: LaTeX with booktabs, <dataset>.paper.tex.

Near and far OOD sets are grouped, each group with its mean. Where all sets need more columns than a page has, the means
alone stand there, unless sets are named. The best mean of a column is bold, the second underlined. The notes of a
table stand as a comment above it; names are commands (\lossHalo), which a paper renames in one place.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress

from oodbench.tables.cells import cells_of
from oodbench.tables.columns import DEFAULT_FPR
from oodbench.tables.labels import row_labels, row_of
from oodbench.tables.means import common_means, with_means
from oodbench.tables.paper.body import lines_of, rows_of
from oodbench.tables.paper.caption import caption, explained
from oodbench.tables.paper.heads import heads
from oodbench.tables.paper.latex_commands import Commands
from oodbench.tables.paper.style import Style, columns_of
from oodbench.tables.render import latex_row
from oodbench.tables.results import Result
from oodbench.tables.sections import by_protocol

PACKAGES = r"\usepackage{booktabs}"


def paper(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style) -> str:
    """Return the tables of one data set's runs, one per protocol. Raises ValueError where nothing is left to show."""
    some = [run for run in runs if not style.losses or run.loss in style.losses]
    commands = Commands()
    tables = _with_labels(_table(group, fpr, detectors, style, commands) for group in by_protocol(some))
    return "\n".join([f"% {PACKAGES}", *commands.definitions(), "", *tables])


def _table(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style, commands: Commands) -> str:
    measured = with_means(runs, common_means(runs))
    columns, labels = columns_of(measured, fpr, style), row_labels(runs)
    cells = cells_of(measured, row_of, detectors, {column.metric for column in columns})
    rows, seeds = rows_of(labels, detectors, columns, cells, style), Counter(map(row_of, runs))
    words = {
        "Loss": True,
        "Score": len({scores for _, scores in rows}) > 1,
        "$n$": len(set(seeds.values())) > 1,
    }
    body = [
        [*compress(line, words.values()), *line[len(words) :]]
        for line in lines_of(rows, labels, seeds, columns, cells, style, commands)
    ]
    shown = [word for word, is_shown in words.items() if is_shown]
    of = f"{runs[0].dataset} {runs[0].backbone} {runs[0].recipe} {fpr if fpr != DEFAULT_FPR else ''}"
    slug = re.sub(r"[^a-z0-9]+", "-", of.lower()).strip("-")
    return "\n".join(
        [
            *explained(runs, fpr, detectors, style),
            r"\begin{table*}[t]",
            r"\centering",
            r"\small",
            r"\setlength{\tabcolsep}{4pt}",
            r"\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{caption(runs, seeds, columns, style, commands)}}}",
            rf"\label{{tab:{slug}}}",
            rf"\begin{{tabular}}{{{'l' * len(shown)}{'c' * len(columns)}}}",
            r"\toprule",
            *heads(columns, shown, commands),
            r"\midrule",
            *map(latex_row, body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _with_labels(tables: Iterable[str]) -> list[str]:
    """Give each table its own label: tab:cifar10-resnet18-sgd200, then -2."""
    labelled, times = [], Counter[str]()
    for table in tables:
        label = re.findall(r"\\label{(.+?)}", table)[0]
        times[label] += 1
        labelled.append(table.replace(f"{{{label}}}", f"{{{label}-{times[label]}}}") if times[label] > 1 else table)
    return labelled
