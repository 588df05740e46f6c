"""Tables over any keys of the configurations."""

import re
from pathlib import Path

import pytest
from helpers.made_up import add_run, add_taus, alter_metrics, column, notes

from oodbench.tables.by import tables_by
from oodbench.tables.load import load_runs
from oodbench.tables.write import write_by


def test_rows_are_sorted_as_numbers_and_others_are_named(tmp_path: Path) -> None:
    add_taus(tmp_path)
    add_run(tmp_path, "digits", config={"name": {"dataset": "digits"}})
    write_by(tmp_path, load_runs(tmp_path).runs, "idpos", ["ood_score"], ["loss.tau"])
    names = ["cifar10.by-loss.tau.md", "cifar10.by-loss.tau.tex", "runs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    written = (tmp_path / "cifar10.by-loss.tau.md").read_text()
    rows = [line.split(" | ")[:5] for line in written.splitlines() if "own |" in line]
    assert rows == [
        ["| 0.04", "logitnorm", "own", "1", "**89.60**"],
        ["| 0.1", "logitnorm", "own", "1", "89.00"],
        ["| 1", "logitnorm", "own", "1", "80.00"],
    ]
    assert "`python scripts/tables.py --by loss.tau --detectors ood_score`" in written
    assert "| `loss.tau` | Loss | Score | n |" in written
    assert "- Left out, their configuration has no `loss.tau`: `ce`." in written
    assert "- `logitnorm`: smoothing=0." in written


def test_by_a_key_of_the_protocol_there_is_one_table(tmp_path: Path) -> None:
    for epochs in (100, 20):
        add_run(tmp_path, config={"recipe": {"epochs": epochs}})
        add_run(tmp_path, config={"recipe": {"epochs": epochs}, "dataset": {"limit": 1000}})
    (all_images, subset) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["recipe.epochs"])
    assert all_images.title == "resnet18 (width=64), recipe short, 50,000 training images, 10,000 test images, bf16"
    assert column(all_images, "`recipe.epochs`") == column(subset, "`recipe.epochs`") == ["20", "100"]
    assert column(all_images, "Loss") == ["plain", "plain"]
    assert "recipe short: batch_size=128" in notes(all_images)
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["dataset.limit", "recipe.epochs"])
    assert [row[:2] for row in table.rows] == [["1000", "20"], ["1000", "100"], ["null", "20"], ["null", "100"]]
    assert "training images" not in table.title


def test_by_the_split_no_note_names_one_of_them(tmp_path: Path) -> None:
    for split in ("own_9000", "openood_9000"):
        add_run(tmp_path, follows=("experiment=openood", f"dataset.test.split={split}"))
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["dataset.test.split"])
    assert column(table, "`dataset.test.split`") == ["openood_9000", "own_9000"]
    assert "split" not in table.title + notes(table)


def test_by_the_seed_every_run_is_a_row(tmp_path: Path) -> None:
    for seed in (10, 2):
        add_run(tmp_path, seed=seed, accuracy=0.9)
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["seed"])
    assert [row[:4] for row in table.rows] == [["2", "plain", "own", "1"], ["10", "plain", "own", "1"]]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (["tau"], "no run's configuration has the key tau; near to it: loss.tau"),
        (["loss.taus"], "the key loss.taus; near to it: loss.tau"),
        (["qqq"], "no run's configuration has the key qqq; a key is named as on the command line"),
        (["loss.tau", "loss.gamma"], "no run's configuration has all the keys loss.tau, loss.gamma"),
    ],
)
def test_an_unknown_key_names_those_near_it(tmp_path: Path, keys: list[str], complaint: str) -> None:
    add_taus(tmp_path)
    add_run(tmp_path, "focal", config={"loss": {"gamma": 2}})
    with pytest.raises(ValueError, match=re.escape(complaint)):
        write_by(tmp_path, load_runs(tmp_path).runs, "idpos", ["ood_score"], keys)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_by_precision_rows_are_what_was_used(tmp_path: Path) -> None:
    paths = [add_run(tmp_path, seed=seed, accuracy=0.9 - seed / 10) for seed in (0, 1)]
    alter_metrics(paths[1], lambda content: content["provenance"].update(precision="fp32"))
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["precision"])
    assert column(table, "`precision`") == ["bf16", "fp32"]
    assert column(table, "Accuracy ↑") == ["**90.00**", "80.00"]


def test_by_a_part_of_the_protocol_no_note_names_one(tmp_path: Path) -> None:
    add_run(tmp_path)
    path = add_run(tmp_path, config={"name": {"backbone": "wrn"}})
    alter_metrics(path, lambda content: content["provenance"].update(precision="fp32"))
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["backbone", "precision"])
    assert column(table, "`backbone`") == ["resnet18", "wrn"]
    assert not any(each in notes(table) for each in ("resnet18", "wrn", "bf16", "fp32"))
    assert "Protocol: recipe short" in notes(table)


def test_rows_of_other_code_are_not_called_last_epochs(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"name": {"recipe": "pretrained"}, "recipe": {"epochs": None}})
    (table,) = tables_by(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["recipe", "recipe.epochs"])
    assert "Weights of the last epoch; of the recipe pretrained, trained by other code." in notes(table)
