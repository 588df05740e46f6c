"""The caption of a paper's table, and the comment above it."""

from pathlib import Path

from helpers.made_up import add_run
from helpers.paper import BOTH, lines, scores

from oodbench.tables.load import load_runs
from oodbench.tables.paper import paper
from oodbench.tables.paper.style import Style

SETS = ("far:auroc", "svhn:auroc", "textures:auroc")


def test_the_other_fpr_has_its_name_and_label(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores())
    text = paper(load_runs(tmp_path).runs, "oodpos", BOTH, Style())
    assert "FPR95 has 95 \\% of OOD caught." in text
    assert r"\label{tab:cifar10-resnet18-short-oodpos}" in text


def test_explanations_are_comments_and_the_rest_is_ascii(tmp_path: Path) -> None:
    add_run(tmp_path, config={"loss": {"form": "odd_{name&"}})
    text = lines(tmp_path)
    assert any(line.startswith("% ") and "FPR@95 (95 % of ID accepted)" in line for line in text)
    assert all(line.isascii() for line in text)


def test_an_average_without_all_its_sets_is_explained(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores(sets={"svhn": 0.9, "textures": 0.7}))
    explained = "the average over"
    for columns, is_explained in ((("far:auroc", "svhn:auroc"), True), (("far:auroc",), True), (SETS, False)):
        text = paper(load_runs(tmp_path).runs, "idpos", BOTH, Style(columns=columns))
        assert (explained in text) == is_explained, columns


def test_a_trial_says_that_it_is_one(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores())
    add_run(tmp_path, ood=scores(), config={"dataset": {"limit": 10_000, "limit_test": 2_000}})
    captions = [line for line in lines(tmp_path) if line.startswith(r"\caption")]
    assert len(captions) == 2
    trial = " for 10 epochs on a subset of 10,000 images, tested on a subset of 2,000 images (one training; "
    assert [trial in caption for caption in captions].count(True) == 1
    assert ["Cifarx{} for 10 epochs (one training; " in caption for caption in captions].count(True) == 1


def test_a_split_and_held_out_images_are_told(tmp_path: Path) -> None:
    add_run(tmp_path, ood=scores(), follows=("validation.images=5000", "dataset.test.split=openood_test"))
    (caption,) = [line for line in lines(tmp_path) if line.startswith(r"\caption")]
    assert r" with 5,000 images held out, tested on the split openood\_test (one training; " in caption
