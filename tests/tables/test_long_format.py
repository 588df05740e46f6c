"""runs.csv: a row a number of a run; means.csv: a row a mean."""

from pathlib import Path

import pandas as pd
import pytest
from helpers.made_up import NOISE, add_run, add_with_shifted, alter_metrics, score
from scipy import special

from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.tables.load import load_runs
from oodbench.tables.long_format import Long, means_of, numbers_of, to_csv

OOD = {"cifar100": {"msp": 0.8}, "svhn": {"msp": 0.9}}


def frame_of(table: Long) -> pd.DataFrame:
    return pd.DataFrame(table.rows, columns=table.fields)


def numbers(results: Path) -> pd.DataFrame:
    return frame_of(numbers_of(load_runs(results).runs))


def means(results: Path) -> pd.DataFrame:
    return frame_of(means_of(load_runs(results).runs))


def test_a_number_has_its_interval_over_images(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, noise=NOISE)
    frame = numbers(tmp_path)
    row = frame[(frame.metric == "accuracy") & (frame.seed == 1)].iloc[0]
    assert [row.value, row.low, row.high] == pytest.approx([0.92, 0.901, 0.939])


def test_a_mean_has_its_interval_over_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, noise=NOISE)
    frame = means(tmp_path)
    (row,) = frame[frame.metric == "accuracy"].itertuples()
    half = 4.30265273 * 0.0360555128 / 3**0.5 / (0.93 * 0.07)  # t_{.975, 2} s / sqrt(n), on the logit scale
    low, high = (special.expit(special.logit(0.93) + end) for end in (-half, half))
    expected = [3, 0.93, 0.0360555128, low, high]
    assert [row.seeds, row.mean, row.deviation, row.low, row.high] == pytest.approx(expected)
    assert len(frame) == len(numbers(tmp_path)) / 3


def test_settings_kind_and_precision_are_columns(tmp_path: Path) -> None:
    add_run(tmp_path, ood=OOD, config={"loss": {"tau": 0.04}})
    add_run(tmp_path, "other", ood=OOD)
    for frame in (numbers(tmp_path), means(tmp_path)):
        settings = frame[["backbone.width", "recipe.optimizer", "recipe.optimizer.lr", "precision"]]
        assert settings.drop_duplicates().to_numpy().tolist() == [["64", "SGD", "0.1", "bf16"]]
        taus = frame["loss.tau"].fillna("")
        assert dict(zip(frame.loss, taus, strict=True)) == {"plain": "0.04", "other": ""}
        assert dict(zip(frame.ood, frame.kind, strict=True)) == {"": "", "cifar100": "near", "svhn": "far"}
        assert frame["recipe.clip_grad_norm"].isna().all()


def test_a_setting_is_no_formula_and_can_be_printed(tmp_path: Path) -> None:
    add_run(tmp_path, config={"loss": {"a": "=cmd()", "b": -1.5, "c": "x\x1by", "d\x1b": "z" * 1000, "e": "-e"}})
    frame = numbers(tmp_path)
    row = frame[["loss.a", "loss.b", "loss.c", "loss.d?", "loss.e"]].iloc[0]
    assert row.to_list() == ["'=cmd()", "-1.5", "x?y", "z" * 200, "'-e"]


def test_a_precision_is_no_formula_and_can_be_printed(tmp_path: Path) -> None:
    path = add_run(tmp_path, ood=OOD)
    alter_metrics(path, lambda content: content["provenance"].update(precision="=cmd()\x1b[2J"))
    assert set(numbers(tmp_path).precision) == {"'=cmd()?[2J"}


def test_a_split_is_no_formula_and_can_be_printed(tmp_path: Path) -> None:
    add_run(tmp_path, config={"dataset": {"test": {"split": "=cmd()\x1b[2J"}}})
    assert set(numbers(tmp_path).test_split) == {"'=cmd()?[2J"}


def test_the_images_of_a_run_have_columns(tmp_path: Path) -> None:
    add_run(tmp_path, config={"dataset": {"limit": 10_000, "limit_test": 2_000}})
    frame = numbers(tmp_path)
    found = frame[["train_images", "held_out", "test_images", "test_split"]].drop_duplicates()
    assert found.to_numpy().tolist() == [[10_000, 0, 2_000, "test"]]


def test_metrics_stand_in_the_order_of_their_records(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"msp": 0.9}})
    found = [*numbers(tmp_path).metric]
    assert {"accuracy", "ece", "nll", "brier", *score(0.9)} == set(found)
    assert found == [name for name in (*ID_METRICS, *OOD_METRICS) if name in found]


def test_no_mean_has_an_end_that_is_no_share(tmp_path: Path) -> None:
    for seed, auroc in enumerate((0.93, 0.999)):
        add_run(tmp_path, seed=seed, accuracy=auroc, ood={"svhn": {"ood_score": auroc}})
    frame = means(tmp_path)
    shares = frame[~frame.metric.isin(["nll", "brier"])]
    assert shares.low.min() >= 0
    assert shares.high.max() <= 1
    assert frame.low.min() >= 0


def test_means_are_over_the_seeds_of_one_row(tmp_path: Path) -> None:
    for names, accuracy in (({}, 0.9), ({"dataset": "cifar100"}, 0.5), ({"loss": "imported"}, 0.1)):
        add_run(tmp_path, accuracy=accuracy, config={"name": names})
    frame = means(tmp_path)
    assert frame.hash.nunique() == 3
    assert (frame.seeds == 1).all()
    assert frame["mean"].to_list() == numbers(tmp_path).value.to_list()


