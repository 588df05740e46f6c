"""Text of cells, and marks: made-up runs, numbers worked by hand."""

import re
from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, add_run, column, notes, only_section

from oodbench.evaluation.metric import NATS, SHARE
from oodbench.evaluation.significance import over_seeds
from oodbench.tables.cells import Cell, interval_of, text_of
from oodbench.tables.marks import BEST, CLOSE


def cell(*values: float, interval: tuple[float, float] | None = None) -> Cell:
    return Cell(dict(enumerate(values)), interval, {}, frozenset())


# ---- text


def test_a_cell_is_mean_and_sample_deviation_in_its_unit() -> None:
    assert text_of(cell(0.90, 0.92, 0.97), 3, SHARE) == "93.00 ± 3.61"
    assert text_of(cell(0.3, 0.5), 2, NATS) == "0.400 ± 0.141"
    assert text_of(cell(0.9), 1, SHARE, BEST) == "**90.00**"
    assert text_of(None, 1, SHARE, BEST) == "—"


def test_one_seed_shows_its_interval_over_images() -> None:
    assert text_of(cell(0.7, interval=(0.681, 0.719)), 1, SHARE) == "70.00 [68.1, 71.9]"
    assert text_of(cell(0.3, interval=(0.281, 0.319)), 1, NATS) == "0.300 [0.281, 0.319]"


def test_a_cell_with_fewer_seeds_than_its_row_says_so() -> None:
    assert text_of(cell(0.9), 2, SHARE) == "90.00 (n=1)"
    assert text_of(cell(0.9, 0.9), 3, SHARE, CLOSE) == "*90.00 ± 0.00 (n=2)*"


def test_the_interval_is_over_seeds_where_there_are_several() -> None:
    values = np.array([0.9, 0.92, 0.97])
    assert interval_of(cell(*values, interval=(0, 1)), SHARE) == over_seeds(values, 1).interval
    assert interval_of(cell(0.9, interval=(0.8, 0.95)), SHARE) == (0.8, 0.95)
    assert interval_of(cell(0.9), SHARE) is None


def test_deviation_of_seeds_beside_interval_of_one(tmp_path: Path) -> None:
    add_run(tmp_path, "one", accuracy=0.7, noise=NOISE)
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, "three", seed, accuracy, noise=NOISE)
    table = only_section(tmp_path)
    assert column(table, "Accuracy ↑")[0] == "70.00 [68.1, 71.9]"
    assert re.fullmatch(r"\**93.00 ± 3.61\**", column(table, "Accuracy ↑")[1])
    assert "for n = 1 the value and in brackets its 95 % bootstrap interval" in notes(table)
