"""The overview for the terminal: a row a loss, one line of text each."""

from pathlib import Path

from helpers.made_up import add_run

from oodbench.tables.load import load_runs
from oodbench.tables.overview import overview


def test_rows_are_losses_with_means_of_their_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, ood={"svhn": {"ood_score": 0.8, "msp": 0.7}})
    add_run(tmp_path, "other", accuracy=0.5, ood={"svhn": {"msp": 0.7}})
    title, blank, kinds, sets, head, *rows = overview(load_runs(tmp_path).runs).splitlines()
    assert (title.split(",")[0], blank, kinds.split(), sets.split()) == ("cifar10", "", ["far"], ["svhn"])
    assert head.split() == ["loss", "n", "Accuracy", "↑", "ECE", "↓", "AUROC", "↑"]
    assert [row.split()[:3] for row in rows] == [["other", "1", "50.00"], ["plain", "2", "91.00"]]
    assert [row.split()[-1] for row in rows] == ["—", "80.00"]
    assert len({len(line) for line in (kinds, sets, head, *rows)}) == 1


def test_a_mean_over_fewer_seeds_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.8}, "noise": {"ood_score": 0.9}})
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.8}})
    line = overview(load_runs(tmp_path).runs).splitlines()[-1]
    assert "90.00 (n=1)" in line
    assert "80.00 (n" not in line


def test_a_mean_over_seeds_that_saw_other_images_says_so(tmp_path: Path) -> None:
    for seed in range(2):
        add_run(tmp_path, seed=seed, digests={"test": "same", "svhn": f"of seed {seed}"})
    *_, note = overview(load_runs(tmp_path).runs).splitlines()
    assert note == "Not the same images in all runs, by the digests of their files: svhn."


def test_protocols_are_apart(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, "other", config={"recipe": {"epochs": 3}})
    assert overview(load_runs(tmp_path).runs).count("Accuracy ↑") == 2