def test_ood_sets_of_other_sizes_are_not_averaged(tmp_path: Path) -> None:
    for seed, images in ((0, 26_032), (1, 1_580)):
        add_run(tmp_path, seed=seed, ood={"svhn": {"ood_score": 0.9}}, images=images)
    frame = means(tmp_path)
    assert (frame[frame.ood == "svhn"].seeds == 1).all()
    assert (frame[frame.ood == ""].seeds == 2).all()


def test_seeds_on_other_images_are_not_averaged(tmp_path: Path) -> None:
    """One set with another corruption for each seed, and so one far mean with other images"""
    ood = {"cifar100": {"msp": 0.8}, "svhn": {"msp": 0.9}, "fog": {"msp": 0.7}}
    for seed, fog in ((0, "1" * 64), (1, "2" * 64)):
        digests = {"test": "a" * 64, "cifar100": "b" * 64, "svhn": "c" * 64, "fog": fog}
        add_run(tmp_path, seed=seed, ood=ood, digests=digests)
    frame = means(tmp_path)
    seeds = dict(zip(frame.ood, frame.seeds, strict=True))
    assert seeds == {"": 2, "cifar100": 2, "svhn": 2, "fog": 1, "far mean": 1}
    assert set(frame.test_digest) == {"a" * 12}
    digests = frame.dropna(subset="images_digest").groupby("ood").images_digest.unique().map(sorted).to_dict()
    far = digests.pop("far mean")
    assert digests == {"cifar100": ["b" * 12], "svhn": ["c" * 12], "fog": ["1" * 12, "2" * 12]}
    assert len(far) == 2


def test_seeds_on_other_test_images_are_not_averaged(tmp_path: Path) -> None:
    for seed, test in enumerate("ab"):
        add_run(tmp_path, seed=seed, ood=OOD, digests={"test": test, "cifar100": "c", "svhn": "d"})
    frame = means(tmp_path)
    assert set(frame.seeds) == {1}
    assert set(frame.test_digest) == {"a", "b"}


def test_an_early_run_that_names_no_images_is_a_seed_of_the_first(tmp_path: Path) -> None:
    of = {"test": "a", "cifar100": "c"}
    for seed, digests in enumerate((None, of | {"svhn": "1"}, of | {"svhn": "2"}, None)):
        add_run(tmp_path, seed=seed, ood=OOD, digests=digests)
    frame = means(tmp_path)
    assert frame.groupby("ood").seeds.unique().map(sorted).to_dict() == {"": [4], "cifar100": [4], "svhn": [1, 3]}
    assert set(frame[frame.ood == "svhn"].images_digest) == {"1", "2"}


def test_settings_of_sets_and_detectors_have_columns(tmp_path: Path) -> None:
    folder = add_run(tmp_path, ood={"fog": {"energy": 0.8, "msp": 0.7, "knn_selected": 0.9}})
    energy, knn = {"_target_": "oodbench.detectors.energy", "temperature": 0.1}, {"k": 50}
    corrupted = {"_target_": "oodbench.data.cifar10c", "corruption": "fog", "severity": 3}
    alter_metrics(folder, lambda record: record["provenance"].update(ood={"fog": corrupted}))
    alter_metrics(folder, lambda record: record["provenance"].update(detector={"energy": energy, "knn_selected": knn}))
    for frame in (numbers(tmp_path), means(tmp_path)):
        of = frame[frame.ood == "fog"].set_index("detector")
        assert set(of.ood_settings) == {"corruption=fog, severity=3"}
        assert of.detector_settings.fillna("").to_dict() == {"energy": "temperature=0.1", "msp": "", "knn_selected": ""}
    assert frame[frame.ood == ""].ood_settings.isna().all()


def test_a_mean_has_the_kind_of_its_own_seeds(tmp_path: Path) -> None:
    add_run(
        tmp_path, ood={"svhn": {"ood_score": 0.9}}, config={"dataset": {"test": {"_target_": "oodbench.data.cifar10"}}}
    )
    add_with_shifted(tmp_path, "plain", {"svhn": 0.9, "fog": 0.5}, seed=1)
    frame = means(tmp_path)
    assert len(set(frame.hash)) == 1
    assert set(frame[frame.ood == "fog"].kind) == {"shifted ID"}
    assert set(frame[frame.ood == "svhn"].kind) == {"far"}
    assert set(frame[frame.ood == "svhn"].images) == {100}


def test_the_csv_is_what_pandas_would_write(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, "other" if seed else "plain", seed, accuracy=1 / 3, noise=NOISE if seed else None)
    runs = load_runs(tmp_path).runs
    for table in (numbers_of, means_of):
        frame = frame_of(table(runs)).astype(dict.fromkeys(("epochs", "train_limit", "test_limit", "images"), "Int64"))
        assert to_csv(table(runs)) == frame.to_csv(index=False, lineterminator="\n")


def test_seeds_of_two_protocols_are_not_averaged(tmp_path: Path) -> None:
    """The precision that was used may be another than the one asked for, and part of the test images may be missing."""
    paths = [add_run(tmp_path, seed=seed, accuracy=0.9 - seed / 10) for seed in (0, 1, 2)]
    alter_metrics(paths[1], lambda content: content["provenance"].update(precision="fp32"))
    alter_metrics(paths[2], lambda content: content["provenance"]["images"].update(test=500))
    frame = means(tmp_path)
    found = frame[frame.metric == "accuracy"]
    assert found["mean"].to_list() == pytest.approx([0.9, 0.8, 0.7])
    assert (found.seeds == 1).all()
    assert found.precision.to_list() == ["bf16", "fp32", "bf16"]
