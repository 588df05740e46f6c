"""Two runs number by number, against hand-worked differences and oodbench.evaluation.significance."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.made_up import NOISE, Array, add_run, add_with_shifted, alter_metrics

from oodbench.evaluation.significance import compare, holm
from oodbench.tables.comparison import Line, compare_runs, load_side, pairs_of


def compared(
    a: Path, b: Path, detector: str = "ood_score", detector_b: str | None = None
) -> dict[tuple[str, str], Line]:
    found = compare_runs(pairs_of(load_side(a), load_side(b)), detector, detector_b or detector)
    return {(line.ood, line.metric): line for line in found}


def test_differences_of_one_seed_by_hand(tmp_path: Path) -> None:
    """Resamples of accuracy differ by .03 each, so p is of the normal law's tail; those of svhn by .01 + 2 NOISE: of
    1,000 steps from -.03 to .05, 375 are below 0, p = 2 (1 + 375) / 1001.
    """
    a = add_run(tmp_path, "a", accuracy=0.93, ood={"svhn": {"ood_score": 0.91}}, noise=NOISE)
    b = add_run(tmp_path, "b", accuracy=0.90, ood={"svhn": {"ood_score": 0.90}}, noise={"": NOISE, "svhn": -NOISE})
    found = compared(a, b)
    assert len(found) == 4 + 5
    accuracy, auroc = found["", "accuracy"], found["svhn", "auroc"]
    assert [accuracy.test.difference, *accuracy.test.interval] == pytest.approx([0.03, 0.03, 0.03])
    assert (accuracy.better, accuracy.images) == ("A", "10,000")
    ends = np.quantile(np.round(0.91 + NOISE, 5) - np.round(0.9 - NOISE, 5), [0.025, 0.975])
    assert [auroc.test.difference, *auroc.test.interval] == pytest.approx([0.01, *ends])
    assert auroc.test.interval == pytest.approx((0.01 - 0.038, 0.01 + 0.038), abs=1e-5)  # resamples have five decimals
    assert auroc.test.p_value == pytest.approx(2 * 376 / 1001)
    assert (auroc.better, auroc.images, auroc.test.n) == ("", "10,000 + 100", 1)
    assert compared(b, a)["", "accuracy"].better == "B"


def test_the_difference_of_two_ece_is_reflected(tmp_path: Path) -> None:
    """Resampled differences from .001 to .021 of two equal ECEs become -.021 to -.001, and neither is better."""
    a = add_run(tmp_path, "a", noise={"": NOISE, "ece": np.linspace(0.001, 0.021, 1000)})
    b = add_run(tmp_path, "b", noise={"": NOISE, "ece": np.zeros(1000)})
    for line, ends in ((compared(a, b), (-0.0205, -0.0015)), (compared(b, a), (0.0015, 0.0205))):
        found = line["", "ece"]
        assert found.test.difference == 0
        assert found.test.interval == pytest.approx(ends, abs=2e-5)
        assert found.adjusted < 0.05
        assert found.better == ""


def test_lower_is_better_where_it_is(tmp_path: Path) -> None:
    a = add_run(tmp_path, "a", ood={"svhn": {"ood_score": 0.95}}, noise=NOISE)  # FPR@95 idpos .05
    b = add_run(tmp_path, "b", ood={"svhn": {"ood_score": 0.90}}, noise=NOISE)
    found = compared(a, b)
    assert found["svhn", "auroc"].better == found["svhn", "fpr95_idpos"].better == "A"
    assert found["svhn", "fpr95_idpos"].test.difference == pytest.approx(-0.05)
    assert found["svhn", "fpr95_oodpos"].better == found["", "nll"].better == ""  # equal


def test_seeds_are_paired_and_p_is_holms_over_all_lines(tmp_path: Path) -> None:
    random, values, noises = np.random.default_rng(0), {}, {}
    for loss, accuracies in {"a": {0: 0.9, 1: 0.92, 2: 0.91}, "b": {0: 0.89, 1: 0.9, 2: 0.9, 3: 0.1}}.items():
        for seed, accuracy in accuracies.items():
            noise = 0.001 * random.normal(size=1000)
            values[loss, seed], noises[loss, seed] = accuracy, noise
            folder = add_run(tmp_path, loss, seed, accuracy, noise=noise)
        noises[loss] = folder.parent
    found = compared(noises["a"], noises["b"])
    a, b = (np.array([values[loss, seed] for seed in range(3)]) for loss in "ab")
    shift_a, shift_b = (np.stack([np.round(values[x, s] + noises[x, s], 5) for s in range(3)]) for x in "ab")
    expected = compare(a, b, shift_a, shift_b)
    test = found["", "accuracy"].test
    assert [test.difference, *test.interval, test.p_value] == pytest.approx(
        [expected.difference, *expected.interval, expected.p_value]
    )
    assert test.n == 3
    tested = [line for line in found.values() if line.test]
    p_values: Array = np.array([line.test.p_value for line in tested])
    assert [line.adjusted for line in tested] == pytest.approx(list(holm(p_values)))


def test_what_no_table_shows_is_not_tested(tmp_path: Path) -> None:
    """Published runs have no resamples of it: with them, or without, the other tests have the same p."""
    a, b = (add_run(tmp_path, loss, accuracy=accuracy, noise=NOISE) for loss, accuracy in (("a", 0.9), ("b", 0.8)))
    found = compared(a, b)
    assert found["svhn", "aupr_in"].difference is not None
    assert found["svhn", "aupr_in"].test is found["svhn", "aupr_out"].test is None
    assert found["svhn", "auroc"].test


def test_two_detectors_of_one_run_have_its_ood_sets_alone(tmp_path: Path) -> None:
    run = add_run(tmp_path, ood={"svhn": {"ood_score": 0.8, "energy": 0.9}}, noise=NOISE)
    found = compared(run, run, "ood_score", "energy")
    assert {ood for ood, _ in found} == {"svhn"}
    assert found["svhn", "auroc"].test.difference == pytest.approx(-0.1)
    assert found["svhn", "auroc"].better == "B"


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"config": {"name": {"dataset": "digits"}}}, "numbers of other images"),
        ({"digests": {"test": "other", "svhn": "s"}}, "the test images differ"),
        (
            {"digests": {"test": "t", "svhn": "other"}},
            "the svhn images differ, 100 and 100 images with digests s and other",
        ),
        ({"images": 50}, "the svhn images differ, 100 and 50 images"),
        ({"noise": None}, "has no resamples of accuracy; score it again with `scripts/evaluate.py`"),
        ({"noise": NOISE[:500]}, "the runs have 500 and 1000 resamples"),
        ({"ood": {"svhn": {"msp": 0.5}}}, "has no detector ood_score; it has msp"),
        ({"ood": {"mnist": {"ood_score": 0.5}}}, ""),
        ({"not_applicable": {"ood_score": "needs a linear head"}}, "ood_score needs a linear head"),
    ],
)
def test_what_cannot_be_compared_says_why(tmp_path: Path, other: dict[str, Any], complaint: str) -> None:
    usual = {"ood": {"svhn": {"ood_score": 0.9}}, "noise": NOISE, "digests": {"test": "t", "svhn": "s"}}
    a, b = add_run(tmp_path, "a", **usual), add_run(tmp_path, "b", **(usual | other))
    if complaint:
        with pytest.raises(ValueError, match=re.escape(complaint)):
            compared(a, b)
    else:
        assert {ood for ood, _ in compared(a, b)} == {""}


def test_runs_without_an_ood_set_are_compared(tmp_path: Path) -> None:
    folders = [add_run(tmp_path, loss, accuracy=accuracy, noise=NOISE) for loss, accuracy in (("a", 0.91), ("b", 0.9))]
    for folder in folders:
        alter_metrics(folder, lambda content: content.update(ood={}))
    pairs = pairs_of(*map(load_side, folders))
    first, *_ = compare_runs(pairs, "ood_score", "ood_score")
    assert (first.metric, first.difference) == ("accuracy", pytest.approx(0.01))
    with pytest.raises(ValueError, match="have no OOD set in common"):
        compare_runs([(run, run) for run, _ in pairs], "ood_score", "msp")


def test_sides_that_cannot_be_paired_say_why(tmp_path: Path) -> None:
    for seed in (0, 1):
        a = add_run(tmp_path, "a", seed, noise=NOISE)
    b = add_run(tmp_path, "b", 2, noise=NOISE)
    with pytest.raises(ValueError, match=r"A has the seeds \[0, 1\], B \[2\]: none in common"):
        compared(a.parent, b)
    with pytest.raises(FileNotFoundError, match="no finished run"):
        compared(tmp_path, b)
    with pytest.raises(ValueError, match="the same run scored by the same detector"):
        compared(b, b)


def test_an_older_run_has_a_dash_for_a_new_metric(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, ood={"svhn": {"ood_score": 0.9}}, noise=NOISE) for loss in "ab")
    alter_metrics(b, lambda content: [content.pop("brier"), content["ood"]["svhn"]["ood_score"].pop("aupr_in")])
    found = compared(a, b)
    assert len(found) == 4 + 5
    for lacking in (("", "brier"), ("svhn", "aupr_in")):
        assert (found[lacking].difference, found[lacking].test, found[lacking].better) == (None, None, "")


def test_a_metric_that_neither_run_has_is_left_out(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, ood={"svhn": {"ood_score": 0.9}}, noise=NOISE) for loss in "ab")
    for run in (a, b):
        alter_metrics(run, lambda content: [content.pop("brier"), content["ood"]["svhn"]["ood_score"].pop("aupr_in")])
    found = compared(a, b)
    assert {("", "nll"), ("svhn", "aupr_out")} <= found.keys()
    assert not {("", "brier"), ("svhn", "aupr_in")} & found.keys()


def test_a_difference_of_shares_is_within_minus_one_and_one(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.2, 0.9)):
        a = add_run(tmp_path, "a", seed, accuracy, noise=NOISE)
        b = add_run(tmp_path, "b", seed, 0.5, noise=NOISE)
    test = compared(a.parent, b.parent)["", "accuracy"].test
    assert test is not None
    assert test.interval == (-1, 1)
    assert test.difference == pytest.approx(0.05)


def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "compare.py"))["main"]
    run = add_run(tmp_path, ood={"svhn": {"ood_score": 0.8, "energy": 0.9}}, noise=NOISE)
    monkeypatch.setattr("sys.argv", ["compare.py", str(run), "--detector-b", "energy"])
    main()
    assert "B: cifar10/resnet18/plain" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["compare.py", str(run)])
    with pytest.raises(SystemExit, match="compare: A and B are the same run"):
        main()


def test_seeds_scored_with_a_detector_set_differently_are_refused(tmp_path: Path) -> None:
    for seed, k in ((0, 5), (1, 50)):
        run = add_run(tmp_path, "a", seed, ood={"svhn": {"knn": 0.9}}, noise=NOISE)
        node = {"_target_": "oodbench.detectors.knn", "k": k}
        alter_metrics(run, lambda content, node=node: content["provenance"].update(detector={"knn": node}))
    with pytest.raises(ValueError, match=r"seed1 was scored with knn .*50.* and .*seed0 with .*5.*; score them alike"):
        load_side(run.parent)
    assert load_side(run).keys() == {1}


def test_on_shifted_id_no_side_is_better(tmp_path: Path) -> None:
    a = add_with_shifted(tmp_path, "a", {"svhn": 0.9, "fog": 0.9})
    b = add_with_shifted(tmp_path, "b", {"svhn": 0.5, "fog": 0.5})
    found = compared(a, b)
    assert found["svhn", "auroc"].better == "A"
    assert found["fog", "auroc"].test.difference == pytest.approx(0.4)
    assert found["fog", "auroc"].better == found["fog", "fpr95_idpos"].better == ""
