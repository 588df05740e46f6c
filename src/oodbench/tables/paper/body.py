"""The lines of a paper's table: labels, scores, seeds, and numbers with their marks."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from oodbench.evaluation.metrics import metric_of
from oodbench.tables.cells import Cell, Cells, alike, cell_key, fewer, interval_of
from oodbench.tables.columns import Column
from oodbench.tables.labels import Row
from oodbench.tables.names import row_names, score_name
from oodbench.tables.paper.latex_commands import Commands
from oodbench.tables.paper.style import Style
from oodbench.tables.render import latex

RowScores = tuple[Row, tuple[str, ...]]  # a line's row, and the scores whose numbers it has


def rows_of(
    labels: Mapping[Row, str], detectors: Sequence[str], columns: Sequence[Column], cells: Cells, style: Style
) -> list[RowScores]:
    """Return a line per row and score; scores whose printed numbers agree in every column share one."""
    of_score = [column for column in columns if column.ood]
    lines = []
    for row in labels:
        printed = {}
        for score in detectors:
            found = [(cells.get(cell_key(row, score, column)), column) for column in of_score]
            if any(cell for cell, _ in found) or not found:
                printed[score] = [_cell(cell, column, (), style, 0) for cell, column in found]  # each with its seeds
        lines += [(row, scores) for scores in alike(printed)]
    return lines


def lines_of(
    rows: Sequence[RowScores],
    labels: Mapping[Row, str],
    seeds: Mapping[Row, int],
    columns: Sequence[Column],
    cells: Cells,
    style: Style,
    commands: Commands,
) -> list[list[str]]:
    """Return label, score, n and numbers of each line; from a loss's second line on what depends on the score."""
    marks = {c: _marks([_shared(cells, line, c) for line in rows], c) for c in columns}
    lines = []
    names = row_names(labels)
    for row, group in groupby(rows, key=lambda each: each[0]):
        label = _label(row, names[row], labels[row].removeprefix(row.loss), commands)
        for at, line in enumerate(group):
            numbers = [
                _cell(_shared(cells, line, c), c, marks[c], style, seeds[row]) if c.ood or not at else ""
                for c in columns
            ]
            of_row = [label, str(seeds[row])] if not at else ["", ""]
            lines.append([of_row[0], latex(" / ".join(map(score_name, line[1]))), of_row[1], *numbers])
    return lines


def _label(row: Row, name: str, rest: str, commands: Commands) -> str:
    """Return the command of a loss, and what sets it apart from its namesakes, the rest of the row's name."""
    return commands.use("loss", row.loss, name.removesuffix(rest)) + latex(rest)


def _shared(cells: Cells, line: RowScores, column: Column) -> Cell | None:
    """Return the cell with the best mean of the scores that share a line, and so print the same in every column."""
    row, scores = line
    found = [cells[key] for score in scores if (key := cell_key(row, score, column)) in cells]
    best = max if metric_of(column.metric).higher_is_better else min
    return best(found, key=lambda cell: cell.compared, default=None)


def _marks(column: Sequence[Cell | None], of: Column) -> list[float]:
    """Return the best mean and the second one of a column that has a direction, or those that there are."""
    means = {cell.compared for cell in column if cell and of.has_direction}
    return sorted(means, reverse=metric_of(of.metric).higher_is_better)[:2] if len(means) > 1 else []


def _cell(cell: Cell | None, column: Column, marks: Sequence[float], style: Style, n: int) -> str:
    """Format mean and deviation, or of one seed the value; with intervals, where asked for. n: seeds of the row."""
    if cell is None:
        return "--"
    unit = metric_of(column.metric).unit
    spread, text = cell.spread(unit), unit.text(cell.mean, style.digits)
    if cell.compared in marks:
        text = rf"\textbf{{{text}}}" if cell.compared == marks[0] else rf"\underline{{{text}}}"
    if spread.deviation is not None:
        text += rf"{{\scriptsize\,$\pm$\,{unit.text(spread.deviation, style.digits)}}}"
    interval = interval_of(cell, unit) if style.intervals else None
    return text + fewer(cell, n) + (rf" {{\scriptsize {unit.ends(interval)}}}" if interval else "")
