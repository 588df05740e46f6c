"""Tables of small, made-up runs: rows, columns and which runs stand together."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.made_up import add_run, column, sections

from oodbench.tables.load import load_runs
from oodbench.tables.sections import by_protocol


def test_mean_sample_deviation_and_n(tmp_path: Path) -> None:
    """.90, .92, .97: mean .93; deviations -.03 -.01 .04 -> sqrt(.0026 / 2) = .03606"""
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, seed=seed, accuracy=accuracy)
    add_run(tmp_path, "other", accuracy=0.91)
    (table,) = sections(tmp_path)
    assert column(table, "Loss") == ["other", "plain"]
    assert column(table, "n") == ["1", "3"]
    assert column(table, "Accuracy ↑") == ["91.00", "**93.00 ± 3.61**"]


def test_rows_are_losses_with_their_scores(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"cifar100": {"ood_score": 0.8, "msp": 0.7}})
    (table,) = sections(tmp_path, detectors=("ood_score", "msp"))
    assert column(table, "Score") == ["own", "msp"]
    assert column(table, "Accuracy ↑") == ["90.00", ""]
    assert column(table, "cifar100 (near)", "AUROC ↑") == ["**80.00**", "70.00"]


def test_scores_whose_printed_numbers_are_the_same_share_a_row(tmp_path: Path) -> None:
    for loss, msp in (("a", 0.800001), ("b", 0.81)):  # the first is not printed
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": 0.8, "msp": msp, "knn": 0.5}})
    add_run(tmp_path, "c", ood={"svhn": {"ood_score": 0.8}}, not_applicable={"knn": "x", "msp": "y"})
    (table,) = sections(tmp_path, detectors=("ood_score", "msp", "knn"))
    assert [row[:2] for row in table.rows] == [
        *(["a", "own = msp"], ["a", "knn"]),
        *(["b", "own"], ["b", "msp"], ["b", "knn"]),
        *(["c", "own"], ["c", "msp"], ["c", "knn"]),
    ]
    assert column(table, "Accuracy ↑") == ["**90.00**", "", "**90.00**", "", "", "**90.00**", "", ""]
    found = column(table, "svhn (far)", "AUROC ↑")
    assert found == ["80.00", "50.00", "80.00", "**81.00**", "50.00", "80.00", "—", "—"]


def test_missing_numbers_are_a_dash_and_missing_seeds_shown(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}})
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.9}})
    add_run(tmp_path, "other", ood={"svhn": {"ood_score": 0.9}})
    (table,) = sections(tmp_path)
    assert column(table, "cifar100 (near)", "AUROC ↑") == ["—", "80.00 (n=1)"]
    assert column(table, "svhn (far)", "AUROC ↑") == ["**90.00**", "**90.00 ± 0.00**"]


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {"limit": 1000}},
        {"dataset": {"limit_test": 1000}},
        {"recipe": {"epochs": 2}},
        {"backbone": {"width": 8}},
    ],
)
def test_another_protocol_is_another_section(tmp_path: Path, other: dict[str, dict[str, Any]]) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config=other)
    assert [len(table.rows) for table in sections(tmp_path)] == [1, 1]


def test_the_table_of_most_rows_stands_first(tmp_path: Path) -> None:
    rows = {30: "a", 20: "ab", 12: "abc", 10: "abc", 1: "a"}
    for epochs, losses in rows.items():
        for loss in losses:
            add_run(tmp_path, loss, config={"recipe": {"epochs": epochs}})
    for seed in (1, 2):  # further seeds are the same row
        add_run(tmp_path, "a", seed=seed, config={"recipe": {"epochs": 30}})
    assert [group[0].epochs for group in by_protocol(load_runs(tmp_path).runs)] == [12, 10, 20, 30, 1]


def test_configurations_that_differ_elsewhere_are_two_rows(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"dataset": {"crop": False}})
    (table,) = sections(tmp_path)
    labels = column(table, "Loss")
    assert len(set(labels)) == 2
    assert all(re.fullmatch(r"plain \[[0-9a-f]{8}\]", label) for label in labels)


def test_runs_of_other_names_are_two_rows(tmp_path: Path) -> None:
    """Runs imported as pixmix and as autoaug differ in nothing but their names."""
    for name, seed, accuracy in (("pixmix", 0, 0.9), ("autoaug", 0, 0.8), ("autoaug", 1, 0.6)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, config={"name": {"loss": name}})
    runs = load_runs(tmp_path).runs
    assert len({run.hash for run in runs}) == 2
    (table,) = sections(tmp_path)
    assert column(table, "Loss") == ["autoaug", "pixmix"]
    assert column(table, "n") == ["2", "1"]
    assert column(table, "Accuracy ↑") == ["70.00 ± 14.14", "**90.00**"]


def test_recipes_and_backbones_of_other_names_stay_apart(tmp_path: Path) -> None:
    for part in ("recipe", "backbone"):
        add_run(tmp_path, seed=0, config={"name": {part: "another"}})
    add_run(tmp_path)
    assert [len(table.rows) for table in sections(tmp_path)] == [1, 1, 1]
