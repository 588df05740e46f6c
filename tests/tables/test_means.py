"""Near and far means of OOD sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.made_up import FPR, add_run, alter_metrics, column, notes
from hypothesis import given
from hypothesis import strategies as st

from oodbench.evaluation.intervals import percentile_interval
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables.comparison_text import report
from oodbench.tables.labels import Row
from oodbench.tables.load import load_run, load_runs
from oodbench.tables.long_format import numbers_of, to_csv
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.means import FAR, NEAR, MeanOf, common_means, with_means
from oodbench.tables.overview import overview
from oodbench.tables.results import Result
from oodbench.tables.sections import section

CIFAR = {"dataset": {"near": ["cifar100", "tiny_imagenet"]}}


def ood(**sets: float) -> dict[str, dict[str, float]]:
    return {name: {"ood_score": value, "msp": value - 0.1} for name, value in sets.items()}


def add(results: Path, loss: str = "plain", seed: int = 0, **sets: float) -> Path:
    noise = {name: np.random.default_rng(i).normal(0, 0.01, 1000) for i, name in enumerate(["", *sets])}
    return add_run(results, loss, seed, ood=ood(**sets), noise=noise, config=CIFAR)


def frame_of(runs: Sequence[Result]) -> pd.DataFrame:
    table = numbers_of(runs)
    return pd.DataFrame(table.rows, columns=table.fields)


def only(results: Path) -> Result:
    (run,) = load_runs(results).runs
    (with_mean,) = with_means([run], common_means([run]))
    return with_mean


def test_a_set_without_numbers_is_in_no_mean(tmp_path: Path) -> None:
    add_run(tmp_path, ood=ood(mnist=0.9, svhn=0.8) | {"places": {}})
    run = only(tmp_path)
    assert run.ood_images.keys() == {"mnist", "svhn", FAR}
    assert run.numbers[FAR, "msp", "auroc"] == pytest.approx(0.75)


def test_a_mean_is_of_the_sets_not_of_their_images(tmp_path: Path) -> None:
    """AUROC .90 and .80 of 300 and 9,000 images: .85, and not the .803 of the pooled images."""
    path = add(tmp_path, cifar100=0.9, tiny_imagenet=0.8)
    alter_metrics(path, lambda content: content["provenance"]["images"].update(cifar100=300, tiny_imagenet=9000))
    run = only(tmp_path)
    assert run.numbers[NEAR, "ood_score", "auroc"] == pytest.approx(0.85)
    assert run.numbers[NEAR, "msp", "auroc"] == pytest.approx(0.75)
    assert run.numbers[NEAR, "ood_score", "fpr95_idpos"] == pytest.approx(0.15)
    assert not any(name == FAR for name, *_ in run.numbers)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.integers(0, 4))
def test_a_mean_lies_among_its_sets_whatever_their_order(values: list[float], turn: int) -> None:
    names = [f"set{i}" for i in range(len(values))]
    made = [made_up(dict(zip(order, values, strict=True))) for order in (names, names[turn:] + names[:turn])]
    first, second = (with_means([run], common_means([run]))[0].numbers[FAR, "msp", "auroc"] for run in made)
    assert min(values) - 1e-12 <= first <= max(values) + 1e-12
    assert first == pytest.approx(sum(values) / len(values))
    assert second == pytest.approx(first)


def made_up(values: dict[str, float]) -> Result:
    fields: dict[str, Any] = {key: "" if key in Row._fields else {} for key in Result._fields}
    numbers = {(name, "msp", "auroc"): value for name, value in values.items()}
    fields |= {"numbers": numbers, "ood_images": dict.fromkeys(values, 100), "near": frozenset()}
    return Result(**fields)


def test_resamples_and_interval_of_a_mean_are_those_of_the_mean(tmp_path: Path) -> None:
    add(tmp_path, cifar100=0.9, tiny_imagenet=0.8, svhn=0.7)
    run = only(tmp_path)
    sets = [np.asarray(run.resampled[f"{name}/msp/auroc"]) for name in ("cifar100", "tiny_imagenet")]
    values = [(a + b) / 2 for a, b in zip(*sets, strict=True)]
    np.testing.assert_allclose(run.resampled[f"{NEAR}/msp/auroc"], values, rtol=0, atol=1e-15)
    assert run.interval((NEAR, "msp", "auroc")) == pytest.approx(percentile_interval(np.array(values)))
    low, high = run.interval((NEAR, "msp", "auroc")) or (0, 1)
    wide = run.intervals["cifar100", "msp", "auroc"]
    assert high - low < wide[1] - wide[0]  # the sets' noise is independent here


def test_means_stand_before_their_sets(tmp_path: Path) -> None:
    add(tmp_path, cifar100=0.9, tiny_imagenet=0.8, mnist=0.7, svhn=0.6)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score", "msp"])
    groups = list(dict.fromkeys(group for group, _ in table.columns if group))
    expected = ["near mean", "cifar100 (near)", "tiny_imagenet (near)", "far mean", "mnist (far)", "svhn (far)"]
    assert groups == expected
    assert [cell.split()[0].strip("*") for cell in column(table, "far mean", "AUROC ↑")] == ["65.00", "55.00"]
    assert [cell.split()[0].strip("*") for cell in column(table, "near mean", FPR)] == ["15.00", "25.00"]
    over = "Unweighted means of the sets' numbers: near mean over cifar100, tiny_imagenet; far mean over mnist, svhn."
    assert over in notes(table)
    assert "OOD images: cifar100 100, mnist 100, svhn 100, tiny_imagenet 100" in notes(table)


def test_deviations_are_of_the_means_over_seeds(tmp_path: Path) -> None:
    add(tmp_path, seed=0, mnist=0.8, svhn=0.6)
    add(tmp_path, seed=1, mnist=0.6, svhn=0.8)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert column(table, "far mean", "AUROC ↑") == ["70.00 ± 0.00"]
    assert column(table, "mnist (far)", "AUROC ↑") == ["70.00 ± 14.14"]


def test_rows_of_other_sets_have_no_common_mean(tmp_path: Path) -> None:
    add(tmp_path, "a", mnist=0.8, svhn=0.6)
    add(tmp_path, "b", mnist=0.8, svhn=0.6)
    add(tmp_path, "c", mnist=0.8, svhn=0.6, textures=0.9)
    add(tmp_path, "d", mnist=0.8)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert [cell.split()[0].strip("*") for cell in column(table, "far mean", "AUROC ↑")] == ["70.00", "70.00", "—", "—"]
    why = (
        "— under far mean: measured on other sets, which have no common mean: `c` (mnist, svhn, textures); `d` (mnist)."
    )
    assert why in notes(table)


def test_a_row_of_which_a_seed_has_other_sets_has_fewer_seeds(tmp_path: Path) -> None:
    for seed, more in enumerate(({}, {}, {"textures": 0.9})):
        add(tmp_path, "a", seed, mnist=0.8, svhn=0.6, **more)
    add(tmp_path, "b", mnist=0.8, svhn=0.6)
    add(tmp_path, "c", mnist=0.8)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert [cell.strip("*") for cell in column(table, "far mean", "AUROC ↑")][::2] == ["70.00 ± 0.00 (n=2)", "—"]
    why = "measured on other sets, which have no common mean:"
    assert f"Fewer seeds under far mean: the rest were {why} `a` (mnist, svhn, textures)." in table.notes
    assert f"— under far mean: {why} `c` (mnist)." in table.notes


def test_a_row_counts_once_however_many_seeds_it_has(tmp_path: Path) -> None:
    """Two rows have textures, too; one row, of three seeds, has not."""
    for seed in range(3):
        add(tmp_path, "a", seed, mnist=0.8, svhn=0.6)
    for loss in "bc":
        add(tmp_path, loss, mnist=0.8, svhn=0.6, textures=0.7)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert "far mean over mnist, svhn, textures." in notes(table)
    assert column(table, "far mean", "AUROC ↑")[0] == "—"


def test_one_set_has_no_mean(tmp_path: Path) -> None:
    add(tmp_path, cifar100=0.9, svhn=0.6)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert not any("mean" in group for group, _ in table.columns)
    assert "Unweighted" not in notes(table)


def test_the_matrix_has_a_table_of_each_mean(tmp_path: Path) -> None:
    add(tmp_path, cifar100=0.9, tiny_imagenet=0.8, svhn=0.7)
    tables = matrix_tables(load_runs(tmp_path).runs, "idpos", ["ood_score", "msp"])
    titles = [table.title.partition(", resnet18")[0].partition("; ")[0] for table in tables]
    assert titles[0].endswith("near mean")
    assert titles[2].endswith("cifar100 (near, 100 images)")
    assert "near mean over cifar100, tiny_imagenet." in notes(tables[0])
    assert "Unweighted" not in notes(tables[2])
    assert [row[1] for row in tables[0].rows] == ["**85.00** / **15.00**", "75.00 / 25.00"]


def test_compare_tests_means_too(tmp_path: Path) -> None:
    a = add(tmp_path, "a", cifar100=0.9, tiny_imagenet=0.8)
    b = add(tmp_path, "b", cifar100=0.8, tiny_imagenet=0.85)
    pairs = pairs_of(load_side(a), load_side(b))
    found = compare_runs(pairs, "msp", "msp")
    (mean,) = [line for line in found if (line.ood, line.metric) == (NEAR, "auroc")]
    assert mean.difference == pytest.approx(0.025)
    assert mean.test is not None
    assert mean.images == "10,000 + 200"
    assert "near mean: unweighted, over cifar100, tiny_imagenet" in report(pairs, "msp", "msp", found, [])


def test_compare_has_no_mean_of_other_sets(tmp_path: Path) -> None:
    a = add(tmp_path, "a", cifar100=0.9, tiny_imagenet=0.8)
    b = add(tmp_path, "b", cifar100=0.8)
    found = compare_runs(pairs_of(load_side(a), load_side(b)), "msp", "msp")
    assert {line.ood for line in found} == {"", "cifar100"}


def test_a_detector_that_lacks_a_set_has_no_mean(tmp_path: Path) -> None:
    path = add(tmp_path, cifar100=0.9, tiny_imagenet=0.8)
    alter_metrics(path, lambda content: content["ood"]["cifar100"].pop("msp"))
    run = load_run(path)
    (found,) = with_means([run], common_means([run]))
    assert {detector for name, detector, _ in found.numbers if name == NEAR} == {"ood_score"}


def test_the_overview_and_the_csv_have_means(tmp_path: Path) -> None:
    add(tmp_path, mnist=0.8, svhn=0.6)
    add(tmp_path, "other", mnist=0.8, svhn=0.7)
    add(tmp_path, "sample", mnist=0.8, svhn_sample=0.7)
    runs = load_runs(tmp_path).runs
    kinds, sets, _, *rows = overview(runs).splitlines()[2:]
    assert set(kinds.split()) == {"far"}
    assert sets.split()[:2] == ["mean", "mnist"]
    assert [row.split()[4] for row in rows] == ["75.00", "70.00", "—"]
    frame = frame_of(runs)
    means = frame[(frame.ood == FAR) & (frame.detector == "msp") & (frame.metric == "auroc")]
    assert dict(zip(means.loss, means.value, strict=True)) == pytest.approx({"other": 0.65, "plain": 0.6})
    assert means.low.lt(means.value).all()


def test_a_mean_of_resamples_is_computed_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview needs the numbers alone; runs.csv an interval a number, and no array twice."""
    made: list[MeanOf] = []
    compute = MeanOf.__array__
    monkeypatch.setattr(MeanOf, "__array__", lambda self, *about, **more: made.append(self) or compute(self))
    for seed in (0, 1):
        add(tmp_path, seed=seed, mnist=0.8, svhn=0.6)
    runs = load_runs(tmp_path).runs
    overview(runs)
    assert len(made) <= 1
    made.clear()
    to_csv(numbers_of(runs))
    metrics = [metric for metric in OOD_METRICS.values() if metric.in_tables]
    assert len(made) == len(runs) * len(metrics) * len(("ood_score", "msp"))


def test_rows_of_the_csv_stand_in_one_order(tmp_path: Path) -> None:
    add(tmp_path, mnist=0.8, svhn=0.6)
    frame = frame_of(load_runs(tmp_path).runs)
    of_set, of_mean = (frame[frame.ood == name][["detector", "metric"]].to_numpy().tolist() for name in ("svhn", FAR))
    assert of_mean == of_set


def test_means_over_sets_of_other_sizes_are_apart(tmp_path: Path) -> None:
    for loss, images in (("a", 100), ("b", 200)):
        add_run(tmp_path, loss, ood=ood(svhn=0.9, mnist=0.8), images=images)
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    groups = [group for group, name in table.columns if name.startswith("AUROC")]
    assert groups[:2] == ["far mean, 200 images", "far mean, 400 images"]
