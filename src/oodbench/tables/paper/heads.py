"""The headings of a paper's table: near and far, sets, metrics."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from oodbench.evaluation.metrics import metric_of
from oodbench.tables.columns import Column
from oodbench.tables.kinds import Kind
from oodbench.tables.means import FAR, NEAR
from oodbench.tables.names import set_name
from oodbench.tables.paper.latex_commands import Commands
from oodbench.tables.paper.style import short_name
from oodbench.tables.render import latex_row

KINDS = {Kind.NEAR: "Near-OOD", Kind.FAR: "Far-OOD", Kind.SHIFTED: "Shifted ID"}


def heads(columns: Sequence[Column], words: Sequence[str], commands: Commands) -> list[str]:
    """Return the three lines of headings: near and far, sets, metrics, with rules between them."""
    kinds = [KINDS[c.kind] if c.kind else "" for c in columns]
    sizes = Counter(ood for ood, _ in {(c.ood, c.images) for c in columns})
    sets = [_set(c, commands) + f", {c.images:,} images" * (sizes[c.ood] > 1) for c in columns]
    metrics = [
        commands.use("metric", short_name(metric_of(c.metric)), _heading(c.metric)) + _arrow(c.metric) for c in columns
    ]
    return [
        *_spanned(kinds, [(kind,) for kind in kinds], len(words)),
        *_spanned(sets, list(zip(kinds, sets, strict=True)), len(words)),
        latex_row([*words, *metrics]),
    ]


def _spanned(texts: Sequence[str], keys: Sequence[tuple[str, ...]], words: int) -> list[str]:
    """Return a line of headings over several columns and the rules beneath; none where all are empty."""
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
    of = metric_of(metric)
    return "FPR95" if of.convention else of.heading.replace("Accuracy", "Acc.")


def _arrow(metric: str) -> str:
    return r"\,$\uparrow$" if metric_of(metric).higher_is_better else r"\,$\downarrow$"
