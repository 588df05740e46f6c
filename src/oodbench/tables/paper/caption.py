"""The caption of a paper's table, and the comment above it."""

from collections import Counter
from collections.abc import Sequence

from oodbench.evaluation.metrics import ID_METRICS, metric_of
from oodbench.phrases import counted
from oodbench.tables.columns import Column, ood_metrics, ood_sets
from oodbench.tables.labels import Row, protocol, row_labels
from oodbench.tables.matrix import INTERVALS
from oodbench.tables.means import KIND, common_means, mean_notes, shifted_notes
from oodbench.tables.names import paper_name, set_name
from oodbench.tables.notes import table_notes
from oodbench.tables.paper.heads import KINDS
from oodbench.tables.paper.latex_commands import Commands
from oodbench.tables.paper.style import Style
from oodbench.tables.render import comments, latex
from oodbench.tables.results import Result


def caption(
    runs: Sequence[Result], seeds: Counter[Row], columns: Sequence[Column], style: Style, commands: Commands
) -> str:
    """Return the backbone, the data set, what the numbers are over, and what marks and averages mean."""
    data = commands.use("ood", runs[0].dataset, set_name(runs[0].dataset))
    counts = sorted(set(seeds.values()))
    over = f"{counts[0]} seeds" if len(counts) == 1 else "$n$ seeds" + ", of one the value" * (counts[0] == 1)
    what = "one training" if counts == [1] else f"mean and sample standard deviation over {over}"
    of = ["of the mean over seeds"] * (counts[-1] > 1) + ["of one training over the test images"] * (counts[0] == 1)
    brackets = f", in brackets 95\\,\\% intervals, {', '.join(of)}" * style.intervals
    backbone = latex(paper_name("backbone", runs[0].backbone))
    return (
        f"OOD detection with backbone {backbone} trained on {data}{_protocol(runs[0])} ({what}; in percent{brackets}): "
        r"the best of a column is bold, the second \underline{underlined}." + _about(runs, columns, commands)
    )


def _protocol(run: Result) -> str:
    """Return for how many epochs, and which of the images, where not all are used."""
    text = f" for {counted(run.epochs, 'epoch')}" if run.epochs else ""
    text += f" on a subset of {run.train_images:,} images" * bool(run.train_limit)
    text += f" with {run.held_out:,} images held out" * bool(run.held_out)
    text += f", tested on a subset of {run.test_images:,} images" * bool(run.test_limit)
    return text + latex(f", tested on the split {run.test_split}") * (run.test_split != "test")


def _about(runs: Sequence[Result], columns: Sequence[Column], commands: Commands) -> str:
    """Return the definition of FPR95, and the sets that an average is over where they have no columns of their own."""
    fpr = [metric_of(column.metric) for column in columns if metric_of(column.metric).convention][:1]
    text = "".join(f" FPR95 has {latex(metric.heading.partition('(')[2].rstrip(')'))}." for metric in fpr)
    shown = {column.ood for column in columns}
    for mean, sets in common_means(runs).items():
        if mean in shown and not shown >= set(sets):
            names = ", ".join(commands.use("ood", ood, set_name(ood)) for ood in sets)
            text += f" {KINDS[KIND[mean]]}: the average over {names}."
    return text


def explained(runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style) -> list[str]:
    """Return what explains the table at length, as lines of comment."""
    labels, means = row_labels(runs), common_means(runs)
    metrics = [metric for metric in ID_METRICS.values() if metric.in_tables] + ood_metrics(fpr) * bool(ood_sets(runs))
    notes = table_notes(runs, labels, metrics, detectors, marks={}, by=())
    notes += [*mean_notes(runs, labels, means), *shifted_notes(runs)]
    bold = "Bold and underlined here are the best means alone, whatever chance may do; <dataset>.md has the tests."
    return comments([protocol(runs[0]), bold, *[INTERVALS] * style.intervals, *notes])
