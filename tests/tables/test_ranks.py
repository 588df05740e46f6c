"""The table of rank correlations between two protocols."""

from pathlib import Path

import numpy as np
import pytest
from helpers.made_up import add_run, column

from oodbench.tables.load import load_runs
from oodbench.tables.ranks import rank_tables
from oodbench.tables.sections import Table

OTHER = {"recipe": {"epochs": 200}}
FIRST = {"a": 0.80, "b": 0.85, "c": 0.90, "d": 0.95}


def tables(folder: Path, detectors: tuple[str, ...] = ("ood_score",)) -> list[Table]:
    return rank_tables(load_runs(folder).runs, "idpos", detectors)


def add_losses(folder: Path, aurocs: dict[str, float], config: dict | None = None, **more: object) -> None:
    for loss, auroc in aurocs.items():
        scores = {"cifar100": {"ood_score": auroc, "msp": 1 - auroc}, "svhn": {"ood_score": 0.9, "msp": 0.9}}
        add_run(folder, loss, accuracy=auroc, ood=scores, config=config, **more)


def cell(table: Table, number: str, *header: str) -> str:
    rows = [row[:2] for row in table.rows]
    return column(table, *header)[rows.index(number.split(": "))]


def test_the_same_order_is_one_and_its_reverse_minus_one(tmp_path: Path) -> None:
    add_losses(tmp_path, FIRST)
    add_losses(tmp_path, {loss: 1.7 - auroc for loss, auroc in FIRST.items()}, OTHER)
    (table,) = tables(tmp_path, ("ood_score", "msp"))
    assert table.title.startswith("Order of 4 losses: resnet18 (width=64), recipe short, 200 epochs")
    assert cell(table, "cifar100 (near): AUROC ↑", "own", "correlation") == "-1.00"
    assert cell(table, "cifar100 (near): AUROC ↑", "msp", "correlation") == "-1.00"
    assert cell(table, "test images: Accuracy ↑", "own", "correlation") == "-1.00"
    assert cell(table, "test images: Accuracy ↑", "msp", "correlation") == ""
    assert cell(table, "svhn (far): AUROC ↑", "own", "correlation") == "—"  # all losses are equal there
    assert cell(table, "cifar100 (near): AUROC ↑", "own", "p") == "0.083"  # two orders of 24


def test_losses_with_equal_means_share_a_rank(tmp_path: Path) -> None:
    """The sums of a and b differ in their last bit, by the order of the seeds"""
    seeds = {"a": (0.9478, 0.9487, 0.9372), "b": (0.9478, 0.9372, 0.9487), "c": (0.9, 0.9, 0.9), "d": (0.8, 0.8, 0.8)}
    assert np.mean(seeds["a"]) != np.mean(seeds["b"])
    for loss, of_seeds in seeds.items():
        for seed, accuracy in enumerate(of_seeds):
            add_run(tmp_path, loss, seed, accuracy)
            add_run(tmp_path, loss, seed, {"a": 0.9, "b": 0.95, "c": 0.8, "d": 0.7}[loss], config=OTHER)
    (table,) = tables(tmp_path)
    x, y = [3.5, 3.5, 2, 1], [3, 4, 2, 1]  # ranks
    assert cell(table, "test images: Accuracy ↑", "own", "correlation") == f"{np.corrcoef(x, y)[0, 1]:.2f}" == "0.95"


def test_a_set_in_two_sizes_has_a_line_for_each(tmp_path: Path) -> None:
    for config in (None, OTHER):
        add_losses(tmp_path, FIRST, config, images=1_580)
        add_losses(tmp_path, {loss: 1.7 - auroc for loss, auroc in FIRST.items()}, config, seed=1, images=26_032)
    (table,) = tables(tmp_path)
    aurocs = [row[0] for row in table.rows if row[1] == "AUROC ↑" and row[0].startswith("svhn")]
    assert sorted(aurocs) == ["svhn (far), 1,580 images", "svhn (far), 26,032 images"]


def test_a_set_of_other_images_is_named(tmp_path: Path) -> None:
    add_losses(tmp_path, FIRST, digests={"test": "1", "svhn": "2"})
    add_losses(tmp_path, FIRST, OTHER, digests={"test": "1", "svhn": "3"})
    (table,) = tables(tmp_path)
    assert table.notes[-1] == "Not the same images in all runs, by the digests of their files: svhn."


def test_no_p_is_printed_as_zero(tmp_path: Path) -> None:
    losses = {name: 0.8 + i / 100 for i, name in enumerate("abcdefghij")}
    add_losses(tmp_path, losses)
    add_losses(tmp_path, losses, OTHER)
    (table,) = tables(tmp_path)
    assert cell(table, "test images: Accuracy ↑", "own", "p") == "<0.001"


@pytest.mark.parametrize("losses", ["abc", ""])
def test_three_losses_or_none_in_common_have_no_table(tmp_path: Path, losses: str) -> None:
    add_losses(tmp_path, FIRST)
    add_losses(tmp_path, {loss: FIRST[loss] for loss in losses} | {"e": 0.9}, OTHER)
    assert tables(tmp_path) == []


def test_a_loss_with_two_recipes_in_one_protocol_is_left_out(tmp_path: Path) -> None:
    add_losses(tmp_path, FIRST | {"e": 0.7})
    add_losses(tmp_path, FIRST | {"e": 0.7}, OTHER)
    add_run(tmp_path, "e", config={"recipe": {"batch_size": 64}})
    (table,) = tables(tmp_path)
    assert table.title.startswith("Order of 4 losses")
    assert "`e`" not in " ".join(table.notes)


def test_a_set_that_some_losses_lack_says_of_how_many(tmp_path: Path) -> None:
    add_losses(tmp_path, FIRST | {"e": 0.7})
    add_losses(tmp_path, FIRST, OTHER)
    add_losses(tmp_path, {"e": 0.7}, OTHER, images=50)
    (table,) = tables(tmp_path)
    assert cell(table, "test images: Accuracy ↑", "own", "correlation") == "1.00"
    assert cell(table, "cifar100 (near): AUROC ↑", "own", "correlation") == "1.00 (4 losses)"
