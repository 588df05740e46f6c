"""Notes beneath a table."""

import re
from pathlib import Path

from helpers.made_up import CALIBRATION, NOISE, add_run, alter_metrics, column, notes, only_section

from oodbench.report.leaderboard import leaderboard
from oodbench.report.material import read_material
from oodbench.report.page.words import notes as page_notes
from oodbench.report.table import main_table
from oodbench.tables.calibration import calibration_table
from oodbench.tables.comparison import compare_runs
from oodbench.tables.comparison_text import report
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.overview import overview
from oodbench.tables.results import load_runs
from oodbench.tables.sections import section


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


def test_sets_of_other_images_are_named(tmp_path: Path) -> None:
    for seed, digest in enumerate(("s", "other", "s")):
        add_run(tmp_path, seed=seed, digests={"test": "t", "cifar100": "c", "svhn": digest})
    add_run(tmp_path, seed=3)  # does not say
    runs = load_runs(tmp_path).runs
    note = "Not the same images in all runs, by the digests of their files: svhn."
    assert note in section(runs, "idpos", ["ood_score"]).notes
    assert note in matrix_tables(runs, "idpos", ["ood_score"])[0].notes
    assert note not in section([runs[0], *runs[2:]], "idpos", ["ood_score"]).notes


def test_a_note_of_the_run_stands_first(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    with (folder / "config.yaml").open("a") as file:
        file.write("note: |\n  a look,\n  not a result\n")
    assert only_section(tmp_path).notes[0] == "a look, not a result"


def test_seeds_of_other_code_are_named(tmp_path: Path) -> None:
    for loss, digests in (("a", "xxx"), ("b", "xyx"), ("c", "x")):
        for seed, digest in enumerate(digests):
            path = add_run(tmp_path, loss, seed)
            code = {"loss": digest, "backbone": "same"}
            alter_metrics(path, lambda content, code=code: content["provenance"].update(code=code))
    add_run(tmp_path, "b", 3)  # of an earlier version, which did not say
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert [note for note in table.notes if "code" in note] == [
        "The code of the loss is not the same in all runs of `b`."
    ]


def test_all_kinds_of_tables_say_what_is_unlike(tmp_path: Path) -> None:
    paths = [add_run(tmp_path, seed=seed, noise=NOISE, calibration=CALIBRATION) for seed in range(2)]
    for path, digest in zip(paths, "xy", strict=True):
        code = {"code": {"loss": digest}, "metric_code": {"auroc": digest}}
        alter_metrics(path, lambda content, code=code: content["provenance"].update(code))
        add_run(tmp_path, "other", seed=int(digest == "y"), noise=NOISE, calibration=CALIBRATION)
    runs = load_runs(tmp_path).runs
    calibration = calibration_table(runs)
    pairs = [(a, b) for a in runs for b in runs if a.loss < b.loss and a.seed == b.seed]
    (of_page,) = read_material(tmp_path, ["msp"]).sections
    texts = [
        *(notes(table) for table in [matrix_tables(runs, "idpos", ["msp"])[0], *filter(None, [calibration])]),
        overview(runs),
        leaderboard(runs, {}, ["msp"]),
        report(pairs, "msp", "msp", compare_runs(pairs, "msp", "msp"), []),
        "".join(page_notes(of_page, main_table(of_page, ["msp"]))),
    ]
    for text in texts:
        assert re.search(r"The code of the loss is not the same in all runs of \W*plain", text), text
        assert re.search(r"The code of \W*auroc\W* changed between runs", text), text


def test_rows_of_one_loss_are_of_one_code(tmp_path: Path) -> None:
    for lr, digest in ((0.1, "x"), (0.2, "y")):
        path = add_run(tmp_path, "a", config={"recipe": {"clip_grad_norm": lr}})
        alter_metrics(path, lambda content, d=digest: content["provenance"].update(code={"loss": d}))
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["recipe.clip_grad_norm"])
    assert len(table.rows) == 2
    assert "The code of the loss is not the same in all runs of `a`." in table.notes


def test_a_detector_of_other_code_is_named(tmp_path: Path) -> None:
    for seed, digest in enumerate("xy"):
        path = add_run(tmp_path, seed=seed)
        alter_metrics(path, lambda content, d=digest: content["provenance"].update(detector_code={"ood_score": d}))
    add_run(tmp_path, seed=2)  # of an earlier version, which did not say
    says = "The code of `ood_score` changed between runs, score them again with `scripts/evaluate.py`."
    assert says in only_section(tmp_path).notes
    assert says not in only_section(tmp_path, detectors=("msp",)).notes


def test_a_metric_of_other_code_is_named(tmp_path: Path) -> None:
    for seed, digest in enumerate("xy"):
        path = add_run(tmp_path, seed=seed)
        digests = {"auroc": digest, "accuracy": "same"}
        alter_metrics(path, lambda content, of=digests: content["provenance"].update(metric_code=of))
    add_run(tmp_path, seed=2)  # of an earlier version, which did not say
    says = "The code of `auroc` changed between runs, score them again with `scripts/evaluate.py`."
    assert says in only_section(tmp_path).notes
