"""Intervals, bold by test, tables by key, the matrix and calibration: small, made-up runs, numbers worked by hand."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.made_up import Array, add_run

from oodbench import tables
from oodbench.evaluation.calibration import METRICS
from oodbench.evaluation.significance import indistinguishable_from_best
from oodbench.tables import load_runs, tables_of, to_latex, to_markdown, write_by, write_matrix, write_tables
from oodbench.tables.cells import LARGER_IS_BETTER
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.results import OF_A_DETECTOR, OF_A_RUN
from oodbench.tables.sections import section

PUBLISHED = ROOT / "results" / "published.csv"
NOISE = np.linspace(-0.02, 0.02, 1000)  # 95 % of it are within .019
CALIBRATION: dict[str, Any] = {
    "own": {"ece": 0.05, "adaptive_ece": 0.04, "classwise_ece": 0.01, "mce": 0.2, "nll": 0.3, "brier": 0.1},
    "temperature_scaled": {
        **{"ece": 0.02, "adaptive_ece": 0.02, "classwise_ece": 0.01, "mce": 0.1, "nll": 0.25, "brier": 0.09},
        "temperatures": [1.5, 1.7],
    },
}


def only_section(results: Path, detectors: tuple[str, ...] = ("ood_score",)) -> tables.Table:
    return section(load_runs(results)[0], "idpos", detectors)


def column(table: tables.Table, *header: str) -> list[str]:
    where = table.columns.index(header if len(header) == 2 else ("", *header))
    return [row[where] for row in table.rows]


def text(table: tables.Table) -> str:
    return " ".join(table.notes)


# ---- intervals and bold


def test_one_seed_shows_its_interval_and_several_their_deviation(tmp_path: Path) -> None:
    add_run(tmp_path, "one", accuracy=0.7, noise=NOISE)
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, "three", seed, accuracy, noise=NOISE)
    table = only_section(tmp_path)
    assert column(table, "Accuracy ↑")[0] == "70.00 [68.1, 71.9]"
    assert re.fullmatch(r"\**93.00 ± 3.61\**", column(table, "Accuracy ↑")[1])
    assert "n = 1: the value and in brackets its 95 % bootstrap interval" in text(table)


def test_the_csv_has_the_interval_over_images_and_that_over_seeds(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, seed=seed, accuracy=accuracy, noise=NOISE)
    frame = tables.long_format(load_runs(tmp_path)[0])
    row = frame[(frame.metric == "accuracy") & (frame.seed == 1)].iloc[0]
    half = 4.30265273 * 0.0360555128 / 3**0.5  # t_{.975, 2} s / sqrt(n)
    assert [row.low, row.high, row.seeds] == pytest.approx([0.901, 0.939, 3])
    assert [row["mean"], row.mean_low, row.mean_high] == pytest.approx([0.93, 0.93 - half, 0.93 + half])


def test_bold_are_the_best_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    """b - a is .01 and its resamples go from -.03 to .05: p = .75. c moves with b, so that .002 below is below."""
    for loss, accuracy, sign in (("a", 0.89, -1), ("b", 0.9, 1), ("c", 0.898, 1)):
        add_run(tmp_path, loss, accuracy=accuracy, noise=sign * NOISE)
    table = only_section(tmp_path)
    assert [cell.startswith("**") for cell in column(table, "Accuracy ↑")] == [True, True, False]
    assert "not distinguishable from it at 5 %" in text(table)
    assert "not tested" not in text(table)


def test_a_lower_number_is_better_where_it_is(tmp_path: Path) -> None:
    """FPR@95 is 1 - AUROC here: b's is .1, c's .12 and moves with it."""
    for loss, auroc in (("b", 0.9), ("c", 0.88)):
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": auroc}}, noise=NOISE)
    table = only_section(tmp_path)
    assert column(table, "svhn (far)", "FPR@95 idpos ↓") == ["**10.00 [8.1, 11.9]**", "12.00 [10.1, 13.9]"]


def test_without_resamples_only_the_best_is_bold_and_the_caption_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, "a", accuracy=0.89, noise=-NOISE)
    add_run(tmp_path, "b", accuracy=0.9)
    table = only_section(tmp_path)
    assert column(table, "Accuracy ↑") == ["89.00 [87.1, 90.9]", "**90.00**"]
    assert "Bold: the best mean alone, not tested against the others, because resamples are missing." in table.notes
    assert any("score them again with `scripts/evaluate.py`: `b`." in note for note in table.notes)
    assert "not distinguishable" not in text(table)


def test_a_damaged_file_of_resamples_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = add_run(tmp_path, noise=NOISE) / "resamples.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=re.escape(str(file))):
        only_section(tmp_path)


def several(results: Path, seeds: dict[str, dict[int, float]]) -> dict[str, dict[int, Array]]:
    """Runs of accuracies by loss and seed -> their resamples"""
    random, resampled = np.random.default_rng(0), {}
    for loss, values in seeds.items():
        noises = {seed: 0.001 * random.normal(size=1000) for seed in values}
        resampled[loss] = {seed: value + noises[seed] for seed, value in values.items()}
        for seed, value in values.items():
            add_run(results, loss, seed, value, noise=noises[seed])
    return resampled


def test_rows_of_different_seeds_are_compared_on_those_they_share(tmp_path: Path) -> None:
    """On seeds 0 and 1 a is best and b, always .0001 below, is told apart by neither; c is, on any."""
    seeds = {"a": {0: 0.9, 1: 0.91, 2: 0.7}, "b": {0: 0.899, 1: 0.909}, "c": {0: 0.5, 1: 0.511, 3: 0.51}}
    resampled = several(tmp_path, seeds)
    table = only_section(tmp_path)
    shared = {loss: np.array([values[0], values[1]]) for loss, values in seeds.items()}
    stacked = {loss: np.stack([values[0], values[1]]) for loss, values in resampled.items()}
    expected = {*indistinguishable_from_best(shared, stacked, True), "b"}  # b has the best mean of those shown
    assert {row[0] for row in table.rows if "**" in row[3]} == expected
    assert "c" not in expected
    assert any("those that all rows share, 0, 1, the means are of all n; in Accuracy ↑" in note for note in table.notes)


def test_every_metric_has_a_direction() -> None:
    assert LARGER_IS_BETTER.keys() == {*OF_A_RUN, *OF_A_DETECTOR, *METRICS}


def test_rows_that_share_no_seed_are_not_tested(tmp_path: Path) -> None:
    several(tmp_path, {"a": {0: 0.9}, "b": {1: 0.9001}})
    table = only_section(tmp_path)
    assert ["**" in cell for cell in column(table, "Accuracy ↑")] == [False, True]
    assert "not tested against the others, because the rows share no seed" in text(table)


def test_rows_of_other_images_are_not_tested(tmp_path: Path) -> None:
    """Only svhn's images differ; the accuracies are of the same."""
    for loss, accuracy, digest, sign in (("a", 0.89, "x", -1), ("b", 0.9, "y", 1)):
        digests = {"test": "t", "svhn": digest}
        ood = {"svhn": {"ood_score": accuracy}}
        add_run(tmp_path, loss, accuracy=accuracy, noise=sign * NOISE, digests=digests, ood=ood)
    table = only_section(tmp_path)
    assert ["**" in cell for cell in column(table, "Accuracy ↑")] == [True, True]
    assert ["**" in cell for cell in column(table, "svhn (far)", "AUROC ↑")] == [False, True]
    assert (
        "Bold in svhn (far): the best mean alone, not tested against the others, because the rows' images differ"
        in (text(table))
    )


