"""The leaderboard: its tables, order and cells."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.made_up import NOISE, add_run, alter_metrics
from helpers.report import HOSTILE

from oodbench.publishing.leaderboard import RECOMPUTED, leaderboard
from oodbench.tables.load import load_runs

SCORES = ["ood_score", "msp"]


def add(results: Path, loss: str, seed: int, own: float, msp: float, sets: tuple[str, ...] = ("svhn", "mnist")) -> Path:
    ood = {name: {"ood_score": own, "msp": msp} for name in ("cifar100", *sets)}
    return add_run(results, loss, seed, accuracy=own, ood=ood, noise=(1 + seed) * NOISE)


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, without the heads"""
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in re.findall(r"\|((?:\\.|[^\\|])*)", line)[:-1]] for line in lines]


def test_rows_are_sorted_by_the_mean_auroc(tmp_path: Path) -> None:
    add(tmp_path, "halo", 0, 0.9, 0.7)
    add(tmp_path, "ce", 0, 0.8, 0.85)
    found = rows(leaderboard(load_runs(tmp_path).runs, {}, SCORES))
    expected = [("HALO", "own"), ("Cross entropy", "MSP"), ("Cross entropy", "own"), ("HALO", "MSP")]
    assert [row[0] for row in found] == ["1", "2", "3", "4"]
    assert [row[2] for row in found] == [score for _, score in expected]
    assert [row[1] for row in found][::3] == ["HALO", "HALO"]
    assert len({len(row) for row in found}) == 1


def test_scores_with_the_same_numbers_share_a_row(tmp_path: Path) -> None:
    add(tmp_path, "halo", 0, 0.9, 0.7)
    add(tmp_path, "ce", 0, 0.8, 0.8)
    found = rows(leaderboard(load_runs(tmp_path).runs, {}, SCORES))
    assert [row[:3] for row in found] == [
        ["1", "HALO", "own"],
        ["2", "CE", "own = MSP"],
        ["3", "HALO", "MSP"],
    ]


def test_scores_that_differ_in_no_printed_digit_share_a_row(tmp_path: Path) -> None:
    add(tmp_path, "halo", 0, 0.9, 0.9 - 1e-9)
    add(tmp_path, "ce", 0, 0.8, 0.7)
    first = rows(leaderboard(load_runs(tmp_path).runs, {}, SCORES))[0]
    assert first[:3] == ["1", "HALO", "own = MSP"]
    assert first[6].startswith("**90.00")


def test_cells_are_means_over_seeds_and_far_sets_have_one_mean(tmp_path: Path) -> None:
    for seed, own in enumerate((0.8, 0.9)):
        add(tmp_path, "ce", seed, own, own)
    text = leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"])
    ((_, _, _, n, accuracy, _, near, _, far, _, _),) = rows(text)
    assert n == "2"
    deviation = 100 * float(np.std([0.8, 0.9], ddof=1))
    assert accuracy == near == far == f"85.00 ± {deviation:.2f}"
    assert "CIFAR-100 (near)<br>AUROC ↑" in text
    assert "far mean<br>AUROC ↑" in text
    assert "far mean over mnist, svhn" in text
    assert "MNIST" not in text


