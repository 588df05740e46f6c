"""Names of rows and tables, found by comparing configurations. `by`: dotted keys that have columns."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from oodbench.phrases import counted
from oodbench.tables.results import Result
from oodbench.tables.settings import differing, in_brackets, with_keys, without_keys


class Row(NamedTuple):
    """The runs of one row share all this, but not the seed. The hash alone is not enough: it holds no names."""

    by: tuple[str, ...]  # the values of `by`
    dataset: str
    backbone: str
    loss: str
    recipe: str
    hash: str


def row_of(run: Result, by: Sequence[str] = ()) -> Row:
    found = run.settings | {"precision": run.precision}  # asked for may have been auto
    values = tuple(found[key] for key in by)
    return Row(values, run.dataset, run.backbone, run.loss, run.recipe, run.hash)


def protocol(run: Result, by: Sequence[str] = ()) -> str:
    """Return the title of a table, shared by its rows: backbone, recipe, epochs, images, precision; less `by`.

    Images have 32 pixels a side where it does not say how many.
    """
    train = f"{run.train_images:,} training images" + " (subset)" * bool(run.train_limit)
    train += f", {run.held_out:,} held out" * bool(run.held_out)
    test = f"{run.test_images:,} test images" + " (subset)" * bool(run.test_limit)
    size = run.settings.get("dataset.size", "32")
    epochs = counted(run.epochs, "epoch") if run.epochs else "epochs unknown"
    parts = {
        "backbone": run.backbone + in_brackets(without_keys(by, "backbone.", run.backbone_settings)),
        "recipe": f"recipe {run.recipe}",
        "recipe.epochs": epochs,
        "dataset.limit": train,
        "dataset.limit_test": test,
        "dataset.size": f"images of {size} x {size} pixels" * (size != "32"),
        "dataset.test.split": f"split {run.test_split}" * (run.test_split != "test"),
        "precision": run.precision,
    }
    return ", ".join(text for key, text in parts.items() if text and not {key, key.partition(".")[0]} & set(by))


def row_labels(runs: Iterable[Result], by: Sequence[str] = ()) -> dict[Row, str]:
    """Return {row: label}, sorted by `by` and label: the loss's name, and what sets it apart from its namesakes."""
    labels: dict[Row, str] = {}
    for loss, group in groupby(sorted(runs, key=lambda run: run.loss), key=lambda run: run.loss):
        settings = {
            row_of(run, by): without_keys(by, "loss.", run.loss_settings)
            | {f"recipe.{key}": value for key, value in without_keys(by, "recipe.", run.recipe_settings).items()}
            for run in group
        }
        keys = differing(settings.values())
        labels |= {row: loss + in_brackets(with_keys(keys, each)) for row, each in settings.items()}
    times = Counter((row.by, label) for row, label in labels.items())  # twice: neither loss nor recipe differs
    unique = {row: label if times[row.by, label] == 1 else f"{label} [{row.hash}]" for row, label in labels.items()}
    return dict(sorted(unique.items(), key=lambda item: (*map(numerically, item[0].by), item[1])))


def numerically(value: str) -> tuple[bool, float, str]:
    """Return a sort key: numbers first, by size."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