# ---- by any key


def taus(results: Path) -> None:
    for tau in (0.1, 1, 0.04):
        add_run(results, "logitnorm", config={"loss": {"tau": tau}}, accuracy=0.9 - tau / 10)
    add_run(results, "ce")


def test_by_a_key_rows_are_sorted_as_numbers_and_runs_without_it_are_named(tmp_path: Path) -> None:
    taus(tmp_path)
    add_run(tmp_path, "digits", config={"name": {"dataset": "digits"}})
    write_by(tmp_path, load_runs(tmp_path)[0], "idpos", ["ood_score"], ["loss.tau"])
    names = ["cifar10.by-loss.tau.md", "cifar10.by-loss.tau.tex", "runs"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    written = (tmp_path / "cifar10.by-loss.tau.md").read_text()
    rows = [line.split(" | ")[:5] for line in written.splitlines() if "ood_score |" in line]
    assert rows == [
        ["| 0.04", "logitnorm", "ood_score", "1", "**89.60**"],
        ["| 0.1", "logitnorm", "ood_score", "1", "89.00"],
        ["| 1", "logitnorm", "ood_score", "1", "80.00"],
    ]
    assert "`python scripts/tables.py --by loss.tau`" in written
    assert "| `loss.tau` | Loss | Score | n |" in written
    assert "- Left out, their configuration has no `loss.tau`: `ce`." in written
    assert "- `logitnorm`: smoothing=0." in written


def test_by_a_key_of_the_protocol_there_is_one_table(tmp_path: Path) -> None:
    for epochs in (100, 20):
        add_run(tmp_path, config={"recipe": {"epochs": epochs}})
        add_run(tmp_path, config={"recipe": {"epochs": epochs}, "dataset": {"limit": 1000}})
    (all_images, subset) = tables.tables_by(load_runs(tmp_path)[0], "idpos", ["ood_score"], ["recipe.epochs"])
    assert all_images.title == "resnet18 (width=64), recipe short, 50,000 training images, 10,000 test images, bf16"
    assert column(all_images, "`recipe.epochs`") == column(subset, "`recipe.epochs`") == ["20", "100"]
    assert column(all_images, "Loss") == ["plain", "plain"]
    assert "recipe short: batch_size=128" in text(all_images)
    (table,) = tables.tables_by(load_runs(tmp_path)[0], "idpos", ["ood_score"], ["dataset.limit", "recipe.epochs"])
    assert [row[:2] for row in table.rows] == [["1000", "20"], ["1000", "100"], ["null", "20"], ["null", "100"]]
    assert "training images" not in table.title


def test_by_the_seed_every_run_is_a_row(tmp_path: Path) -> None:
    for seed in (10, 2):
        add_run(tmp_path, seed=seed, accuracy=0.9)
    (table,) = tables.tables_by(load_runs(tmp_path)[0], "idpos", ["ood_score"], ["seed"])
    assert [row[:4] for row in table.rows] == [["2", "plain", "ood_score", "1"], ["10", "plain", "ood_score", "1"]]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (["tau"], "no run's configuration has the key tau; near to it: loss.tau"),
        (["loss.taus"], "the key loss.taus; near to it: loss.tau"),
        (["qqq"], "no run's configuration has the key qqq; a key is named as on the command line"),
        (["loss.tau", "loss.gamma"], "no run's configuration has all the keys loss.tau, loss.gamma"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_names_near_it(tmp_path: Path, keys: list[str], complaint: str) -> None:
    taus(tmp_path)
    add_run(tmp_path, "focal", config={"loss": {"gamma": 2}})
    with pytest.raises(ValueError, match=re.escape(complaint)):
        write_by(tmp_path, load_runs(tmp_path)[0], "idpos", ["ood_score"], keys)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


# ---- losses x detectors


def test_the_matrix_has_a_pair_in_each_cell_its_intervals_and_reasons(tmp_path: Path) -> None:
    reasons = {"vim": "needs a linear head; this loss has none", "knn": "gives one value for every image"}
    add_run(
        tmp_path, "a", ood={"svhn": {"ood_score": 0.9, "vim": 0.8, "knn": 0.899}}, noise={"": NOISE, "svhn/knn": -NOISE}
    )
    add_run(tmp_path, "b", ood={"svhn": {"ood_score": 0.7}}, noise=NOISE, not_applicable=reasons)
    write_matrix(tmp_path, load_runs(tmp_path)[0], "idpos", ["ood_score", "knn", "vim"])
    values, intervals = matrix_tables(load_runs(tmp_path)[0], "idpos", ["ood_score", "knn", "vim"])
    assert values.columns == [("", "Score"), ("a", "n = 1"), ("b", "n = 1")]
    assert values.rows == [
        ["ood_score", "**90.00** / **10.00**", "70.00 / 30.00"],
        ["knn", "**89.90** / **10.10**", "—¹"],
        ["vim", "80.00 / 20.00", "—²"],
    ]
    assert intervals.rows[0] == ["ood_score", "[88.1, 91.9] / [8.1, 11.9]", "[68.1, 71.9] / [28.1, 31.9]"]
    assert intervals.rows[2] == ["vim", "[78.1, 81.9] / [18.1, 21.9]", "—²"]
    for table in (values, intervals):
        assert {"¹ gives one value for every image.", "² needs a linear head; this loss has none."} < set(table.notes)
    latex = (tmp_path / "cifar10.matrix.tex").read_text()
    assert latex.isascii()
    assert r"---\textsuperscript{2}" in latex
    assert "`python scripts/tables.py --matrix`" in (tmp_path / "cifar10.matrix.md").read_text()


def test_the_matrix_of_several_seeds_has_t_intervals(tmp_path: Path) -> None:
    for seed, auroc in enumerate((0.90, 0.92, 0.97)):  # .93 -+ 4.3027 .036056 / sqrt(3) = .08957
        add_run(tmp_path, seed=seed, ood={"cifar100": {"ood_score": auroc}, "svhn": {"ood_score": auroc}})
    near, near_intervals, far, _ = matrix_tables(load_runs(tmp_path)[0], "idpos", ["ood_score"])
    assert near.rows == far.rows == [["ood_score", "93.00 / 7.00"]]
    assert near_intervals.rows == [["ood_score", "[84.0, 102.0] / [-2.0, 16.0]"]]
    assert near.title.startswith("AUROC ↑ / FPR@95 idpos ↓, cifar100 (near, 100 images); resnet18")


def test_the_matrix_without_resamples_has_no_intervals(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"ood_score": 0.9, "msp": 0.8}})
    (values,) = matrix_tables(load_runs(tmp_path)[0], "idpos", ["ood_score", "msp", "energy"])
    assert values.rows == [["ood_score", "**90.00** / **10.00**"], ["msp", "80.00 / 20.00"], ["energy", "—"]]
    assert "— without a mark: not scored in these runs." in values.notes
    assert "score them again with `scripts/evaluate.py`: `plain`." in text(values)


