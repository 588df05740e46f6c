"""Losses x detectors."""

from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, add_run, alter_metrics, notes
from scipy import special

from oodbench.tables.load import load_runs
from oodbench.tables.matrix import OVER_SEEDS, matrix_tables
from oodbench.tables.write import write_matrix


def test_a_cell_has_a_pair_its_intervals_and_reasons(tmp_path: Path) -> None:
    reasons = {"vim": "needs a linear head; this loss has none", "knn": "gives one value for every image"}
    add_run(
        tmp_path, "a", ood={"svhn": {"ood_score": 0.9, "vim": 0.8, "knn": 0.899}}, noise={"": NOISE, "svhn/knn": -NOISE}
    )
    add_run(tmp_path, "b", ood={"svhn": {"ood_score": 0.7}}, noise=NOISE, not_applicable=reasons)
    write_matrix(tmp_path, load_runs(tmp_path).runs, "idpos", ["ood_score", "knn", "vim"])
    values, intervals = matrix_tables(load_runs(tmp_path).runs, "idpos", ["ood_score", "knn", "vim"])
    assert values.columns == [("", "Score"), ("a", "n = 1"), ("b", "n = 1")]
    assert values.rows == [
        ["own", "**90.00** / **10.00**", "70.00 / 30.00"],
        ["knn", "*89.90* / *10.10*", "—¹"],
        ["vim", "80.00 / 20.00", "—²"],
    ]
    assert intervals.rows[0] == ["own", "[88.1, 91.9] / [8.1, 11.9]", "[68.1, 71.9] / [28.1, 31.9]"]
    assert intervals.rows[2] == ["vim", "[78.1, 81.9] / [18.1, 21.9]", "—²"]
    for table in (values, intervals):
        assert {"¹ gives one value for every image.", "² needs a linear head; this loss has none."} < set(table.notes)
    latex = (tmp_path / "cifar10.matrix.tex").read_text()
    assert latex.isascii()
    assert r"---\textsuperscript{2}" in latex
    assert "`python scripts/tables.py --matrix`" in (tmp_path / "cifar10.matrix.md").read_text()


def test_intervals_of_several_seeds_are_on_the_logit_scale(tmp_path: Path) -> None:
    """.93: logit 2.587 -+ 4.3027 .036056 / sqrt(3) / (.93 .07) = 1.376; of FPR@95 = 1 - AUROC the mirror image"""
    for seed, auroc in enumerate((0.90, 0.92, 0.97)):
        add_run(tmp_path, seed=seed, ood={"cifar100": {"ood_score": auroc}, "svhn": {"ood_score": auroc}})
    near, near_intervals, far, _ = matrix_tables(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert near.rows == far.rows == [["own", "93.00 / 7.00"]]
    low, high = (100 * special.expit(2.58669 + end) for end in (-1.37586, 1.37586))
    assert near_intervals.rows == [["own", f"[{low:.1f}, {high:.1f}] / [{100 - high:.1f}, {100 - low:.1f}]"]]
    assert near_intervals.rows == [["own", "[77.0, 98.1] / [1.9, 23.0]"]]
    title = "AUROC ↑ / FPR@95 (95 % of ID accepted) ↓, cifar100 (near, 100 images); resnet18"
    assert near.title.startswith(title)


def test_a_detector_with_fewer_seeds_than_its_loss_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.9, "knn": 0.8}}, noise=NOISE)
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.9}}, noise=NOISE)
    values, intervals = matrix_tables(load_runs(tmp_path).runs, "idpos", ["ood_score", "knn"])
    assert values.columns[1] == ("plain", "n = 2")
    assert [row[1].replace("*", "") for row in values.rows] == ["90.00 / 10.00", "80.00 / 20.00 (n=1)"]
    assert intervals.rows[1][1] == "[78.1, 81.9] / [18.1, 21.9] (n=1)"


def test_without_resamples_there_are_no_intervals(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"ood_score": 0.9, "msp": 0.8}})
    (values,) = matrix_tables(load_runs(tmp_path).runs, "idpos", ["ood_score", "msp", "energy"])
    assert values.rows == [["own", "**90.00** / **10.00**"], ["msp", "80.00 / 20.00"], ["energy", "—"]]
    assert "— without a mark: not scored in these runs." in values.notes
    assert "score them again with `scripts/evaluate.py`: `plain`." in notes(values)


def test_one_seed_of_31_detectors_is_tested(tmp_path: Path) -> None:
    """Holm needs p of .05 / 30, less than 1,000 resamples show: .1 is 8.7 deviations of the difference, .002 is 0.2."""
    ood = {"svhn": {"best": 0.9, "close": 0.898, **{f"d{i}": 0.8 for i in range(29)}}}
    add_run(tmp_path, ood=ood, noise={"": NOISE, "svhn/best": np.zeros(1000)})
    runs = load_runs(tmp_path).runs
    values, _ = matrix_tables(runs, "idpos", sorted(runs[0].detectors))
    assert [row[0] for row in values.rows if "*" in row[1]] == ["best", "close"]
    assert [row[1].count("**") for row in values.rows if row[0] in ("best", "close")] == [4, 0]


def test_seeds_that_only_another_loss_has_are_not_told(tmp_path: Path) -> None:
    """Marks are within a column: all scores of b have its one seed, while knn lacks one of a's."""
    for loss, seed in (("a", 0), ("a", 1), ("b", 0)):
        ood = {"svhn": {"ood_score": 0.9, "msp": 0.8, **({} if seed else {"knn": 0.85})}}
        add_run(tmp_path, loss, seed, ood=ood, noise=NOISE)
    runs = load_runs(tmp_path).runs
    assert "Rows have different seeds" not in notes(matrix_tables(runs, "idpos", ["ood_score", "msp"])[0])
    assert "all rows share, seed 0; in a. With one seed" in notes(matrix_tables(runs, "idpos", ["ood_score", "knn"])[0])


def test_intervals_over_seeds_leave_images_out(tmp_path: Path) -> None:
    add_run(tmp_path, noise=NOISE)
    assert OVER_SEEDS not in matrix_tables(load_runs(tmp_path).runs, "idpos", ["msp"])[1].notes
    add_run(tmp_path, seed=1, noise=NOISE)
    assert OVER_SEEDS in matrix_tables(load_runs(tmp_path).runs, "idpos", ["msp"])[1].notes


def test_hyperparameters_stand_beneath_the_first_table(tmp_path: Path) -> None:
    for loss, alpha in (("a", 1), ("b", 2)):
        path = add_run(tmp_path, loss, ood={name: {"knn": 0.9, "nci": 0.9, "msp": 0.9} for name in ("mnist", "svhn")})
        of = {
            "knn": {"_target_": "oodbench.detectors.knn", "_partial_": True, "k": 50},
            "msp": {"_target_": "oodbench.detectors.msp", "_partial_": True},
            "nci": {"_target_": "oodbench.detectors.nci", "_partial_": True, "alpha": alpha},
        }
        alter_metrics(path, lambda content, of=of: content["provenance"].update(detector=of))
    first, *others = matrix_tables(load_runs(tmp_path).runs, "idpos", ["knn", "msp", "nci"])
    text = "Hyperparameters of the scores, in every table of this protocol: knn k=50."
    assert text in first.notes
    assert not any(text in table.notes for table in others)
    assert all("nci is set differently: alpha=1 in `a`; alpha=2 in `b`." in table.notes for table in (first, *others))
