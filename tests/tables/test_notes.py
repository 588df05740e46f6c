"""Notes beneath a table."""

from pathlib import Path

from helpers.made_up import NOISE, add_run, column, notes, only_section

from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.tables.notes import directions


def test_the_caption_says_what_the_numbers_are(tmp_path: Path) -> None:
    add_run(tmp_path, config={"dataset": {"limit": 10_000, "limit_test": 2_000}})
    table = only_section(tmp_path, detectors=("ood_score", "msp"))
    text = " ".join([table.title, *table.notes])
    for part in (
        "resnet18 (width=64), recipe short, 10 epochs, 10,000 training images (subset), 2,000 test images (subset)",
        "FPR@95 (95 % of ID accepted): the share of OOD images accepted when 95 % of the ID images are accepted "
        "(`fpr95_idpos`).",
        "epochs=10, batch_size=128, optimizer=SGD, optimizer.lr=0.1, warmup_epochs=0, clip_grad_norm=null.",
        "trained on a class-balanced subset of 10,000 of the training images",
        "tested on a subset of 2,000 of the test images",
        "OOD images: cifar100 100, svhn 100.",
        "15 equal-width bins (lo, hi]",
        "sample standard deviation over n training seeds",
        "Score: own (`ood_score`, the OOD score that belongs to the loss), msp (minus the largest class",
        "Accuracy and ECE do not depend on it",
        "`plain`: smoothing=0.",
    ):
        assert part in text
    assert "oodpos" not in text
    assert (
        "FPR@95 (95 % of OOD caught): the share of ID images flagged when 95 % of the OOD images are caught "
        "(`fpr95_oodpos`)." in notes(only_section(tmp_path, fpr="oodpos"))
    )


def test_a_score_that_does_not_apply_says_why(tmp_path: Path) -> None:
    reasons = {"vim": "needs a linear head; this loss has none"}
    for loss in ("other", "plain"):
        for seed in (0, 1):
            add_run(tmp_path, loss, seed, ood={"svhn": {"ood_score": 0.8}}, not_applicable=reasons)
    add_run(tmp_path, "third", ood={"svhn": {"ood_score": 0.7, "vim": 0.9}}, not_applicable={})
    table = only_section(tmp_path, detectors=("ood_score", "vim"))
    assert column(table, "svhn (far)", "AUROC ↑") == ["80.00 ± 0.00", "—", "80.00 ± 0.00", "—", "70.00", "**90.00**"]
    found = [note for note in table.notes if note.startswith("—")]
    assert found == ["— `vim` needs a linear head; this loss has none: `other`, `plain`."]
    assert not any(note.startswith("—") for note in only_section(tmp_path).notes)


def test_runs_without_resamples_are_named(tmp_path: Path) -> None:
    add_run(tmp_path, "new", noise=NOISE)
    add_run(tmp_path, "old")
    expected = "No interval and no test where runs were scored without resamples, score them again with"
    assert f"{expected} `scripts/evaluate.py`: `old`." in only_section(tmp_path).notes


def test_a_note_of_the_run_stands_first(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    with (folder / "config.yaml").open("a") as file:
        file.write("note: |\n  a look,\n  not a result\n")
    assert only_section(tmp_path).notes[0] == "a look, not a result"


def test_directions_are_those_of_the_records() -> None:
    metrics = [ID_METRICS["accuracy"], ID_METRICS["ece"], OOD_METRICS["auroc"], OOD_METRICS["fpr95_idpos"]]
    expected = "Higher is better for Accuracy and AUROC, lower for ECE and FPR@95 (95 % of ID accepted)."
    assert directions(metrics) == expected
