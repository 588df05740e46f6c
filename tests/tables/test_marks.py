"""Marks of columns: the best, what tests do not tell from it, and their notes."""

from pathlib import Path

import numpy as np
from helpers.made_up import FPR, NOISE, add_run, column, notes, only_section, several

from oodbench.evaluation.metrics import ID_METRICS
from oodbench.evaluation.significance import indistinguishable_from_best
from oodbench.tables.cells import Cell
from oodbench.tables.load import load_runs
from oodbench.tables.marks import Marks, marks_by_group, marks_of
from oodbench.tables.render import to_markdown
from oodbench.tables.sections import section


def test_best_is_by_unrounded_mean_and_ties_are_all_bold(tmp_path: Path) -> None:
    for loss, auroc in {"a": 0.900001, "b": 0.900002, "c": 0.900002}.items():
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": auroc}})
    table = only_section(tmp_path)
    assert column(table, "svhn (far)", "AUROC ↑") == ["90.00", "**90.00**", "**90.00**"]
    assert column(table, "svhn (far)", FPR) == ["10.00", "**10.00**", "**10.00**"]


def test_equal_seeds_tie_with_a_single_one(tmp_path: Path) -> None:
    for seed in range(3):
        add_run(tmp_path, seed=seed)  # the mean of three times .05 is not .05 in floating point
    add_run(tmp_path, "other")
    assert column(only_section(tmp_path), "ECE ↓") == ["**5.00**", "**5.00 ± 0.00**"]


def test_a_single_row_is_not_marked(tmp_path: Path) -> None:
    add_run(tmp_path)
    assert "*" not in to_markdown("cifar10", [only_section(tmp_path)])


def test_the_best_is_bold_and_what_is_not_told_from_it_italic(tmp_path: Path) -> None:
    """b - a is .01 and its resamples go from -.03 to .05: p = .75. c moves with b, so that .002 below is below."""
    for loss, accuracy, sign in (("a", 0.89, -1), ("b", 0.9, 1), ("c", 0.898, 1)):
        add_run(tmp_path, loss, accuracy=accuracy, noise=sign * NOISE)
    table = only_section(tmp_path)
    assert [text.count("*") for text in column(table, "Accuracy ↑")] == [2, 4, 0]
    assert "do not distinguish from the best at 5 %" in notes(table)
    assert "not tested" not in notes(table)


def test_tests_of_ece_take_its_corrected_resamples() -> None:
    """b is .003 above a with the resamples of a, so that these do not differ; reflected they are .006 above."""
    ece, around = ID_METRICS["ece"], 0.05 + 0.05 * NOISE
    cells = {loss: Cell({0: value}, None, {0: around}, frozenset()) for loss, value in (("a", 0.05), ("b", 0.053))}
    assert marks_of(cells, ece)[:2] == (["a"], set())
    assert marks_of(cells, ID_METRICS["nll"])[:2] == (["a"], {"b"})


def test_cells_of_equal_numbers_are_one_test() -> None:
    """b is .0388 below a with p = .03, times the number of tests by Holm's correction."""
    a, b = (Cell({0: mean}, None, {0: mean + sign * NOISE}, frozenset()) for mean, sign in ((0.9, 1), (0.8612, -1)))
    other = Cell({0: 0.8612}, None, {0: 0.8612 - NOISE - 1e-9}, frozenset())
    assert marks_of({"a": a, "b": b}, ID_METRICS["accuracy"]).close == set()
    assert marks_of({"a": a, "b": b, "its copy": b}, ID_METRICS["accuracy"]).close == set()
    assert marks_of({"a": a, "b": b, "other": other}, ID_METRICS["accuracy"]).close == {"b", "other"}


def test_a_lower_number_is_better_where_it_is(tmp_path: Path) -> None:
    """FPR@95 is 1 - AUROC here: b's is .1, c's .12 and moves with it."""
    for loss, auroc in (("b", 0.9), ("c", 0.88)):
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": auroc}}, noise=NOISE)
    assert column(only_section(tmp_path), "svhn (far)", FPR) == ["**10.00 [8.1, 11.9]**", "12.00 [10.1, 13.9]"]


def test_without_resamples_only_the_best_is_bold(tmp_path: Path) -> None:
    add_run(tmp_path, "a", accuracy=0.89, noise=-NOISE)
    add_run(tmp_path, "b", accuracy=0.9)
    table = only_section(tmp_path)
    assert column(table, "Accuracy ↑") == ["89.00 [87.1, 90.9]", "**90.00**"]
    assert "Bold: the best mean, not tested against the others, because resamples are missing." in table.notes
    assert any("score them again with `scripts/evaluate.py`: `b`." in note for note in table.notes)
    assert "do not distinguish" not in notes(table)


