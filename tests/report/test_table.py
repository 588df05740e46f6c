"""The main table says what the tables say."""

from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, add_run, alter_metrics, column, several

from oodbench.evaluation.metrics import OOD_METRICS, metric_of
from oodbench.report.material import Section, read_material
from oodbench.report.table import columns_of, main_table, other_sizes
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.ensembles import Ensembles
from oodbench.tables.load import load_runs
from oodbench.tables.sections import section

RANDOM = np.random.default_rng(0).normal(size=1000) / 100


def made(results: Path) -> Section:
    (found,) = read_material(results, MAIN_SCORES).sections
    return found


def test_cells_and_marks_are_those_of_the_tables(tmp_path: Path) -> None:
    several(tmp_path, {"a": {0: 0.91, 1: 0.92}, "b": {0: 0.9, 1: 0.913}, "c": {0: 0.8, 1: 0.81}})
    table = section(load_runs(tmp_path, MAIN_SCORES).runs, "idpos", MAIN_SCORES)
    shown = main_table(made(tmp_path), MAIN_SCORES)
    expected = [cell for cell in column(table, "Accuracy ↑") if cell]
    assert len(shown.rows) == 3
    for row, cell in zip(shown.rows, expected, strict=True):
        accuracy = row.cells[0]
        assert cell.replace("*", "").startswith(accuracy.text)
        assert cell == f"{accuracy.mark}{cell.replace('*', '')}{accuracy.mark}"
        assert row.n == "2"


def test_one_seed_has_the_interval_over_images(tmp_path: Path) -> None:
    add_run(tmp_path, noise=NOISE)
    table = section(load_runs(tmp_path, MAIN_SCORES).runs, "idpos", MAIN_SCORES)
    (cell, *_) = column(table, "Accuracy ↑")
    shown = main_table(made(tmp_path), MAIN_SCORES).rows[0].cells[0]
    assert cell.replace("*", "") == f"{shown.text} [{shown.interval.replace('–', ', ')}]"  # noqa: RUF001


def test_both_fpr95_stand_in_the_table(tmp_path: Path) -> None:
    add_run(tmp_path)
    heads = main_table(made(tmp_path), MAIN_SCORES).heads
    assert {head.convention for head in heads if head.text == "FPR@95"} == {"idpos", "oodpos"}
    assert all(OOD_METRICS["fpr95_idpos"].definition in head.said for head in heads if head.convention == "idpos")


def test_scores_of_equal_printed_numbers_are_one_row(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood={"svhn": {"ood_score": 0.8, "msp": 0.8000001}})
    add_run(tmp_path, "b", ood={"svhn": {"ood_score": 0.8, "msp": 0.7}})
    rows = main_table(made(tmp_path), MAIN_SCORES).rows
    assert [(row.label, row.score) for row in rows] == [("a", "own = MSP"), ("b", "own"), ("b", "MSP")]
    assert rows[0].scores == MAIN_SCORES


def test_a_row_alone_is_not_the_best(tmp_path: Path) -> None:
    add_run(tmp_path)
    (row,) = main_table(made(tmp_path), MAIN_SCORES).rows
    assert not any(cell.mark for cell in row.cells)


def test_a_cell_of_fewer_seeds_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0)
    add_run(tmp_path, seed=1, ood={"cifar100": {"ood_score": 0.8, "msp": 0.8}})
    shown = made(tmp_path)
    at = [c.ood for c in columns_of(shown)].index("svhn")
    assert main_table(shown, MAIN_SCORES).rows[0].cells[at].text.endswith("(n=1)")


def test_what_is_missing_is_a_dash(tmp_path: Path) -> None:
    add_run(tmp_path, "a")
    add_run(tmp_path, "b", ood={"cifar100": {"ood_score": 0.8}})
    last = main_table(made(tmp_path), MAIN_SCORES).rows[-1]
    assert last.cells[-1].text == "—"
    assert last.cells[-1].value is None


def test_units_are_those_of_the_metrics(tmp_path: Path) -> None:
    add_run(tmp_path, accuracy=0.91234)
    assert main_table(made(tmp_path), MAIN_SCORES).rows[0].cells[0].text == metric_of("accuracy").unit.text(0.91234)


def test_an_ensemble_is_a_row_of_its_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, seed=seed, noise=NOISE)
    shown = made(tmp_path)
    (row,) = shown.labels
    one = shown.runs[0].result
    one = one._replace(loss="plain, ensemble of 2", numbers=one.numbers | {("", "", "accuracy"): 0.97}, resampled={})
    table = main_table(shown._replace(ensembles=Ensembles({row: one})), MAIN_SCORES)
    assert [line.label for line in table.rows] == ["plain", "plain, ensemble of 2"]
    assert [line.loss for line in table.rows] == ["plain", "plain"]
    assert (table.rows[1].cells[0].text, table.rows[1].n) == ("97.00", "1")
    assert not any(cell.mark for cell in table.rows[1].cells)


def test_rows_of_a_set_of_another_size_stay_and_are_named(tmp_path: Path) -> None:
    for loss, images in (("a", 100), ("b", 200), ("c", 100)):
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": 0.9}}, images=images)
    section = made(tmp_path)
    rows = main_table(section, MAIN_SCORES).rows
    assert [(row.label, row.cells[0].text, row.cells[2].text) for row in rows] == [
        ("a", "90.00", "90.00"),
        ("b", "90.00", "—"),
        ("c", "90.00", "90.00"),
    ]
    assert other_sizes(section) == ["Not shown under SVHN, 100 images: numbers on another number of images: `b` (200)."]


def test_a_run_without_ood_sets_has_a_row(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood={"svhn": {"ood_score": 0.9}})
    alter_metrics(add_run(tmp_path, "b"), lambda content: content.update(ood={}))
    assert [row.label for row in main_table(made(tmp_path), MAIN_SCORES).rows] == ["a", "b"]
    assert other_sizes(made(tmp_path)) == []
