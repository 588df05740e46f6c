"""The text of a comparison: a row a number, what was left out, and what it means."""

from collections.abc import Collection
from pathlib import Path

from helpers.made_up import NOISE, add_run, alter_metrics

from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables.comparison_text import report


def compared(a: Path, b: Path, alone: Collection[int] = ()) -> str:
    """Return the text for the losses' own scores; alone: seeds of one side."""
    pairs = pairs_of(load_side(a), load_side(b))
    return report(pairs, "ood_score", "ood_score", compare_runs(pairs, "ood_score", "ood_score"), alone)


def test_two_networks_of_other_seeds_are_compared_as_networks(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, seed=seed, accuracy=0.9 - seed / 100, noise=NOISE) for seed in (0, 1))
    printed = compared(a, b, alone={0, 1})
    assert "n = 1, seeds 0 against 1\n" in printed


def test_the_report_says_what_is_better_and_what_was_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        a = add_run(
            tmp_path, "a", seed, accuracy=0.93, noise=NOISE, ood={"svhn": {"ood_score": 0.9}, "x": {"ood_score": 1}}
        )
    b = add_run(tmp_path, "b", 0, accuracy=0.90, noise=NOISE, ood={"svhn": {"ood_score": 0.9}})
    printed = compared(a.parent, b.parent, alone={1})
    assert "n = 1, seeds 0; of one side alone, left out: 1" in printed
    assert "OOD sets without numbers on both sides, left out: x" in printed
    row = next(line for line in printed.splitlines() if "accuracy  " in line)
    assert row.split() == ["-", "accuracy", "+3.00", "[+3.00,", "+3.00]", "<0.0001", "<0.0001", "A", "10,000"]
    assert "proper scores" not in printed
    assert "Of 7 numbers A is better in 1, B in 0; 6 are not distinguishable" in printed
    assert "it compares these two networks" in printed


def test_the_report_warns_of_nll_that_is_no_proper_score(tmp_path: Path) -> None:
    a = add_run(tmp_path, "a", noise=NOISE)
    b = add_run(tmp_path, "b", noise=NOISE, calibration={"own": {}, "normalised": {}, "temperature_scaled": None})
    printed = compared(a, b)
    assert "Probabilities of B do not sum to one: nll and brier are no proper scores of them." in printed


def test_a_number_that_one_run_lacks_is_a_row_of_dashes(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, ood={"svhn": {"ood_score": 0.9}}, noise=NOISE) for loss in "ab")
    alter_metrics(b, lambda content: [content.pop("brier"), content["ood"]["svhn"]["ood_score"].pop("aupr_in")])
    printed = compared(a, b)
    row = next(line for line in printed.splitlines() if "brier" in line)
    assert row.split() == ["-", "brier", "—", "—", "—", "—", "-", "10,000"]
    assert "Of 6 numbers A is better in 0, B in 0; 6 are not" in printed
    assert "—: not tested; no table shows the metric, or a run lacks it or its resamples." in printed


def test_sides_that_are_unlike_in_more_than_the_loss_say_so(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, noise=NOISE) for loss in "ab")
    assert "protocol" not in compared(a, b)
    alter_metrics(b, lambda content: content["provenance"].update(precision="fp32"))
    printed = compared(a, b)
    assert "Not one protocol, so that more than the losses may differ:\n  A: resnet18" in printed
    assert [line[-4:] for line in printed.splitlines() if line.startswith(("  A: ", "  B: "))] == ["bf16", "fp32"]


def test_each_side_has_its_detectors_hyperparameters(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, ood={"svhn": {"energy": 0.9}}, noise=NOISE) for loss in "ab")
    for path, temperature in ((a, 1.0), (b, 0.1)):
        of = {"energy": {"_target_": "oodbench.detectors.energy", "_partial_": True, "temperature": temperature}}
        alter_metrics(path, lambda content, of=of: content["provenance"].update(detector=of))
    pairs = pairs_of(load_side(a), load_side(b))
    printed = report(pairs, "energy", "energy", compare_runs(pairs, "energy", "energy"), ())
    assert [line.split(", ", 1)[1] for line in printed.splitlines()[:2]] == [
        "energy (temperature=1)",
        "energy (temperature=0.1)",
    ]
