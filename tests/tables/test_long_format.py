"""runs.csv: a row a number."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
from helpers.made_up import NOISE, add_run, score
from scipy import special

from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.tables import FIELDS, Result, load_runs, long_format, to_csv


def frame_of(runs: Iterable[Result]) -> pd.DataFrame:
    return pd.DataFrame(long_format(runs), columns=FIELDS)


def test_a_row_has_the_interval_over_images_and_over_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, noise=NOISE)
    frame = frame_of(load_runs(tmp_path).runs)
    row = frame[(frame.metric == "accuracy") & (frame.seed == 1)].iloc[0]
    half = 4.30265273 * 0.0360555128 / 3**0.5 / (0.93 * 0.07)  # t_{.975, 2} s / sqrt(n), on the logit scale
    low, high = (special.expit(special.logit(0.93) + end) for end in (-half, half))
    assert [row.low, row.high, row.seeds] == pytest.approx([0.901, 0.939, 3])
    assert [row["mean"], row.mean_low, row.mean_high] == pytest.approx([0.93, low, high])


def test_metrics_stand_in_the_order_of_their_records(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"msp": 0.9}})
    found = [*frame_of(load_runs(tmp_path).runs).metric]
    assert {"accuracy", "ece", "nll", "brier", *score(0.9)} == set(found)
    assert found == [name for name in (*ID_METRICS, *OOD_METRICS) if name in found]


def test_no_mean_has_an_end_that_is_no_share(tmp_path: Path) -> None:
    for seed, auroc in enumerate((0.93, 0.999)):
        add_run(tmp_path, seed=seed, accuracy=auroc, ood={"svhn": {"ood_score": auroc}})
    frame = frame_of(load_runs(tmp_path).runs)
    shares = frame[~frame.metric.isin(["nll", "brier"])]
    assert shares.mean_low.min() >= 0
    assert shares.mean_high.max() <= 1
    assert frame.mean_low.min() >= 0


def test_means_are_over_the_seeds_of_one_row(tmp_path: Path) -> None:
    for names, accuracy in (({}, 0.9), ({"dataset": "cifar100"}, 0.5), ({"loss": "imported"}, 0.1)):
        add_run(tmp_path, accuracy=accuracy, config={"name": names})
    frame = frame_of(load_runs(tmp_path).runs)
    assert frame.hash.nunique() == 3
    assert (frame.seeds == 1).all()
    assert (frame["mean"] == frame.value).all()


def test_ood_sets_of_other_sizes_are_not_averaged(tmp_path: Path) -> None:
    for seed, images in ((0, 26_032), (1, 1_580)):
        add_run(tmp_path, seed=seed, ood={"svhn": {"ood_score": 0.9}}, images=images)
    frame = frame_of(load_runs(tmp_path).runs)
    assert (frame[frame.ood == "svhn"].seeds == 1).all()
    assert (frame[frame.ood == ""].seeds == 2).all()


def test_the_csv_is_what_pandas_would_write(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, "other" if seed else "plain", seed, accuracy=1 / 3, noise=NOISE if seed else None)
    runs = load_runs(tmp_path).runs
    frame = frame_of(runs).astype(dict.fromkeys(("epochs", "train_limit", "test_limit"), "Int64"))
    assert to_csv(runs) == frame.to_csv(index=False, lineterminator="\n")