def test_a_row_with_fewer_sets_comes_last(tmp_path: Path) -> None:
    add(tmp_path, "few", 0, 0.99, 0.99, ())
    add(tmp_path, "all", 0, 0.6, 0.6)
    found = rows(leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"]))
    assert [row[1] for row in found] == ["all", "few"]
    assert found[1][8] == "—"


def test_a_set_in_two_sizes_has_them_in_its_name(tmp_path: Path) -> None:
    for loss, auroc, images, noise in (
        ("a", 0.8, 26_032, None),
        ("b", 0.9, 26_032, None),
        ("c", 0.8, 1_580, NOISE),
        ("d", 0.9, 1_580, NOISE),
    ):
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": auroc}}, images=images, noise=noise)
    text = leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"])
    for images in ("26,032", "1,580"):
        assert text.count(f"| SVHN (far), {images} images<br>AUROC ↑ ") == 1
    assert re.search(r"Bold in [^:]*SVHN \(far\), 26,032 images[^:]*: the best mean, not tested", text)
    assert "1,580 images: the best mean, not tested" not in text


def test_shifted_id_sets_move_no_row(tmp_path: Path) -> None:
    """An AUROC on CIFAR-10-C is neither good nor bad"""
    test = {"dataset": {"test": {"_target_": "oodbench.data.cifar10"}}}
    for loss, auroc, fog in (("a", 0.9, 0.5), ("b", 0.6, 0.99)):
        ood = {name: {"ood_score": auroc} for name in ("cifar100", "svhn")} | {"fog": {"ood_score": fog}}
        of = {
            name: {"_target_": "oodbench.data.cifar10c" if name == "fog" else f"oodbench.data.{name}"} for name in ood
        }
        run = add_run(tmp_path, loss, ood=ood if loss == "b" else {**ood, "fog": {}}, config=test)
        alter_metrics(run, lambda content, of=of: content["provenance"].update(ood=of))
    found = rows(leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"]))
    assert [row[1] for row in found] == ["a", "b"]


def test_the_best_is_bold_and_what_is_told_from_it_is_not(tmp_path: Path) -> None:
    add(tmp_path, "ce", 0, 0.95, 0.95)
    add(tmp_path, "halo", 0, 0.6, 0.6)
    first, second = rows(leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"]))
    assert first[4].startswith("**95.00 [")
    assert first[8].startswith("**95.00 [")
    assert second[8].startswith("60.00 [")


def test_on_which_seeds_was_tested_is_told(tmp_path: Path) -> None:
    def page() -> str:
        return leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"])

    add(tmp_path, "ce", 0, 0.9, 0.9)
    add(tmp_path, "halo", 1, 0.8, 0.8)
    assert "- Bold: the best mean, not tested against the others, because the rows share no seed." in page()
    add(tmp_path, "halo", 0, 0.8, 0.8)
    assert "all rows share, seed 0; in Accuracy ↑" in page()
    add(tmp_path, "ce", 1, 0.9, 0.9)
    assert "all rows share" not in page()
    assert "not tested" not in page()


def test_a_row_says_how_many_of_its_runs_were_recomputed(tmp_path: Path) -> None:
    folders = [add(tmp_path, "ce", seed, 0.8, 0.8) for seed in (0, 1)] + [add(tmp_path, "halo", 0, 0.7, 0.7)]
    runs = load_runs(tmp_path).runs

    def origins(*recomputed: Path) -> list[str]:
        return [row[-1] for row in rows(leaderboard(runs, dict.fromkeys(recomputed, RECOMPUTED), ["ood_score"]))]

    assert origins() == ["as submitted", "as submitted"]
    assert origins(folders[0]) == ["1 as submitted, 1 recomputed", "as submitted"]
    assert origins(*folders) == ["recomputed", "recomputed"]


def test_protocols_have_tables_of_their_own(tmp_path: Path) -> None:
    add_run(tmp_path, "ce")
    add_run(tmp_path, "ce", config={"recipe": {"epochs": 200}})
    add_run(tmp_path, "ce", config={"name": {"dataset": "cifar100"}})
    text = leaderboard(load_runs(tmp_path).runs, {}, SCORES)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert [title.partition(":")[0] for title in titles] == ["## CIFAR-10", "## CIFAR-10", "## CIFAR-100"]
    assert "200 epochs" in titles[0]


@pytest.mark.parametrize("text", [HOSTILE, "| a | b", "**x** _y_ [z](http://z)"])
def test_what_a_run_says_is_text(tmp_path: Path, text: str) -> None:
    for value in (text, "other"):
        add_run(tmp_path, "ce", config={"loss": {"tau": value}})
    found = leaderboard(load_runs(tmp_path).runs, {}, ["ood_score"])
    assert not re.search(r"(?<!\\)<(?!br>)|(?<!\\)\[z|(?<!\\)_y", found)
    assert {len(row) for row in rows(found)} == {11}