def test_rows_are_compared_on_the_seeds_they_share(tmp_path: Path) -> None:
    """On seeds 0 and 1 a is best and b, always .0001 below, is told apart by neither; c is, on any."""
    seeds = {"a": {0: 0.9, 1: 0.91, 2: 0.7}, "b": {0: 0.899, 1: 0.909}, "c": {0: 0.5, 1: 0.511, 3: 0.51}}
    resampled = several(tmp_path, seeds)
    table = only_section(tmp_path)
    shared = {loss: np.array([values[0], values[1]]) for loss, values in seeds.items()}
    stacked = {loss: np.stack([values[0], values[1]]) for loss, values in resampled.items()}
    expected = {*indistinguishable_from_best(shared, stacked, True), "b"}  # b has the best mean of those shown
    assert {row[0] for row in table.rows if "*" in row[3]} == expected
    assert [row[0] for row in table.rows if "**" in row[3]] == ["b"]
    assert "c" not in expected
    assert any("those that all rows share, seeds 0, 1; in Accuracy ↑" in note for note in table.notes)


def test_one_shared_seed_is_called_a_seed(tmp_path: Path) -> None:
    several(tmp_path, {"a": {0: 0.9, 1: 0.91}, "b": {0: 0.899}})
    assert "those that all rows share, seed 0; in Accuracy ↑" in notes(only_section(tmp_path))


def test_rows_that_share_no_seed_are_not_tested(tmp_path: Path) -> None:
    several(tmp_path, {"a": {0: 0.9}, "b": {1: 0.9001}})
    table = only_section(tmp_path)
    assert ["**" in text for text in column(table, "Accuracy ↑")] == [False, True]
    assert "not tested against the others, because the rows share no seed" in notes(table)


def test_rows_of_fewer_images_are_not_tested(tmp_path: Path) -> None:
    """A subset has the digest of the whole set"""
    digests = {"test": "t", "svhn": "s"}
    for loss, accuracy, limit in (("a", 0.89, 2_000), ("b", 0.9, None)):
        config = {"dataset": {"limit_test": limit}}
        ood = {"svhn": {"ood_score": accuracy}}
        add_run(tmp_path, loss, accuracy=accuracy, noise=NOISE, digests=digests, ood=ood, config=config)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["dataset.limit_test"])
    assert sorted(text.count("**") for text in column(table, "Accuracy ↑")) == [0, 2]
    assert "not tested against the others, because the rows' images differ" in notes(table)


def test_rows_of_other_images_are_not_tested(tmp_path: Path) -> None:
    """Only svhn's images differ; the accuracies are of the same."""
    for loss, accuracy, digest, sign in (("a", 0.89, "x", -1), ("b", 0.9, "y", 1)):
        digests = {"test": "t", "svhn": digest}
        ood = {"svhn": {"ood_score": accuracy}}
        add_run(tmp_path, loss, accuracy=accuracy, noise=sign * NOISE, digests=digests, ood=ood)
    table = only_section(tmp_path)
    assert [text.count("*") for text in column(table, "Accuracy ↑")] == [2, 4]
    assert ["**" in text for text in column(table, "svhn (far)", "AUROC ↑")] == [False, True]
    assert "Bold in svhn (far): the best mean, not tested against the others, because the rows' images differ" in notes(
        table
    )


def test_a_set_of_two_sizes_has_a_note_of_each(tmp_path: Path) -> None:
    """svhn with 100 images has two rows that are tested, with 200 images two rows without a common seed."""
    for loss, sign in (("a", -1), ("b", 1)):
        ood = {"svhn": {"ood_score": 0.9 + sign / 100}}
        add_run(tmp_path, loss, ood=ood, noise=sign * NOISE)
        add_run(tmp_path, loss, 1 + (sign > 0), ood=ood, noise=sign * NOISE, images=200)
    said = notes(only_section(tmp_path))
    assert "do not distinguish from the best" in said
    assert "Bold in svhn (far), 200 images: the best mean, not tested" in said


def test_equal_scores_of_one_row_are_not_bold(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"ood_score": 0.9, "msp": 0.9}})
    assert "*" not in to_markdown("cifar10", [section(load_runs(tmp_path).runs, "idpos", ["ood_score", "msp"])])


def test_columns_of_a_group_are_named_apart_where_they_differ() -> None:
    tested, untested = Marks(["x"], seeds=(0,)), Marks(["x"], untested="no form")
    columns = [(("", "Accuracy"), tested), (("svhn", "AUROC"), tested), (("svhn", "FPR"), tested)]
    assert marks_by_group(columns) == {"Accuracy": tested, "svhn": tested}
    assert marks_by_group([*columns, (("svhn", "new"), untested)]) == {
        **{"Accuracy": tested, "svhn AUROC": tested, "svhn FPR": tested},
        "svhn new": untested,
    }
