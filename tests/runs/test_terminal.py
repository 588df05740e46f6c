"""The header and the result that a run prints."""

from pathlib import Path
from typing import Any

import pytest
from helpers.cli import HALO, Finished, started
from helpers.config import configuration
from helpers.toy import NO_HEAD, blobs, random_outputs

from oodbench.detectors.logits import msp, ood_score
from oodbench.evaluation.evaluate import evaluate
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.runs.terminal import brief, every_number, header, result
from oodbench.storage import write_json

IMAGES = {"train": 1010, "test": 433, "noise": 500, "mine": 7}
MACHINE = {"device": "cpu", "threads": 1, "devices": 1, "precision": "bf16"}


def numbers(**scores: tuple[float, float]) -> dict[str, Any]:
    """Return a record with these AUROC and FPR@95 of scores on one set."""
    of_set = {name: {"auroc": auroc, "fpr95_idpos": fpr, "fpr95_oodpos": 0.5} for name, (auroc, fpr) in scores.items()}
    return {"accuracy": 0.98765, "ece": 0.0123, "nll": 0.1, "ood": {"noise": of_set}, "not_applicable": {}}


def test_the_header_says_what_on_what_and_where(tmp_path: Path) -> None:
    config = configuration("ood=[noise]", "+ood.mine.path=/x", "recipe.epochs=2", "dataset.near=[mine]", "seed=3")
    assert header(config, IMAGES, MACHINE, tmp_path / "seed3").splitlines() == [
        "ce on digits: resnet18, recipe smoke, 2 epochs, seed 3",
        "cpu, 1 thread, bf16",
        "1,010 training and 433 test images; OOD: noise 500, mine (near) 7",
        str(tmp_path / "seed3"),
    ]


def test_the_header_knows_how_long_other_seeds_took(tmp_path: Path) -> None:
    config = configuration("ood=[]")
    for seed, took in ((0, 300.0), (1, 420.0)):
        write_json(tmp_path / f"seed{seed}" / "training.json", {"wall_time_s": took})
    (tmp_path / "seed2").mkdir()
    (tmp_path / "seed2" / "training.json").write_text("{")
    assert "other seeds took 6 min on average" in header(config, IMAGES, MACHINE, tmp_path / "seed3").splitlines()


def test_the_header_counts_held_out_images_and_devices(tmp_path: Path) -> None:
    gpus = MACHINE | {"device": "NVIDIA H100", "devices": 4}
    lines = header(configuration("ood=[]"), IMAGES | {"val": 40}, gpus, tmp_path).splitlines()
    assert lines[1:3] == ["4 x NVIDIA H100, bf16", "1,010 training and 433 test images, 40 held out; OOD: none"]


def test_the_result_is_a_line_a_set() -> None:
    text = result(numbers(ood_score=(0.9, 0.31), msp=(0.8, 0.4), energy=(0.7, 0.5)))
    assert text.splitlines() == [
        "accuracy 98.77 %, ECE 1.23 %",
        "",
        "                own score               MSP",
        "OOD set    AUROC   FPR@95    AUROC   FPR@95",
        "noise      90.00    31.00    80.00    40.00",
        "",
        "In percent. FPR@95 (95 % of ID accepted). verbose=true prints every score and metric.",
    ]
    assert brief(numbers(ood_score=(0.9, 0.31), msp=(0.8, 0.4))) == "accuracy 98.77 %, ECE 1.23 %; AUROC noise 90.00"


def test_two_scores_that_agree_stand_together() -> None:
    assert "own score = MSP\n" in result(numbers(ood_score=(0.9, 0.31), msp=(0.9, 0.31)))


def test_other_scores_are_shown_where_neither_was_asked_for() -> None:
    text = result(numbers(relative_mahalanobis=(0.9, 0.31), knn=(0.8, 0.4), energy=(0.7, 0.5)))
    assert text.splitlines()[2].split() == ["relative_mahalanobis", "knn"]
    assert len({len(line) for line in text.splitlines()[2:5]}) == 1


def test_a_run_without_ood_sets_has_its_accuracy() -> None:
    assert result(numbers() | {"ood": {}}) == brief(numbers() | {"ood": {}}) == "accuracy 98.77 %, ECE 1.23 %"


def test_a_finished_run_prints_its_numbers(finished: Finished) -> None:
    printed = started(*HALO, f"results_dir={finished.results}")
    assert printed == f"finished already, force=true runs it again\n\n{result(finished.metrics)}\n\n{finished.folder}\n"


@pytest.mark.parametrize("metric", ["aupr_in", "fpr95_oodpos"])
def test_verbose_prints_every_number(finished: Finished, metric: str) -> None:
    assert metric in started(*HALO, f"results_dir={finished.results}", "verbose=true")
    assert metric not in finished.stdout


def test_every_number_has_both_fpr_conventions_in_percent() -> None:
    test, ood = random_outputs(seed=1), {"a_set_with_a_long_name": random_outputs(30, seed=2)}
    found, _ = evaluate(test, ood, {"msp": msp}, NO_HEAD)
    lines = every_number(found).splitlines()
    assert f"accuracy {100 * found['accuracy']:.2f} %" in lines[0]
    header, row = lines[2], lines[3]
    units = [f"{name}: {metric.title}, in %" for name, metric in OOD_METRICS.items()]
    assert lines[4:] == ["", *units]
    columns = header.split()[-len(OOD_METRICS) :]
    assert columns == list(OOD_METRICS)
    values = found["ood"]["a_set_with_a_long_name"]["msp"]
    assert row.split() == ["a_set_with_a_long_name", "msp", *(f"{100 * values[name]:.2f}" for name in columns)]
    assert len(header) == len(row)


def test_every_number_has_a_dash_for_what_is_missing() -> None:
    test, ood, reference = blobs()
    found, _ = evaluate(test, {"svhn": ood}, {"ood_score": ood_score, "msp": msp}, reference)
    del found["ece"], found["ood"]["svhn"]["msp"]["auroc"]
    text = every_number(found).splitlines()
    assert text[0].startswith(f"accuracy {100 * found['accuracy']:.2f} %  nll {found['nll']:.3f} nats  brier ")
    (row,) = (line.split() for line in text if line.startswith("svhn") and " msp " in line)
    assert row[2] == "—"
    assert row[3] == f"{100 * found['ood']['svhn']['msp']['fpr95_idpos']:.2f}"
