"""The choices for a paper's table, and the columns that they lead to."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.made_up import add_run
from helpers.paper import BOTH, SETS, body, lines, scores

from oodbench.tables.load import load_runs
from oodbench.tables.paper.style import Style
from oodbench.tables.write import write_paper


def test_of_many_sets_the_means_stand_alone(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores(sets=SETS | {"mnist": 0.6, "places365": 0.5}))
    far = ", ".join(rf"\ood{name}{{}}" for name in ("Mnist", "Placesccclxv", "Svhn", "Textures"))
    assert f"Far-OOD: the average over {far}." in "\n".join(lines(tmp_path))
    assert body(lines(tmp_path))[0][3::2] == ["80.00", "67.50"]  # the one near set has no mean
    assert body(lines(tmp_path, Style(sets=["mnist", "far"])))[0][3::2] == ["60.00", "67.50"]


def test_with_deviations_fewer_columns_fit(tmp_path: Path) -> None:
    for seed in range(2):
        add_run(tmp_path, "a", seed, ood=scores())
    assert len(body(lines(tmp_path))[0]) == 1 + 6


def test_losses_sets_and_metrics_can_be_chosen(tmp_path: Path) -> None:
    for loss in "ab":
        add_run(tmp_path, loss, ood=scores())
    text = lines(tmp_path, Style(losses=["b"], sets=["svhn"], metrics=["accuracy", "fpr95"]))
    assert body(text) == [[r"\lossB{}", "90.00", "10.00"]]


def test_columns_can_be_chosen_in_their_order(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=scores(sets=SETS | {"mnist": 0.6, "places365": 0.5}))
    text = lines(tmp_path, Style(columns=["far:auroc", "cifar100:fpr95", "cifar100:auroc", "accuracy"]))
    assert body(text) == [[r"\lossA{}", "67.50", "20.00", "80.00", "90.00"]]
    kinds = text[text.index(r"\toprule") + 1]
    assert re.findall(r"multicolumn{(\d)}{c}{(.+?)} ", kinds + " ") == [("1", "Far-OOD"), ("2", "Near-OOD")]


WRONG = [{part: ["nope"]} for part in ("losses", "sets", "metrics", "columns")]


@pytest.mark.parametrize("style", WRONG)
def test_what_no_run_has_is_named(tmp_path: Path, style: dict[str, Any]) -> None:
    add_run(tmp_path)
    with pytest.raises(ValueError, match=r"no run has the (loss|set|metric|column) nope; available: "):
        write_paper(tmp_path, load_runs(tmp_path).runs, "idpos", BOTH, Style(**style))


def test_a_column_that_one_table_lacks_is_named(tmp_path: Path) -> None:
    """Of one near set there is no mean"""
    add_run(tmp_path, "a", ood=scores())
    with pytest.warns(UserWarning, match=r"a table of cifar10, .* has no column near:auroc; available: accuracy, "):
        lines(tmp_path, Style(columns=["accuracy", "near:auroc"]))