def test_one_seed_of_31_detectors_is_tested(tmp_path: Path) -> None:
    """Holm needs p of .05 / 30, less than 1,000 resamples show: .1 is 8.7 deviations of the difference, .002 is 0.2."""
    ood = {"svhn": {"best": 0.9, "close": 0.898, **{f"d{i}": 0.8 for i in range(29)}}}
    add_run(tmp_path, ood=ood, noise={"": NOISE, "svhn/best": np.zeros(1000)})
    runs = load_runs(tmp_path)[0]
    values, _ = matrix_tables(runs, "idpos", sorted(runs[0].detectors))
    assert [row[0] for row in values.rows if row[1].count("**") == 4] == ["best", "close"]


# ---- calibration


def test_calibration_readings_stand_side_by_side(tmp_path: Path) -> None:
    add_run(tmp_path, "a", noise=NOISE, calibration=CALIBRATION)
    other = {**CALIBRATION, "normalised": {**CALIBRATION["own"], "ece": 0.03}, "temperature_scaled": None}
    add_run(tmp_path, "b", noise=NOISE, calibration=other)
    add_run(tmp_path, "old")
    _, table = tables_of(load_runs(tmp_path)[0], [], "idpos", ["ood_score"])
    assert table.title.startswith("Calibration: resnet18 (width=64), recipe short, 10 epochs")
    assert table.columns[2:8] == [
        ("own", name + " ↓") for name in ("ECE", "adaptive ECE", "class-wise ECE", "MCE", "NLL", "Brier")
    ]
    assert [table.columns[i][0] for i in (8, 14, 20)] == ["normalised", "temperature-scaled", "temperature-scaled"]
    assert column(table, "own", "ECE ↓") == ["**5.00 [3.1, 6.9]**", "**5.00 [3.1, 6.9]**", "—"]
    assert column(table, "own", "NLL ↓") == ["0.300 [0.281, 0.319]", "0.300 [0.281, 0.319]", "—"]  # b's is not proper
    assert column(table, "own", "MCE ↓") == ["**20.00**", "**20.00**", "—"]
    assert column(table, "normalised", "ECE ↓") == ["5.00", "**3.00**", "—"]  # a's is its own
    assert column(table, "normalised", "NLL ↓") == ["**0.300**", "**0.300**", "—"]
    assert column(table, "temperature-scaled", "ECE ↓") == ["2.00", "—", "—"]
    assert column(table, "temperature-scaled", "T") == ["1.6", "—", "—"]
    assert "— scored without these numbers, score them again with `scripts/evaluate.py`: `old`." in table.notes
    assert "no finite temperature is the best one for a half of the images: `b`." in text(table)
    assert "elsewhere bold is the best mean alone" in text(table)
    for printed in (to_markdown("cifar10", [table]), to_latex("cifar10", [table])):
        assert "temperature-scaled" in printed


