"""Loss x detector."""

from pathlib import Path

import numpy as np
from helpers.made_up import add_run, add_with_shifted, alter_metrics, score

from oodbench.report.heat import ALL, heat_of, packed, printed, tint
from oodbench.report.material import read_material
from oodbench.runs.record import MAIN_SCORES

A = {"svhn": {"ood_score": 0.8, "msp": 0.7, "knn": 0.9}}
B = {"svhn": {"ood_score": 0.6, "msp": 0.5}}


def test_detectors_stand_by_falling_mean(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=A)
    add_run(tmp_path, "b", ood=B)
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    heat = heat_of(section)
    assert heat.detectors == ["knn", "ood_score", "msp"]
    assert heat.columns == ["a", "b"]
    rows = heat.numbers["svhn", "auroc"]
    assert [[n and n.mean for n in row] for row in rows] == [[0.9, None], [0.8, 0.6], [0.7, 0.5]]
    assert [[bool(n and n.is_best) for n in row] for row in rows] == [[True, False], [False, True], [False, False]]


def test_lower_is_better_for_fpr(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=A)
    add_run(tmp_path, "b", ood=B)
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    best = [bool(row[0] and row[0].is_best) for row in heat_of(section).numbers["svhn", "fpr95_idpos"]]
    assert best == [True, False, False]


def test_of_one_row_the_columns_are_sets(tmp_path: Path) -> None:
    add_run(tmp_path, "a")
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    heat = heat_of(section)
    assert heat.choices == [(ALL, "all sets")]
    assert heat.columns == ["CIFAR-100, near OOD", "SVHN, far OOD"]


def test_a_tint_is_nothing_at_chance() -> None:
    assert tint(0.5, "auroc") == tint(0.2, "auroc") == 0
    assert tint(1.0, "auroc") == tint(0.0, "fpr95_idpos") == 1
    assert np.isclose(tint(0.75, "auroc"), 0.5)


def test_packed_numbers_are_the_printed_ones(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood={"svhn": {"ood_score": 0.87654, "msp": 0.5}})
    add_run(tmp_path, "b", ood=B)
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    heat = heat_of(section)
    for key, rows in packed(heat).items():
        choice, metric = key.split("|")
        for row, numbers in zip(rows, heat.numbers[choice, metric], strict=True):
            for cell, number in zip(row, numbers, strict=True):
                text = printed(number, metric, 1)["text"]
                assert text == ("—" if cell is None or cell[0] is None else f"{cell[0] / 100:.2f}")


def test_a_number_of_fewer_seeds_than_its_column_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, "a", 0, ood=A)
    add_run(tmp_path, "a", 1, ood=B)
    (section,) = read_material(tmp_path, MAIN_SCORES, lambda line: None).sections
    heat = heat_of(section)
    texts = [printed(row[0], "auroc", heat.seeds[0])["text"] for row in heat.numbers[ALL, "auroc"]]
    assert dict(zip(heat.detectors, texts, strict=True)) == {
        "knn": "90.00 (n=1)",
        "ood_score": "70.00",
        "msp": "60.00",
    }


def test_sets_of_other_sizes_are_in_no_column(tmp_path: Path) -> None:
    for loss, images in (("a", 100), ("b", 200), ("c", 100), ("d", 100)):
        add_run(tmp_path, loss, ood=A, images=images)
    add_run(tmp_path, "c", seed=1, ood={"svhn": {"ood_score": 0.9}}, images=200)
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    heat = heat_of(section)
    assert heat.columns == ["a", "b", "c", "d"]
    rows = heat.numbers["svhn", "auroc"]
    assert [[n and (n.mean, n.n) for n in row] for row in rows] == [
        [(0.9, 1), None, (0.9, 1), (0.9, 1)],
        [(0.8, 1), None, (0.8, 1), (0.8, 1)],
        [(0.7, 1), None, (0.7, 1), (0.7, 1)],
    ]


def test_no_detector_is_the_best_on_shifted_id(tmp_path: Path) -> None:
    """It counts for no order, either: knn's mean is .7 with fog and .5 without."""
    folder = add_with_shifted(tmp_path, "a", {"svhn": 0.6, "fog": 0.5})
    knn = {"svhn": 0.5, "fog": 0.9}
    alter_metrics(folder, lambda content: [content["ood"][name].update(knn=score(at)) for name, at in knn.items()])
    (section,) = read_material(tmp_path, MAIN_SCORES).sections
    heat = heat_of(section)
    assert heat.columns == ["SVHN, far OOD", "fog"]
    assert heat.detectors == ["ood_score", "knn"]
    best = [[bool(n and n.is_best) for n in row] for row in heat.numbers[ALL, "auroc"]]
    assert best == [[True, False], [False, False]]
