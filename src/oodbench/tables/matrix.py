"""Runs -> losses x detectors: of every OOD set a table with losses as columns, and one of its intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence

from oodbench.tables.cells import MISSING, Bold, Cells, Column, bold, cells_of, interval_of, interval_text
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.notes import FPR, bold_notes, shared_seeds, trained, without_resamples
from oodbench.tables.results import Result
from oodbench.tables.sections import HEADER, Table, ood_sets

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
INTERVALS = (
    "95 % intervals, in percent: n = 1: bootstrap over the test images, of this one network; n > 1: t-interval of the "
    "mean over training seeds, whose ends may lie beyond 0 and 100."
)


def matrix_tables(runs: Sequence[Result], fpr: str, detectors: Sequence[str]) -> list[Table]:
    """Of runs of one protocol. Bold is within a column, AUROC and FPR@95 each for itself."""
    labels, metrics = row_labels(runs), ("auroc", f"fpr95_{fpr}")
    cells, why = cells_of(runs, row_of, detectors, metrics), _reasons(runs)
    numbers = {reason: i + 1 for i, reason in enumerate(sorted(set(why.values())))}
    seeds = Counter(row_of(run) for run in runs)
    header = [("", "Score"), *((label, f"n = {seeds[row]}") for row, label in labels.items())]
    tables = []
    for near, ood, images in ood_sets(runs):
        columns = [Column(near, ood, images, metric) for metric in metrics]
        best = {(row, column): _best(cells, row, detectors, column) for row in labels for column in columns}
        values, intervals, used = [], [], set()
        for detector in detectors:
            pairs = {row: [(row, detector, column) for column in columns] for row in labels}
            dashes = {row: why.get((row, detector), "") for row in labels}
            used |= {reason for row, reason in dashes.items() if reason and pairs[row][0] not in cells}
            dash = {
                row: MISSING + str(numbers.get(reason, "")).translate(SUPERSCRIPT) for row, reason in dashes.items()
            }
            values.append([_pair([_value(cells, best, key) for key in pairs[row]], dash[row]) for row in labels])
            intervals.append([_pair([_interval(cells, key) for key in pairs[row]], dash[row]) for row in labels])
        title = f"{ood} ({'near' if near else 'far'}, {images:,} images); {protocol(runs[0])}"
        name = f"{HEADER['auroc']} / {HEADER[metrics[1]]}"
        marks = {labels[row]: mark for (row, _), mark in best.items()}  # alike for both metrics in what is noted
        footnotes = [f"{str(numbers[reason]).translate(SUPERSCRIPT)} {reason}." for reason in sorted(used)]
        notes = [
            f"{name} in percent, mean over n training seeds. Bold is within a column, for each of the two: "
            f"which scores a loss is read best with. {trained(runs[0])}",
            f"FPR@95 is `fpr95_{fpr}`: {FPR[fpr]}.",
            *bold_notes(marks),
            *shared_seeds(marks, runs),
            *without_resamples(runs, labels),
            *footnotes,
            *[f"{MISSING} without a mark: not scored in these runs."] * any(MISSING in row for row in values),
            *sorted({run.note for run in runs} - {""}),
        ]
        tables.append(Table(f"{name}, {title}", header, _rows(detectors, values), notes, 1))
        if any("[" in cell for row in intervals for cell in row):
            rows = _rows(detectors, intervals)
            tables.append(Table(f"Intervals of {name}, {title}", header, rows, [INTERVALS, *footnotes], 1))
    return tables


def _reasons(runs: Sequence[Result]) -> dict[tuple[Row, str], str]:
    """{(row, detector): why it has no numbers}"""
    return {(row_of(run), detector): reason for run in runs for detector, reason in run.not_applicable.items()}


def _best(cells: Cells, row: Row, detectors: Sequence[str], column: Column) -> Bold:
    keys = [(row, detector, column) for detector in detectors]
    return bold({key: cells[key] for key in keys if key in cells}, column.metric)


def _value(cells: Cells, best: Mapping[tuple[Row, Column], Bold], key: tuple[Row, str, Column]) -> str:
    if key not in cells:
        return ""
    row, _, column = key
    text = f"{100 * cells[key].mean:.2f}"
    return f"**{text}**" if key in best[row, column].keys else text


def _interval(cells: Cells, key: tuple[Row, str, Column]) -> str:
    interval = interval_of(cells[key]) if key in cells else None
    return interval_text(interval) if interval else ""


def _pair(texts: Sequence[str], dash: str) -> str:
    return " / ".join(texts) if all(texts) else dash


def _rows(detectors: Sequence[str], cells: Sequence[list[str]]) -> list[list[str]]:
    return [[detector, *row] for detector, row in zip(detectors, cells, strict=True)]