def test_own_nll_is_tested_among_proper_scores(tmp_path: Path) -> None:
    """b moves with a and is .01 above; c's rows do not sum to one, so that its smaller NLL is no smaller."""
    for loss, nll, more in (("a", 0.3, {}), ("b", 0.31, {}), ("c", 0.1, {"normalised": CALIBRATION["own"]})):
        calibration = {**CALIBRATION, "own": {**CALIBRATION["own"], "nll": nll}, **more}
        noise = {"": NOISE, "nll": nll - 0.3 + NOISE}  # the fixture's own NLL is .3
        add_run(tmp_path, loss, noise=noise, calibration=calibration)
    _, table = tables_of(load_runs(tmp_path)[0], [], "idpos", ["ood_score"])
    assert column(table, "own", "NLL ↓") == ["**0.300 [0.281, 0.319]**", "0.310 [0.291, 0.329]", "0.100 [0.081, 0.119]"]


def test_calibration_over_seeds_is_mean_and_deviation(tmp_path: Path) -> None:
    for seed, nll in enumerate((0.3, 0.5)):
        add_run(
            tmp_path, seed=seed, calibration={"own": {**CALIBRATION["own"], "nll": nll}, "temperature_scaled": None}
        )
    _, table = tables_of(load_runs(tmp_path)[0], [], "idpos", ["ood_score"])
    assert column(table, "own", "NLL ↓") == ["0.400 ± 0.141"]
    assert "temperature-scaled" not in {group for group, _ in table.columns[:-1]}


def test_without_calibration_there_is_no_table_and_a_note(tmp_path: Path) -> None:
    add_run(tmp_path)
    (table,) = tables_of(load_runs(tmp_path)[0], [], "idpos", ["ood_score"])
    assert table.notes[-1].startswith(
        "No calibration table: these runs were scored without its numbers, score them again"
    )


# ---- the script


def test_the_options_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    taus(tmp_path)

    def run(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["tables.py", "--results-dir", str(tmp_path), *options])
        script.main()

    run("--matrix")
    run("--by", "loss.tau", "recipe.epochs", "--fpr", "oodpos")
    assert "msp" in (tmp_path / "cifar10.matrix.md").read_text()
    assert "FPR@95 oodpos" in (tmp_path / "cifar10.by-loss.tau+recipe.epochs.md").read_text()
    assert not (tmp_path / "cifar10.md").exists()
    with pytest.raises(SystemExit, match=r"near to it: loss\.tau"):
        run("--by", "tau")
    write_tables(tmp_path, load_runs(tmp_path)[0], PUBLISHED, "idpos", ["ood_score"])
    assert "logitnorm (tau=0.04)" in (tmp_path / "cifar10.md").read_text()
